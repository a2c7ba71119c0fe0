"""What scores of volumes depend on: scalings, voxels counted, settings of SSIM; and what they do not notice."""

import numpy as np
import pytest

from eegfmri.errors import RequestError
from eegfmri.evaluation import metric_sensitivity as score_choices
from eegfmri.evaluation.leaks import poisoned
from eegfmri.evaluation.splits import SubjectFolds
from eegfmri.metrics import volumes as volume_metrics
from eegfmri.preprocessing.volumes import VolumeScaling
from volumes_made import cut_volumes, made_runs

KINDS = ("standardised", "unit", "normalised", "zscore", "raw")


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return cut_volumes(
        made_runs(tmp_path_factory.mktemp("runs"), n_subjects=4, n_runs=1, n_volumes=40), eeg_seconds=4.0
    )


@pytest.fixture(scope="module")
def fold(windows):
    return next(iter(SubjectFolds(4).split(windows)))


def test_standardised_volumes_have_mean_0_and_deviation_1_subject_by_subject(windows, fold):
    scaling = VolumeScaling("standardised").fit(windows[fold.train])
    for part in (windows[fold.train], windows[fold.test]):
        targets = scaling.targets(part)
        for subject in part.subjects:
            own = targets[np.flatnonzero(part.groups == subject)]
            assert own.mean() == pytest.approx(0, abs=1e-5)
            assert own.std() == pytest.approx(1, abs=1e-5)
    assert scaling.transductive
    # voxels keep their differences: what varies is anatomy first of all
    assert own.mean(axis=0).std() > 0.9


@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("to", KINDS)
def test_a_prediction_carried_to_another_scaling_is_the_same_volume(windows, fold, of, to):
    first, second = (VolumeScaling(kind).fit(windows[fold.train]).targets(windows[fold.test]) for kind in (of, to))
    subject = windows.groups[fold.test[3]]
    found = score_choices.rescale(first[3][0], first.subjects[subject], second.subjects[subject])
    np.testing.assert_allclose(found, second[3][0], atol=2e-3)


def test_scores_in_all_scalings_are_those_of_the_metrics(windows, fold):
    base = VolumeScaling("standardised")
    table = score_choices.under_scalings(
        {"mean": score_choices.subject_mean}, windows, [fold], base, ["zscore"], every=8,
        native={"truth": score_choices.oracle, "training": score_choices.training_mean},
    )  # fmt: skip
    own = table[table["predictor"] == "mean"]
    assert len(own) == len(range(0, len(fold.test), 8))
    # a voxel's own mean over time is off by its deviation, whose square is 1 in these units, on average over volumes
    every = score_choices.under_scalings(
        {"mean": score_choices.subject_mean}, windows, [fold], base, ["zscore"], every=1
    )
    assert every["mse"].mean() == pytest.approx(1, abs=0.01)
    space = windows.bold.streams[0].space
    np.testing.assert_allclose(own["mse_whole"], own["mse"] * space.n_voxels / space.mask.size, rtol=1e-6)
    np.testing.assert_allclose(own["psnr"], 10 * np.log10(own["range"] ** 2 / own["mse"]))
    truth = table[table["predictor"] == "truth"]
    np.testing.assert_allclose(truth["ssim"], 1, atol=1e-6)
    assert (truth["mse"] == 0).all()
    # zscore takes everybody's own mean away, so that the mean of training subjects is 0 nearly everywhere
    assert table.loc[table["predictor"] == "training", "mse"].mean() == pytest.approx(own["mse"].mean(), rel=0.02)


def test_flattened_and_shuffled_volumes_are_what_they_say(windows, fold):
    truth = VolumeScaling("raw").fit(windows[fold.train]).targets(windows[fold.test])
    true = score_choices.oracle(fold, None, truth)
    half, none = (score_choices.attenuate(share)(fold, None, truth) for share in (0.5, 0.0))
    np.testing.assert_allclose(score_choices.attenuate(1.0)(fold, None, truth), true, atol=1e-5)
    np.testing.assert_allclose(half.std(axis=0), 0.5 * true.std(axis=0), rtol=1e-3)
    assert none.std(axis=0).max() < 1e-6
    np.testing.assert_allclose(none[0], true.mean(axis=0), rtol=1e-5)
    mixed = score_choices.shuffled(score_choices.oracle, 0)(fold, None, truth)
    assert not np.allclose(mixed, true)
    np.testing.assert_allclose(np.sort(mixed, axis=0), np.sort(true, axis=0))


def test_scores_fall_as_fluctuations_do_only_where_anatomy_is_gone(windows, fold):
    shares = {str(share): score_choices.attenuate(share) for share in (0.5, 0.0)}
    table = score_choices.under_scalings(
        shares, windows, [fold], VolumeScaling("raw"), ["standardised", "zscore"], every=8
    )
    ssim = table.groupby(["scaling", "predictor"])["ssim_inside"].mean()
    # the signal is 2 % of the intensity, anatomy differs by 30 % from voxel to voxel: hardly anything is missing
    assert ssim["standardised", "0.0"] > 0.8
    assert ssim["zscore", "0.0"] < 0.2
    assert ssim["zscore", "0.5"] > ssim["zscore", "0.0"]


def test_settings_of_ssim_are_all_there_and_agree_with_the_metric(windows, fold):
    space = windows.bold.streams[0].space
    truth = VolumeScaling("raw").fit(windows[fold.train]).targets(windows[fold.test])
    true = truth[np.arange(4)]
    said = true + np.random.default_rng(0).normal(0, 0.1, true.shape).astype(np.float32)
    table = score_choices.ssim_settings(true, said, space, {"one": lambda volume: 1.0, "two": lambda volume: 2.0})
    assert len(table) == 2 * 2 * 2 * 3
    chosen = table.query("range == 'one' and window == 'Gaussian, 1.5' and dimensions == 3").set_index("counted")[
        "ssim"
    ]
    found = [
        volume_metrics.ssim(space.fill(a), space.fill(b), 1.0, volume_metrics.eroded(space.mask))
        for a, b in zip(true, said, strict=True)
    ]
    assert chosen["without its border"] == pytest.approx(np.mean([one.whole for one in found]), abs=1e-6)
    assert chosen["inside the brain"] == pytest.approx(np.mean([one.inside for one in found]), abs=1e-6)
    by_range = table.groupby("range")["ssim"].mean()
    assert by_range["two"] > by_range["one"]  # a wider range forgives more
    same = score_choices.ssim_settings(true, true, space, {"one": lambda volume: 1.0})
    np.testing.assert_allclose(same["ssim"], 1)
    with pytest.raises(RequestError, match="shapes"):
        score_choices.ssim_settings(true, said[:2], space, {"one": lambda volume: 1.0})


def test_lost_amplitude_is_measured_as_planted():
    rng = np.random.default_rng(0)
    times = np.arange(256)
    slow, fast = (np.sin(2 * np.pi * f * times / 256 + rng.uniform(0, 6, (3, 1))).T for f in (8, 64))
    true = slow + fast + 5.0
    said = 0.5 * slow + 0.1 * fast - 2.0
    hertz, ratio = volume_metrics.amplitude_by_frequency(true, said, t_r=2.0)
    assert ratio.shape == (len(hertz), 3)
    np.testing.assert_allclose(ratio[np.argmin(abs(hertz - 8 / 512))], 0.5, rtol=0.02)
    np.testing.assert_allclose(ratio[np.argmin(abs(hertz - 64 / 512))], 0.1, rtol=0.02)
    np.testing.assert_allclose(volume_metrics.amplitude_ratio(true, said), np.sqrt((0.25 + 0.01) / 2), rtol=1e-6)
    np.testing.assert_allclose(volume_metrics.peak_ratio(true, 0.3 * true + 1), 0.3)
    np.testing.assert_allclose(volume_metrics.peak_ratio(true, np.ones_like(true)), 0, atol=1e-12)
    noise = volume_metrics.peak_ratio(rng.normal(size=(4000, 5)), rng.normal(size=(4000, 5)))
    # 200 peaks of two deviations: the mean of as many unrelated values has a standard error of 0.035
    assert np.abs(noise).max() < 0.15
    assert np.isnan(volume_metrics.peak_ratio(np.ones((9, 1)), rng.normal(size=(9, 1)))).all()


@pytest.mark.filterwarnings("error")
def test_a_subject_of_whom_nothing_was_measured_is_not_scaled_and_nothing_is_said(windows, fold, tmp_path):
    spoilt = poisoned(windows, windows[fold.test].subjects[0], tmp_path)  # noise about 0: no voxel has signal
    targets = VolumeScaling("standardised").fit(spoilt[fold.train]).targets(spoilt[fold.test])
    assert not targets.measured(spoilt.groups[fold.test[0]]).any()
    assert (targets[0] == 0).all()
