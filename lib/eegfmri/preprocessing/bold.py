"""Preparing BOLD: from a run's volumes to one cleaned time series per region, or to volumes in MNI152 space.

Each step is a function on images or arrays; `prepare` strings them together for one recording and keeps the result on disk.
Regions are defined in MNI152 space. By default registration carries the atlas into the run's own space, so the volumes
themselves are never interpolated; where motion is undone or volumes are wanted in MNI152 space, they are interpolated once.

Drift filters, regression and scaling use the whole run, unlabelled test volumes included: they are transductive. Scaling can be
learned from the first minutes only (``calibration_minutes``).
"""

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.images import open_anatomy, read_slice_times
from eegfmri.preprocessing.atlas import AtlasName, load_atlas
from eegfmri.preprocessing.registration import (
    GRIDS,
    Grid,
    Motion,
    Registration,
    Transform,
    estimate_motion,
    registered,
    resample,
    resize,
)
from eegfmri.recordings import Recording, Stream

__all__ = [
    "BoldSettings",
    "SliceOrder",
    "acquisition_times",
    "clean",
    "confounds",
    "correct_slice_times",
    "in_template",
    "low_motion_mask",
    "mean_volume",
    "prepare",
    "region_means",
    "regional_series",
    "resize",
    "smooth",
    "template_mask",
    "tissue_shares",
    "with_signal",
]

SliceOrder = Literal["ascending", "descending", "interleaved", "interleaved odd first"]

#: A voxel has signal where it is always brighter than this share of the median over the brain.
MEASURABLE = 0.3

#: A voxel counts as a tissue where at least this share of it is.
TISSUE_SHARE = 0.6


@dataclass(frozen=True)
class BoldSettings:
    """How BOLD is prepared; every field is part of the cache key.

    Attributes
    ----------
    atlas : {"offline", "schaefer", "harvard_oxford_cortical", "harvard_oxford_subcortical"}
        Which regions.
    n_regions : int or None
        How many; None for the atlas's usual number.
    high_pass : float or None
        Cut-off of the drift filter in Hz; None takes out a straight line only, which leaves what lasts for minutes, as stages of sleep do.
    tissue_regressors : bool
        Regress out the mean of white matter and of cerebrospinal fluid.
    global_signal : bool
        Regress out the mean of the brain as well.
    standardise : {"psc", "zscore"}
        Percent signal change, or unit variance, over the run: a statistic of the run's own unlabelled volumes.
    drift : {"butterworth", "cosine"}
        Zero-phase filter of order 5, regressors filtered alike, or cosines regressed out with the rest.
    slice_timing : bool
        Shift each slice to the middle of the volume; the sidecar must say when slices were acquired.
    motion_correction : bool
        Undo rigid motion, which interpolates the volumes once.
    motion_regressors : {0, 6, 24}
        Regress out motion parameters, or those with their changes and the squares of both :cite:p:`friston1996`.
    censor_above : float or None
        Leave out volumes whose framewise displacement exceeds this many mm; they are NaN in the result.
    smoothing : float or None
        Full width at half maximum of a Gaussian in mm; means over regions need none.
    registration : {"affine", "syn"}
        How the run is brought to the template.
    through_t1 : bool
        Bring it there through the subject's T1-weighted image, where the dataset has one.
    calibration_minutes : float or None
        Learn the scaling from so many minutes at the start; None uses the whole run.
    """

    atlas: AtlasName = "offline"
    n_regions: int | None = None
    high_pass: float | None = 0.008
    tissue_regressors: bool = True
    global_signal: bool = False
    standardise: Literal["psc", "zscore"] = "psc"
    drift: Literal["butterworth", "cosine"] = "butterworth"
    slice_timing: bool = False
    motion_correction: bool = False
    motion_regressors: Literal[0, 6, 24] = 0
    censor_above: float | None = None
    smoothing: float | None = None
    registration: Literal["affine", "syn"] = "affine"
    through_t1: bool = False
    calibration_minutes: float | None = None


def prepare(recording: Recording, settings: BoldSettings | None = None, t1: str | Path | None = None) -> Stream:
    """Prepare one recording's regional BOLD, or find it prepared.

    The steps: slice times and motion, if asked for; mean volume; registration to the MNI152 template; atlas and tissue
    maps carried into the run's space; mean over each region's voxels; drift and nuisance regression; scaling.

    Parameters
    ----------
    recording : Recording
        A usable recording.
    settings : BoldSettings or None
        Atlas, nuisance model and scaling.
    t1 : str, pathlib.Path or None
        A T1-weighted image of the same head, through which the run is registered; None takes the recording's own if the
        settings say ``through_t1`` and there is one.

    Returns
    -------
    Stream
        Shape (n_regions, n_volumes), float32; a volume's time is the middle of its acquisition.

    Raises
    ------
    DataError
        If the recording is not usable, or slice times are asked for and its sidecar has none.
    """
    settings = settings or BoldSettings()
    recording.require_signals()
    if t1 is None and settings.through_t1:
        t1 = recording.t1_file
    slice_times = read_slice_times(recording.bold_file) if settings.slice_timing else None
    key = cache.digest(
        "bold",
        sources_of(recording, t1, slice_times),
        asdict(settings),
        cache.code_digest("eegfmri.preprocessing.bold"),
        cache.versions("nilearn", "dipy", "simpleitk"),
    )
    path = project.cache_dir() / "bold" / f"{recording.name}-{key}.npy"
    atlas = load_atlas(settings.atlas, settings.n_regions)

    of_images = cache.digest(
        "means",
        sources_of(recording, t1, slice_times),
        {name: value for name, value in asdict(settings).items() if name not in _AFTERWARDS},
        settings.censor_above is None,
        cache.code_digest("eegfmri.preprocessing.bold"),
        cache.versions("nilearn", "dipy", "simpleitk"),
    )
    means = path.with_name(f"{recording.name}-{of_images}-means.npy")

    def measure() -> np.ndarray:
        image = recording.image().slicer[..., : recording.n_volumes]
        anatomy = None if t1 is None else open_anatomy(t1)
        return _measured(image, recording.t_r, settings, anatomy, slice_times)

    def make() -> np.ndarray:
        measured = cache.load_array(cache.kept_array(means, measure))
        return _finished(np.asarray(measured), len(atlas.regions), recording.t_r, settings).astype(np.float32)

    return Stream(cache.kept_array(path, make), 1 / recording.t_r, atlas.regions, start=recording.t_r / 2)


def sources_of(recording: Recording, t1: str | Path | None, slice_times: np.ndarray | None) -> list:
    """Return what identifies the volumes that a preparation starts from, for its cache key: files, slice times, rate and number."""
    return [
        cache.file_stamp(recording.bold_file),
        None if t1 is None else cache.file_stamp(t1),
        None if slice_times is None else slice_times.tolist(),
        recording.t_r,
        recording.n_volumes,
    ]


def regional_series(
    image, t_r: float, settings: BoldSettings, t1=None, slice_times: np.ndarray | None = None
) -> np.ndarray:
    """Return one cleaned series per region of an image.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Shape (x, y, z, n_volumes), in the scanner's space.
    t_r : float
        Repetition time in s.
    settings : BoldSettings
        Atlas, nuisance model and scaling.
    t1 : nibabel.Nifti1Image or None
        The same head, T1-weighted.
    slice_times : numpy.ndarray or None
        Shape (z,), s; needed if the settings ask for slice-time correction.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions, n_volumes); a region without a voxel that has signal in this run is 0 throughout.
    """
    n_regions = len(load_atlas(settings.atlas, settings.n_regions).regions)
    return _finished(_measured(image, t_r, settings, t1, slice_times), n_regions, t_r, settings)


#: Settings that enter after the means over regions were taken: the means are kept, and serve whatever these are.
_AFTERWARDS = ("high_pass", "standardise", "drift", "censor_above", "calibration_minutes")


def _measured(image, t_r: float, settings: BoldSettings, t1, slice_times: np.ndarray | None) -> np.ndarray:
    """Take from an image what cleaning needs, shape (n_regions + 1 + n_regressors, n_volumes).

    Mean of each region, NaN without a voxel that has signal; framewise displacement in mm, 0 where motion was not asked for; regressors.
    """
    if settings.slice_timing:
        image = correct_slice_times(image, slice_times, t_r)
    motion = None
    if settings.motion_correction or settings.motion_regressors or settings.censor_above is not None:
        motion = estimate_motion(image)
    if settings.motion_correction:
        image = resample(image, Grid.of(image), motion=motion)
    reference = mean_volume(image)
    registration = registered(reference, t1, settings.registration)
    atlas = load_atlas(settings.atlas, settings.n_regions)
    labels = resample(atlas.image, Grid.of(reference), registration.to_template, interpolation="nearest")
    labels = with_signal(labels, image)
    regressors = confounds(
        image,
        tissue_shares(registration.to_template, reference),
        motion,
        tissues=settings.tissue_regressors,
        global_signal=settings.global_signal,
        motion_regressors=settings.motion_regressors,
    )
    if settings.smoothing is not None:
        image = smooth(image, settings.smoothing)
    present, means = region_means(image, labels)
    whole = np.full((len(atlas.regions), means.shape[1]), np.nan)
    whole[present - 1] = means
    moved = np.zeros(means.shape[1]) if motion is None else motion.framewise_displacement()
    return np.concatenate([whole, moved[None], regressors.to_numpy().T])


def _finished(measured: np.ndarray, n_regions: int, t_r: float, settings: BoldSettings) -> np.ndarray:
    """Clean and scale what `_measured` found, shape (n_regions, n_volumes)."""
    means, moved, regressors = measured[:n_regions], measured[n_regions], measured[n_regions + 1 :].T
    present = np.isfinite(means).all(axis=1)
    whole = np.zeros(means.shape)
    whole[present] = clean(
        means[present],
        t_r,
        regressors,
        high_pass=settings.high_pass,
        drift=settings.drift,
        detrend=settings.high_pass is None,
        standardise=settings.standardise,
        keep=None if settings.censor_above is None else moved <= settings.censor_above,
        calibration_minutes=settings.calibration_minutes,
    )
    return whole


def acquisition_times(n_slices: int, t_r: float, order: SliceOrder = "ascending") -> np.ndarray:
    """When each slice of a volume is acquired, for evenly spaced slices.

    Parameters
    ----------
    n_slices : int
        Slices along z.
    t_r : float
        Repetition time in s.
    order : {"ascending", "descending", "interleaved", "interleaved odd first"}
        From the lowest slice up, down, or every other slice first, beginning with slice 0 (or 1).

    Returns
    -------
    numpy.ndarray
        Shape (n_slices,), s after the start of the volume.

    Raises
    ------
    RequestError
        If the order is unknown.
    """
    slices = list(range(n_slices))
    orders = {
        "ascending": slices,
        "descending": slices[::-1],
        "interleaved": slices[::2] + slices[1::2],
        "interleaved odd first": slices[1::2] + slices[::2],
    }
    if order not in orders:
        raise RequestError(f"There is no slice order {order!r}: choose one of {', '.join(orders)}.")
    times = np.empty(n_slices)
    times[orders[order]] = np.arange(n_slices) * t_r / n_slices
    return times


def correct_slice_times(image, slice_times: np.ndarray, t_r: float, reference: float | None = None):
    """Shift each slice's series to one moment of the volume, by cubic splines in time.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Shape (x, y, z, n_volumes).
    slice_times : numpy.ndarray
        Shape (z,), s after the start of the volume.
    t_r : float
        Repetition time in s.
    reference : float or None
        The moment in s after the start of the volume; its middle, t_r / 2, if None, which is also the time that
        `prepare` gives a volume.

    Returns
    -------
    nibabel.Nifti1Image
        float32. Within one volume of either end a series is held at its first or last value.

    Raises
    ------
    RequestError
        If there is not one time per slice, or one lies outside the volume.
    """
    import nibabel
    from scipy.interpolate import make_interp_spline

    n_volumes, reference = image.shape[3], t_r / 2 if reference is None else reference
    slice_times = np.asarray(slice_times, dtype=float)
    if slice_times.shape != (image.shape[2],) or (slice_times < 0).any() or (slice_times > t_r).any():
        raise RequestError(
            f"{image.shape[2]} slices need as many times between 0 and {t_r:g} s, not {slice_times.size} "
            f"from {slice_times.min():g} to {slice_times.max():g} s."
        )
    data = np.asarray(image.dataobj, dtype=np.float32)
    out = np.empty_like(data)
    volumes = np.arange(n_volumes)
    # A spline is linear in its values: interpolating unit vectors once gives the weights for every voxel of a slice.
    unit = make_interp_spline(volumes, np.eye(n_volumes), k=3)
    for z, time in enumerate(slice_times):
        weights = unit(np.clip(volumes + (reference - time) / t_r, 0, n_volumes - 1))
        series = data[:, :, z].reshape(-1, n_volumes)
        out[:, :, z] = (series @ weights.T.astype(np.float32)).reshape(*data.shape[:2], n_volumes)
    return nibabel.Nifti1Image(out, image.affine, image.header)


def mean_volume(image):
    """Mean over volumes, on the same grid."""
    from nilearn.image import mean_img

    return mean_img(image, copy_header=True)


def smooth(image, fwhm: float):
    """Smooth in space with a Gaussian of the given full width at half maximum in mm."""
    from nilearn.image import smooth_img

    return smooth_img(image, fwhm)


def in_template(
    image,
    registration: Registration,
    grid: str | Grid = "mni_3mm",
    motion: Motion | None = None,
    mask: np.ndarray | None = None,
):
    """Carry volumes into MNI152 space, motion undone, in one interpolation.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        A run as it was acquired (or with slice times corrected).
    registration : Registration
        From `eegfmri.preprocessing.registration.register_to_template`.
    grid : str or Grid
        A key of `eegfmri.preprocessing.registration.GRIDS`, or a grid.
    motion : Motion or None
        From `eegfmri.preprocessing.registration.estimate_motion`.
    mask : numpy.ndarray of bool or None
        Fill only these voxels of the grid; `template_mask` gives the brain.

    Returns
    -------
    nibabel.Nifti1Image
        On the grid.
    """
    return resample(image, _grid(grid), registration.to_run, motion, mask=mask)


def template_mask(grid: str | Grid = "mni_3mm") -> np.ndarray:
    """The brain of the MNI152 template on a grid.

    Parameters
    ----------
    grid : str or Grid
        A key of `eegfmri.preprocessing.registration.GRIDS`, or a grid.

    Returns
    -------
    numpy.ndarray of bool
        Shape of the grid.
    """
    from nilearn.datasets import load_mni152_brain_mask

    return np.asarray(resample(_as_float(load_mni152_brain_mask(resolution=2)), _grid(grid)).dataobj) > 0.5


def _grid(grid: str | Grid) -> Grid:
    if isinstance(grid, Grid):
        return grid
    if grid not in GRIDS:
        raise RequestError(f"There is no grid {grid!r}: choose one of {', '.join(GRIDS)}, or give a Grid.")
    return GRIDS[grid]


def _as_float(image):
    import nibabel

    return nibabel.Nifti1Image(np.asarray(image.dataobj, dtype=np.float32), image.affine)


def tissue_shares(to_template: Transform, reference) -> dict[str, np.ndarray]:
    """How much of each of a run's voxels is white matter, cerebrospinal fluid and brain, after the template.

    Parameters
    ----------
    to_template : Transform
        Takes points of the run's space to MNI152.
    reference : nibabel.Nifti1Image
        Gives the run's grid.

    Returns
    -------
    dict of str to numpy.ndarray
        ``white_matter``, ``csf``, ``brain``: shares on the run's grid. Cerebrospinal fluid is what of the brain mask is neither grey
        nor white matter.
    """
    grid = Grid.of(reference)
    return {
        name: np.asarray(resample(mask, grid, to_template, interpolation="cubic").dataobj)
        for name, mask in _tissue_masks().items()
    }


@functools.cache
def _tissue_masks() -> dict:
    """Return the template's masks of white matter, cerebrospinal fluid and brain, images of 4 mm; made once per process."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template
    from nilearn.image import math_img

    brain = load_mni152_brain_mask(resolution=4)
    white = load_mni152_wm_template(resolution=4)
    grey = load_mni152_gm_template(resolution=4)
    return {
        "white_matter": math_img("(w > 0.9).astype('float32')", w=white),
        "csf": math_img("((b > 0) & (g < 0.1) & (w < 0.1)).astype('float32')", b=brain, g=grey, w=white),
        "brain": math_img("(b > 0).astype('float32')", b=brain),
    }


def confounds(
    image,
    shares: Mapping[str, np.ndarray],
    motion: Motion | None = None,
    *,
    tissues: bool = True,
    global_signal: bool = False,
    motion_regressors: Literal[0, 6, 24] = 0,
) -> pd.DataFrame:
    """Series that are not the brain's doing, to be regressed out, under the names that fMRIPrep gives them.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Shape (x, y, z, n_volumes).
    shares : mapping of str to numpy.ndarray
        From `tissue_shares`; a mean is taken over voxels with more than `TISSUE_SHARE` of a tissue, if there are five.
    motion : Motion or None
        Needed for motion regressors.
    tissues, global_signal : bool
        Which means to take: those of white matter and cerebrospinal fluid; that of the brain.
    motion_regressors : {0, 6, 24}
        Parameters; or parameters, their changes, and the squares of both :cite:p:`friston1996`.

    Returns
    -------
    pandas.DataFrame
        One row per volume; possibly without columns. ``white_matter``, ``csf``, ``global_signal``; ``trans_x`` … ``rot_z`` in mm and
        radians, with ``_derivative1``, ``_power2`` and ``_derivative1_power2`` behind them for their changes and the squares.

    Raises
    ------
    RequestError
        If motion regressors are asked for and there is no motion, or another number of them.
    """
    of_tissue = {"white_matter": "white_matter", "csf": "csf"} if tissues else {}
    wanted = of_tissue | ({"global_signal": "brain"} if global_signal else {})
    columns = {}
    data = np.asarray(image.dataobj, dtype=np.float32) if wanted else None
    # motion takes the outer voxels out of the field of view in some volumes, which are 0 there
    covered = (data != 0).all(axis=-1) if wanted else None
    for name, tissue in wanted.items():
        inside = (shares[tissue] > TISSUE_SHARE) & covered
        if inside.sum() >= 5:
            columns[name] = data[inside].mean(axis=0)
    if motion_regressors not in (0, 6, 24) or (motion_regressors and motion is None):
        raise RequestError(
            f"{motion_regressors} motion regressors of {'an unknown' if motion is None else 'a known'} motion: ask for 0, 6 or 24, "
            "and estimate the motion first."
        )
    if motion_regressors:
        moved = motion.parameters
        sets = {"": moved}
        if motion_regressors == 24:
            change = np.diff(moved, axis=0, prepend=moved[:1])
            sets |= {"_derivative1": change, "_power2": moved**2, "_derivative1_power2": change**2}
        axes = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
        for suffix, values in sets.items():
            columns |= {axis + suffix: values[:, number] for number, axis in enumerate(axes)}
    return pd.DataFrame(columns, index=range(image.shape[3]))


def with_signal(labels, image, share: float = MEASURABLE):
    """Take voxels that lack signal in any volume out of a labelled image: air, dropout, slices that the head moved out of.

    Percent signal change is unstable where the baseline signal is near zero, and where the head left the field of view a volume is 0:
    a region that holds such voxels would be noise a hundred times larger than the others'.

    Parameters
    ----------
    labels : nibabel.Nifti1Image
        Integers, 0 outside.
    image : nibabel.Nifti1Image
        The run on the same grid, shape (x, y, z, n_volumes).
    share : float, default=MEASURABLE
        A voxel counts if it is always brighter than this share of the median over labelled voxels.

    Returns
    -------
    nibabel.Nifti1Image
        The labels, 0 in voxels without signal.
    """
    import nibabel

    values, lowest = np.asarray(labels.dataobj), np.asarray(image.dataobj).min(axis=-1)
    kept = lowest > share * np.median(lowest[values > 0]) if (values > 0).any() else False
    return nibabel.Nifti1Image(np.where(kept, values, 0).astype(values.dtype), labels.affine)


def region_means(image, labels) -> tuple[np.ndarray, np.ndarray]:
    """Mean over each region's voxels.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Shape (x, y, z, n_volumes).
    labels : nibabel.Nifti1Image
        Integers on the same grid, 0 outside.

    Returns
    -------
    present : numpy.ndarray of int
        Labels that occur, in order, shape (n_present,).
    means : numpy.ndarray
        Shape (n_present, n_volumes).
    """
    from nilearn.maskers import NiftiLabelsMasker

    masker = NiftiLabelsMasker(labels, keep_masked_labels=False, resampling_target=None, standardize=None, verbose=0)
    means = np.asarray(masker.fit_transform(image)).T
    present = np.unique(np.asarray(labels.dataobj).astype(int))
    return present[present > 0], means


def clean(
    series: np.ndarray,
    t_r: float,
    confounds: pd.DataFrame | np.ndarray | None = None,
    *,
    high_pass: float | None = 0.008,
    drift: Literal["butterworth", "cosine"] = "butterworth",
    detrend: bool = False,
    standardise: Literal["psc", "zscore"] | None = "psc",
    keep: np.ndarray | None = None,
    calibration_minutes: float | None = None,
) -> np.ndarray:
    """Take drift and nuisance out of series and scale them, by nilearn's ``signal.clean``.

    Filter and regression are **transductive**: they see the whole run. So is the scaling, unless ``calibration_minutes`` is
    given: then mean and deviation come from the first minutes alone.

    Parameters
    ----------
    series : numpy.ndarray
        Shape (n_series, n_volumes).
    t_r : float
        Repetition time in s.
    confounds : pandas.DataFrame, numpy.ndarray or None
        Shape (n_volumes, n_regressors).
    high_pass : float or None
        Cut-off in Hz; None: no filter.
    drift : {"butterworth", "cosine"}
        How slow drift is taken out where there is a cut-off.
    detrend : bool, default=False
        Take out a straight line, of the regressors as well.
    standardise : {"psc", "zscore"} or None
        Percent of the uncleaned mean, or unit variance; None leaves the unit.
    keep : numpy.ndarray of bool or None
        Shape (n_volumes,); the others are censored: nothing is learned from them and they are NaN in the result.
    calibration_minutes : float or None
        Learn the scaling from so many minutes at the start.

    Returns
    -------
    numpy.ndarray
        Shape (n_series, n_volumes).

    Raises
    ------
    RequestError
        If fewer than five volumes, or none of the calibration, are left.
    """
    from nilearn import signal

    series = np.asarray(series, dtype=float)
    keep = np.ones(series.shape[1], dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
    n_calibration = len(keep) if calibration_minutes is None else round(60 * calibration_minutes / t_r)
    learn_from = keep & (np.arange(len(keep)) < n_calibration)
    if keep.sum() < 5 or learn_from.sum() < 2:
        raise RequestError(
            f"{keep.sum()} of {len(keep)} volumes are kept, {learn_from.sum()} of them to learn the scaling from: censor less "
            "or calibrate longer."
        )
    if confounds is not None:
        confounds = np.asarray(confounds, dtype=float)
        confounds = confounds if confounds.shape[1] else None
    nilearns = {"psc": "psc", "zscore": "zscore_sample", None: None}[standardise]
    cleaned = signal.clean(
        series.T,
        detrend=detrend,
        standardize=nilearns if calibration_minutes is None else None,
        sample_mask=None if keep.all() else np.flatnonzero(keep),
        confounds=confounds,
        filter=drift if high_pass is not None else False,
        high_pass=high_pass,
        t_r=t_r,
    ).T
    if calibration_minutes is not None and standardise is not None:
        first = learn_from[keep]
        cleaned = cleaned - cleaned[:, first].mean(axis=1, keepdims=True)
        size = (
            series[:, learn_from].mean(axis=1) / 100 if standardise == "psc" else cleaned[:, first].std(axis=1, ddof=1)
        )
        size = np.where(np.abs(size) > 0, size, 1)
        cleaned = cleaned / size[:, None]
    whole = np.full(series.shape, np.nan)
    whole[:, keep] = cleaned
    return whole


def low_motion_mask(motion: Motion, threshold: float, radius: float = 50.0) -> np.ndarray:
    """Volumes with little head motion: framewise displacement of at most ``threshold`` mm :cite:p:`power2012`.

    Parameters
    ----------
    motion : Motion
        Of the run.
    threshold : float
        In mm.
    radius : float, default=50.0
        Of the sphere on which rotations are measured, mm.

    Returns
    -------
    numpy.ndarray of bool
        Shape (n_volumes,).
    """
    return motion.framewise_displacement(radius) <= threshold
