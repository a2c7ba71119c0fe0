"""Lag curves: a planted delay is found, its sign and size too; surrogates know nothing of it."""

import numpy as np
import pytest

from eegfmri.errors import RequestError
from eegfmri.lags import lag_curve, lagged_correlations, power_course, spectral_courses


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


# --- what was not measured -------------------------------------------------------------------------------------------


@pytest.fixture
def bridged():
    """Noise at 50 Hz for 600 s whose size is the sine of 40 s, with a straight line from 200 to 260 s; BOLD that follows by 4 s."""
    rng = np.random.default_rng(3)
    times = np.arange(0, 600, 1 / 50)
    eeg = rng.normal(size=(3, len(times))) * (1.5 + np.sin(2 * np.pi * times / 40)) * 1e-5
    eeg[:, 200 * 50 : 260 * 50] = np.linspace(eeg[:, 200 * 50], eeg[:, 260 * 50], 60 * 50, axis=1)
    volumes = np.arange(0, 600, 2.0)
    return eeg, volumes, np.sin(2 * np.pi * (volumes - 4) / 40)


def test_power_is_not_measured_on_the_line_across_a_gap(bridged):
    eeg, _, _ = bridged
    moments = np.arange(1.0, 599.0, 0.5)
    bare = power_course(eeg, 50.0, (8, 13), moments, 2.0)
    power = power_course(eeg, 50.0, (8, 13), moments, 2.0, [(200.0, 60.0)])
    lacking = (moments > 199) & (moments < 261)
    np.testing.assert_array_equal(np.isnan(power), lacking)
    np.testing.assert_array_equal(power[~lacking], bare[~lacking])
    assert np.median(bare[(moments > 205) & (moments < 255)]) < 1e-3 * np.median(power[~lacking])
    spectra, times = spectral_courses(eeg, 50.0, {"alpha": (8, 13)}, gaps=[(200.0, 60.0)])
    np.testing.assert_array_equal(np.isnan(spectra).any(axis=(0, 1)), (times > 199) & (times < 261))
    np.testing.assert_array_equal(spectra[..., :100], spectral_courses(eeg, 50.0, {"alpha": (8, 13)})[0][..., :100])


def test_volumes_without_eeg_are_left_out_at_every_lag_and_the_relation_is_what_it_was(bridged):
    eeg, volumes, bold = bridged
    moments, lags = np.arange(1.0, 599.0, 0.5), [0.0, 4.0, 8.0]
    bare, marked = (power_course(eeg, 50.0, (8, 13), moments, 2.0, gaps) for gaps in ((), [(200.0, 60.0)]))
    curve, surrogates = lag_curve(marked, moments, bold, volumes, lags, 19)
    assert np.isfinite(surrogates).all()
    assert curve.argmax() == 1
    # the line is no measurement, so the correlation is larger without it, and as on either side
    assert curve[1] > lag_curve(bare, moments, bold, volumes, lags)[0][1] + 0.02
    before = lag_curve(bare, moments, bold[volumes < 195], volumes[volumes < 195], lags)[0]
    assert abs(curve[1] - before[1]) < 0.1
    several, _ = lagged_correlations(marked[None, None], moments, bold[None], volumes, lags)
    np.testing.assert_allclose(several[0, 0], curve)
    with pytest.raises(RequestError, match="of 300 volumes have EEG at all lags"):
        lag_curve(np.where(moments < 590, np.nan, marked), moments, bold, volumes, lags)
