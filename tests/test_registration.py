"""Motion, transforms, grids and registration, on planted truth."""

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from eegfmri.errors import RequestError
from eegfmri.preprocessing import registration as reg
from eegfmri.preprocessing.registration import Field, Grid, Motion, Transform

AFFINE = np.array([[-3.0, 0.2, 0, 40], [0.2, 3, -0.6, -50], [0, 0.65, 3.2, -30], [0, 0, 0, 1]])
# orthogonal axes, as a scanner has them
AFFINE[:3, :3] = np.linalg.qr(AFFINE[:3, :3])[0] @ np.diag([3.0, 3.0, 3.3])


def blob(shape=(40, 42, 24), seed=0):
    """A head-like image: a bright ellipsoid with structure inside."""
    rng = np.random.default_rng(seed)
    x = np.stack(np.meshgrid(*[np.linspace(-1.4, 1.4, n) for n in shape], indexing="ij"))
    inside = 1 / (1 + np.exp(12 * ((x**2).sum(axis=0) - 1)))
    return (1000 * inside * (1 + gaussian_filter(rng.standard_normal(shape), 2.0) * 3)).astype(np.float32)


def test_parameters_and_matrices_are_each_others_inverse():
    rng = np.random.default_rng(0)
    parameters = rng.uniform(-1, 1, (20, 6)) * [5, 5, 5, 0.3, 0.3, 0.3]
    matrices = reg.matrices_of(parameters, (3.0, -7.0, 11.0))
    np.testing.assert_allclose(reg.parameters_of(matrices, (3.0, -7.0, 11.0)), parameters, atol=1e-12)
    # a turn leaves the centre where it is
    turned = reg.matrices_of([0, 0, 0, 0.1, 0.2, 0.3], (3.0, -7.0, 11.0))
    np.testing.assert_allclose(turned @ [3, -7, 11, 1], [3, -7, 11, 1], atol=1e-12)


def test_displacement_from_volume_to_volume_is_the_sum_of_changes():
    parameters = np.array([[0, 0, 0, 0, 0, 0], [0.1, -0.2, 0, 0, 0, 0.01], [0.1, -0.2, 0, 0, 0, 0.01]])
    motion = Motion(reg.matrices_of(parameters, np.zeros(3)), np.zeros(3))
    np.testing.assert_allclose(motion.framewise_displacement(), [0, 0.3 + 50 * 0.01, 0], atol=1e-9)
    np.testing.assert_allclose(motion.relative_to(1).parameters[1], 0, atol=1e-12)


def test_transforms_compose_in_reading_order():
    rng = np.random.default_rng(1)
    a, b = (reg.matrices_of(rng.uniform(-1, 1, 6), np.zeros(3)) for _ in range(2))
    points = rng.uniform(-50, 50, (30, 3))
    both = Transform((a,)).then(Transform((b,)))
    np.testing.assert_allclose(both(points), Transform((b,))(Transform((a,))(points)), atol=1e-12)
    np.testing.assert_allclose(both.matrix, b @ a)
    field = Field(np.full((5, 5, 5, 3), [1.0, -2.0, 0.5]), np.diag([30.0, 30, 30, 1]))
    np.testing.assert_allclose(Transform((field,))(points), points + np.array([1, -2, 0.5]), atol=1e-12)
    with pytest.raises(RequestError, match="warp"):
        _ = Transform((field,)).matrix


def test_a_resized_grid_covers_the_same_box():
    grid = Grid((91, 109, 91), np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]]))
    small = grid.resized((64, 64, 30))
    for corner in ((0, 0, 0), (1, 1, 1), (1, 0, 1)):
        edges = [
            nibabel.affines.apply_affine(g.affine, np.array(corner) * np.array(g.shape) - 0.5) for g in (grid, small)
        ]
        np.testing.assert_allclose(*edges)
    np.testing.assert_allclose(np.diag(small.affine)[:3], [2 * 91 / 64, 2 * 109 / 64, 2 * 91 / 30])


def test_the_grids_are_those_of_the_papers():
    assert reg.GRIDS["mni_2mm"].shape == (91, 109, 91)
    assert reg.GRIDS["mni_3mm"].shape == (53, 63, 52)
    np.testing.assert_array_equal(reg.GRIDS["mni_3mm"].affine[:3, 3], [-78, -112, -70])


def test_resampling_on_its_own_grid_changes_nothing_and_a_voxel_is_a_voxel():
    image = nibabel.Nifti1Image(blob(), AFFINE)
    same = reg.resample(image, Grid.of(image))
    inside = (slice(1, -1),) * 3  # at the rim a rounding error decides between the image and nothing
    np.testing.assert_allclose(np.asarray(same.dataobj)[inside], np.asarray(image.dataobj)[inside], atol=1e-3)
    step = np.eye(4)
    step[:3, 3] = AFFINE[:3, 1]  # one voxel along y
    moved = np.asarray(reg.resample(image, Grid.of(image), Transform((step,))).dataobj)
    np.testing.assert_allclose(moved[:, :-1], np.asarray(image.dataobj)[:, 1:], atol=0.5)


def test_labels_stay_labels_and_a_mask_saves_the_rest():
    labels = (blob() > 500).astype(np.int16) * 7
    image = nibabel.Nifti1Image(labels, AFFINE)
    grid = Grid.of(image).resized((20, 21, 12))
    made = np.asarray(reg.resample(image, grid, interpolation="nearest").dataobj)
    assert made.dtype == np.int16
    assert set(np.unique(made)) == {0, 7}
    mask = np.zeros(grid.shape, bool)
    mask[10, 10, 6] = True
    part = np.asarray(reg.resample(image, grid, interpolation="nearest", mask=mask).dataobj)
    assert part[mask] == made[mask]
    assert part.sum() == made[mask].sum()


def moved_run(parameters, noise=5.0):
    """A run whose head moves as planted: a volume v shows at M_v x what the still head shows at x."""
    still = nibabel.Nifti1Image(blob(), AFFINE)
    centre = reg.grid_centre(still)
    matrices = reg.matrices_of(parameters, centre)
    rng = np.random.default_rng(3)
    volumes = [
        np.asarray(reg.resample(still, Grid.of(still), Transform((np.linalg.inv(m),)), interpolation="cubic").dataobj)
        for m in matrices
    ]
    run = np.stack(volumes, axis=-1) + noise * rng.standard_normal((*still.shape, len(volumes)))
    return nibabel.Nifti1Image(run.astype(np.float32), AFFINE), still


def test_planted_motion_is_recovered_and_undone():
    rng = np.random.default_rng(2)
    planted = rng.uniform(-1, 1, (7, 6)) * [2, 2, 2, *np.radians([2, 2, 2])]
    planted[3] = 0
    run, still = moved_run(planted)
    motion = reg.estimate_motion(run)  # the reference is volume 3, in the middle
    error = np.abs(motion.parameters - planted)
    # voxels of 3 mm: a thirtieth of one, and what turns by 0.1° moves 0.1 mm at the head's rim
    assert error[:, :3].max() < 0.1
    assert np.degrees(error[:, 3:]).max() < 0.15
    undone = np.asarray(reg.resample(run, Grid.of(run), motion=motion, interpolation="cubic").dataobj)
    inside = np.asarray(still.dataobj) > 300
    inside[[0, 1, 2, -1, -2, -3]] = inside[:, :, [0, 1, 2, -1, -2, -3]] = False
    before = np.asarray(run.dataobj)[inside].std(axis=-1).mean()
    assert undone[inside].std(axis=-1).mean() < 0.3 * before


def test_motion_is_the_same_twice():
    planted = np.zeros((3, 6))
    planted[0, 0] = 1.0
    run, _ = moved_run(planted)
    np.testing.assert_array_equal(reg.estimate_motion(run).matrices, reg.estimate_motion(run).matrices)


def test_motion_needs_volumes_and_its_own_image():
    run, still = moved_run(np.zeros((2, 6)))
    with pytest.raises(RequestError, match="4-D"):
        reg.estimate_motion(still)
    with pytest.raises(RequestError, match="no volume 5"):
        reg.estimate_motion(run, reference=5)
    one = Motion(np.eye(4)[None], np.zeros(3))
    with pytest.raises(RequestError, match="1 volumes"):
        reg.resample(run, Grid.of(run), motion=one)


def planted_head(seed=0, warp_mm=4.0, n_slices=46):
    """A run's mean volume whose way to MNI152 is known: affine, then a smooth warp; contrast as in BOLD.

    With fewer slices the lowest are lacking: the scan cuts off the cerebellum.
    """
    template = reg._template(4)
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template

    inside = np.asarray(load_mni152_brain_mask(resolution=4).dataobj) > 0
    white, grey = (
        np.asarray(f(resolution=4).dataobj, dtype=float) for f in (load_mni152_wm_template, load_mni152_gm_template)
    )
    fluid = np.clip(1 - white - grey, 0, 1)
    bold = nibabel.Nifti1Image(((800 * white + 900 * grey + 1200 * fluid) * inside).astype(np.float32), template.affine)
    rng = np.random.default_rng(seed)
    d = np.stack([gaussian_filter(rng.standard_normal(template.shape), 6) for _ in range(3)], axis=-1)
    d *= warp_mm / np.linalg.norm(d, axis=-1)[inside].mean()
    matrix = reg.matrices_of([6, -5, 8, 0.06, -0.05, 0.08], np.zeros(3)) @ np.diag([1.05, 0.96, 1.03, 1])
    truth = Transform((matrix, Field(d, template.affine)))  # run -> MNI152
    lowest = -76 + 3.5 * (46 - n_slices)
    grid = Grid((64, 70, n_slices), np.array([[3.0, 0, 0, -94], [0, 3, 0, -118], [0, 0, 3.5, lowest], [0, 0, 0, 1]]))
    run = reg.resample(bold, grid, truth)
    noisy = np.asarray(run.dataobj) + 10 * rng.standard_normal(grid.shape).astype(np.float32)
    anatomy = reg.resample(nibabel.Nifti1Image(np.asarray(template.dataobj, np.float32), template.affine), grid, truth)
    points = grid.points()
    brain = np.asarray(run.dataobj).ravel() > 400
    return nibabel.Nifti1Image(np.abs(noisy), grid.affine), anatomy, truth, points[brain][::41]


def error_mm(found, truth, points):
    return np.linalg.norm(found(points) - truth(points), axis=1)


@pytest.mark.slow
def test_a_planted_warp_is_recovered_in_millimetres_and_better_than_by_an_affine_map():
    run, _, truth, points = planted_head()
    affine = error_mm(reg.register_to_template(run, kind="affine").to_template, truth, points)
    found = reg.register_to_template(run, kind="syn")
    syn = error_mm(found.to_template, truth, points)
    print(f"affine {affine.mean():.2f} mm, with warp {syn.mean():.2f} mm")
    # the planted warp moves points by 4 mm; the template's voxels are 4 mm
    assert affine.mean() < 5
    assert syn.mean() < 2
    assert syn.mean() < 0.6 * affine.mean()
    back = found.to_run(found.to_template(points)) - points
    assert np.linalg.norm(back, axis=1).mean() < 0.3


@pytest.mark.slow
def test_a_warp_does_not_fill_what_the_scan_cut_off():
    run, _, truth, points = planted_head(seed=2, warp_mm=2.0, n_slices=34)
    affine, syn = (
        error_mm(reg.register_to_template(run, kind=kind).to_template, truth, points) for kind in ("affine", "syn")
    )
    print(
        f"cut off: affine {affine.mean():.2f} mm, with warp {syn.mean():.2f} mm, 95 % within {np.percentile(syn, 95):.2f} mm"
    )
    # the lowest slice is drawn to the template's lower end, 20 mm away, by a warp that looks beyond it
    assert syn.mean() < affine.mean()
    assert np.percentile(syn, 95) < np.percentile(affine, 95)


@pytest.mark.slow
def test_the_way_through_a_t1_image_is_found():
    run, anatomy, truth, points = planted_head(seed=1, warp_mm=1.0)
    # the T1 image was taken in another session: another position of the same head
    elsewhere = reg.matrices_of([12, 9, -7, 0.1, 0.05, -0.08], np.zeros(3))
    t1 = nibabel.Nifti1Image(np.asarray(anatomy.dataobj), elsewhere @ anatomy.affine)
    found = reg.register_to_template(run, t1, kind="affine")
    error = error_mm(found.to_template, truth, points)
    print(f"through the T1 image {error.mean():.2f} mm")
    # 1 mm is the planted warp, which no affine map undoes
    assert error.mean() < 3
    back = found.to_run(found.to_template(points)) - points
    np.testing.assert_allclose(back, 0, atol=1e-9)


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """A registration of matrices and a warp that counts how often it is made, kept in a folder of its own."""
    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path))
    rng, asked = np.random.default_rng(0), []

    def made(reference, t1, kind):
        asked.append(kind)
        matrix = np.eye(4) + 0.1 * rng.standard_normal((4, 4))
        warp = reg.Field(rng.standard_normal((3, 4, 5, 3)), np.diag([4.0, 4.0, 4.0, 1.0]))
        return reg.Registration(Transform((matrix, warp)), Transform((warp, np.linalg.inv(matrix))))

    monkeypatch.setattr(reg, "register_to_template", made)
    return asked


def test_a_run_is_registered_once_whoever_asks(counted):
    image = nibabel.Nifti1Image(blob(), np.diag([4.0, 4.0, 6.0, 1.0]))
    first, second = reg.registered(image), reg.registered(image)
    assert counted == ["affine"]
    points = np.random.default_rng(1).uniform(0, 20, (50, 3))
    np.testing.assert_array_equal(first.to_template(points), second.to_template(points))
    np.testing.assert_array_equal(first.to_run(points), second.to_run(points))
    # another kind of map, another brightness, another place, a T1 image: each is another question
    elsewhere = nibabel.Nifti1Image(blob(), np.diag([4.0, 4.0, 5.0, 1.0]))
    for changed in (
        (image, None, "syn"),
        (nibabel.Nifti1Image(blob() + 1, image.affine),),
        (elsewhere,),
        (image, image),
    ):
        reg.registered(*changed)
    assert len(counted) == 5


@pytest.mark.parametrize("spoilt", ["steps.json", "to_template-1displacement.npy"])
def test_a_damaged_registration_is_found_anew(counted, tmp_path, spoilt):
    image = nibabel.Nifti1Image(blob(), np.diag([4.0, 4.0, 6.0, 1.0]))
    reg.registered(image)
    [path] = (tmp_path / "registrations").glob(f"*/{spoilt}")
    path.write_bytes(path.read_bytes()[:-9])
    reg.registered(image)
    assert len(counted) == 2
    reg.registered(image)
    assert len(counted) == 2


def test_two_means_of_one_head_are_laid_on_each_other_and_stay_where_nothing_moved():
    image = nibabel.Nifti1Image(blob(), np.diag([4.0, 4.0, 6.0, 1.0]))
    still = reg.parameters_of(reg.align_rigidly(image, image)[None], reg.grid_centre(image))[0]
    # mm and radians; a tenth of that would be seen at the edges of a volume relative to its median
    assert np.abs(still).max() < 1e-3
    planted = np.array([1.5, -2.0, 0.7, 0.03, -0.02, 0.04])
    truth = reg.matrices_of(planted, reg.grid_centre(image))
    moved = reg.resample(image, Grid.of(image), Transform((np.linalg.inv(truth),)), interpolation="cubic")
    brighter = nibabel.Nifti1Image(1.1 * np.asarray(moved.dataobj), moved.affine)
    found = reg.parameters_of(reg.align_rigidly(image, brighter)[None], reg.grid_centre(image))[0]
    np.testing.assert_allclose(found[:3], planted[:3], atol=0.3)
    np.testing.assert_allclose(found[3:], planted[3:], atol=0.005)


def test_the_template_s_box_cut_into_64_64_30_has_the_voxels_that_follow():
    grid = reg.GRIDS["mni_64x64x30"]
    zooms = np.diag(grid.affine)[:3]
    np.testing.assert_allclose(zooms, [2.84375, 3.40625, 6.0667], atol=1e-4)
    # not the 3.3 × 3.3 × 4.0 mm of the scan, though the numbers of voxels are the same
    assert np.abs(zooms - [3.3, 3.3, 4.0]).max() > 2
    # half a voxel before the first centre lies the edge of the template's box
    np.testing.assert_allclose(grid.affine[:3, 3] - zooms / 2, [-91, -127, -73])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["affine", "syn"])
def test_tissue_lands_in_the_64_64_30_grid_where_it_belongs(kind):
    run, _, truth, _ = planted_head(seed=3)
    grid = reg.GRIDS["mni_64x64x30"]
    found = reg.register_to_template(run, kind=kind)
    # an image that shows, at each place, where in the run it is: carried to the grid, each voxel tells where its tissue came from
    places = Grid.of(run).points().reshape(*run.shape, 3)
    carried = np.asarray(
        reg.resample(nibabel.Nifti1Image(places.astype(np.float32), run.affine), grid, found.to_run).dataobj
    )
    brain = np.asarray(reg.resample(run, grid, found.to_run).dataobj) > 400
    belongs = truth(carried[brain].astype(float))
    error = np.linalg.norm(belongs - grid.points().reshape(*grid.shape, 3)[brain], axis=1)
    print(f"{kind}: {error.mean():.2f} mm, 95 % within {np.percentile(error, 95):.2f} mm")
    # planted are 4 mm of warp on top of an affine map; a voxel of the grid is 6 mm high
    assert error.mean() < {"affine": 5, "syn": 2}[kind]
    assert np.percentile(error, 95) < {"affine": 9, "syn": 5}[kind]
