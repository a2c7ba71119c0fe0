"""Regions of the brain in MNI152 space: published atlases where they can be had, a plain parcellation where not."""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from eegfmri.errors import RequestError

AtlasName = Literal["offline", "schaefer"]


@dataclass(frozen=True, eq=False)
class Atlas:
    """A labelled image in MNI152 space.

    Attributes
    ----------
    name : str
        Name with its parameters, for captions.
    image : nibabel.Nifti1Image
        Integer labels 1 … n_regions; 0 is background.
    regions : tuple of str
        Name of each region, in label order.
    centres : numpy.ndarray
        Centre of mass of each region in mm, shape (n_regions, 3).
    terms : str
        Licence or terms of use.
    """

    name: str
    image: object
    regions: tuple[str, ...]
    centres: np.ndarray
    terms: str


@lru_cache(maxsize=2)
def load_atlas(name: AtlasName = "offline", n_regions: int = 100) -> Atlas:
    """Load an atlas of cortical regions.

    Parameters
    ----------
    name : {"offline", "schaefer"}
        ``offline`` divides the MNI152 grey-matter mask that nilearn ships into compact mirrored regions: numbers made
        with it never depend on a network, but its borders follow no function. ``schaefer`` is the functional atlas of
        :cite:t:`schaefer2018`, seven networks, 2 mm, fetched by nilearn on first use.
    n_regions : int, default=100
        Number of regions, both hemispheres together; even.

    Returns
    -------
    Atlas
        Labels, names and centres.

    Raises
    ------
    RequestError
        If the name is unknown, the number is odd, or the published atlas cannot be fetched.
    """
    if n_regions % 2 or n_regions < 2:
        raise RequestError(f"An atlas has as many regions left as right, so n_regions must be even, not {n_regions}.")
    if name == "offline":
        return _offline(n_regions)
    if name == "schaefer":
        return _schaefer(n_regions)
    raise RequestError(f"There is no atlas {name!r}: choose 'offline' or 'schaefer'.")


def _offline(n_regions: int) -> Atlas:
    """Cluster the left half's grey-matter voxels by position and mirror the clusters to the right."""
    import nibabel
    from nilearn.datasets import load_mni152_gm_mask
    from sklearn.cluster import KMeans

    mask = load_mni152_gm_mask(resolution=4)
    affine = mask.affine
    voxels = np.argwhere(mask.get_fdata() > 0)
    xyz = nibabel.affines.apply_affine(affine, voxels)
    folded = np.column_stack([-np.abs(xyz[:, 0]), xyz[:, 1:]])
    cluster = KMeans(n_regions // 2, n_init=1, random_state=0).fit(folded[xyz[:, 0] < 0])
    # Regions are numbered from front to back, left before right, so that neighbours in the table are neighbours in space.
    order = np.argsort(np.argsort(-cluster.cluster_centers_[:, 1]))
    label = order[cluster.predict(folded)] + 1 + (xyz[:, 0] >= 0) * (n_regions // 2)
    data = np.zeros(mask.shape, dtype=np.int16)
    data[tuple(voxels.T)] = label
    half = cluster.cluster_centers_[np.argsort(order)]
    centres = np.vstack([half, half * [-1, 1, 1]])
    regions = tuple(f"{side} {number + 1}" for side in ("L", "R") for number in range(n_regions // 2))
    return Atlas(
        f"offline parcellation, {n_regions} regions of the MNI152 grey-matter mask",
        nibabel.Nifti1Image(data, affine),
        regions,
        centres,
        "derived from the MNI152 template shipped with nilearn",
    )


def _schaefer(n_regions: int) -> Atlas:
    import nibabel
    from nilearn.datasets import fetch_atlas_schaefer_2018
    from nilearn.plotting import find_parcellation_cut_coords

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fetched = fetch_atlas_schaefer_2018(n_rois=n_regions, yeo_networks=7, resolution_mm=2, verbose=0)
    except Exception as error:  # nilearn raises whatever its HTTP library does
        raise RequestError(
            f"The Schaefer atlas could not be fetched ({type(error).__name__}): connect to a network once, set NILEARN_DATA to a "
            "folder that holds it, or use the offline parcellation."
        ) from error
    image = nibabel.load(fetched.maps)
    names = [label.decode() if isinstance(label, bytes) else str(label) for label in fetched.labels]
    regions = tuple(name.removeprefix("7Networks_") for name in names if name != "Background")
    centres, values = find_parcellation_cut_coords(image, return_label_names=True)
    return Atlas(
        f"Schaefer 2018, {n_regions} regions, 7 networks",
        image,
        regions,
        np.asarray(centres)[np.argsort(values)],
        "MIT licence (Schaefer et al. 2018)",
    )
