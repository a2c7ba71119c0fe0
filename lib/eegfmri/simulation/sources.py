"""Where activity sits: regions of grey matter in MNI space, one subject's head around them, one subject's brain in the scanner.

Regions are k-means clusters of grey-matter voxels of the right hemisphere, mirrored to the left, so that every region has
a partner. Each is one equivalent dipole for the EEG and one set of voxels for the BOLD image.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from eegfmri.preprocessing.sources import DEEPEST, fit_sphere, sphere_potentials
from eegfmri.simulation.parameters import Acquisition, Preset

if TYPE_CHECKING:
    from scipy.sparse import csr_array

N_REGIONS = 100
_THALAMUS = np.array([11.0, -18.0, 8.0])
_BRAIN_CENTRE = np.array([0.0, -18.0, 6.0])  # of the MNI152 brain mask without the brain stem, mm


@dataclass(frozen=True)
class Regions:
    """The planted parcellation.

    Attributes
    ----------
    centroids : numpy.ndarray
        Shape (n_regions, 3), MNI mm. Regions 0 to 49 lie right, their mirror images are 50 to 99.
    groups : tuple of str
        Group of each region.
    voxels : numpy.ndarray
        Shape (n_voxels, 3), MNI mm: grey-matter voxels on a 4-mm grid.
    labels : numpy.ndarray
        Shape (n_voxels,): region of each voxel.
    """

    centroids: np.ndarray
    groups: tuple[str, ...]
    voxels: np.ndarray
    labels: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """One name per region: side, group, number."""
        return tuple(
            f"{'R' if x > 0 else 'L'}-{group}-{index % (N_REGIONS // 2):02d}"
            for index, (group, (x, _, _)) in enumerate(zip(self.groups, self.centroids, strict=True))
        )

    def members(self, group: str) -> np.ndarray:
        """Indices of the regions of a group."""
        return np.flatnonzero(np.array(self.groups) == group)


def group_of(centroid: np.ndarray) -> str:
    """Name the group of a cortical centroid in MNI mm by coarse landmarks."""
    x, y, z = abs(centroid[0]), centroid[1], centroid[2]
    if y < -70 or (y < -60 and z < 15):
        return "occipital"
    if x < 18 and ((-70 <= y < -38 and 12 < z < 50) or (y > 42 and z > -15)):
        return "default"
    if y < -38 and z > 18:
        return "parietal"
    if -38 <= y < 2 and z > 34:
        return "sensorimotor"
    if y > 25 or (y >= 2 and z > 0 and not (x < 20 and z < 20)):
        return "frontal"
    if x > 34 and z < 18:
        return "temporal"
    return "limbic"


@lru_cache(maxsize=1)
def cortical_regions() -> Regions:
    """Cut the grey matter of the MNI152 template that nilearn ships into 100 mirrored regions.

    The thalamus is a region of its own. Cerebellum and brain stem are left out by a plane under the tentorium. The
    clustering starts from farthest points and uses no random numbers.

    Returns
    -------
    Regions
        Always the same.
    """
    from nilearn.datasets import load_mni152_gm_template
    from scipy.cluster.vq import kmeans2

    image = load_mni152_gm_template(resolution=4)
    grey = np.asarray(image.dataobj) > 0.45
    voxels = np.argwhere(grey) @ image.affine[:3, :3].T + image.affine[:3, 3]
    x, y, z = voxels.T
    cerebellum = (y < -38) & (z < -20 + 0.1 * (y + 38))
    stem = (np.abs(x) < 14) & (y < -12) & (z < -8) & (y > -45)
    voxels = voxels[(x > 0) & ~cerebellum & ~stem & (z > -45)]
    deep = np.linalg.norm(voxels - _THALAMUS, axis=1) < 13
    cortex = voxels[~deep]

    start = [int(np.argmin(cortex[:, 1]))]
    distance = np.full(len(cortex), np.inf)
    while len(start) < N_REGIONS // 2 - 1:
        distance = np.minimum(distance, np.linalg.norm(cortex - cortex[start[-1]], axis=1))
        start.append(int(np.argmax(distance)))
    centroids, labels = kmeans2(cortex, cortex[start], iter=30, minit="matrix")

    right = np.vstack([centroids, voxels[deep].mean(axis=0)])
    half_voxels = np.vstack([cortex, voxels[deep]])
    half_labels = np.concatenate([labels, np.full(deep.sum(), N_REGIONS // 2 - 1)])
    mirror = np.array([-1.0, 1.0, 1.0])
    groups = (*(group_of(centroid) for centroid in centroids), "thalamus")
    return Regions(
        np.vstack([right, right * mirror]),
        groups * 2,
        np.vstack([half_voxels, half_voxels * mirror]),
        np.concatenate([half_labels, half_labels + N_REGIONS // 2]),
    )


@dataclass(frozen=True)
class Head:
    """One subject's head: electrodes and what each region's dipole does to them.

    Attributes
    ----------
    radius : float
        Radius of the outer sphere in m.
    electrodes : numpy.ndarray
        Shape (n_channels, 3), m from the sphere's centre, in the order of the acquisition's channels.
    lead_field : numpy.ndarray
        Shape (n_channels, n_regions), volts per Am against the reference.
    eye_field, heart_field : numpy.ndarray
        Shape (n_channels,): what an eye or heart signal of 1 does to each channel, against the reference.
    """

    radius: float
    electrodes: np.ndarray
    lead_field: np.ndarray
    eye_field: np.ndarray
    heart_field: np.ndarray


#: Names of the template for electrodes that it calls otherwise.
_TEMPLATE_NAMES = {"LM": "M1", "RM": "M2", "O9": "I1", "O10": "I2"}


@lru_cache(maxsize=4)
def _template_electrodes(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, float]:
    """Electrodes of the 10-05 template in MNI space (m), and the sphere through them: centre and radius."""
    import mne

    montage = mne.channels.make_standard_montage("colin27_1005", head_size=None)
    positions = montage.get_positions()["ch_pos"]
    electrodes = np.array([positions[_TEMPLATE_NAMES.get(name, name)] for name in names])
    return electrodes, *fit_sphere(electrodes)


def make_head(preset: Preset, regions: Regions, acquisition: Acquisition, rng: np.random.Generator) -> Head:
    """Draw a subject's head and compute its lead field in a four-shell sphere.

    Parameters
    ----------
    preset : Preset
        Spread of head size, electrode positions and orientations.
    regions : Regions
        Where the dipoles lie.
    acquisition : Acquisition
        Electrodes and reference.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    Head
        Geometry and fields.
    """
    names = list(dict.fromkeys((*acquisition.channels, *acquisition.reference)))
    template, centre, template_radius = _template_electrodes(tuple(names))
    radius = float(np.clip(rng.normal(*preset.head_radius), 0.085, 0.108))
    electrodes = template - centre + rng.normal(0.0, preset.electrode_shift, template.shape)
    electrodes *= radius / np.linalg.norm(electrodes, axis=1, keepdims=True)

    dipoles = (regions.centroids / 1000 - centre) * radius / template_radius
    depth = np.linalg.norm(dipoles, axis=1, keepdims=True)
    dipoles *= np.minimum(1.0, DEEPEST * radius / depth)
    normals = dipoles / np.linalg.norm(dipoles, axis=1, keepdims=True)
    normals = normals + rng.normal(0.0, preset.orientation_spread, normals.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)

    potential = sphere_potentials(electrodes, dipoles, normals, radius)

    eyes = np.array([[0.032, 0.075, -0.035], [-0.032, 0.075, -0.035]]) * radius / template_radius
    distance = np.linalg.norm(electrodes[:, None] - eyes[None], axis=2)
    eye = np.exp(-distance / 0.035).sum(axis=1)
    heart = electrodes @ np.array([-0.6, 0.2, -0.77]) / radius
    n_channels = len(acquisition.channels)
    reference = [names.index(name) for name in acquisition.reference]

    def referenced(field):
        return field[:n_channels] - field[reference].mean(axis=0)

    return Head(radius, electrodes[:n_channels], referenced(potential), referenced(eye), referenced(heart))


@dataclass(frozen=True)
class Anatomy:
    """One subject's brain on the voxel grid of a scan.

    Attributes
    ----------
    affine : numpy.ndarray
        Shape (4, 4): voxel indices to scanner mm, as the image's header says.
    to_scanner : numpy.ndarray
        Shape (4, 4): MNI mm to scanner mm, the planted registration (local warps come on top).
    baseline : numpy.ndarray
        Shape (x, y, z): signal without change, in image units.
    membership : scipy.sparse.csr_array
        Shape (x · y · z, n_regions), float32: share of a voxel's signal that is grey matter of a region.
    csf : numpy.ndarray
        Shape (x, y, z): share of cerebrospinal fluid.
    brain : numpy.ndarray
        Shape (x, y, z): share of brain tissue.
    warp : Warp
        Local deviations from the template.
    sensitivity : numpy.ndarray
        Shape (9,): weights of the receive field over linear and quadratic terms of space.
    """

    affine: np.ndarray
    to_scanner: np.ndarray
    baseline: np.ndarray
    membership: "csr_array"
    csf: np.ndarray
    brain: np.ndarray
    warp: "Warp"
    sensitivity: np.ndarray

    def to_mni(self, world: np.ndarray) -> np.ndarray:
        """Return where points of the scanner (shape (n, 3), mm) lie in the template, local warps included."""
        inverse = np.linalg.inv(self.to_scanner)
        return self.warp(world) @ inverse[:3, :3].T + inverse[:3, 3]


@dataclass(frozen=True)
class Warp:
    """Smooth displacement: a sum of plane waves with vectors and amplitudes of shape (n_waves, 3) and phases (n_waves,)."""

    wave_vectors: np.ndarray
    amplitudes: np.ndarray
    phases: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Displace points of shape (n, 3) in mm."""
        return points + np.cos(points @ self.wave_vectors.T + self.phases) @ self.amplitudes


@lru_cache(maxsize=1)
def _tissue_maps() -> tuple[np.ndarray, np.ndarray]:
    """Maps of grey matter, white matter, cerebrospinal fluid and scalp of MNI152 at 2 mm, shape (4, x, y, z), and their affine."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template
    from scipy.ndimage import distance_transform_edt

    grey = load_mni152_gm_template(resolution=2)
    white = np.asarray(load_mni152_wm_template(resolution=2).dataobj, dtype=np.float32)
    mask = np.asarray(load_mni152_brain_mask(resolution=2).dataobj) > 0
    grey_map = np.asarray(grey.dataobj, dtype=np.float32)
    csf = np.where(mask, np.clip(1 - grey_map - white, 0, 1), 0).astype(np.float32)
    outside = distance_transform_edt(~mask) * 2.0
    scalp = ((outside > 5) & (outside < 11)).astype(np.float32)
    return np.stack([grey_map, white, csf, scalp]), grey.affine


#: Signal of grey matter, white matter, cerebrospinal fluid and scalp in an echo-planar image at 3 T, image units.
TISSUE_SIGNAL = np.array([1000.0, 820.0, 1250.0, 160.0])


def make_anatomy(
    preset: Preset,
    regions: Regions,
    acquisition: Acquisition,
    matrix: tuple[int, int, int],
    rng: np.random.Generator,
) -> Anatomy:
    """Place a subject's brain into the scanner and take it onto the grid of the scan.

    Parameters
    ----------
    preset : Preset
        Spread of size, position, warp and sensitivity.
    regions : Regions
        The planted parcellation.
    acquisition : Acquisition
        Extent of a volume.
    matrix : tuple of int
        Voxels per axis.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    Anatomy
        Maps and affines.
    """
    from scipy.ndimage import map_coordinates
    from scipy.sparse import coo_array
    from scipy.spatial import cKDTree
    from scipy.spatial.transform import Rotation

    scale = 1 + rng.normal(0.0, preset.brain_scale, 3)
    turn = Rotation.from_euler("xyz", rng.normal(0.0, preset.brain_tilt, 3), degrees=True).as_matrix()
    to_scanner = np.eye(4)
    to_scanner[:3, :3] = turn * scale
    to_scanner[:3, 3] = rng.normal(0.0, preset.brain_shift, 3) - to_scanner[:3, :3] @ _BRAIN_CENTRE

    zooms = np.array(acquisition.field_of_view) / np.array(matrix)
    tilt = Rotation.from_euler("x", rng.normal(0.0, preset.brain_tilt), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag(zooms * [-1, 1, 1])  # stored right to left, as dcm2niix leaves Siemens images
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(matrix) - 1) / 2)

    parts = np.maximum(1, np.round(zooms / 2.6)).astype(int)  # sub-voxels of about 2.5 mm give partial volumes
    axes = [(np.arange(n * p) + 0.5) / p - 0.5 for n, p in zip(matrix, parts, strict=True)]
    fine = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    world = fine @ affine[:3, :3].T + affine[:3, 3]
    warp = Warp(
        rng.normal(0.0, 2 * np.pi / 90, (6, 3)),  # wavelengths around 90 mm
        rng.normal(0.0, preset.warp / np.sqrt(3), (6, 3)),
        rng.uniform(0, 2 * np.pi, 6),
    )
    inverse = np.linalg.inv(to_scanner)
    mni = warp(world) @ inverse[:3, :3].T + inverse[:3, 3]

    maps, maps_affine = _tissue_maps()
    to_index = np.linalg.inv(maps_affine)
    index = (mni @ to_index[:3, :3].T + to_index[:3, 3]).T
    tissue = np.stack([map_coordinates(tissue_map, index, order=1) for tissue_map in maps])

    distance, nearest = cKDTree(regions.voxels).query(mni, distance_upper_bound=5.0)
    inside = np.isfinite(distance) & (tissue[0] > 0.1)
    voxel = np.ravel_multi_index(tuple(np.floor(fine + 0.5).astype(int).T), matrix)
    n_voxels, n_parts = int(np.prod(matrix)), int(np.prod(parts))

    sensitivity = rng.normal(0.0, 1.0, 9)
    bias = np.exp(preset.bias * _smooth_field(world, sensitivity))
    # signal is lost where air-filled cavities lie under the orbitofrontal cortex and the temporal lobes
    dropout = np.ones(len(mni))
    for spot, width, loss in (((0, 38, -22), 18, 0.6), ((48, -18, -32), 16, 0.4), ((-48, -18, -32), 16, 0.4)):
        dropout -= loss * np.exp(-((mni - spot) ** 2).sum(axis=1) / (2 * width**2))
    signal = tissue * TISSUE_SIGNAL[:, None] * (bias * np.clip(dropout, 0.1, 1))
    baseline = np.bincount(voxel, signal.sum(axis=0), n_voxels) / n_parts

    weight = signal[0, inside] / n_parts / np.maximum(baseline[voxel[inside]], 1e-6)
    membership = coo_array(
        (weight.astype(np.float32), (voxel[inside], regions.labels[nearest[inside]])), shape=(n_voxels, N_REGIONS)
    ).tocsr()

    def share(values):
        return (np.bincount(voxel, values, n_voxels) / n_parts).reshape(matrix)

    return Anatomy(
        affine,
        to_scanner,
        baseline.reshape(matrix),
        membership,
        share(tissue[2]),
        share(tissue[:3].sum(axis=0)),
        warp,
        sensitivity,
    )


def _smooth_field(world: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A quadratic over space with these nine weights, zero mean and unit variance within 80 mm of the centre."""
    x, y, z = unit = world.T / 80.0
    field = weights @ np.stack([x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])
    near = (unit**2).sum(axis=0) < 1
    return (field - field[near].mean()) / field[near].std()


#: Signal of grey matter, white matter, cerebrospinal fluid and scalp in a T1-weighted image, image units.
T1_SIGNAL = np.array([620.0, 900.0, 220.0, 750.0])

#: Extent of the anatomical image (x, y, z) in mm.
T1_FIELD_OF_VIEW = (176.0, 256.0, 256.0)


def make_t1(preset: Preset, anatomy: Anatomy, matrix: tuple[int, int, int], rng: np.random.Generator):
    """Take a subject's T1-weighted image, the face removed; the same brain in the same scanner as the volumes.

    Parameters
    ----------
    preset : Preset
        Sensitivity of the coil.
    anatomy : Anatomy
        The subject.
    matrix : tuple of int
        Voxels per axis.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    data : numpy.ndarray
        Shape ``matrix``, int16.
    affine : numpy.ndarray
        Shape (4, 4): voxel indices to scanner mm.
    """
    from scipy.ndimage import map_coordinates

    affine = np.diag([*np.array(T1_FIELD_OF_VIEW) / np.array(matrix), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(matrix) - 1) / 2)
    maps, maps_affine = _tissue_maps()
    to_index = np.linalg.inv(maps_affine)
    data = np.empty(matrix, dtype=np.int16)
    yz = np.stack(np.meshgrid(np.arange(matrix[1]), np.arange(matrix[2]), indexing="ij"), axis=-1).reshape(-1, 2)
    spread = None
    for x in range(matrix[0]):  # sagittal, one slab at a time
        world = np.column_stack([np.full(len(yz), x), yz]) @ affine[:3, :3].T + affine[:3, 3]
        mni = anatomy.to_mni(world)
        index = (mni @ to_index[:3, :3].T + to_index[:3, 3]).T
        tissue = np.stack([map_coordinates(tissue_map, index, order=1) for tissue_map in maps])
        if spread is None:  # the receive field is scaled alike in all slabs
            spread = 0.6 * preset.bias * anatomy.sensitivity
        unit = world.T / 80.0
        u, v, w = unit
        field = spread @ np.stack([u, v, w, u * u, v * v, w * w, u * v, u * w, v * w])
        face = (mni[:, 1] > 40 - 1.2 * (mni[:, 2] + 60)) & (mni[:, 2] < -25) & (mni[:, 1] > 20)
        signal = np.where(face, 0.0, T1_SIGNAL @ tissue * np.exp(np.clip(field, -1, 1)))
        noise = 12.0 * rng.standard_normal((2, len(signal)), dtype=np.float32)
        value = np.where(face, 0.0, np.hypot(signal + noise[0], noise[1]))
        data[x] = np.clip(np.round(value), 0, 32767).reshape(matrix[1:])
    return data, affine
