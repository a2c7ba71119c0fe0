"""Lag curves: a planted delay is found, its sign and size too; surrogates know nothing of it."""

import numpy as np
import pytest

from eegfmri.lags import lag_curve, power_course


def slow(n, rng, keep=0.9):
    """A first-order autoregressive series."""
    series = np.zeros(n)
    for i in range(1, n):
        series[i] = keep * series[i - 1] + rng.normal()
    return series


@pytest.mark.parametrize("delay", [-3.0, 0.0, 4.2, 6.5])
def test_a_planted_delay_is_found(delay):
    rng = np.random.default_rng(0)
    times = np.arange(0, 900, 0.3)
    power = slow(len(times), rng, 0.97)
    volumes = 1.05 + 2.1 * np.arange(428)
    bold = -np.interp(volumes - delay, times, power)
    lags = np.round(np.arange(-9, 15.01, 0.3), 1)
    curve, _ = lag_curve(power, times, bold, volumes, lags)
    assert lags[curve.argmin()] == pytest.approx(delay, abs=0.31)
    assert curve.min() < -0.99


def test_the_curve_is_the_plain_correlation_at_each_lag():
    rng = np.random.default_rng(1)
    times = np.arange(0, 400, 1.0)
    power, bold = slow(400, rng), slow(400, rng)
    lags = [-2.0, 0.0, 5.0]
    curve, _ = lag_curve(power, times, bold, times, lags)
    for lag, value in zip((-2, 0, 5), curve, strict=True):
        now = np.arange(5, 398)  # volumes with a partner at every lag
        assert value == pytest.approx(np.corrcoef(power[now - lag], bold[now])[0, 1], abs=1e-12)


def test_surrogates_are_as_wide_as_chance():
    """Independent slow series lie inside the 95 % band of their surrogates about 95 % of the time."""
    rng = np.random.default_rng(2)
    times = 2.0 * np.arange(400)
    inside = 0
    for _ in range(200):
        curve, surrogates = lag_curve(slow(400, rng), times, slow(400, rng), times, [4.0], 99, rng)
        low, high = np.percentile(surrogates, [2.5, 97.5])
        inside += low <= curve[0] <= high
    # 190 expected; the standard error is 3, and shifts of one short series are not quite independent
    assert 175 <= inside <= 199


def test_the_same_seed_gives_the_same_surrogates():
    rng = np.random.default_rng(3)
    times = np.arange(300.0)
    arguments = (slow(300, rng), times, slow(300, rng), times, [0.0, 5.0], 20)
    np.testing.assert_array_equal(lag_curve(*arguments, 7)[1], lag_curve(*arguments, 7)[1])
    assert not np.array_equal(lag_curve(*arguments, 7)[1], lag_curve(*arguments, 8)[1])


def test_a_constant_series_correlates_with_nothing():
    times = np.arange(100.0)
    curve, _ = lag_curve(np.random.default_rng(0).normal(size=100), times, np.ones(100), times, [0.0, 3.0])
    np.testing.assert_array_equal(curve, 0)


def test_power_of_a_sine_is_half_its_squared_amplitude():
    sfreq, amplitude = 100.0, 3e-5
    times = np.arange(0, 60, 1 / sfreq)
    envelope = np.where(times < 30, 1.0, 2.0)
    eeg = amplitude * envelope * np.sin(2 * np.pi * 10 * times)
    power = power_course(np.stack([eeg, eeg]), sfreq, (8, 13), np.array([15.0, 45.0, 90.0]), 4.0)
    np.testing.assert_allclose(power[:2], [amplitude**2 / 2, 2 * amplitude**2], rtol=0.02)
    assert np.isnan(power[2])
    outside = power_course(eeg[None], sfreq, (13, 30), np.array([15.0]), 4.0)
    assert outside[0] < 0.01 * amplitude**2
