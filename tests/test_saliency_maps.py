"""Saliency: maps, salient nodes, patterns, recovery; lags with random phases and family-wise correction."""

import numpy as np
import pytest

from eegfmri import saliency
from eegfmri.errors import RequestError
from eegfmri.lags import lag_analysis, lag_curve, lagged_correlations, peak_lag, phase_randomised, spectral_courses


def test_class_maps_weigh_windows_by_probability():
    rng = np.random.default_rng(0)
    activation, probabilities = rng.normal(size=(5, 3, 4)), rng.dirichlet(np.ones(3), 5)
    found = saliency.class_maps(activation, probabilities)
    for c in range(3):
        expected = sum(probabilities[w, c] * activation[w, c] for w in range(5)) / probabilities[:, c].sum()
        np.testing.assert_allclose(found[c], expected)
    sure = np.eye(3)[[0, 0, 1, 2, 2]]
    np.testing.assert_allclose(
        saliency.contrast_maps(activation, sure)[0], activation[:2, 0].mean(axis=0) - activation[2:, 0].mean(axis=0)
    )


def test_a_node_active_in_every_window_is_in_the_map_and_not_in_the_contrast():
    activation = np.zeros((6, 2, 3))
    activation[:, 0, 1] = 5.0
    activation[:3, 0, 2] = 1.0
    probabilities = np.repeat([[0.9, 0.1], [0.1, 0.9]], 3, axis=0)
    assert saliency.class_maps(activation, probabilities)[0].argmax() == 1
    assert saliency.contrast_maps(activation, probabilities)[0].argmax() == 2


def test_salient_nodes_are_those_most_often_maximal_and_the_printed_argmax_cannot_rank():
    agreed = np.tile(np.arange(6, 0, -1.0), (10, 1))
    assert saliency.salient_nodes(agreed, 3).tolist() == [0, 1, 2]
    assert saliency.salient_nodes(agreed, 3, "as_printed").tolist() == [0]
    maps = np.zeros((10, 5))
    maps[:6, 3], maps[6:9, 1], maps[9, 0] = 1, 1, 1
    assert saliency.times_maximal(maps).tolist() == [1, 3, 0, 6, 0]
    assert saliency.salient_nodes(maps, 3).tolist() == [3, 1, 0]
    # an equal share is 2 windows each
    assert saliency.salient_nodes(maps).tolist() == [3]
    assert sorted(saliency.salient_nodes(maps, argmax="as_printed").tolist()) == [0, 1, 3]
    with pytest.raises(RequestError, match="from 1 to 5"):
        saliency.salient_nodes(maps, 6)


def test_overlap_of_random_choices_is_zero_on_average():
    rng = np.random.default_rng(0)
    draws = [saliency.node_overlap(rng.permutation(50)[:10], rng.permutation(50)[:10], 50) for _ in range(2000)]
    # standard deviation of one draw is about 0.11
    assert np.mean(draws) == pytest.approx(0, abs=0.01)
    assert saliency.node_overlap([1, 2, 3], [3, 2, 1], 30) == pytest.approx(0.9)


def test_group_maps_ignore_scale():
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(4, 2, 6))
    np.testing.assert_allclose(
        saliency.group_map(maps * np.array([1, 10, 100, 0.1])[:, None, None]), saliency.group_map(maps)
    )


def test_patterns_find_the_signal_where_weights_find_the_noise_to_cancel():
    """Haufe et al. 2014: channel 2 sees only the noise of channel 1; the best decoder subtracts it."""
    rng = np.random.default_rng(0)
    signal, noise = rng.normal(size=(2, 5000))
    x = np.column_stack([signal + noise, noise])
    weights = np.linalg.lstsq(x, signal, rcond=None)[0]
    np.testing.assert_allclose(weights, [1, -1], atol=1e-6)
    pattern = saliency.forward_patterns(x, (x @ weights)[:, None])[0]
    np.testing.assert_allclose(pattern, [1, 0], atol=0.05)


def test_the_class_statistic_is_the_t_of_a_linear_model():
    from scipy import stats

    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    x = rng.normal(size=(60, 4)) + 0.5 * (y == 1)[:, None]
    found = saliency.class_statistic(x, y, 4)
    for c in range(3):
        np.testing.assert_allclose(found[c], np.abs(stats.ttest_ind(x[y == c], x[y != c]).statistic), rtol=1e-9)
    assert np.isnan(found[3]).all()
    two = saliency.class_statistic(np.stack([x, 2 * x], axis=-1), y, 3)
    np.testing.assert_allclose(two, np.sqrt(2) * found[:3], rtol=1e-9)


def test_recovery_is_one_for_the_truth_and_chance_for_noise():
    truth = np.zeros(100, dtype=bool)
    truth[:20] = True
    assert saliency.recovery(truth.astype(float), truth) == 1
    rng = np.random.default_rng(0)
    assert np.mean([saliency.recovery(rng.normal(size=100), truth) for _ in range(500)]) == pytest.approx(0.2, abs=0.04)
    assert np.isnan(saliency.recovery(np.zeros(4), np.zeros(4, dtype=bool)))


def test_the_nodes_with_the_largest_effects_are_marked_with_all_that_equal_them():
    effects = np.array([[-4.0, 2.0, 1.9, 0.0, 2.0], [0, 0, 0, 0, 0]])
    assert saliency.largest(effects, share=0.4).tolist() == [[True, True, False, False, True], [False] * 5]
    assert saliency.largest(effects).sum(axis=1).tolist() == [1, 0]


# --- lags --------------------------------------------------------------------------------------------------------------


def slow(n_series, n, rng, keep=0.9):
    series = np.zeros((n_series, n))
    for i in range(1, n):
        series[:, i] = keep * series[:, i - 1] + rng.normal(size=n_series)
    return series


@pytest.mark.parametrize("n_times", [100, 101])
def test_random_phases_keep_spectra_and_correlations_among_series(n_times):
    rng = np.random.default_rng(0)
    series = slow(3, n_times, rng) + 2.0
    surrogates = phase_randomised(series, 4, 1)
    for surrogate in surrogates:
        np.testing.assert_allclose(np.abs(np.fft.rfft(surrogate)), np.abs(np.fft.rfft(series)), atol=1e-8)
        np.testing.assert_allclose(np.cov(surrogate), np.cov(series), atol=1e-8)
        assert np.abs(np.corrcoef(surrogate[0], series[0])[0, 1]) < 0.9
    assert not np.allclose(surrogates[0], surrogates[1])
    np.testing.assert_array_equal(surrogates, phase_randomised(series, 4, 1))


def test_lagged_correlations_are_those_of_each_pair_band_and_lag():
    rng = np.random.default_rng(1)
    times = np.arange(0.0, 300.0)
    power, bold = slow(6, 300, rng).reshape(2, 3, 300), slow(2, 300, rng)
    lags = [-3.0, 0.0, 4.0]
    curves, none = lagged_correlations(power, times, bold, times, lags)
    assert none.shape == (0, 2, 3, 3)
    now = np.arange(4, 297)
    for pair in range(2):
        for band in range(3):
            one, _ = lag_curve(power[pair, band], times, bold[pair], times, lags)
            np.testing.assert_allclose(curves[pair, band], one, atol=1e-10)
            for place, lag in enumerate((-3, 0, 4)):
                r = np.corrcoef(power[pair, band, now - lag], bold[pair, now])[0, 1]
                assert curves[pair, band, place] == pytest.approx(r, abs=1e-10)
    with pytest.raises(RequestError, match="fewer lags"):
        lagged_correlations(power, times, bold, times, [-150.0, 149.0])


def test_surrogates_of_lagged_correlations_are_those_of_the_randomised_bold():
    rng = np.random.default_rng(2)
    times = np.arange(0.0, 200.0)
    power, bold = slow(2, 200, rng)[:, None], slow(2, 200, rng)
    _, surrogates = lagged_correlations(power, times, bold, times, [0.0, 2.0], 3, 7)
    for number, drawn in enumerate(phase_randomised(bold, 3, 7)):
        expected, _ = lagged_correlations(power, times, drawn, times, [0.0, 2.0])
        np.testing.assert_allclose(surrogates[number], expected, atol=1e-10)


def planted_runs(rng, delay, strength, n_subjects=6, n=300):
    times, volumes = np.arange(0.0, n * 2.0, 1.0), 1.0 + 2.0 * np.arange(n - 1)
    runs = []
    for subject in range(n_subjects):
        power = slow(4, len(times), rng, 0.95).reshape(2, 2, -1)
        bold = slow(2, len(volumes), rng)
        bold[1] += strength * np.interp(volumes - delay, times, power[1, 0])
        runs.append({"subject": subject, "power": power, "power_times": times, "bold": bold, "bold_times": volumes})
    return runs


@pytest.mark.parametrize("delay", [-4.0, 5.0, 7.3])
def test_a_planted_pair_band_and_delay_are_found_and_nothing_else(delay):
    found = lag_analysis(
        planted_runs(np.random.default_rng(0), delay, 1.0), np.arange(-10.0, 20.1, 1.0), n_surrogates=99, seed=0
    )
    assert found.strongest() == (1, 0)
    assert found.p_surrogates[1, 0].min() == pytest.approx(0.01)
    # of 64 combinations of six subjects' signs the two that flip nobody and everybody
    assert found.p[1, 0].min() == pytest.approx(2 / 64)
    peak = found.peak(1, 0)
    assert peak.value == pytest.approx(delay, abs=1.0)
    assert peak.low <= peak.value <= peak.high
    others = np.delete(found.p.reshape(4, -1), 2, axis=0)
    assert others.min() > 0.05


def test_family_wise_error_stays_near_its_level():
    """Without any relation, something is called significant in about one family of twenty."""
    rng = np.random.default_rng(3)
    lags = np.arange(-6.0, 12.1, 2.0)
    found = [lag_analysis(planted_runs(rng, 0.0, 0.0, n_subjects=6, n=120), lags, 39, seed) for seed in range(60)]
    # 3 expected, standard error 1.7
    for p in ("p", "p_surrogates"):
        assert sum(getattr(analysis, p).min() <= 0.05 for analysis in found) <= 9


def test_what_a_few_subjects_have_strongly_is_found_in_these_recordings_and_not_in_subjects():
    """Two of seven subjects have the relation: surrogates find it, since it is there; of subjects it cannot be said."""
    rng = np.random.default_rng(5)
    runs = planted_runs(rng, 5.0, 0.0, n_subjects=7)
    runs[:2] = planted_runs(rng, 5.0, 3.0, n_subjects=2)
    found = lag_analysis(runs, np.arange(-4.0, 12.1, 2.0), 99)
    assert found.p_surrogates[1, 0].min() <= 0.05 < found.p[1, 0].min()


def test_subjects_are_the_unit_and_runs_of_a_subject_are_averaged():
    runs = planted_runs(np.random.default_rng(4), 5.0, 1.0, n_subjects=3)
    runs[2]["subject"] = 0
    found = lag_analysis(runs, np.arange(-4.0, 12.1, 2.0), 19)
    assert len(found.curves) == 2
    # with two subjects half of all signs agree
    assert found.p.min() >= 0.5
    with pytest.raises(RequestError, match="19"):
        lag_analysis(runs, [0.0, 1.0, 2.0], 5)


def test_a_peak_is_refined_by_a_parabola_and_kept_at_the_edge():
    lags = np.arange(0.0, 10.0)
    assert peak_lag(-((lags - 4.3) ** 2) + 50, lags) == pytest.approx(4.3)
    assert peak_lag((lags - 4.3) ** 2 - 50, lags) == pytest.approx(4.3)
    assert peak_lag(lags + 1, lags) == 9.0


def test_spectral_courses_follow_power_and_the_projection_is_linear():
    sfreq, rng = 100.0, np.random.default_rng(0)
    times = np.arange(0, 60, 1 / sfreq)
    eeg = np.stack([np.where(times < 30, 1, 2) * np.sin(2 * np.pi * 10 * times), 0.01 * rng.normal(size=len(times))])
    bands = {"alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
    power, at = spectral_courses(eeg, sfreq, bands)
    assert power.shape == (2, 2, len(at))
    assert at[0] == 1.0
    early, late = power[0, 0, at < 28].mean(), power[0, 0, at > 32].mean()
    assert late - early == pytest.approx(np.log(4), abs=0.02)
    assert power[0, 1].max() < early - 3
    projection = rng.normal(size=(3, 2))
    np.testing.assert_allclose(
        spectral_courses(eeg, sfreq, bands, projection)[0],
        spectral_courses(projection @ eeg, sfreq, bands)[0],
        atol=1e-6,
    )
