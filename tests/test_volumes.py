"""Volumes in MNI152 space, windows of them, and their scaling."""

import nibabel
import numpy as np
import pytest

from eegfmri import cache
from eegfmri.errors import RequestError
from eegfmri.evaluation.leaks import poisoned
from eegfmri.preprocessing import bold, volumes
from eegfmri.preprocessing.atlas import load_atlas
from eegfmri.preprocessing.registration import GRIDS, Grid, resample
from eegfmri.preprocessing.volumes import VolumeScaling, template_space
from volumes_made import SFREQ, T_R, cut_volumes, made_runs, made_space


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return made_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def windows(runs):
    return cut_volumes(runs, eeg_seconds=10.0)


def test_a_block_of_ds000116_gives_155_or_156_windows(tmp_path):
    block = made_runs(tmp_path, n_subjects=1, n_runs=1, n_volumes=170)
    assert len(cut_volumes(block)) == 155, "the volume after 30 s of EEG"
    assert len(cut_volumes(block, target="end")) == 156, "the volume during its last 2 s"


@pytest.mark.parametrize(("target", "distance"), [("after", 0.0), ("end", T_R)])
@pytest.mark.parametrize("lag", [0.0, 4.0])
def test_the_eeg_ends_where_the_volume_begins_or_ends(runs, target, distance, lag):
    made = cut_volumes(runs[:1], eeg_seconds=10.0, target=target, lag=lag)
    stop = (made.eeg.first + made.eeg.length) / SFREQ
    np.testing.assert_allclose(stop, made.table["onset"] - lag + distance)
    np.testing.assert_allclose(made.table["onset"], made.y * T_R)
    assert np.all(made.table["start"] <= made.table["onset"] - lag + distance - 10 + 1e-9)
    assert np.all(made.table["stop"] >= made.table["onset"] + T_R - 1e-9)


def test_a_window_holds_its_volume(runs, windows):
    whole = runs[1].streams["volumes"].load()
    row = int(np.flatnonzero((windows.table["subject"] == "01") & (windows.table["run"] == "run-2"))[3])
    np.testing.assert_array_equal(windows.bold[row][:, 0], whole[:, windows.y[row]])


def test_volumes_lie_contiguous_on_disk(runs):
    assert runs[0].streams["volumes"].load().flags.f_contiguous


@pytest.mark.parametrize("wrong", [{"target": "before"}, {"eeg_seconds": 0}, {"step": 0}, {"eeg_seconds": 1000.0}])
def test_impossible_windows_are_refused(runs, wrong):
    with pytest.raises(RequestError):
        cut_volumes(runs, **wrong)


def test_normalised_targets_are_relative_to_the_training_median(windows):
    own = windows[windows.groups == "01"]
    train = own[np.arange(len(own)) < 40]
    targets = VolumeScaling("normalised").fit(train).targets(own)
    median = np.median(train.bold[:][:, :, 0], axis=0)
    np.testing.assert_allclose(targets[5], own.bold[5][None, :, 0] / median - 1, rtol=1e-4, atol=1e-6)


def test_a_new_subject_is_scaled_by_its_own_volumes_or_the_first_minutes(windows):
    new = windows[windows.groups == "04"]
    known = windows[windows.groups != "04"]
    for kind in ("normalised", "zscore"):
        scaling = VolumeScaling(kind).fit(known)
        assert scaling.transductive
        centre = np.median if kind == "normalised" else np.mean
        assert np.abs(centre(scaling.targets(new)[:], axis=0)).max() < 1e-3
        first = VolumeScaling(kind, calibration_minutes=1.0).fit(known).targets(new)[:30]
        assert np.abs(centre(first, axis=0)).max() < 1e-3


def test_raw_and_unit_scaling_do_not_look_at_a_new_subject(windows, tmp_path):
    spoilt = poisoned(windows, "04", tmp_path)
    known, new = windows.groups != "04", windows.groups == "04"
    for kind in ("raw", "unit"):
        before = VolumeScaling(kind).fit(windows[known]).common_
        assert VolumeScaling(kind).fit(spoilt[known]).common_ == before
        targets = VolumeScaling(kind).fit(windows[known]).targets(windows[new])
        np.testing.assert_allclose(targets[0], (windows[new].bold[0][None, :, 0] - before[0]) / before[1], rtol=1e-5)
    low_high = VolumeScaling("unit").fit(windows[known]).targets(windows[known])[:]
    assert (low_high.min(), low_high.max()) == (0.0, 1.0)


def test_voxels_without_signal_are_marked_and_zero(tmp_path):
    runs = made_runs(tmp_path, n_subjects=1, n_runs=1)
    path = runs[0].streams["volumes"].path
    volumes = np.load(path)
    volumes[:7] = 0
    cache.save_array(path, np.asfortranarray(volumes))
    made = cut_volumes(runs, eeg_seconds=10.0)
    targets = VolumeScaling().fit(made).targets(made)
    assert np.array_equal(np.flatnonzero(~targets.measured("01")), np.arange(7))
    assert np.all(targets[:][:, :7] == 0)


def test_an_unknown_scaling_is_refused():
    with pytest.raises(RequestError, match="scaling"):
        VolumeScaling("standard")


# ------------------------------------------------------------------------------------------------ space


@pytest.mark.parametrize("grid", ["mni_4mm", "mni_64x64x30"])
def test_the_space_holds_the_brain(grid):
    brain, matter = template_space(grid, "brain"), template_space(grid)
    voxel = abs(np.linalg.det(brain.grid.affine[:3, :3]))
    # the mask of the MNI152 template has 1.88 litres
    assert 1.7e6 < brain.n_voxels * voxel < 2.0e6
    assert not (matter.mask & ~brain.mask).any()
    assert 0.5 < matter.n_voxels / brain.n_voxels < 0.95


def test_the_papers_grid_has_its_voxel_sizes():
    sizes = np.diag(GRIDS["mni_64x64x30"].affine)[:3]
    np.testing.assert_allclose(sizes, [182 / 64, 218 / 64, 182 / 30])
    assert GRIDS["mni_3mm"].shape == (53, 63, 52)


def test_voxels_become_an_image_and_come_back(tmp_path):
    space = made_space()
    values = np.arange(2 * space.n_voxels, dtype=np.float32).reshape(2, -1)
    path = space.write(tmp_path / "predicted.nii.gz", values, t_r=T_R)
    image = nibabel.load(path)
    assert image.shape == (*space.grid.shape, 2)
    assert image.header.get_zooms()[3] == T_R
    np.testing.assert_array_equal(image.affine, space.grid.affine)
    np.testing.assert_array_equal(np.asarray(image.dataobj)[space.mask].T, values)
    assert np.all(np.asarray(image.dataobj)[~space.mask] == 0)


def test_region_weights_average_voxels():
    space, atlas = template_space("mni_4mm"), load_atlas()
    weights = space.region_weights(atlas)
    assert weights.shape == (space.n_voxels, len(atlas.regions))
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
    xyz = nibabel.affines.apply_affine(space.grid.affine, np.argwhere(space.mask))
    assert np.linalg.norm(weights.T @ xyz - atlas.centres, axis=1).max() < 5, "regions lie where the atlas has them"


def test_unknown_spaces_are_refused():
    with pytest.raises(RequestError, match="grid"):
        template_space("mni_5mm")
    with pytest.raises(RequestError, match="mask"):
        template_space("mni_4mm", "grey")
    assert bold.template_mask("mni_4mm").shape == (40, 48, 39)


# ------------------------------------------------------------------------------------------------ from files


@pytest.mark.slow
def test_regions_of_the_template_and_of_the_scanners_space_tell_the_same(tmp_path, monkeypatch):
    """Volumes carried to the template and averaged there, against labels carried to the run and averaged there."""
    from dataclasses import replace

    from eegfmri.datasets import oddball
    from eegfmri.preprocessing.volumes import VolumeSettings, prepare_volumes
    from eegfmri.simulation.parameters import SCALES
    from eegfmri.simulation.simulate import simulate

    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / "cache"))
    scale = replace(SCALES["oddball"]["small"], n_subjects=1)
    root = simulate("oddball", tmp_path / "oddball", scale=scale, quirks=())
    recording = next(iter(oddball.read(root).select(usable=True)))
    stream = prepare_volumes(recording, VolumeSettings())
    volumes, atlas = np.asarray(stream.load()), load_atlas()
    assert volumes.shape == (stream.space.n_voxels, recording.n_volumes)
    series = volumes.T @ stream.space.region_weights(atlas)
    plain = bold.BoldSettings(high_pass=0.008, tissue_regressors=False)
    cleaned = bold.clean(series.T, recording.t_r, None, high_pass=0.008)
    native = bold.prepare(recording, plain).load()
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(cleaned, native, strict=True) if np.std(a) > 0 and np.std(b) > 0]
    # voxels of about 6 mm resampled to 4 mm: the two averages share most voxels, not all
    assert len(r) > 90
    assert np.median(r) > 0.8
    steady = prepare_volumes(recording, VolumeSettings(high_pass=0.008, tissue_regressors=True, motion_regressors=6))
    steadied = np.asarray(steady.load())
    np.testing.assert_allclose(steadied.mean(axis=1), volumes.mean(axis=1), rtol=1e-3, atol=0.5)
    spectrum = [np.abs(np.fft.rfft(rows - rows.mean(axis=1, keepdims=True))) ** 2 for rows in (volumes, steadied)]
    slow = np.fft.rfftfreq(recording.n_volumes, recording.t_r) < 0.006
    slow[0] = False
    assert spectrum[1][:, slow].sum() < 0.1 * spectrum[0][:, slow].sum(), "drift is gone"
    assert spectrum[1][:, ~slow].sum() < spectrum[0][:, ~slow].sum(), "and so is what moves with tissue and head"
    assert spectrum[1][:, ~slow].sum() > 0.3 * spectrum[0][:, ~slow].sum(), "but not everything"
    again = prepare_volumes(recording, VolumeSettings(n_dropped=5))
    assert again.start == pytest.approx(5.5 * recording.t_r)
    assert again.load().shape[1] == recording.n_volumes - 5


@pytest.mark.parametrize("sizes", [(2.0, 2.0, 2.0), (4.0, 2.0, 8.0)])
def test_larger_voxels_hold_the_mean_of_smaller_ones(sizes):
    """Stripes that are finer than a voxel of the grid would come back as stripes that nobody planted."""
    rng = np.random.default_rng(0)
    shape = np.ceil(np.array([96.0, 96.0, 96.0]) / sizes).astype(int)
    affine = np.diag([*sizes, 1.0])
    image = nibabel.Nifti1Image(rng.normal(size=(*shape, 2)).astype(np.float32), affine)
    grid = Grid((12, 12, 12), np.diag([8.0, 8.0, 8.0, 1.0]))
    blurred = volumes._blurred_for(image, grid)
    inner = (slice(2, -2),) * 3
    picked, averaged = (np.asarray(resample(run, grid).dataobj)[inner] for run in (image, blurred))
    kept = np.prod(np.array(sizes) / 8.0)  # variance of the mean over a voxel
    assert averaged.var() == pytest.approx(kept, rel=0.35)
    assert picked.var() > 2 * averaged.var() if kept < 0.3 else True
    slow = np.sin(2 * np.pi * np.arange(shape[0]) * sizes[0] / 96)[:, None, None, None] * np.ones((*shape, 2))
    passed = volumes._blurred_for(nibabel.Nifti1Image(slow.astype(np.float32), affine), grid)
    assert np.ptp(np.asarray(passed.dataobj)) > 0.95 * np.ptp(slow)


def test_a_grid_of_smaller_voxels_leaves_a_run_as_it_is():
    image = nibabel.Nifti1Image(np.ones((4, 4, 4, 2), np.float32), np.diag([8.0, 8.0, 8.0, 1.0]))
    assert volumes._blurred_for(image, GRIDS["mni_4mm"]) is image


def test_turned_axes_are_compared_with_those_of_the_grid_they_lie_along():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(20, 20, 20, 1)).astype(np.float32)
    grid = Grid((10, 10, 10), np.diag([2.0, 2.0, 8.0, 1.0]))
    # the run's first axis is the scanner's third
    turned = np.array([[0.0, 0, 2, 0], [0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]])
    blurred = np.asarray(volumes._blurred_for(nibabel.Nifti1Image(data, turned), grid).dataobj)
    step = [np.abs(np.diff(blurred, axis=axis)).mean() for axis in range(3)]
    assert step[0] < 0.5 * min(step[1:])
