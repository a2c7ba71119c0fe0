"""Volumes in MNI152 space: from a run as it was acquired to one row of voxels per volume, and the scalings of such volumes.

A run is resampled once, motion and registration composed, and kept on disk as voxels by volumes, a volume contiguous, so
that a window reads its one volume and nothing else. Intensities stay as they are: scaling is fitted inside a fold, by
`VolumeScaling`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.images import open_anatomy, read_slice_times
from eegfmri.preprocessing.bold import (
    clean,
    confounds,
    correct_slice_times,
    in_template,
    mean_volume,
    smooth,
    sources_of,
    template_mask,
    tissue_shares,
)
from eegfmri.preprocessing.registration import (
    GRIDS,
    Grid,
    Registration,
    Transform,
    align_rigidly,
    estimate_motion,
    registered,
    resample,
)
from eegfmri.recordings import Recording, Stream

Tissue = Literal["grey_white", "brain"]

#: Voxels whose series are cleaned at once, in double precision.
CLEANED_AT_ONCE = 4096

#: A voxel is measured in a subject where its intensity exceeds this share of the median over all voxels in (nearly) every volume:
#: one that leaves the scan in some of them would be the brightest change of all.
MEASURABLE = 0.1
NEARLY_ALWAYS = 2.0  # per cent of volumes that may fall below


@dataclass(frozen=True)
class VolumeSettings:
    """How volumes are prepared; every field is part of the cache key.

    Attributes
    ----------
    grid : str
        A key of `eegfmri.preprocessing.registration.GRIDS`.
    mask : {"grey_white", "brain"}
        Voxels that are kept: grey and white matter of the MNI152 template, or its whole brain.
    registration : {"affine", "syn"}
        How the run is brought to the template.
    through_t1 : bool
        Bring it there through the subject's T1-weighted image, where the dataset has one.
    motion_correction : bool
        Undo rigid motion.
    slice_timing : bool
        Shift each slice to the middle of the volume; the sidecar must say when slices were acquired.
    smoothing : float or None
        Full width at half maximum of a Gaussian in mm, applied in MNI152 space.
    n_dropped : int
        Volumes left out at the start of a run.
    anti_aliasing : bool
        Where the grid's voxels are larger than the run's, average over their difference first: a value picked from between small voxels
        stands for none of the others.
    high_pass : float or None
        Cut-off in Hz of the filter that takes drift out of every voxel; its mean over time stays. None: no filter.
    tissue_regressors : bool
        Regress out the means of white matter and of cerebrospinal fluid, see `eegfmri.preprocessing.bold.confounds`.
    motion_regressors : {0, 6, 24}
        Regress out motion parameters, or those with their changes and the squares of both.
    """

    grid: str = "mni_4mm"
    mask: Tissue = "grey_white"
    registration: Literal["affine", "syn"] = "affine"
    through_t1: bool = False
    motion_correction: bool = False
    slice_timing: bool = False
    smoothing: float | None = None
    n_dropped: int = 0
    anti_aliasing: bool = True
    high_pass: float | None = None
    tissue_regressors: bool = False
    motion_regressors: Literal[0, 6, 24] = 0


@dataclass(frozen=True, eq=False)
class Space:
    """The voxels that are kept, and where they lie.

    Attributes
    ----------
    grid : Grid
        All voxels.
    mask : numpy.ndarray of bool
        Shape of the grid: those that are kept, in the order of the array's memory.
    """

    grid: Grid
    mask: np.ndarray

    @property
    def n_voxels(self) -> int:
        """How many are kept."""
        return int(self.mask.sum())

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Put voxels of shape (..., n_voxels) into volumes of shape (..., x, y, z); the rest is 0."""
        values = np.asarray(values)
        out = np.zeros((*values.shape[:-1], *self.grid.shape), dtype=values.dtype)
        out[..., self.mask] = values
        return out

    def image(self, values: np.ndarray, t_r: float | None = None):
        """Make a NIfTI image of voxels.

        Parameters
        ----------
        values : numpy.ndarray
            Shape (n_voxels,), or (n_volumes, n_voxels) for a series.
        t_r : float or None
            Repetition time of a series in s.

        Returns
        -------
        nibabel.Nifti1Image
            In MNI152 space (code 4), float32.
        """
        import nibabel

        filled = self.fill(np.asarray(values, dtype=np.float32))
        image = nibabel.Nifti1Image(np.moveaxis(filled, 0, -1) if filled.ndim == 4 else filled, self.grid.affine)
        image.set_sform(self.grid.affine, code="mni")
        image.set_qform(self.grid.affine, code="mni")
        image.header.set_xyzt_units("mm", "sec")
        if filled.ndim == 4 and t_r is not None:
            image.header.set_zooms((*image.header.get_zooms()[:3], t_r))
        return image

    def write(self, path: str | Path, values: np.ndarray, t_r: float | None = None) -> Path:
        """Write voxels as a NIfTI file, whole or not at all, and return its path; parameters as for `image`."""
        import nibabel

        with cache.written_whole(path) as temporary:
            nibabel.save(self.image(values, t_r), temporary)
        return Path(path)

    def region_weights(self, atlas) -> np.ndarray:
        """Weights that average voxels over an atlas's regions.

        Parameters
        ----------
        atlas : eegfmri.preprocessing.atlas.Atlas
            In MNI152 space.

        Returns
        -------
        numpy.ndarray
            Shape (n_voxels, n_regions), columns sum to 1, or are 0 where no voxel of a region is kept.
        """
        labels = np.asarray(resample(atlas.image, self.grid, interpolation="nearest").dataobj)[self.mask]
        member = labels[:, None] == np.arange(1, len(atlas.regions) + 1)
        return (member / np.maximum(member.sum(axis=0), 1)).astype(np.float32)


@lru_cache(maxsize=8)
def template_space(grid: str = "mni_4mm", mask: Tissue = "grey_white") -> Space:
    """The space of prepared volumes.

    Parameters
    ----------
    grid : str, default="mni_4mm"
        A key of `eegfmri.preprocessing.registration.GRIDS`.
    mask : {"grey_white", "brain"}
        A voxel is kept where it is brain, and for the first choice at least half grey or white matter.

    Returns
    -------
    Space
        The same for all subjects.

    Raises
    ------
    RequestError
        If grid or mask is unknown.
    """
    if grid not in GRIDS:
        raise RequestError(f"There is no grid {grid!r}: choose one of {', '.join(GRIDS)}.")
    if mask not in ("grey_white", "brain"):
        raise RequestError(f"A mask is 'grey_white' or 'brain', not {mask!r}.")
    kept = template_mask(grid)
    if mask == "grey_white":
        from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

        shares = [
            np.asarray(resample(load(resolution=2), GRIDS[grid]).dataobj)
            for load in (load_mni152_gm_template, load_mni152_wm_template)
        ]
        kept = kept & (sum(shares) >= 0.5)
    return Space(GRIDS[grid], kept)


@dataclass(frozen=True)
class VolumeStream(Stream):
    """One run's volumes on disk: voxels over time; ``names`` are the voxels' numbers.

    Attributes
    ----------
    space : Space
        Where the voxels lie.
    path, sfreq, names, start
        As for `eegfmri.recordings.Stream`; ``start`` is the middle of the first volume that is kept.
    """

    space: Space | None = field(default=None, compare=False)


def prepare_volumes(
    recording: Recording, settings: VolumeSettings | None = None, first: Recording | None = None
) -> VolumeStream:
    """Prepare one recording's volumes, or find them prepared.

    The steps: slice times and motion, if asked for; registration of the mean volume; one interpolation into MNI152 space; smoothing;
    drift and nuisance out of each voxel's series, if asked for. The last sees the whole run, a test subject's, too: it makes the target,
    and is nothing that a method is given.

    Parameters
    ----------
    recording : Recording
        A usable recording.
    settings : VolumeSettings or None
        Grid, mask and steps.
    first : Recording or None
        A run of the same subject that is registered to the template in this one's stead; this one is co-registered to it by a rigid map
        of the mean volumes. Runs that are registered one by one end up a fraction of a millimetre apart, and a volume relative to
        its subject's median then shows edges, many times brighter than any activity.

    Returns
    -------
    VolumeStream
        Shape (n_voxels, n_volumes), float32, in the scanner's intensities; 0 where the scan does not reach.

    Raises
    ------
    DataError
        If the recording is not usable, or slice times are asked for and its sidecar has none.
    RequestError
        If no volume is left.
    """
    settings = settings or VolumeSettings()
    recording.require_signals()
    if first is not None and first.name == recording.name:
        first = None
    if not 0 <= settings.n_dropped < recording.n_volumes:
        raise RequestError(
            f"{recording.name} has {recording.n_volumes} volumes: {settings.n_dropped} cannot be dropped."
        )
    t1 = recording.t1_file if settings.through_t1 else None
    slice_times = read_slice_times(recording.bold_file) if settings.slice_timing else None
    key = cache.digest(
        "volumes",
        sources_of(recording, t1, slice_times),
        asdict(settings),
        None if first is None else [cache.file_stamp(first.bold_file), first.n_volumes],
        cache.code_digest(__name__),
        cache.versions("nilearn", "dipy", "simpleitk"),
    )
    space = template_space(settings.grid, settings.mask)
    path = project.cache_dir() / "volumes" / f"{recording.name}-{key}.npy"
    cache.kept_array(path, lambda: np.asfortranarray(_in_space(recording, settings, space, t1, slice_times, first)))
    start = (settings.n_dropped + 0.5) * recording.t_r
    return VolumeStream(path, 1 / recording.t_r, range(space.n_voxels), start=start, space=space)


def prepare_together(
    recordings: Iterable[Recording], settings: VolumeSettings | None = None
) -> Callable[[Recording], VolumeStream]:
    """Return a function that prepares a recording's volumes, all co-registered to the subject's first usable run.

    Parameters
    ----------
    recordings : iterable of Recording
        All of them.
    settings : VolumeSettings or None
        As for `prepare_volumes`.

    Returns
    -------
    callable
        For `eegfmri.windows.volume_windows`.
    """
    first: dict[str, Recording] = {}
    for recording in recordings:
        if recording.usable:
            first.setdefault(recording.subject, recording)
    return lambda recording: prepare_volumes(recording, settings, first.get(recording.subject))


def _in_space(
    recording: Recording, settings: VolumeSettings, space: Space, t1, slice_times, first: Recording | None
) -> np.ndarray:

    image = recording.image().slicer[..., settings.n_dropped : recording.n_volumes]
    if settings.slice_timing:
        image = correct_slice_times(image, slice_times, recording.t_r)
    known = estimate_motion(image) if settings.motion_correction or settings.motion_regressors else None
    motion = known if settings.motion_correction else None
    reference = mean_volume(image)
    t1 = None if t1 is None else open_anatomy(t1)
    if first is None:
        registration = registered(reference, t1, settings.registration)
    else:
        of_first = mean_volume(first.image().slicer[..., settings.n_dropped : first.n_volumes])
        registration = registered(of_first, t1, settings.registration)
        moved = align_rigidly(of_first, reference)
        registration = Registration(
            Transform((np.linalg.inv(moved),)).then(registration.to_template),
            registration.to_run.then(Transform((moved,))),
        )
    nuisance = confounds(
        image,
        tissue_shares(registration.to_template, reference) if settings.tissue_regressors else {},
        known,
        tissues=settings.tissue_regressors,
        motion_regressors=settings.motion_regressors,
    )
    if settings.anti_aliasing:
        image = _blurred_for(image, space.grid)
    if settings.smoothing is None:
        volumes = in_template(image, registration, space.grid, motion, mask=space.mask)
    else:
        volumes = smooth(in_template(image, registration, space.grid, motion), settings.smoothing)
    series = np.asarray(volumes.dataobj, dtype=np.float32)[space.mask]
    if settings.high_pass is None and not nuisance.shape[1]:
        return series
    average = series.mean(axis=1, keepdims=True)
    # voxels that the scan does not reach stay 0, as everybody downstream knows them
    reached = (series != 0).any(axis=1)
    for part in np.array_split(np.flatnonzero(reached), max(1, reached.sum() // CLEANED_AT_ONCE)):
        # cosines are regressed out with the rest at once; a filter would go through tens of thousands of voxels one by one
        kept = clean(
            series[part],
            recording.t_r,
            nuisance,
            high_pass=settings.high_pass,
            drift="cosine",
            detrend=True,
            standardise=None,
        )
        series[part] = kept + average[part]
    return series


def _blurred_for(image, grid: Grid):
    """Return a run with what a grid of larger voxels cannot show taken out, axis by axis; as it is if no voxel is larger.

    The Gaussian's variance is that of the grid's voxel, as a box, less that of the run's, as `resize` has it.
    """
    import nibabel
    from scipy.ndimage import gaussian_filter1d

    turned = np.abs(
        np.linalg.inv(image.affine[:3, :3] / _sizes(image.affine)) @ (grid.affine[:3, :3] / _sizes(grid.affine))
    )
    # a run's axis is compared with the axis of the grid that lies nearest to it
    factors = _sizes(grid.affine)[turned.argmax(axis=1)] / _sizes(image.affine)
    if (factors <= 1).all():
        return image
    data = np.asarray(image.dataobj, dtype=np.float32)
    for axis, factor in enumerate(factors):
        if factor > 1:
            data = gaussian_filter1d(data, np.sqrt((factor**2 - 1) / 12), axis=axis, mode="nearest")
    return nibabel.Nifti1Image(data, image.affine, image.header)


def _sizes(affine: np.ndarray) -> np.ndarray:
    """Voxel sizes in mm, along the array's axes."""
    return np.linalg.norm(affine[:3, :3], axis=0)


# ------------------------------------------------------------------------------------------------ scaling

Scaling = Literal["normalised", "raw", "zscore", "unit", "standardised"]


#: Scaled volumes up to so many bytes stay in memory once they have been read.
READY = 1 << 30

#: What was found of subjects' volumes by this process, by what was looked at.
_KNOWN: dict[str, tuple] = {}


class VolumeScaling:
    """How intensities become targets; fitted on training windows.

    ``normalised``: volume / median − 1, voxel by voxel and subject by subject. ``zscore``: each voxel of each subject minus its mean,
    by its standard deviation. ``raw``: by one number, the mean intensity of training volumes. ``unit``: from the lowest to the
    highest intensity of training volumes to [0, 1]. ``standardised``: all voxels of a subject minus one number, their mean, by one
    number, their standard deviation, so that most of what varies is anatomy.

    The first two and the last need each subject's own volumes. Those of a training subject come from its training windows; a new subject's
    from its own unlabelled volumes, which is transductive, or from the first minutes of its session.

    Parameters
    ----------
    kind : {"normalised", "raw", "zscore", "unit", "standardised"}
        See above.
    calibration_minutes : float or None
        How much of a new subject may be used; None: everything.
    """

    def __init__(self, kind: Scaling = "normalised", calibration_minutes: float | None = None):
        if kind not in get_args(Scaling):
            raise RequestError(f"A scaling is one of {', '.join(get_args(Scaling))}, not {kind!r}.")
        self.kind = kind
        self.calibration_minutes = calibration_minutes

    @property
    def transductive(self) -> bool:
        """Whether a new subject's own volumes are used."""
        return self.kind in ("normalised", "zscore", "standardised")

    def fit(self, windows) -> "VolumeScaling":
        """Learn from training windows (`eegfmri.windows.volume_windows`)."""
        self.subjects_: dict[str, tuple] = {}
        means, sizes, low, high = [], [], np.inf, -np.inf
        for subject in windows.subjects:
            own = windows[windows.groups == subject]
            self.subjects_[subject], (mean, lowest, highest) = self._of_subject(own)
            means.append(mean)
            sizes.append(len(own))
            low, high = min(low, lowest), max(high, highest)
        #: Offset and scale of ``raw`` and ``unit``, alike for all voxels and subjects.
        self.common_ = (low, high - low) if self.kind == "unit" else (0.0, float(np.average(means, weights=sizes)))
        return self

    def targets(self, windows) -> "Targets":
        """Return the windows' volumes in these units, read when indexed; new subjects are looked at here."""
        subjects = {}
        for subject in windows.subjects:
            if subject in self.subjects_:
                subjects[subject] = self.subjects_[subject]
                continue
            own = windows[windows.groups == subject]
            if self.calibration_minutes is not None:
                own = own.start_of_session(self.calibration_minutes)
            subjects[subject], _ = self._of_subject(own)
        if not self.transductive:
            subjects = {subject: (*self.common_, measured) for subject, (*_, measured) in subjects.items()}
        return Targets(windows, subjects)

    def _of_subject(self, own) -> tuple[tuple, tuple[float, float, float]]:
        """Statistics of a subject's windows, then mean, lowest and highest intensity; remembered, since many methods ask for the same."""
        array = own.bold
        stamps = [cache.file_stamp(array.streams[run].path) for run in np.unique(array.run)]
        key = cache.digest(self.kind, stamps, array.run, array.first)
        if key not in _KNOWN:
            volumes = array[:][:, :, 0]
            if len(_KNOWN) >= 64:
                _KNOWN.pop(next(iter(_KNOWN)))
            extent = float(volumes.mean(dtype=float)), float(volumes.min()), float(volumes.max())
            _KNOWN[key] = self._statistics(volumes), extent
        return _KNOWN[key]

    def _statistics(self, volumes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offset and scale of each voxel, and whether it is measured, from volumes of shape (n_volumes, n_voxels)."""
        low, median = np.percentile(volumes, [NEARLY_ALWAYS, 50], axis=0)
        measured = low > MEASURABLE * np.median(median)
        if self.kind == "zscore":
            deviation = volumes.std(axis=0, dtype=float)
            measured = measured & (deviation > 0)
            return volumes.mean(axis=0, dtype=float), np.where(measured, deviation, 1.0), measured
        if self.kind == "standardised":
            inside = volumes[:, measured]
            if not inside.size:  # nothing was measured, so there is nothing to scale
                return 0.0, 1.0, measured
            return inside.mean(dtype=float), inside.std(dtype=float) or 1.0, measured
        return median, np.where(measured, median, 1.0), measured


class Targets:
    """Scaled volumes of windows, read when indexed.

    Parameters
    ----------
    windows : eegfmri.windows.Windows
        One volume each.
    subjects : mapping of str to (offset, scale, measured)
        Per subject; numbers or one value per voxel.

    Notes
    -----
    What has been read stays in memory where all of it is no more than `READY` bytes: training asks for every volume in every training
    epoch.
    """

    def __init__(self, windows, subjects: Mapping[str, tuple]):
        self.windows, self.subjects = windows, subjects
        self._groups = windows.groups
        self._ready: np.ndarray | None = None
        self._read = np.zeros(len(windows), dtype=bool)

    def __getstate__(self) -> dict:
        # another process reads for itself
        return vars(self) | {"_ready": None, "_read": np.zeros(len(self), dtype=bool)}

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_windows, n_voxels)."""
        return self.windows.bold.shape[:2]

    def __getitem__(self, rows) -> np.ndarray:
        """Return volumes, shape (n_rows, n_voxels), float32; voxels that are not measured in a subject are 0."""
        rows = np.atleast_1d(np.arange(len(self))[rows])
        if 4 * np.prod(self.shape) > READY:
            return self._of(rows)
        if self._ready is None:
            self._ready = np.empty(self.shape, dtype=np.float32)
        lacking = np.unique(rows[~self._read[rows]])
        if len(lacking):
            self._ready[lacking] = self._of(lacking)
            self._read[lacking] = True
        return self._ready[rows]

    def _of(self, rows: np.ndarray) -> np.ndarray:
        return self.scale(self.windows.bold[rows][:, :, 0], self._groups[rows])

    def scale(self, volumes: np.ndarray, subjects: Sequence[str]) -> np.ndarray:
        """Scale intensities of shape (n, n_voxels), one subject for each row."""
        out = np.empty(volumes.shape, dtype=np.float32)
        for row, subject in enumerate(subjects):
            offset, scale, measured = self.subjects[subject]
            out[row] = np.where(measured, (volumes[row] - offset) / scale, 0.0)
        return out

    def measured(self, subject: str) -> np.ndarray:
        """Tell which voxels are measured in a subject, shape (n_voxels,): the others are not scored."""
        return self.subjects[subject][2]

    def mean(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the mean of all volumes, or of some, shape (n_voxels,), float32; a few are read at a time."""
        rows = np.arange(len(self)) if rows is None else rows
        total = sum(self[part].sum(axis=0, dtype=float) for part in chunks(rows))
        return (total / len(rows)).astype(np.float32)

    def subset(self, rows) -> "Targets":
        """Return the targets of some windows, scaled as they are here."""
        return Targets(self.windows[rows], self.subjects)


def chunks(rows: np.ndarray, size: int = 64) -> Iterator[np.ndarray]:
    """Cut rows into parts of at most so many, so that few volumes are in memory at once."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
