"""Where and when the modalities go together: correlation of band power with BOLD as a function of the lag between them."""

from collections.abc import Sequence

import numpy as np

from eegfmri.eeg import band_pass


def power_course(
    eeg: np.ndarray, sfreq: float, limits: tuple[float, float], moments: np.ndarray, width: float
) -> np.ndarray:
    """Mean power inside a band, over channels and over a stretch of time around each moment.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (n_channels, n_times), in V, the first sample at time 0.
    sfreq : float
        Sampling frequency in Hz.
    limits : (float, float)
        Edges of the band in Hz.
    moments : numpy.ndarray
        Shape (n_moments,): centres of the stretches in s.
    width : float
        Length of a stretch in s; what lies beyond the signal is left out.

    Returns
    -------
    numpy.ndarray
        Shape (n_moments,), in V²; NaN where a stretch lies wholly beyond the signal.
    """
    filtered = band_pass(eeg, sfreq, *limits)
    total = np.concatenate([[0.0], np.cumsum((filtered**2).mean(axis=0))])

    def sample(times):
        return np.clip(np.round(times * sfreq).astype(int), 0, len(total) - 1)

    first, last = sample(moments - width / 2), sample(moments + width / 2)
    inside = last > first
    return np.where(inside, (total[last] - total[first]) / np.maximum(last - first, 1), np.nan)


def lag_curve(
    power: np.ndarray,
    power_times: np.ndarray,
    bold: np.ndarray,
    bold_times: np.ndarray,
    lags: Sequence[float],
    n_surrogates: int = 0,
    seed: int | np.random.Generator = 0,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Correlate power(t) with BOLD(t + lag), for each lag, over the same volumes.

    Surrogates move BOLD by a random time along its own circle: its autocorrelation stays, its relation to the EEG goes.

    Parameters
    ----------
    power, power_times : numpy.ndarray
        Shape (n_moments,): power and its times in s, ascending; interpolated linearly in between.
    bold, bold_times : numpy.ndarray
        Shape (n_volumes,): a series and its times in s.
    lags : sequence of float
        Lags in s, positive where BOLD follows. Volumes that lack a partner at any lag are left out at all of them.
    n_surrogates : int, default=0
        Number of surrogates.
    seed : int or numpy.random.Generator, default=0
        Of their shifts.

    Returns
    -------
    curve : numpy.ndarray
        Shape (n_lags,): correlations.
    surrogates : numpy.ndarray
        Shape (n_surrogates, n_lags).
    """
    lags = np.asarray(lags, dtype=float)
    paired = (bold_times - lags.max() >= power_times[0]) & (bold_times - lags.min() <= power_times[-1])
    shifted = np.array([np.interp(bold_times[paired] - lag, power_times, power) for lag in lags])
    shifted, series = _standardise(shifted), _standardise(bold[paired])
    n_volumes = len(series)
    rng = np.random.default_rng(seed)
    # at least a tenth of the run away from where it was
    moves = rng.integers(n_volumes // 10, n_volumes - n_volumes // 10, n_surrogates)
    surrogates = np.array([shifted @ np.roll(series, move) for move in moves]).reshape(n_surrogates, len(lags))
    return shifted @ series / n_volumes, surrogates / n_volumes


def _standardise(series: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance along the last axis; a constant series becomes zero."""
    centred = series - series.mean(axis=-1, keepdims=True)
    spread = centred.std(axis=-1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred, dtype=float), where=spread > 0)
