"""Regions of the brain in MNI152 space: published atlases where they can be had, a plain parcellation where not."""

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np

from eegfmri.errors import RequestError

AtlasName = Literal["offline", "schaefer", "harvard_oxford_cortical", "harvard_oxford_subcortical"]

#: Names and sizes of the two parts of the Harvard–Oxford atlas, as nilearn fetches them.
HARVARD_OXFORD = {
    "harvard_oxford_cortical": ("cort-maxprob-thr25-2mm", 48),
    "harvard_oxford_subcortical": ("sub-maxprob-thr25-2mm", 21),
}


#: Where networks lie, MNI mm: the dorsal attention network (intraparietal sulcus, frontal eye fields, middle temporal area) and the
#: default mode network (posterior cingulate, medial prefrontal, lateral parietal) as :cite:t:`fox2005` give them, rounded; primary
#: visual, auditory and somatomotor (mouth) cortex for the senses.
NETWORKS = MappingProxyType(
    {
        "DAN": ((-25, -57, 46), (26, -59, 46), (-26, -10, 50), (26, -10, 50), (-45, -69, -2), (45, -69, -2)),
        "DMN": ((-5, -49, 40), (5, -49, 40), (-4, 52, -2), (4, 52, -2), (-45, -67, 36), (45, -67, 36)),
        "visual": ((-10, -88, 4), (10, -88, 4)),
        "sensory": ((-10, -88, 4), (10, -88, 4), (-48, -22, 8), (48, -22, 8), (-56, -12, 36), (56, -12, 36)),
    }
)


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


def load_atlas(name: AtlasName = "offline", n_regions: int | None = None, fallback: bool = False) -> Atlas:
    """Load an atlas of regions.

    Parameters
    ----------
    name : {"offline", "schaefer", "harvard_oxford_cortical", "harvard_oxford_subcortical"}
        ``offline`` divides the MNI152 grey-matter mask that nilearn ships into compact mirrored regions: numbers made
        with it never depend on a network, but its borders follow no function. ``schaefer`` is the functional atlas of
        :cite:t:`schaefer2018`, seven networks, 2 mm. The other two are the parts of the Harvard–Oxford atlas
        :cite:p:`desikan2006`, each voxel given its most probable region above 25 %. All but the first are fetched by nilearn
        on first use.
    n_regions : int or None
        Number of regions, both hemispheres together: even and 100 by default; the Harvard–Oxford atlas has 48 and 21, and
        nothing else can be asked of it.
    fallback : bool, default=False
        Give the offline parcellation where the atlas cannot be fetched; the result's name says so.

    Returns
    -------
    Atlas
        Labels, names and centres.

    Raises
    ------
    RequestError
        If the name is unknown, the number is not to be had, or the published atlas cannot be fetched.
    """
    if name in HARVARD_OXFORD:
        size = HARVARD_OXFORD[name][1]
        if n_regions not in (None, size):
            raise RequestError(
                f"The atlas {name} has {size} regions, so n_regions cannot be {n_regions}: leave it out."
            )
        n_regions = size
    else:
        n_regions = 100 if n_regions is None else n_regions
        if n_regions % 2 or n_regions < 2:
            raise RequestError(
                f"An atlas has as many regions left as right, so n_regions must be even, not {n_regions}."
            )
    if name not in ("offline", "schaefer", *HARVARD_OXFORD):
        known = ", ".join(repr(known) for known in ("offline", "schaefer", *HARVARD_OXFORD))
        raise RequestError(f"There is no atlas {name!r}: choose one of {known}.")
    try:
        return _load(name, n_regions)
    except RequestError as error:
        if not fallback:
            raise
        offline = _load("offline", 100)
        reason = str(error).partition(":")[0]
        return replace(offline, name=f"{offline.name} (in place of {name}: {reason})")


def network_regions(atlas: Atlas) -> dict[str, np.ndarray]:
    """Return which regions of an atlas lie nearest to the centres of each of `NETWORKS`, as indices."""
    return {
        name: np.unique([np.linalg.norm(atlas.centres - place, axis=1).argmin() for place in places])
        for name, places in NETWORKS.items()
    }


@lru_cache(maxsize=4)
def _load(name: AtlasName, n_regions: int) -> Atlas:
    if name == "offline":
        return _offline(n_regions)
    if name == "schaefer":
        return _schaefer(n_regions)
    return _harvard_oxford(name)


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

    fetched = _fetched("Schaefer", fetch_atlas_schaefer_2018, n_rois=n_regions, yeo_networks=7, resolution_mm=2)
    image = nibabel.load(fetched.maps)
    return Atlas(
        f"Schaefer 2018, {n_regions} regions, 7 networks",
        image,
        tuple(name.removeprefix("7Networks_") for name in _region_names(fetched.labels)),
        _centres(image),
        "MIT licence (Schaefer et al. 2018)",
    )


def _harvard_oxford(name: str) -> Atlas:
    import nibabel
    from nilearn.datasets import fetch_atlas_harvard_oxford

    part, size = HARVARD_OXFORD[name]
    fetched = _fetched("Harvard–Oxford", fetch_atlas_harvard_oxford, part)
    maps = fetched.maps if hasattr(fetched.maps, "dataobj") else nibabel.load(fetched.maps)
    image = nibabel.Nifti1Image(np.round(maps.get_fdata()).astype(np.int16), maps.affine)
    return Atlas(
        f"Harvard–Oxford {'cortical' if part.startswith('cort') else 'subcortical'} atlas, {size} regions, 25 %, 2 mm",
        image,
        _region_names(fetched.labels),
        _centres(image),
        "distributed with FSL for non-commercial use; fetched, not shipped",
    )


def _fetched(what: str, fetch, *args, **kwargs):
    """Call one of nilearn's fetchers; `RequestError` if nothing comes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fetch(*args, verbose=0, **kwargs)
    except Exception as error:  # nilearn raises whatever its HTTP library does
        raise RequestError(
            f"The {what} atlas could not be fetched ({type(error).__name__}): connect to a network once, set NILEARN_DATA to a "
            "folder that holds it, or use the offline parcellation."
        ) from error


def _region_names(labels) -> tuple[str, ...]:
    names = [label.decode() if isinstance(label, bytes) else str(label) for label in labels]
    return tuple(name for name in names if name != "Background")


def _centres(image) -> np.ndarray:
    """Centre of mass of each label's voxels in mm, in label order, shape (n_regions, 3)."""
    import nibabel

    data = np.asarray(image.dataobj).astype(int)
    voxels = np.argwhere(data > 0)
    label = data[tuple(voxels.T)]
    counts = np.bincount(label)[1:]
    sums = np.stack([np.bincount(label, weights=voxels[:, axis])[1:] for axis in range(3)], axis=1)
    return nibabel.affines.apply_affine(image.affine, sums / np.maximum(counts, 1)[:, None])
