"""Where volumes answer to events: nilearn's general linear model, with names that a formula can hold."""

import warnings

import numpy as np
import pandas as pd

from eegfmri.errors import RequestError
from eegfmri.preprocessing.bold import template_mask
from eegfmri.preprocessing.registration import GRIDS


def contrast_of(events: pd.DataFrame, contrast: str | None = None) -> tuple[pd.DataFrame, str]:
    """Write a contrast of trial types as a formula of names that cannot be misread.

    Parameters
    ----------
    events : pandas.DataFrame
        ``onset``, ``duration`` (s) and ``trial_type``, any text.
    contrast : str or None
        Trial type set against the mean of all others; None: all against rest.

    Returns
    -------
    events : pandas.DataFrame
        With trial types ``kind0``, ``kind1``, … in the sorted order of the given ones.
    formula : str
        In those names.

    Raises
    ------
    RequestError
        If there is no such trial type; the sentence lists those that there are.
    """
    kinds = sorted(events["trial_type"].unique())
    contrast = None if contrast is None else contrast.strip()
    if contrast is not None and contrast not in kinds:
        raise RequestError(f"The events have no trial type {contrast!r}: choose one of {', '.join(kinds)}.")
    named = {kind: f"kind{number}" for number, kind in enumerate(kinds)}
    others = [named[kind] for kind in kinds if kind != contrast]
    formula = "+".join(named.values())
    if contrast is not None and others:
        formula = f"{named[contrast]} - ({'+'.join(others)})/{len(others)}"
    return events[["onset", "duration"]].assign(trial_type=events["trial_type"].map(named)), formula


def response_map(
    image,
    events: pd.DataFrame,
    t_r: float,
    contrast: str | None = None,
    confounds: np.ndarray | pd.DataFrame | None = None,
    high_pass: float = 0.008,
    grid: str = "mni_3mm",
) -> np.ndarray:
    """Fit a general linear model to volumes in the template's space and test a contrast.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Shape (x, y, z, n_volumes), on ``grid``.
    events : pandas.DataFrame
        ``onset``, ``duration`` (s from the first volume) and ``trial_type``.
    t_r : float
        Repetition time in s; a volume's time is its middle.
    contrast : str or None
        See `contrast_of`.
    confounds : numpy.ndarray, pandas.DataFrame or None
        Shape (n_volumes, n_confounds).
    high_pass : float, default=0.008
        Cut-off of the drift model in Hz.
    grid : str, default="mni_3mm"
        A key of `eegfmri.preprocessing.registration.GRIDS`.

    Returns
    -------
    numpy.ndarray
        z of the contrast, shape (x, y, z).

    Raises
    ------
    RequestError
        If there is no such trial type.
    """
    import nibabel
    from nilearn.glm.first_level import FirstLevelModel

    events, formula = contrast_of(events, contrast)
    mask = nibabel.Nifti1Image(template_mask(grid).astype(np.uint8), GRIDS[grid].affine)
    model = FirstLevelModel(t_r=t_r, mask_img=mask, high_pass=high_pass, slice_time_ref=0.5, minimize_memory=True)
    with warnings.catch_warnings():
        # the template's mask is given on purpose, and holds places that the run does not reach
        warnings.simplefilter("ignore")
        model.fit(image, events, confounds=confounds)
        return np.asarray(model.compute_contrast(formula, output_type="z_score").dataobj)
