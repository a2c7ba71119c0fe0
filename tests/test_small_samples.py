"""Intervals of few subjects against what theory says of them, and equivalence against its own interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eegfmri.errors import RequestError
from eegfmri.metrics import small_samples


@pytest.mark.parametrize("method", small_samples.INTERVAL_METHODS)
def test_an_interval_moves_and_grows_with_its_sample(method):
    sample = np.random.default_rng(0).normal(size=(3, 12))
    low, high = np.moveaxis(small_samples.mean_intervals(sample, method), -1, 0)
    assert (low < sample.mean(axis=1)).all()
    assert (sample.mean(axis=1) < high).all()
    moved = small_samples.mean_intervals(5 + 2 * sample, method)
    np.testing.assert_allclose(moved, 5 + 2 * np.stack([low, high], axis=-1), atol=1e-9)


def test_student_s_interval_is_scipy_s():
    sample = np.random.default_rng(1).normal(size=9)
    expected = stats.ttest_1samp(sample, 0).confidence_interval()
    np.testing.assert_allclose(small_samples.mean_intervals(sample, "student_t"), expected)


def test_bootstrap_t_equals_a_slow_and_obvious_version():
    sample = np.array([0.1, 0.4, 0.2, 0.9, 0.3])
    rng, t = np.random.default_rng(7), []
    for rows in rng.integers(5, size=(999, 5)):
        drawn = sample[rows]
        if drawn.std(ddof=1) > 0:
            t.append((drawn.mean() - sample.mean()) / (drawn.std(ddof=1) / np.sqrt(5)))
    error = sample.std(ddof=1) / np.sqrt(5)
    expected = sample.mean() - error * np.quantile(t, [0.975, 0.025])
    np.testing.assert_allclose(small_samples.mean_intervals(sample, "bootstrap_t", seed=7), expected)


def test_intervals_of_skewed_subjects_lean_to_the_long_side():
    sample = np.random.default_rng(2).lognormal(0, 1, size=20)
    low, high = small_samples.mean_intervals(sample, "bootstrap_t")
    assert high - sample.mean() > 1.2 * (sample.mean() - low)


def test_student_covers_normal_subjects_as_promised_and_the_percentile_bootstrap_does_not():
    def normal(rng, shape):
        return rng.normal(1.0, 2.0, shape)

    student = small_samples.coverage(normal, 1.0, 6, "student_t", n_samples=1500)
    assert student.low <= 0.95 <= student.high
    # Of six, the percentile interval is about 1.96 √(5/6) standard errors wide to each side: Student's distribution has 0.87 there.
    percentile = small_samples.coverage(normal, 1.0, 6, "percentile", n_samples=1500, n_resamples=400)
    assert percentile.value == pytest.approx(1 - 2 * stats.t.sf(1.96 * np.sqrt(5 / 6), 5), abs=0.03)
    assert percentile.width < student.width


def test_what_cannot_have_an_interval_is_refused():
    with pytest.raises(RequestError, match="at least two"):
        small_samples.mean_intervals(np.ones((4, 1)), "percentile")
    with pytest.raises(RequestError, match="choose one of"):
        small_samples.mean_intervals(np.ones(4), "wald")


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=20), st.floats(0.01, 2))
@settings(max_examples=60, deadline=None)
def test_equivalence_is_the_ninety_percent_interval_inside_the_margin(values, margin):
    p = small_samples.equivalence_test(values, margin)
    values = np.array(values)
    if values.std() < 1e-6:
        return
    low, high = small_samples.mean_intervals(values, "student_t", confidence=0.9)
    if min(abs(low + margin), abs(high - margin)) > 1e-6:
        assert (p < 0.05) == (-margin < low and high < margin)
    assert small_samples.equivalence_test(-values, margin) == pytest.approx(p)


def test_equivalence_of_equal_methods_and_of_a_constant_difference():
    assert small_samples.equivalence_test(np.zeros(8), 0.02) == 0.0
    assert small_samples.equivalence_test(np.full(8, 0.5), 0.02) == 1.0
    assert np.isnan(small_samples.equivalence_test([0.1, np.nan], 0.02))
    with pytest.raises(RequestError, match="positive"):
        small_samples.equivalence_test([0.1, 0.2], 0.0)


def test_the_power_of_equivalence_is_what_simulation_finds():
    rng = np.random.default_rng(3)
    samples = rng.normal(0, 0.05, size=(800, 23))
    found = np.mean([small_samples.equivalence_test(sample, 0.03) < 0.05 for sample in samples])
    assert small_samples.equivalence_power(0.05, 23, 0.03) == pytest.approx(found, abs=4 * np.sqrt(0.25 / 800))
    assert small_samples.equivalence_power(0.05, 23, 1e-6) == pytest.approx(0, abs=1e-6)
    rising = small_samples.equivalence_power(0.05, np.array([8, 23, 92, 400]), 0.02)
    assert (np.diff(rising) >= 0).all()
    assert rising[-1] > 0.99
