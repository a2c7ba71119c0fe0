"""Heads and brains to draw on: the cap laid flat, and the brain's surface as a mesh."""

from collections.abc import Sequence

import numpy as np


def flat_cap(ch_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, float]:
    """Lay a cap flat, nose up: distance from the crown is kept.

    Parameters
    ----------
    ch_names : sequence of str
        Electrodes of the extended 10–20 system.

    Returns
    -------
    x, y : numpy.ndarray
        Shape (n_channels,), radians from the crown.
    radius : float
        Of a circle around them.
    """
    from eegfmri.preprocessing.sources import electrode_positions

    xyz = electrode_positions(ch_names)
    centred = xyz - [0, xyz[:, 1].mean(), np.median(xyz[:, 2]) - 0.02]
    # Azimuthal equidistant, as on a flattened cap.
    polar = np.arccos(np.clip(centred[:, 2] / np.linalg.norm(centred, axis=1), -1, 1))
    azimuth = np.arctan2(centred[:, 1], centred[:, 0])
    return polar * np.cos(azimuth), polar * np.sin(azimuth), float(1.08 * polar.max())


def head_outline(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Circle and nose as one line with a gap; x and y."""
    ring = np.linspace(0, 2 * np.pi, 80)
    return (
        np.concatenate([radius * np.cos(ring), [None, -0.12, 0, 0.12]]),
        np.concatenate([radius * np.sin(ring), [None, radius * 0.995, radius * 1.1, radius * 0.995]]),
    )


def brain_surface() -> tuple[np.ndarray, np.ndarray]:
    """Surface of the MNI152 template's brain as vertices in mm and triangles, coarse enough for a page."""
    from nibabel.affines import apply_affine
    from nilearn.datasets import load_mni152_brain_mask
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes

    mask = load_mni152_brain_mask(resolution=4)
    filled = gaussian_filter(np.pad(mask.get_fdata().astype(float), 1), 1)
    vertices, faces, _, _ = marching_cubes(filled, 0.5, step_size=2)
    return np.round(apply_affine(mask.affine, vertices - 1)).astype(int), faces
