"""Where things are: the head between volumes, and the way from a run through a T1 image to MNI152.

A `Transform` takes points in mm of one space to points in mm of another. An image is carried by asking, for every voxel of
the grid to be filled, where in the source it lies, and looking there: so transforms are composed as functions of points,
however many there are, and an image is interpolated once.

Rigid motion is found with SimpleITK, affine and symmetric normalisation :cite:p:`avants2008` with dipy.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.machine import cores

#: Size in mm of the voxels to which a T1 image is averaged before it is registered: the template has 4.
T1_VOXEL = 3.0

#: Radius in mm of the median filter that takes the scalp away: it is thinner than this, the brain is not.
SCALP_RADIUS = 10.0

#: Radius in mm of the sphere on which rotations are measured as distances :cite:p:`power2012`.
HEAD_RADIUS = 50.0


@dataclass(frozen=True, eq=False)
class Field:
    """A warp: a point x goes to x + d(x), with d interpolated linearly from a grid and held beyond its border.

    Attributes
    ----------
    displacement : numpy.ndarray
        Shape (x, y, z, 3), mm.
    affine : numpy.ndarray
        4 × 4 matrix from voxels of the grid to mm.
    """

    displacement: np.ndarray
    affine: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Move points, shape (n_points, 3), mm."""
        from scipy.ndimage import map_coordinates

        at = _apply(np.linalg.inv(self.affine), points).T
        moved = [
            map_coordinates(self.displacement[..., axis], at, order=1, mode="nearest", output=float)
            for axis in range(3)
        ]
        return points + np.stack(moved, axis=1)


@dataclass(frozen=True, eq=False)
class Transform:
    """Matrices and warps, applied to points one after the other.

    Attributes
    ----------
    steps : tuple of numpy.ndarray or Field
        4 × 4 matrices in mm and fields, the first to be applied first; none is the identity.
    """

    steps: tuple = ()

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Take points in mm, shape (n_points, 3), from the first space to the last."""
        points = np.asarray(points, dtype=float)
        for step in self.steps:
            points = step(points) if isinstance(step, Field) else _apply(step, points)
        return points

    def then(self, other: "Transform") -> "Transform":
        """Return this transform followed by another."""
        return Transform((*self.steps, *other.steps))

    @property
    def matrix(self) -> np.ndarray:
        """The whole as one 4 × 4 matrix; `RequestError` if it holds a warp."""
        if any(isinstance(step, Field) for step in self.steps):
            raise RequestError("A transform with a warp in it is no matrix: apply it to points instead.")
        whole = np.eye(4)
        for step in self.steps:
            whole = step @ whole
        return whole


@dataclass(frozen=True, eq=False)
class Registration:
    """The way between a run and MNI152, both ways.

    Attributes
    ----------
    to_template : Transform
        Takes points of the run's space to MNI152.
    to_run : Transform
        Takes points of MNI152 to the run's space.
    """

    to_template: Transform
    to_run: Transform


@dataclass(frozen=True, eq=False)
class Motion:
    """The head's rigid motion during a run.

    Attributes
    ----------
    matrices : numpy.ndarray
        Shape (n_volumes, 4, 4): takes a point in mm of the reference volume to where the same tissue lies in each volume.
    centre : numpy.ndarray
        Point in mm about which rotations are stated, shape (3,).
    """

    matrices: np.ndarray
    centre: np.ndarray

    @property
    def parameters(self) -> np.ndarray:
        """``trans_x``, ``trans_y``, ``trans_z`` in mm, then ``rot_x``, ``rot_y``, ``rot_z`` in radians; shape (n_volumes, 6).

        A point goes to R (x − centre) + centre + t with R = Rz Ry Rx.
        """
        return parameters_of(self.matrices, self.centre)

    def relative_to(self, volume: int) -> "Motion":
        """Return the same motion with another volume as reference."""
        return Motion(self.matrices @ np.linalg.inv(self.matrices[volume]), self.centre)

    def framewise_displacement(self, radius: float = HEAD_RADIUS) -> np.ndarray:
        """Sum of absolute changes from the volume before, rotations on a sphere :cite:p:`power2012`.

        Parameters
        ----------
        radius : float, default=HEAD_RADIUS
            Of the sphere, mm.

        Returns
        -------
        numpy.ndarray
            Shape (n_volumes,), mm; 0 for the first volume.
        """
        change = np.abs(np.diff(self.parameters, axis=0, prepend=self.parameters[:1]))
        return change[:, :3].sum(axis=1) + radius * change[:, 3:].sum(axis=1)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def matrices_of(parameters: np.ndarray, centre: Sequence[float]) -> np.ndarray:
    """Matrices of rigid motion from its parameters.

    Parameters
    ----------
    parameters : numpy.ndarray
        Shape (..., 6): translations in mm, rotations in radians about x, then y, then z.
    centre : sequence of float
        Point in mm about which rotations are stated.

    Returns
    -------
    numpy.ndarray
        Shape (..., 4, 4).
    """
    from scipy.spatial.transform import Rotation

    parameters = np.asarray(parameters, dtype=float)
    turn = (
        Rotation.from_euler("xyz", parameters[..., 3:].reshape(-1, 3)).as_matrix().reshape(*parameters.shape[:-1], 3, 3)
    )
    matrices = np.zeros((*parameters.shape[:-1], 4, 4))
    matrices[..., :3, :3] = turn
    matrices[..., :3, 3] = parameters[..., :3] + np.asarray(centre) - turn @ np.asarray(centre)
    matrices[..., 3, 3] = 1
    return matrices


def parameters_of(matrices: np.ndarray, centre: Sequence[float]) -> np.ndarray:
    """Parameters of rigid motion from its matrices: the inverse of `matrices_of`, shape (n_volumes, 6)."""
    from scipy.spatial.transform import Rotation

    turn = matrices[:, :3, :3]
    shift = matrices[:, :3, 3] + turn @ np.asarray(centre) - np.asarray(centre)
    return np.hstack([shift, Rotation.from_matrix(turn).as_euler("xyz")])


def grid_centre(image) -> np.ndarray:
    """Centre of an image's grid in mm, shape (3,)."""
    return _apply(image.affine, (np.array(image.shape[:3]) - 1)[None] / 2)[0]


def estimate_motion(image, reference: int | None = None, sampling: float | None = None) -> Motion:
    """Find how the head moved from volume to volume: rigid registration of each to one of them.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Shape (x, y, z, n_volumes).
    reference : int or None
        The volume that stays where it is; the one in the middle of the run if None.
    sampling : float or None
        Share of the voxels that the correlation is computed from, on a regular grid; as many as make 40 000 if None.

    Returns
    -------
    Motion
        Rotations are stated about the centre of the grid.

    Raises
    ------
    RequestError
        If the image has no volumes, or no such reference.
    """
    if len(image.shape) != 4:
        raise RequestError(f"Motion is found between volumes, and the image has shape {image.shape}: give a 4-D image.")
    n_volumes = image.shape[3]
    reference = n_volumes // 2 if reference is None else reference
    if not -n_volumes <= reference < n_volumes:
        raise RequestError(f"There is no volume {reference} among {n_volumes}: choose another reference.")
    if sampling is None:
        share = 40_000 / np.prod(image.shape[:3])
        sampling = share if share < 0.5 else 1.0
    data = np.asarray(image.dataobj, dtype=np.float32)
    zooms = np.linalg.norm(image.affine[:3, :3], axis=0)
    fixed = _itk_image(data[..., reference], zooms)

    def find(number: int) -> np.ndarray:
        return _rigid(fixed, _itk_image(data[..., number], zooms), sampling)

    # each registration on one thread gives the same result however many run beside it
    with ThreadPoolExecutor(cores()) as pool:
        physical = np.stack(list(pool.map(find, range(n_volumes))))
    # SimpleITK was given voxels times their size in mm; from there to the scanner's axes
    to_world = image.affine @ np.diag([*(1 / zooms), 1.0])
    matrices = to_world @ physical @ np.linalg.inv(to_world)
    matrices[reference] = np.eye(4)
    return Motion(matrices, grid_centre(image))


def align_rigidly(fixed, moving, n_points: int = 20_000) -> np.ndarray:
    """Find the rigid map between two volumes of one head in one contrast, by least squares on intensities :cite:p:`friston1995`.

    For volumes that nearly coincide, as means of two runs do: it starts from no movement, and finds it exactly where there is none.

    Parameters
    ----------
    fixed, moving : nibabel.Nifti1Image
        3-D.
    n_points : int, default=20000
        About so many voxels of ``fixed`` are compared, on a regular grid.

    Returns
    -------
    numpy.ndarray
        4 × 4: takes a point in mm of ``fixed`` to where the same tissue lies in ``moving``.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter
    from scipy.optimize import least_squares

    # smoothed by one voxel: what is left between voxels is then told well by a cubic spline
    values, other = (gaussian_filter(np.asarray(image.dataobj, dtype=float), 1.0) for image in (fixed, moving))
    inside = np.flatnonzero(values.ravel() > 0.2 * np.percentile(values, 98))
    inside = inside[:: max(1, len(inside) // n_points)]
    points, seen = Grid.of(fixed).points()[inside], values.ravel()[inside]
    coefficients, to_voxels = spline_filter(other, order=3), np.linalg.inv(moving.affine)
    centre, radius = grid_centre(fixed), 50.0

    def matrix(parameters: np.ndarray) -> np.ndarray:
        return matrices_of(np.concatenate([parameters[:3], parameters[3:6] / radius]), centre)

    def difference(parameters: np.ndarray) -> np.ndarray:
        at = _apply(to_voxels @ matrix(parameters), points).T
        moved = map_coordinates(coefficients, at, order=3, mode="nearest", prefilter=False)
        return ((1 + parameters[6] / 100) * moved - seen) / seen.std()

    # three shifts in mm, three turns in mm at 50 mm, the ratio of intensities in per cent: all of one size
    found = least_squares(
        difference, np.zeros(7), diff_step=1e-3, x_scale=1.0, method="trf", loss="soft_l1", f_scale=0.1
    )
    return matrix(found.x)


def _itk_image(volume: np.ndarray, zooms: np.ndarray):
    import SimpleITK

    made = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.T))
    made.SetSpacing([float(zoom) for zoom in zooms])
    return made


def _rigid(fixed, moving, sampling: float) -> np.ndarray:
    """Matrix that takes points of ``fixed`` to the same tissue in ``moving``, both in voxels times mm."""
    import SimpleITK

    start = SimpleITK.Euler3DTransform()
    start.SetCenter([(n - 1) / 2 * zoom for n, zoom in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)])
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsCorrelation()
    if sampling < 1:
        method.SetMetricSamplingStrategy(method.REGULAR)
        # the regular grid is jittered, by the clock unless a seed is given
        method.SetMetricSamplingPercentage(sampling, 1)
    # the default tolerance on the gradient stops half a degree too early on an image that is almost round
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=0.5, minStep=1e-3, numberOfIterations=60, gradientMagnitudeTolerance=1e-8
    )
    # a radian moves tissue by the radius at which it lies, 30 mm in the middle of its range
    method.SetOptimizerScales([30.0**2] * 3 + [1.0] * 3)
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1, 0])
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    centre, turn = np.array(start.GetCenter()), np.array(start.GetMatrix()).reshape(3, 3)
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.array(start.GetTranslation()) + centre - turn @ centre
    return matrix


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels to be filled: how many along each axis, and where they lie.

    Attributes
    ----------
    shape : tuple of int
        Voxels along x, y, z.
    affine : numpy.ndarray
        4 × 4 matrix from voxels to mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @classmethod
    def of(cls, image) -> "Grid":
        """The grid of an image."""
        return cls(tuple(image.shape[:3]), np.asarray(image.affine))

    def points(self) -> np.ndarray:
        """Centres of all voxels in mm, shape (n_voxels, 3), the last axis fastest."""
        return _apply(self.affine, np.indices(self.shape).reshape(3, -1).T.astype(float))

    def resized(self, shape: tuple[int, int, int]) -> "Grid":
        """The same box cut into another number of voxels: its edges stay, voxel sizes and the first centre follow.

        Parameters
        ----------
        shape : tuple of int
            Voxels along x, y, z.

        Returns
        -------
        Grid
            Over the same box.
        """
        factor = np.array(self.shape) / np.array(shape)
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * factor
        affine[:3, 3] = _apply(self.affine, ((factor - 1) / 2)[None])[0]
        return Grid(tuple(shape), affine)


#: Grids in MNI152 space by name: 2 mm over the usual box of 91 × 109 × 91; the 53 × 63 × 52 of one paper, at 3 mm; nearly the
#: same box at 4 mm; and the box of 2 mm cut into 64 × 64 × 30, as another paper does: voxels of 2.8 × 3.4 × 6.1 mm.
GRIDS = {
    "mni_2mm": Grid((91, 109, 91), np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])),
    "mni_3mm": Grid((53, 63, 52), np.array([[3.0, 0, 0, -78], [0, 3, 0, -112], [0, 0, 3, -70], [0, 0, 0, 1]])),
    "mni_4mm": Grid((40, 48, 39), np.array([[4.0, 0, 0, -78], [0, 4, 0, -112], [0, 0, 4, -70], [0, 0, 0, 1]])),
}
GRIDS["mni_64x64x30"] = GRIDS["mni_2mm"].resized((64, 64, 30))
# The same box at half that resolution, for runs whose own voxels are as large.
GRIDS["mni_32x32x15"] = GRIDS["mni_2mm"].resized((32, 32, 15))


def resample(
    image,
    grid: Grid,
    transform: Transform | None = None,
    motion: Motion | None = None,
    interpolation: Literal["nearest", "linear", "cubic"] = "linear",
    mask: np.ndarray | None = None,
):
    """Fill a grid from an image: all transforms composed, one interpolation.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        3-D, or 4-D with volumes last.
    grid : Grid
        What to fill.
    transform : Transform or None
        Takes points of the grid's space to the image's; None if they are the same.
    motion : Motion or None
        The head's motion during a 4-D image, undone in the same step.
    interpolation : {"nearest", "linear", "cubic"}
        ``nearest`` for labels.
    mask : numpy.ndarray of bool or None
        Shape of the grid: fill only these voxels, the rest stays 0.

    Returns
    -------
    nibabel.Nifti1Image
        On the grid; 0 where the image does not reach. Labels keep their type, the rest is float32.

    Raises
    ------
    RequestError
        If the motion is of another number of volumes.
    """
    import nibabel
    from scipy.ndimage import map_coordinates

    order = {"nearest": 0, "linear": 1, "cubic": 3}[interpolation]
    data = np.asarray(image.dataobj)
    data = data if order == 0 else data.astype(np.float32, copy=False)
    volumes = data[..., None] if data.ndim == 3 else data
    if motion is not None and len(motion.matrices) != volumes.shape[-1]:
        raise RequestError(
            f"The motion has {len(motion.matrices)} volumes, the image {volumes.shape[-1]}: estimate it from this image."
        )
    points = grid.points()
    if mask is not None:
        points = points[np.asarray(mask, dtype=bool).ravel()]
    points = transform(points) if transform is not None else points
    to_voxels = np.linalg.inv(image.affine)
    points = np.ascontiguousarray(points.T)
    out = np.zeros((*grid.shape, volumes.shape[-1]), dtype=volumes.dtype)

    def fill(number: int) -> None:
        matrix = to_voxels if motion is None else to_voxels @ motion.matrices[number]
        at = matrix[:3, :3] @ points + matrix[:3, 3:]
        values = map_coordinates(np.ascontiguousarray(volumes[..., number]), at, order=order, output=out.dtype)
        if mask is None:
            out[..., number] = values.reshape(grid.shape)
        else:
            out[mask, number] = values

    with ThreadPoolExecutor(cores()) as pool:  # scipy interpolates without holding the interpreter
        list(pool.map(fill, range(volumes.shape[-1])))
    out = out[..., 0] if data.ndim == 3 else out
    made = nibabel.Nifti1Image(out, grid.affine)
    if data.ndim == 4:
        made.header.set_zooms((*made.header.get_zooms()[:3], image.header.get_zooms()[3]))
    return made


def resize(image, shape: tuple[int, int, int]):
    """Cut the same box into another number of voxels and fill it; the affine follows.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        3-D or 4-D.
    shape : tuple of int
        Voxels along x, y, z.

    Returns
    -------
    nibabel.Nifti1Image
        The box from edge to edge is that of ``image``: 91 × 109 × 91 voxels of 2 mm as 64 × 64 × 30 have voxels of
        2.8 × 3.4 × 6.1 mm. Where voxels grow, the mean over each is approximated by smoothing first.
    """
    import nibabel
    from scipy.ndimage import gaussian_filter1d

    grid = Grid.of(image)
    target = grid.resized(shape)
    data = np.asarray(image.dataobj, dtype=np.float32)
    for axis in range(3):
        factor = grid.shape[axis] / target.shape[axis]
        if factor > 1:
            # half the variance of the larger voxel less that of the smaller: enough against aliasing, little blur
            data = gaussian_filter1d(data, np.sqrt((factor**2 - 1) / 12), axis=axis, mode="nearest")
    return resample(nibabel.Nifti1Image(data, image.affine, image.header), target)


def register_to_template(
    reference,
    t1=None,
    kind: Literal["affine", "syn"] = "affine",
    resolution: int = 4,
    iterations: Sequence[int] = (20, 20, 10),
) -> Registration:
    """Find the way from a run to the MNI152 template, through a T1 image where there is one.

    Without a T1, the template is brought onto the run's mean volume by an affine map. With one, run and T1 of the same head
    are joined by a rigid map and the T1, which shows anatomy far better, is brought to the template. ``syn`` adds the
    symmetric diffeomorphic warp :cite:p:`avants2008` that is left, by local correlation. Fluid is bright in BOLD images and dark
    in the T1-weighted template; matched as they are, ventricles are squeezed shut while the outline fits better than before.
    So without a T1 the warp is found against the template's tissues in the run's own contrast, and only where the run shows brain:
    a border that the scan cut off, or that lost its signal to air, would be pulled out to the template's.

    Parameters
    ----------
    reference : nibabel.Nifti1Image
        Mean volume of the run, 3-D.
    t1 : nibabel.Nifti1Image or None
        The same head, T1-weighted, skull included or not.
    kind : {"affine", "syn"}
        Stop at the affine map, or go on to a warp.
    resolution : int, default=4
        Of the template in mm.
    iterations : sequence of int, default=(20, 20, 10)
        Of the warp, from the coarsest of as many resolutions to the finest.

    Returns
    -------
    Registration
        Both ways.
    """
    template = _template(resolution)
    if t1 is None:
        matrix = register_template(reference)
        moving, mask = reference, epi_mask(reference)
        first = ()
    else:
        head = _coarse(t1)
        # head to head: scalp and eyes help, and the two brain masks would cut at different borders
        to_t1 = _affine(head, reference, ["center_of_mass", "translation", "rigid"])
        brain = _cropped(strip_skull(head))
        matrix = _affine(template, brain, ["center_of_mass", "translation", "rigid", "affine"])
        moving, mask = brain, np.asarray(brain.dataobj) > 0
        first = (to_t1,)
    forth, back = (matrix,), (np.linalg.inv(matrix),)
    if kind == "syn":
        on_template = Grid.of(template)
        moved = resample(_masked(moving, mask), on_template, Transform(back))
        target = template
        if t1 is None:
            seen = resample(_masked(_ones(moving), mask), on_template, Transform(back))
            target = _masked(in_contrast_of(moved, resolution), np.asarray(seen.dataobj) > 0.5)
        to_moved, to_fixed = _syn(moved, target, iterations)
        forth, back = (*forth, to_fixed), (to_moved, *back)
    inverse_first = tuple(np.linalg.inv(step) for step in first)
    return Registration(Transform((*first, *forth)), Transform((*back, *inverse_first)))


def registered(reference, t1=None, kind: Literal["affine", "syn"] = "affine") -> Registration:
    """Find the way from a run to the MNI152 template, or find it found.

    The way depends on what the images show and on nothing else, so that a run whose nuisance, drift or atlas are chosen anew, or that
    another chapter prepares, is not registered again.

    Parameters
    ----------
    reference, t1, kind
        As for `register_to_template`.

    Returns
    -------
    Registration
        Both ways, to the last bit as `register_to_template` returns them.
    """
    key = cache.digest(
        "registration",
        [None if image is None else (np.asarray(image.dataobj), image.affine) for image in (reference, t1)],
        kind,
        cache.code_digest(__name__),
        cache.versions("nilearn", "dipy", "scipy", "numpy"),
    )
    folder = project.cache_dir() / "registrations" / key
    found = _read_registration(folder)
    if found is None:
        with cache.making(folder):
            found = _read_registration(folder)
            if found is None:
                found = register_to_template(reference, t1, kind)
                _keep_registration(folder, found)
    return found


def _keep_registration(folder: Path, found: Registration) -> None:
    kinds = {}
    for way in ("to_template", "to_run"):
        steps = getattr(found, way).steps
        kinds[way] = ["field" if isinstance(step, Field) else "matrix" for step in steps]
        for number, step in enumerate(steps):
            parts = (
                {"affine": step.affine, "displacement": step.displacement} if isinstance(step, Field) else {"": step}
            )
            for name, values in parts.items():
                cache.save_array(folder / f"{way}-{number}{name}.npy", values)
    cache.keep_json(folder / "steps.json", kinds)  # last: what it names is there


def _read_registration(folder: Path) -> Registration | None:
    kinds = cache.kept_json(folder / "steps.json")
    if kinds is None:
        return None
    ways = {}
    for way, steps in kinds.items():
        read = []
        for number, step in enumerate(steps):
            names = ("displacement", "affine") if step == "field" else ("",)
            paths = [folder / f"{way}-{number}{name}.npy" for name in names]
            if not all(cache.is_whole(path) for path in paths):
                return None
            parts = [np.array(cache.load_array(path)) for path in paths]
            read.append(Field(*parts) if step == "field" else parts[0])
        ways[way] = Transform(tuple(read))
    return Registration(**ways)


def in_contrast_of(moved, resolution: int):
    """Paint the template's tissues with the brightness they have in an image.

    Parameters
    ----------
    moved : nibabel.Nifti1Image
        Roughly aligned with the template, on its grid; 0 outside the brain.
    resolution : int
        Of the template in mm.

    Returns
    -------
    nibabel.Nifti1Image
        Mixture of white matter, grey matter and cerebrospinal fluid (the rest of the brain mask) by their shares; 0 outside the brain. A
        tissue's brightness is its mean in voxels that are mostly it and lie deep inside, where no signal is lost to air.
    """
    import nibabel
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template
    from scipy.ndimage import distance_transform_edt

    inside = np.asarray(load_mni152_brain_mask(resolution=resolution).dataobj) > 0
    white, grey = (
        np.clip(np.asarray(load(resolution=resolution).dataobj, dtype=float), 0, 1)
        for load in (load_mni152_wm_template, load_mni152_gm_template)
    )
    shares = np.stack([white, grey, np.clip(1 - white - grey, 0, 1)], axis=-1) * inside[..., None]
    values = np.asarray(moved.dataobj, dtype=float)
    deep = (distance_transform_edt(inside, sampling=resolution) > 16) & (values > 0)
    brightness = [values[deep & (shares[..., tissue] > 0.8)].mean() for tissue in range(3)]
    return nibabel.Nifti1Image(shares @ brightness, moved.affine)


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
    return _affine(
        _template(4), _masked(reference, epi_mask(reference)), ["center_of_mass", "translation", "rigid", "affine"]
    )


def _affine(moving, static, pipeline: list[str]) -> np.ndarray:
    """Matrix that takes points in mm of ``static`` to ``moving``, by mutual information."""
    with warnings.catch_warnings():
        # tqdm looks for notebook widgets on import, which the book does without.
        warnings.simplefilter("ignore")
        from dipy.align import affine_registration
    with _quiet("dipy"):
        _, matrix = affine_registration(
            moving=np.asarray(moving.dataobj, dtype=float),
            static=np.asarray(static.dataobj, dtype=float),
            moving_affine=moving.affine,
            static_affine=static.affine,
            pipeline=pipeline,
            level_iters=[500, 100, 50],
            sigmas=[2.0, 1.0, 0.0],
            factors=[2, 2, 1],
            metric="MI",
            nbins=32,
        )
    return matrix


def _syn(moving, static, iterations: Sequence[int]) -> tuple[Field, Field]:
    """Warps from ``static`` to ``moving`` and back, both images on one grid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
        from dipy.align.metrics import CCMetric
    # Correlation over 5 voxels, 20 mm: wide enough for a sulcus, small beside the scanner's bias field. Steps are smoothed by a
    # Gaussian of 4 voxels: with dipy's 2, planted warps of 2 mm were missed by more than without any warp.
    method = SymmetricDiffeomorphicRegistration(CCMetric(3, sigma_diff=4.0, radius=2), level_iters=list(iterations))
    method.verbosity = 0
    grid = static.affine
    with _quiet("dipy"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mapping = method.optimize(
            np.asarray(static.dataobj, dtype=float),
            np.asarray(moving.dataobj, dtype=float),
            static_grid2world=grid,
            moving_grid2world=grid,
        )
    return Field(np.array(mapping.get_forward_field()), grid), Field(np.array(mapping.get_backward_field()), grid)


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


@lru_cache(maxsize=2)
def _template(resolution: int):
    """The MNI152 brain without skull."""
    import nibabel
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    template = load_mni152_template(resolution=resolution)
    inside = np.asarray(load_mni152_brain_mask(resolution=resolution).dataobj) > 0
    return nibabel.Nifti1Image(np.asarray(template.dataobj, dtype=float) * inside, template.affine)


def epi_mask(reference) -> np.ndarray:
    """Where the brain is in a mean volume, by its histogram (nilearn's ``compute_epi_mask``); bool, shape (x, y, z)."""
    from nilearn.masking import compute_epi_mask

    return np.asarray(compute_epi_mask(reference).dataobj) > 0


def strip_skull(t1):
    """Remove what is not brain from a T1 image (dipy's ``median_otsu``: a median filter, then Otsu's threshold).

    Parameters
    ----------
    t1 : nibabel.Nifti1Image
        3-D.

    Returns
    -------
    nibabel.Nifti1Image
        0 outside the brain. The time goes with the sixth power of the resolution: give voxels of 3 mm or more. An image that is
        0 over more than half of its voxels has been stripped and is returned as is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dipy.segment.mask import median_otsu
    data = np.asarray(t1.dataobj, dtype=float)
    if (data == 0).mean() > 0.5:
        return _masked(t1, data != 0)
    zoom = np.linalg.norm(t1.affine[:3, :3], axis=0).mean()
    _, mask = median_otsu(data, median_radius=max(1, round(SCALP_RADIUS / zoom)), numpass=4)
    return _masked(t1, mask)


def _coarse(image):
    """Average an image over voxels of `T1_VOXEL` mm; one that is as coarse already stays as it is."""
    zooms = np.linalg.norm(image.affine[:3, :3], axis=0)
    shape = tuple(int(n) for n in np.ceil(np.array(image.shape[:3]) * np.minimum(zooms / T1_VOXEL, 1)))
    return image if shape == tuple(image.shape[:3]) else resize(image, shape)


def _cropped(image):
    """Cut an image to the box that is not 0; the affine follows."""
    box = [slice(index.min(), index.max() + 1) for index in np.nonzero(np.asarray(image.dataobj))]
    return image.slicer[tuple(box)]


def _ones(image):
    import nibabel

    return nibabel.Nifti1Image(np.ones(image.shape, dtype=np.float32), image.affine)


def _masked(image, mask: np.ndarray):
    import nibabel

    return nibabel.Nifti1Image(np.asarray(image.dataobj, dtype=float) * mask, image.affine)
