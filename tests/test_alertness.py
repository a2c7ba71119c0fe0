"""Alertness and responses from made-up series: planted agreement, delay and kernel are found, chance is called chance."""

import numpy as np
import pytest

import coupling_layout as layout
from eegfmri.datasets.coupling_files import read_alertness, read_correlation_maps, read_responses
from eegfmri.errors import RequestError
from eegfmri.recovery import alertness, measured, reference, responses


def slow(rng, n_times, n_series=1):
    """Courses of unit variance, each the moving average of noise."""
    courses = np.stack([np.convolve(rng.standard_normal(n_times + 19), np.ones(20), "valid") for _ in range(n_series)])
    return (courses - courses.mean(axis=1, keepdims=True)) / courses.std(axis=1, keepdims=True)


def test_a_planted_delay_is_where_the_curve_is_highest():
    x = slow(np.random.default_rng(0), 500)[0]
    lags, curves = alertness.lag_curves({"a": (x[3:], x[:-3]), "b": (x[3:], x[:-3])}, 2.0)
    # BOLD shows three volumes later what EEG showed
    assert lags[curves.mean(axis=0).argmax()] == pytest.approx(6.0)
    assert curves.max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(curves[0], curves[1])


def test_surrogates_excuse_slow_series_that_have_nothing_in_common():
    rng = np.random.default_rng(1)
    p = [alertness.surrogate_test(*slow(rng, 300, 2), n_surrogates=199, seed=rng)[0] for _ in range(100)]
    # one in twenty is expected; 12 of 100 are exceeded once in 200 times
    assert np.mean(np.array(p) < 0.05) <= 0.12
    naive = 1.96 / np.sqrt(300)
    _, limit = alertness.surrogate_test(*slow(rng, 300, 2), seed=0)
    assert limit > 2 * naive


def test_surrogates_leave_real_agreement_standing():
    shared, one, other = slow(np.random.default_rng(2), 300, 3)
    p, limit = alertness.surrogate_test(shared + 0.5 * one, shared + 0.5 * other, seed=0)
    assert p == pytest.approx(1 / 1001)
    assert limit < 0.8


def test_the_terms_of_explained_variance_add_up():
    rng = np.random.default_rng(3)
    for _ in range(20):
        values, predicted = rng.normal(rng.normal(), 1, 50), rng.normal(rng.normal(), rng.uniform(0.1, 3), 50)
        found = alertness.transfer(values, predicted)
        assert found.r**2 - found.scale_loss - found.offset_loss == pytest.approx(found.r_squared, abs=1e-9)
        assert found.r_squared == pytest.approx(1 - np.mean((values - predicted) ** 2) / values.var())


def test_a_subject_on_another_scale_keeps_its_correlation_and_loses_its_explained_variance():
    rng = np.random.default_rng(4)
    series = {}
    for subject in range(5):
        shared, own = slow(rng, 300, 2)
        series[subject] = (shared * (4 if subject == 0 else 1), shared + own)
    found = alertness.leave_one_subject_out(series)
    assert found[0].r == pytest.approx(alertness.correlations(series)[0])
    assert found[0].r > 0.5
    assert found[0].r_squared < -1
    assert found[0].scale_loss > 10 * found[0].offset_loss
    assert all(found[subject].r_squared > 0.1 for subject in range(1, 5))


def test_what_is_fitted_never_sees_the_subject_that_is_predicted():
    rng = np.random.default_rng(5)
    series = {subject: tuple(slow(rng, 200, 2)) for subject in range(3)}
    before = alertness.leave_one_subject_out(series)[0]
    eeg, bold = series[0]
    poisoned = alertness.leave_one_subject_out(series | {0: (eeg, 1000 * bold)})[0]
    # the prediction is the same line of the same EEG, so its correlation with the scaled values is, too
    assert poisoned.r == pytest.approx(before.r)
    with pytest.raises(RequestError, match="two subjects"):
        alertness.leave_one_subject_out({0: series[0]})


def test_the_fast_are_alert_where_that_is_planted():
    times = 10.0 * np.arange(1, 30)
    course = np.sin(np.arange(200) / 9.0)
    at = np.interp(times + 5, 2.0 * np.arange(200), course)
    reactions = 0.5 - 0.1 * at
    assert alertness.with_reactions(course, 2.0, times, reactions) == pytest.approx(-1)
    reactions[8:] = np.nan
    assert np.isnan(alertness.with_reactions(course, 2.0, times, reactions))


def test_a_signal_is_averaged_over_the_time_before_each_volume():
    ramp = np.arange(100.0)
    np.testing.assert_allclose(responses.before_volumes(ramp, 10.0, np.array([1.0, 2.0, 10.0]), 1.0), [4.5, 14.5, 94.5])
    with pytest.raises(RequestError, match="no sample"):
        responses.before_volumes(ramp, 10.0, np.array([0.0, 1.0]), 1.0)


def test_lagged_columns_are_the_past():
    design = responses.lagged(np.array([1.0, 2.0, 3.0, 6.0]), 3)
    np.testing.assert_allclose(design[:, 0], [1, 2, 3, 6])
    np.testing.assert_allclose(design[2], [3, 2, 1])
    np.testing.assert_allclose(design[0], [1, 3, 3])  # the mean is 3


def test_no_training_sample_reaches_into_a_held_out_block():
    for train, test in responses.blocks(103, 5, 7):
        assert np.all(np.diff(test) == 1)
        assert np.abs(train[:, None] - test[None]).min() == 8


def test_a_planted_response_is_found_and_predicts_what_was_held_out():
    rng = np.random.default_rng(6)
    step, seconds = 0.5, 12.0
    neural = slow(rng, 1200)[0] + rng.standard_normal(1200)
    times = step * np.arange(24)
    kernel = times**4 * np.exp(-times)  # peaks at 4 s
    clean = np.convolve(neural, kernel / kernel.sum())[:1200]
    found = responses.estimate_response(neural, clean + 0.2 * clean.std() * rng.standard_normal(1200), step, seconds)
    assert found.peak == pytest.approx(4.0, abs=step)
    assert np.corrcoef(found.kernel, kernel)[0, 1] > 0.97
    assert found.held_out.min() > 0.9
    nothing = responses.estimate_response(neural, rng.standard_normal(1200), step, seconds)
    assert np.abs(nothing.held_out.mean()) < 0.2
    with pytest.raises(RequestError, match="longer series"):
        responses.estimate_response(neural[:50], clean[:50], step, seconds)


def test_stimuli_with_a_canonical_response_predict_bold_that_follows_stimuli():
    stimuli, times = np.array([10.0, 50.0]), np.arange(0.0, 100.0, 1.5)
    predicted = responses.stimulus_prediction(stimuli, times)
    assert times[predicted.argmax()] - 10.0 in (pytest.approx(4.0, abs=2.0), pytest.approx(44.0, abs=2.0))
    assert np.abs(predicted[times < 10]).max() < 1e-12
    assert responses.within_blocks(predicted, 2 * predicted + 1, 2) == pytest.approx([1, 1])


def test_both_recordings_of_a_folder_give_the_planted_peak(tmp_path):
    found = measured.response_statistics(read_responses(layout.write_responses(tmp_path / "r")))
    values = found["values"]
    assert values["lfp_peak"] == pytest.approx(3.0, abs=0.5)
    assert values["cross_correlation"] < -0.5
    assert values["calcium_held_out"] > 0.8
    assert len(found["calcium"]["held_out"]) == values["n_blocks"] == 5


def test_statistics_of_maps_are_means_over_subjects(tmp_path):
    maps = read_correlation_maps(layout.write_maps(tmp_path / "maps.npz"))
    found = measured.coupling_statistics(maps)
    assert found["values"]["dan_alpha_mean"] == pytest.approx(maps.r[:, 0, 2:4, 7:12].mean(), abs=1e-4)
    assert found["values"]["dmn_alpha_mean"] == pytest.approx(maps.r[:, 1, :11, 7:12].mean(), abs=1e-4)
    np.testing.assert_allclose(found["mean"]["DMN"], maps.r[:, 1].mean(axis=0), atol=6e-4)
    np.testing.assert_allclose(found["sd"]["DAN"], maps.r[:, 0].std(axis=0, ddof=1), atol=6e-4)


def test_the_strongest_bin_of_noise_is_no_finding_and_a_planted_one_is(tmp_path):
    noise = read_correlation_maps(layout.write_maps(tmp_path / "maps.npz", r_DAN=layout.map_arrays()["r_DMN"]))
    assert measured.strongest_bin(noise).p > 0.05
    planted = layout.map_arrays(10)
    planted["r_DAN"][:, 3, 9] -= 0.4
    found = measured.strongest_bin(read_correlation_maps(layout.write_maps(tmp_path / "planted.npz", **planted)))
    assert (found.network, found.lag, found.frequency) == ("DAN", 3.0, 10.0)
    assert found.r == pytest.approx(-0.4, abs=0.1)
    assert found.p < 0.02


def test_own_files_take_the_place_of_what_is_shipped(tmp_path):
    folder = layout.write_alertness(tmp_path / "own", (1, 2, 10, 11))
    shipped, own = reference.measured("alertness"), reference.measured("alertness", folder)
    assert shipped.files is None
    assert "2026-11-27" in shipped.sentence
    assert shipped.statistics["values"].keys() == own.statistics["values"].keys()
    assert shipped.statistics["subjects"][0].keys() == own.statistics["subjects"][0].keys()
    assert [entry["subject"] for entry in own.statistics["subjects"]] == ["1", "2", "10", "11"]
    run = read_alertness(folder).runs[10]
    r = np.corrcoef(run.eeg, run.bold)[0, 1]
    assert own.statistics["subjects"][2]["r"] == pytest.approx(r, abs=1e-4)
    assert own.statistics["subjects"][0]["n_missed"] == 1
    assert not own.simulated
    assert not shipped.simulated
