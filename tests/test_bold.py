"""Each step of BOLD preprocessing against something independent of it, and the whole on a real run."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest

from eegfmri import images
from eegfmri.datasets import sleep
from eegfmri.datasets.single_files import open_bold
from eegfmri.errors import DataError, RequestError
from eegfmri.preprocessing import bold, registration
from eegfmri.preprocessing.atlas import HARVARD_OXFORD, load_atlas
from eegfmri.preprocessing.registration import GRIDS, Grid, Motion
from sleep_layout import epochs, write_labels, write_run

T_R = 2.0


def test_slice_orders():
    np.testing.assert_allclose(bold.acquisition_times(4, 2.0), [0, 0.5, 1, 1.5])
    np.testing.assert_allclose(bold.acquisition_times(4, 2.0, "descending"), [1.5, 1, 0.5, 0])
    np.testing.assert_allclose(bold.acquisition_times(5, 2.0, "interleaved"), [0, 1.2, 0.4, 1.6, 0.8])
    np.testing.assert_allclose(bold.acquisition_times(4, 2.0, "interleaved odd first"), [1, 0, 1.5, 0.5])
    with pytest.raises(RequestError, match="slice order"):
        bold.acquisition_times(4, 2.0, "sideways")


def waves(times, n_volumes=100, frequency=0.05, shape=(2, 3)):
    moments = T_R * np.arange(n_volumes) + times[:, None]
    wave = 1000 + 20 * np.sin(2 * np.pi * frequency * moments)
    return nibabel.Nifti1Image(np.broadcast_to(wave, (*shape, *wave.shape)).astype(np.float32), np.eye(4))


@pytest.mark.parametrize("order", ["ascending", "descending", "interleaved"])
@pytest.mark.parametrize("reference", [None, 0.0, 0.6])
def test_a_planted_phase_is_recovered(order, reference):
    times = bold.acquisition_times(8, T_R, order)
    mended = np.asarray(bold.correct_slice_times(waves(times), times, T_R, reference).dataobj)
    wanted = np.asarray(waves(np.full(8, T_R / 2 if reference is None else reference)).dataobj)
    # a cubic spline through 10 samples a period errs by well under a percent of the wave's 20 units
    np.testing.assert_allclose(mended[..., 3:-3], wanted[..., 3:-3], atol=0.2)


def test_a_slice_at_the_reference_stays_as_it_is():
    times = np.full(4, 0.7)
    image = waves(times)
    np.testing.assert_allclose(bold.correct_slice_times(image, times, T_R, 0.7).dataobj, image.dataobj, rtol=1e-6)


@pytest.mark.parametrize("times", [np.zeros(3), np.array([0, 1, 2, 2.5]), np.array([-0.1, 0, 1, 1.5])])
def test_slice_times_that_cannot_be_are_refused(times):
    with pytest.raises(RequestError, match="4 slices"):
        bold.correct_slice_times(waves(np.zeros(4)), times, T_R)


def test_slice_times_come_from_the_sidecar_or_not_at_all(tmp_path):
    image = tmp_path / "sub-01_bold.nii.gz"
    with pytest.raises(DataError, match="SliceTiming"):
        images.read_slice_times(image)
    (tmp_path / "sub-01_bold.json").write_text(json.dumps({"SliceTiming": [1.0, 0.0]}))
    np.testing.assert_array_equal(images.read_slice_times(image), [1, 0])


def some_motion(n_volumes=50, seed=0):
    rng = np.random.default_rng(seed)
    moved = np.cumsum(rng.standard_normal((n_volumes, 6)), axis=0) * [0.05, 0.05, 0.05, 1e-3, 1e-3, 1e-3]
    return Motion(registration.matrices_of(moved, np.zeros(3)), np.zeros(3))


#: Behind a motion parameter: itself, its change, and the squares of both.
SUFFIXES = ("", "_derivative1", "_power2", "_derivative1_power2")


def test_confounds_are_the_means_and_parameters_that_they_are_called():
    rng = np.random.default_rng(1)
    data = rng.standard_normal((4, 4, 4, 50)).astype(np.float32)
    image = nibabel.Nifti1Image(data, np.eye(4))
    shares = {name: np.zeros((4, 4, 4)) for name in ("white_matter", "csf", "brain")}
    shares["white_matter"][0], shares["csf"][1], shares["brain"][:] = 1, 1, 1
    motion = some_motion()
    table = bold.confounds(image, shares, motion, global_signal=True, motion_regressors=24)
    assert table.shape == (50, 3 + 24)
    np.testing.assert_allclose(table["white_matter"], data[0].mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(table["global_signal"], data.mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(table["rot_z_derivative1_power2"].iloc[1:], np.diff(motion.parameters[:, 5]) ** 2)
    np.testing.assert_allclose(table["trans_y"], motion.parameters[:, 1])
    assert set(table.columns) == {
        *("white_matter", "csf", "global_signal"),
        *(f"{kind}_{axis}{suffix}" for kind in ("trans", "rot") for axis in "xyz" for suffix in SUFFIXES),
    }, "the names of fMRIPrep's confounds"
    assert bold.confounds(image, shares, motion, tissues=False, motion_regressors=6).shape == (50, 6)
    assert bold.confounds(image, shares, tissues=False).shape == (50, 0)
    with pytest.raises(RequestError, match="motion"):
        bold.confounds(image, shares, motion_regressors=6)


def test_regression_is_least_squares():
    rng = np.random.default_rng(2)
    regressors = rng.standard_normal((80, 3))
    series = 500 + rng.standard_normal((4, 80)) + (regressors @ rng.standard_normal((3, 4))).T
    cleaned = bold.clean(series, T_R, regressors, high_pass=None, standardise=None)
    design = np.column_stack([np.ones(80), regressors])
    fitted = design @ np.linalg.lstsq(design, series.T, rcond=None)[0]
    residue = (series.T - fitted).T
    np.testing.assert_allclose(cleaned - cleaned.mean(axis=1, keepdims=True), residue, atol=1e-6)


def test_drift_goes_and_a_faster_wave_stays():
    t = T_R * np.arange(300)
    wave = np.sin(2 * np.pi * 0.05 * t)
    for drift in ("butterworth", "cosine"):
        cleaned = bold.clean((1000 + 0.05 * t + wave)[None], T_R, drift=drift, standardise=None)[0]
        inside = slice(30, -30)
        assert np.corrcoef(cleaned[inside], wave[inside])[0, 1] > 0.98


def test_censored_volumes_teach_nothing():
    rng = np.random.default_rng(3)
    series, regressors = 100 + rng.standard_normal((3, 60)), rng.standard_normal((60, 2))
    keep = np.ones(60, bool)
    keep[[10, 11, 40]] = False
    poisoned, spoilt = series.copy(), regressors.copy()
    poisoned[:, ~keep], spoilt[~keep] = 1e6, 1e6
    one, other = (
        bold.clean(s, T_R, c, high_pass=None, standardise="zscore", keep=keep)
        for s, c in ((series, regressors), (poisoned, spoilt))
    )
    assert np.isnan(one[:, ~keep]).all()
    np.testing.assert_allclose(one[:, keep], other[:, keep])
    with pytest.raises(RequestError, match="censor less"):
        bold.clean(series, T_R, keep=np.arange(60) < 3)


@pytest.mark.parametrize("standardise", ["psc", "zscore"])
def test_scaling_by_calibration_looks_at_its_minutes_only(standardise):
    rng = np.random.default_rng(4)
    series = 100 + rng.standard_normal((3, 90))
    later = series.copy()
    later[:, 30:] = 100 + 50 * rng.standard_normal((3, 60))
    kwargs = {"high_pass": None, "standardise": standardise, "calibration_minutes": 1.0}
    one, other = bold.clean(series, T_R, **kwargs), bold.clean(later, T_R, **kwargs)
    np.testing.assert_allclose(one[:, :30], other[:, :30], atol=1e-9)
    if standardise == "psc":
        first = series[:, :30]
        expected = 100 * (first - first.mean(axis=1, keepdims=True)) / first.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(one[:, :30], expected, atol=1e-9)
    whole = [bold.clean(s, T_R, high_pass=None, standardise=standardise)[:, :30] for s in (series, later)]
    assert not np.allclose(*whole)


def test_region_means_are_means():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, (6, 6, 6)).astype(np.int16)
    labels[labels == 2] = 0  # a region that is not there
    data = rng.standard_normal((6, 6, 6, 20)).astype(np.float32)
    present, means = bold.region_means(nibabel.Nifti1Image(data, np.eye(4)), nibabel.Nifti1Image(labels, np.eye(4)))
    assert present.tolist() == [1, 3]
    for label, mean in zip(present, means, strict=True):
        np.testing.assert_allclose(mean, data[labels == label].mean(axis=0), atol=1e-5)


def test_voxels_without_signal_leave_their_region():
    level = np.full((6, 6, 6), 100.0, dtype=np.float32)
    level[0], level[1, 0] = 2.0, 25.0  # air; a dropout
    labels = np.ones((6, 6, 6), dtype=np.int16)
    labels[0], labels[5] = 2, 0
    rng = np.random.default_rng(0)
    run = level[..., None] + rng.standard_normal((6, 6, 6, 30)).astype(np.float32)
    run[4, 4, :, 7:9] = 0  # the head moved these voxels out of the field of view for two volumes
    run = nibabel.Nifti1Image(run, np.eye(4))
    kept = bold.with_signal(nibabel.Nifti1Image(labels, np.eye(4)), run)
    values = np.asarray(kept.dataobj)
    assert (values.dtype, set(np.unique(values))) == (np.int16, {0, 1})
    assert not values[0].any()
    assert not values[1, 0].any()
    assert not values[4, 4].any()
    assert values[1:5].sum() == 4 * 36 - 12
    present, means = bold.region_means(run, kept)
    assert present.tolist() == [1]
    assert np.abs(bold.clean(means, T_R, high_pass=None)).max() < 1


@pytest.fixture
def dataset_run(tmp_path, monkeypatch):
    """A run of the sleep layout, and what `prepare` asks to be measured in its image, which is made up."""
    write_run(tmp_path)
    write_labels(tmp_path, "01", epochs())
    calls = []

    def pipeline(image, t_r, settings, t1=None, slice_times=None):
        calls.append({"t_r": t_r, "t1": t1, "slice_times": slice_times})
        return np.random.default_rng(0).uniform(900, 1100, (103, image.shape[3]))  # displacement and two regressors

    monkeypatch.setattr(bold, "_measured", pipeline)
    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / "cache"))
    return tmp_path, calls


def test_what_changes_a_result_changes_its_key_and_nothing_is_made_twice(dataset_run):
    root, calls = dataset_run
    sidecar = root / "sub-01/func/sub-01_task-rest_run-1_bold.json"
    settings = bold.BoldSettings(slice_timing=True)
    paths = []
    for times in ([0, 0.4, 0.8, 1.2, 1.6], [1.6, 1.2, 0.8, 0.4, 0], [0, 0.4, 0.8, 1.2, 1.6]):
        sidecar.write_text(json.dumps({"RepetitionTime": 2.1, "SliceTiming": times}))
        paths.append(bold.prepare(sleep.read(root)[0], settings).path)
    assert paths[0] == paths[2] != paths[1]
    assert [call["slice_times"][0] for call in calls] == [0, 1.6]
    for cleaned in ({"high_pass": 0.01}, {"high_pass": None}, {"standardise": "zscore"}):
        other = bold.prepare(sleep.read(root)[0], bold.BoldSettings(slice_timing=True, **cleaned)).path
        assert other not in paths
        paths.append(other)
    assert len(calls) == 2, "how series are cleaned changes nothing about the image"
    bold.prepare(sleep.read(root)[0], bold.BoldSettings(slice_timing=True, smoothing=6.0))
    assert len(calls) == 3


def test_a_straight_line_is_all_that_goes_without_a_cut_off(dataset_run):
    """What lasts for minutes stays; a line does not, in the regressors either."""
    t = np.arange(300)
    slow = np.sin(2 * np.pi * t / 150)  # a period of 315 s: below any usual cut-off
    cleaned = bold.clean((1000 + 0.5 * t + 5 * slow)[None], T_R, None, high_pass=None, detrend=True)[0]
    fitted = np.polyfit(t, 5 * slow, 1)
    expected = (5 * slow - np.polyval(fitted, t)) / (1000 + 0.5 * t).mean() * 100
    np.testing.assert_allclose(cleaned, expected, atol=1e-3)
    filtered = bold.clean((1000 + 0.5 * t + 5 * slow)[None], T_R, None, high_pass=0.008)[0]
    assert filtered[50:-50].std() < 0.2 * cleaned.std()


def test_the_datasets_t1_is_gone_through_on_request_only(dataset_run):
    root, calls = dataset_run
    anatomy = root / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    anatomy.parent.mkdir()
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 999, (8, 8, 8)).astype(np.int16), np.eye(4)), anatomy
    )
    recording = sleep.read(root)[0]
    paths = {bold.prepare(recording, bold.BoldSettings(through_t1=through)).path for through in (False, True)}
    assert len(paths) == 2
    assert calls[0]["t1"] is None
    assert calls[1]["t1"].shape == (8, 8, 8)


def test_resizing_keeps_things_where_they_are():
    grid = GRIDS["mni_2mm"]
    x = grid.points()
    ball = np.exp(-0.5 * (((x - [20, -30, 10]) / 18) ** 2).sum(axis=1)).reshape(grid.shape).astype(np.float32)
    small = bold.resize(nibabel.Nifti1Image(ball, grid.affine), (64, 64, 30))
    assert small.shape == (64, 64, 30)
    values = np.asarray(small.dataobj)
    where = nibabel.affines.apply_affine(small.affine, np.indices(values.shape).reshape(3, -1).T)
    centre = (values.ravel()[:, None] * where).sum(axis=0) / values.sum()
    np.testing.assert_allclose(centre, [20, -30, 10], atol=0.1)
    volume = np.abs(np.linalg.det(small.affine[:3, :3])) * values.sum()
    assert volume == pytest.approx(8 * ball.sum(), rel=0.01)


def test_an_unknown_grid_is_refused():
    with pytest.raises(RequestError, match="mni_3mm"):
        bold.template_mask("mni_7mm")


def test_the_brain_mask_has_the_volume_of_a_brain():
    litres = bold.template_mask("mni_3mm").sum() * 27 / 1e6
    assert 1.6 < litres < 2.1


def test_still_volumes_are_kept():
    moved = np.zeros((10, 6))
    moved[5:, 0] = 0.7
    motion = Motion(registration.matrices_of(moved, np.zeros(3)), np.zeros(3))
    assert np.flatnonzero(~bold.low_motion_mask(motion, 0.5)).tolist() == [5]


def test_an_atlas_that_cannot_be_fetched_is_refused_or_replaced_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("NILEARN_DATA", str(tmp_path))
    from nilearn import datasets

    def offline(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "fetch_atlas_harvard_oxford", offline)
    monkeypatch.setattr("eegfmri.preprocessing.atlas._load", load_atlas.__globals__["_load"].__wrapped__)
    with pytest.raises(RequestError, match="could not be fetched"):
        load_atlas("harvard_oxford_cortical")
    instead = load_atlas("harvard_oxford_cortical", fallback=True)
    assert instead.name.startswith("offline parcellation")
    assert "in place of harvard_oxford_cortical" in instead.name
    assert len(instead.regions) == 100


@pytest.mark.parametrize("name, n", [("schaefer", 7), ("offline", 3), ("harvard_oxford_cortical", 100), ("aal", 100)])
def test_atlases_that_do_not_exist_are_refused(name, n):
    with pytest.raises(RequestError, match="atlas"):
        load_atlas(name, n)


@pytest.mark.real_data
def test_published_atlases_load_with_names_in_label_order(nilearn_data):
    schaefer = load_atlas("schaefer")
    assert len(schaefer.regions) == len(schaefer.centres) == 100
    left = np.array([name.startswith("LH") for name in schaefer.regions])
    assert (schaefer.centres[left, 0] < 0).all()
    assert (schaefer.centres[~left, 0] > 0).all()
    for name, (_, size) in HARVARD_OXFORD.items():
        atlas = load_atlas(name)
        labels = np.unique(np.asarray(atlas.image.dataobj))
        assert labels.tolist() == list(range(size + 1))
        assert len(atlas.regions) == size
    cortex = load_atlas("harvard_oxford_cortical")
    by_name = dict(zip(cortex.regions, cortex.centres, strict=True))
    assert by_name["Frontal Pole"][1] > 30 > -80 > by_name["Occipital Pole"][1]


def test_files_of_ones_own_are_checked(tmp_path):
    with pytest.raises(DataError, match="no file"):
        open_bold(tmp_path / "none.nii.gz")
    flat = tmp_path / "flat.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), flat)
    with pytest.raises(DataError, match="axes"):
        open_bold(flat)
    timeless = tmp_path / "timeless.nii.gz"
    volumes = np.random.default_rng(0).integers(0, 900, (4, 4, 4, 12)).astype(np.int16)
    image = nibabel.Nifti1Image(volumes, np.eye(4))
    image.header.set_zooms((3, 3, 3, 0))
    nibabel.save(image, timeless)
    with pytest.raises(DataError, match="repetition time"):
        open_bold(timeless)
    assert open_bold(timeless, 2.1)[0].t_r == 2.1


@pytest.fixture(scope="module")
def real_run(request):
    """The real run through the pipeline once: motion, registration, and what follows from them."""
    folder = request.getfixturevalue("real_data") / "studyforrest_bold"
    recording = open_bold(folder / "sub-02_task-oneback_run-1_bold.nii.gz")[0]
    image = recording.image()
    motion = registration.estimate_motion(image)
    reference = bold.mean_volume(registration.resample(image, Grid.of(image), motion=motion))
    way = registration.register_to_template(reference, kind="syn")
    events = pd.read_csv(folder / "sub-02_task-oneback_run-1_events.tsv", sep="\t")
    return recording, image, motion, reference, way, events


def test_templates_are_read_once_for_all_runs(monkeypatch):
    import nilearn.datasets

    grid = GRIDS["mni_4mm"]
    first = bold.tissue_shares(registration.Transform(), _image(grid))
    monkeypatch.delattr(nilearn.datasets, "load_mni152_gm_template")
    again = bold.tissue_shares(registration.Transform(), _image(grid))
    assert list(first) == list(again) == ["white_matter", "csf", "brain"]
    for name, share in first.items():
        np.testing.assert_array_equal(again[name], share)
    assert first["brain"].max() > 0.9 and not np.any((first["white_matter"] > 0.6) & (first["csf"] > 0.6))


@pytest.mark.slow
@pytest.mark.real_data
def test_a_real_run_lies_where_the_template_does(real_run):
    _, _, motion, reference, way, _ = real_run
    assert motion.framewise_displacement().max() < 1  # a calm subject
    grid = GRIDS["mni_2mm"]
    moved = np.asarray(registration.resample(reference, grid, way.to_run).dataobj)
    mask = nibabel.Nifti1Image(registration.epi_mask(reference).astype(np.float32), reference.affine)
    covered = np.asarray(registration.resample(mask, grid, way.to_run).dataobj) > 0.5
    inside = bold.template_mask(grid)
    # nothing is matched where the run lost its signal, above the sinuses: there the outlines differ, as they should
    assert 2 * (covered & inside).sum() / (covered.sum() + inside.sum()) > 0.9
    # the outline is not enough: cerebrospinal fluid is bright in BOLD, and must be so where the template has its ventricles
    x = grid.points()
    core = (np.abs(x[:, 0]) < 24) & (np.abs(x[:, 1] + 10) < 35) & (np.abs(x[:, 2] - 14) < 14)
    shares = {name: s.ravel() for name, s in bold.tissue_shares(registration.Transform(), _image(grid)).items()}
    csf, white = (moved.ravel()[core & (shares[name] > 0.6)].mean() for name in ("csf", "white_matter"))
    assert csf > 1.1 * white


def _image(grid):
    return nibabel.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine)


@pytest.mark.slow
@pytest.mark.real_data
def test_a_real_run_gives_a_hundred_schaefer_series(real_run, nilearn_data):
    _, image, motion, reference, way, _ = real_run
    atlas = load_atlas("schaefer")
    labels = registration.resample(atlas.image, Grid.of(reference), way.to_template, interpolation="nearest")
    present, means = bold.region_means(image, labels)
    assert present.tolist() == list(range(1, 101))
    shares = bold.tissue_shares(way.to_template, reference)
    table = bold.confounds(image, shares, motion, motion_regressors=24)
    series = bold.clean(means, 2.0, table)
    assert series.shape == (100, 156)
    assert np.isfinite(series).all()
    assert (series.std(axis=1) > 0.02).all()
    # regions that mirror each other across the midline go together more than others do
    r = np.corrcoef(series)
    mirrored = np.linalg.norm(atlas.centres[:50, None] * [-1, 1, 1] - atlas.centres[None, 50:], axis=2).argmin(axis=1)
    assert r[np.arange(50), 50 + mirrored].mean() > r[np.triu_indices(100, 1)].mean() + 0.2


@pytest.mark.slow
@pytest.mark.real_data
def test_faces_answer_in_ventral_temporal_cortex(real_run, nilearn_data):
    from nilearn.glm.first_level import FirstLevelModel

    recording, image, motion, _, way, events = real_run
    grid = GRIDS["mni_3mm"]
    mask = bold.template_mask(grid)
    volumes = bold.smooth(bold.in_template(image, way, grid, motion, mask), 6.0)
    model = FirstLevelModel(
        t_r=recording.t_r,
        mask_img=nibabel.Nifti1Image(mask.astype(np.uint8), grid.affine),
        high_pass=0.008,
        slice_time_ref=0.5,
    )
    regressors = bold.confounds(image, {}, motion, tissues=False, motion_regressors=6)
    model.fit(volumes, events[["onset", "duration", "trial_type"]], confounds=regressors)

    atlas = load_atlas("harvard_oxford_cortical")
    labels = np.asarray(registration.resample(atlas.image, grid, interpolation="nearest").dataobj)
    fusiform = np.isin(labels, [n for n, name in enumerate(atlas.regions, 1) if "Fusiform" in name])
    points = grid.points().reshape(*grid.shape, 3)

    others = [name for name in events["trial_type"].unique() if name != "face"]
    faces = np.asarray(
        model.compute_contrast(f"face - ({'+'.join(others)})/{len(others)}", output_type="z_score").dataobj
    )
    peak = points[np.unravel_index(np.argmax(faces), faces.shape)]
    print(f"faces against the other categories: z = {faces.max():.1f} at {peak} mm")
    assert faces.max() > 5
    # two voxels of 3 mm: the atlas's border is no sharper than its subjects' anatomy
    assert np.linalg.norm(points[fusiform] - peak, axis=1).min() < 6
    assert peak[2] < -8

    anything = np.asarray(model.compute_contrast("+".join(["face", *others]), output_type="z_score").dataobj)
    top = points[np.unravel_index(np.argmax(anything), anything.shape)]
    print(f"all against rest: z = {anything.max():.1f} at {top} mm; in fusiform cortex {anything[fusiform].max():.1f}")
    # everything that is seen excites occipital cortex first; fusiform cortex answers almost as much
    assert anything.max() > 10
    assert anything[fusiform].max() > 10
    assert top[1] < -50
