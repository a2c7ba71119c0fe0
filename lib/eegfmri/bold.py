"""Preparing BOLD: from a run's volumes to one cleaned time series per region.

Regions are defined in MNI152 space. An affine registration carries the atlas into the run's own space, so the volumes
themselves are never interpolated.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from eegfmri import cache, project
from eegfmri.atlas import AtlasName, load_atlas
from eegfmri.recordings import Recording, Stream


@dataclass(frozen=True)
class BoldSettings:
    """How BOLD is prepared; every field is part of the cache key.

    Attributes
    ----------
    atlas : {"offline", "schaefer"}
        Which regions.
    n_regions : int
        How many.
    high_pass : float
        Cut-off of the drift model in Hz (cosines).
    tissue_regressors : bool
        Regress out the mean of white matter and of cerebrospinal fluid.
    global_signal : bool
        Regress out the mean of the brain as well.
    standardise : {"psc", "zscore"}
        Percent signal change, or unit variance, over the run: a statistic of the run's own unlabelled volumes.
    """

    atlas: AtlasName = "offline"
    n_regions: int = 100
    high_pass: float = 0.008
    tissue_regressors: bool = True
    global_signal: bool = False
    standardise: Literal["psc", "zscore"] = "psc"


def prepare(recording: Recording, settings: BoldSettings | None = None) -> Stream:
    """Prepare one recording's regional BOLD, or find it prepared.

    The steps: mean volume; affine registration of the MNI152 template to it; atlas and tissue maps carried into the
    run's space; mean over each region's voxels; drift, white-matter and CSF regression; scaling.

    Parameters
    ----------
    recording : Recording
        A usable recording.
    settings : BoldSettings or None
        Atlas, nuisance model and scaling.

    Returns
    -------
    Stream
        Shape (n_regions, n_volumes), float32; a volume's time is the middle of its acquisition.

    Raises
    ------
    DataError
        If the recording is not usable.
    """
    settings = settings or BoldSettings()
    recording.require_signals()
    key = cache.digest(
        "bold",
        cache.file_stamp(recording.bold_file),
        recording.n_volumes,
        asdict(settings),
        cache.code_digest("eegfmri.bold"),
        cache.versions("nilearn", "dipy"),
    )
    path = project.cache_dir() / "bold" / f"{recording.name}-{key}.npy"
    atlas = load_atlas(settings.atlas, settings.n_regions)
    if not path.is_file():
        image = recording.image().slicer[..., : recording.n_volumes]
        series = regional_series(image, recording.t_r, settings)
        cache.save_array(path, series.astype(np.float32))
    return Stream(path, 1 / recording.t_r, atlas.regions, start=recording.t_r / 2)


def regional_series(image, t_r: float, settings: BoldSettings) -> np.ndarray:
    """Return one cleaned series per region of an image.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Shape (x, y, z, n_volumes), in the scanner's space.
    t_r : float
        Repetition time in s.
    settings : BoldSettings
        Atlas, nuisance model and scaling.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions, n_volumes); a region without a voxel in the run's field of view is 0 throughout.
    """
    from nilearn.image import mean_img
    from nilearn.maskers import NiftiLabelsMasker

    reference = mean_img(image, copy_header=True)
    to_run = register_template(reference)
    atlas = load_atlas(settings.atlas, settings.n_regions)
    labels = carry(atlas.image, to_run, reference, interpolation="nearest")
    masker = NiftiLabelsMasker(
        labels,
        t_r=t_r,
        high_pass=settings.high_pass,
        detrend=False,
        standardize={"psc": "psc", "zscore": "zscore_sample"}[settings.standardise],
        keep_masked_labels=False,
        resampling_target=None,
        verbose=0,
    )
    series = masker.fit_transform(image, confounds=nuisance(image, to_run, reference, settings))
    whole = np.zeros((settings.n_regions, len(series)))
    present = np.unique(np.asarray(labels.dataobj).astype(int))
    whole[present[present > 0] - 1] = series.T
    return whole


def nuisance(image, to_run: np.ndarray, reference, settings: BoldSettings) -> np.ndarray | None:
    """Mean series of white matter, cerebrospinal fluid and (if asked) the whole brain, shape (n_volumes, n_regressors)."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template
    from nilearn.image import math_img

    if not (settings.tissue_regressors or settings.global_signal):
        return None
    brain = load_mni152_brain_mask(resolution=4)
    white = load_mni152_wm_template(resolution=4)
    grey = load_mni152_gm_template(resolution=4)
    fluid = math_img("(b > 0) & (g < 0.1) & (w < 0.1)", b=brain, g=grey, w=white)
    masks = {}
    if settings.tissue_regressors:
        masks |= {
            "white": math_img("(w > 0.9).astype('float32')", w=white),
            "fluid": math_img("f.astype('float32')", f=fluid),
        }
    if settings.global_signal:
        masks["brain"] = math_img("(b > 0).astype('float32')", b=brain)
    data = np.asarray(image.dataobj, dtype=np.float32)
    regressors = []
    for mask in masks.values():
        weight = np.asarray(carry(mask, to_run, reference, interpolation="continuous").dataobj)
        inside = weight > 0.6
        if inside.sum() >= 5:
            regressors.append(data[inside].mean(axis=0))
    return np.column_stack(regressors) if regressors else None


def register_template(reference) -> np.ndarray:
    """Find the affine map from the run's space to MNI152, by mutual information over three resolutions.

    Parameters
    ----------
    reference : nibabel.Nifti1Image
        Mean volume of the run, 3-D.

    Returns
    -------
    numpy.ndarray
        4 × 4 matrix that takes a point in mm of the run's space to mm of MNI152.
    """
    with warnings.catch_warnings():
        # tqdm looks for notebook widgets on import, which the book does without.
        warnings.simplefilter("ignore")
        from dipy.align import affine_registration
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
    from nilearn.masking import compute_epi_mask

    template = load_mni152_template(resolution=4)
    inside = np.asarray(load_mni152_brain_mask(resolution=4).dataobj) > 0
    fixed = np.asarray(reference.dataobj, dtype=float)
    mask = np.asarray(compute_epi_mask(reference).dataobj) > 0
    with _quiet("dipy"):
        _, matrix = affine_registration(
            moving=np.asarray(template.dataobj, dtype=float) * inside,
            static=fixed * mask,
            moving_affine=template.affine,
            static_affine=reference.affine,
            pipeline=["center_of_mass", "translation", "rigid", "affine"],
            level_iters=[500, 100, 50],
            sigmas=[2.0, 1.0, 0.0],
            factors=[2, 2, 1],
            metric="MI",
            nbins=32,
        )
    return matrix


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library's progress messages out of the page, warnings excepted."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def carry(image, to_template: np.ndarray, reference, interpolation: str):
    """Carry an image from MNI152 into a run's space.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        In MNI152 space.
    to_template : numpy.ndarray
        The map that `register_template` found.
    reference : nibabel.Nifti1Image
        Gives grid and affine of the result.
    interpolation : {"nearest", "continuous"}
        ``nearest`` for labels.

    Returns
    -------
    nibabel.Nifti1Image
        On the grid of ``reference``.
    """
    import nibabel
    from nilearn.image import resample_img

    moved = nibabel.Nifti1Image(np.asarray(image.dataobj), np.linalg.inv(to_template) @ image.affine)
    with warnings.catch_warnings():
        # A mask interpolated linearly becomes the share of each voxel that lies inside, which is what is wanted.
        warnings.filterwarnings("ignore", message="Resampling binary images")
        return resample_img(
            moved,
            target_affine=reference.affine,
            target_shape=reference.shape[:3],
            interpolation=interpolation,
            force_resample=True,
            copy_header=True,
        )
