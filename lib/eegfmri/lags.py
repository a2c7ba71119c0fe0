"""Where in time EEG and BOLD go together: correlation of band power with BOLD as a function of the lag between them, tested over
subjects and against surrogates, each with family-wise correction, and an interval for the peak.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eegfmri import metrics
from eegfmri.errors import RequestError
from eegfmri.preprocessing.eeg import band_pass, with_gaps
from eegfmri.preprocessing.spectra import band_means, spectrogram


def power_course(
    eeg: np.ndarray,
    sfreq: float,
    limits: tuple[float, float],
    moments: np.ndarray,
    width: float,
    gaps: Sequence[tuple[float, float]] = (),
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
    gaps : sequence of (float, float)
        Onset and duration in s of what was not measured, see `eegfmri.recordings.Stream.gaps`.

    Returns
    -------
    numpy.ndarray
        Shape (n_moments,), in V²; NaN where a stretch lies wholly beyond the signal, or touches a gap.
    """
    filtered = band_pass(eeg, sfreq, *limits)
    total = np.concatenate([[0.0], np.cumsum((filtered**2).mean(axis=0))])
    lacking = np.isnan(with_gaps(np.zeros(filtered.shape[-1]), sfreq, gaps))
    lacking = np.concatenate([[0], np.cumsum(lacking)])

    def sample(times):
        return np.clip(np.round(times * sfreq).astype(int), 0, len(total) - 1)

    first, last = sample(moments - width / 2), sample(moments + width / 2)
    inside = (last > first) & (lacking[last] == lacking[first])
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
        Shape (n_moments,): power and its times in s, ascending; interpolated linearly in between, but not over what is NaN.
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

    Raises
    ------
    RequestError
        If fewer than ten volumes have a partner at every lag.
    """
    shifted, paired = _at_lags(power, power_times, bold_times, lags)
    series = standardise(bold[paired])
    n_volumes = len(series)
    rng = np.random.default_rng(seed)
    # at least a tenth of the run away from where it was
    moves = rng.integers(n_volumes // 10, n_volumes - n_volumes // 10, n_surrogates)
    surrogates = np.array([shifted @ np.roll(series, move) for move in moves]).reshape(n_surrogates, len(shifted))
    return shifted @ series / n_volumes, surrogates / n_volumes


def spectral_courses(
    eeg: np.ndarray,
    sfreq: float,
    bands: Mapping[str, tuple[float, float]],
    projection: np.ndarray | None = None,
    seconds: float = 2.0,
    step: float = 1.0,
    gaps: Sequence[tuple[float, float]] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Band power over time, of electrodes or of regions that they are projected to.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (n_channels, n_times), in V.
    sfreq : float
        Hz.
    bands : mapping of str to (float, float)
        Edges in Hz, upper edge exclusive.
    projection : numpy.ndarray or None
        Shape (n_nodes, n_channels); None keeps the channels.
    seconds, step : float
        Length of a stretch and time between two, in s.
    gaps : sequence of (float, float)
        Onset and duration in s of what was not measured, see `eegfmri.recordings.Stream.gaps`.

    Returns
    -------
    power : numpy.ndarray
        Logarithm of the mean density in V²/Hz, shape (n_nodes, n_bands, n_stretches); NaN where a stretch touches a gap.
    times : numpy.ndarray
        Middle of each stretch in s from the first sample, shape (n_stretches,).
    """
    eeg = with_gaps(eeg, sfreq, gaps) if gaps else np.asarray(eeg)
    if projection is not None:
        eeg = projection.astype(eeg.dtype) @ eeg
    length, hop = round(seconds * sfreq), round(step * sfreq)
    frequencies, density = spectrogram(eeg, sfreq, length / sfreq, 1 - hop / length, np.hanning(length))
    power = band_means(frequencies, density, bands, axis=-2)
    return np.log(np.maximum(power, 1e-30)), (hop * np.arange(power.shape[-1]) + length / 2) / sfreq


def phase_randomised(series: np.ndarray, n_surrogates: int, seed: int | np.random.Generator = 0) -> np.ndarray:
    """Give series other phases and the same spectra :cite:p:`prichard1994`.

    All rows of a surrogate are turned by the same phases: their spectra, autocorrelations and correlations among each other
    stay, their relation to anything outside goes.

    Parameters
    ----------
    series : numpy.ndarray
        Shape (n_series, n_times).
    n_surrogates : int
        How many.
    seed : int or numpy.random.Generator, default=0
        Of the phases.

    Returns
    -------
    numpy.ndarray
        Shape (n_surrogates, n_series, n_times).
    """
    series = np.asarray(series, dtype=float)
    n_times = series.shape[1]
    spectrum = np.fft.rfft(series, axis=1)
    rng = np.random.default_rng(seed)
    turn = np.exp(2j * np.pi * rng.random((n_surrogates, 1, spectrum.shape[1])))
    turn[..., 0] = 1
    if n_times % 2 == 0:
        turn[..., -1] = np.sign(turn[..., -1].real)  # the highest frequency is real
    return np.fft.irfft(spectrum * turn, n_times, axis=2)


def _at_lags(
    power: np.ndarray, power_times: np.ndarray, bold_times: np.ndarray, lags: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised power at each volume less each lag, shape (…, n_lags, n_paired), and which volumes have EEG at every lag.

    Moments at which any of the powers is NaN have no EEG.
    """
    lags = np.asarray(lags, dtype=float)
    slack = 1e-9
    paired = (bold_times - lags.max() >= power_times[0] - slack) & (bold_times - lags.min() <= power_times[-1] + slack)
    measured = np.isfinite(power).reshape(-1, len(power_times)).all(axis=0)
    if not measured.all():
        at = bold_times[None, :] - lags[:, None]
        right = np.clip(np.searchsorted(power_times, at), 1, len(power_times) - 1)
        paired &= (measured[right - 1] & measured[right]).all(axis=0)
    if paired.sum() < 10:
        raise RequestError(
            f"{paired.sum()} of {len(bold_times)} volumes have EEG at all lags from {lags.min():g} to {lags.max():g} s: "
            "ask for fewer lags, or give a longer run."
        )
    at = (bold_times[paired][None, :] - lags[:, None]).ravel()
    right = np.clip(np.searchsorted(power_times, at), 1, len(power_times) - 1)
    share = np.clip((at - power_times[right - 1]) / (power_times[right] - power_times[right - 1]), 0, 1)
    shifted = power[..., right - 1] * (1 - share) + power[..., right] * share
    return standardise(shifted.reshape(*power.shape[:-1], len(lags), -1)), paired


def lagged_correlations(
    power: np.ndarray,
    power_times: np.ndarray,
    bold: np.ndarray,
    bold_times: np.ndarray,
    lags: Sequence[float],
    n_surrogates: int = 0,
    seed: int | np.random.Generator = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Correlate power(t) with BOLD(t + lag) of one run, for pairs, bands and lags at once, over the same volumes.

    Parameters
    ----------
    power : numpy.ndarray
        Shape (n_pairs, n_bands, n_moments); NaN where there is no EEG.
    power_times : numpy.ndarray
        Shape (n_moments,), s.
    bold : numpy.ndarray
        Shape (n_pairs, n_volumes): the other half of each pair.
    bold_times : numpy.ndarray
        Shape (n_volumes,), s.
    lags : sequence of float
        In s, positive where BOLD follows. Volumes that lack a partner at any lag are left out at all of them.
    n_surrogates : int, default=0
        How many sets of BOLD with random phases, see `phase_randomised`.
    seed : int or numpy.random.Generator, default=0
        Of their phases.

    Returns
    -------
    curves : numpy.ndarray
        Correlations, shape (n_pairs, n_bands, n_lags).
    surrogates : numpy.ndarray
        Shape (n_surrogates, n_pairs, n_bands, n_lags).

    Raises
    ------
    RequestError
        If fewer than ten volumes have a partner at every lag.
    """
    shifted, paired = _at_lags(power, power_times, bold_times, lags)  # (n_pairs, n_bands, n_lags, n_paired)
    n_paired = shifted.shape[-1]
    own = standardise(bold[:, paired])
    curves = np.einsum("pblt,pt->pbl", shifted, own) / n_paired
    drawn = phase_randomised(bold, n_surrogates, seed)[:, :, paired] if n_surrogates else np.empty((0, *own.shape))
    drawn = standardise(drawn)
    surrogates = np.stack(
        [drawn[:, pair] @ shifted[pair].reshape(-1, n_paired).T / n_paired for pair in range(len(power))],
        axis=1,
    )
    return curves, surrogates.reshape(n_surrogates, *curves.shape)


@dataclass(frozen=True, eq=False)
class LagAnalysis:
    """Correlation of EEG power with BOLD against their lag, over subjects.

    Attributes
    ----------
    lags : numpy.ndarray
        Shape (n_lags,), s (or samples).
    curves : numpy.ndarray
        Fisher's z per subject, shape (n_subjects, n_pairs, n_bands, n_lags).
    mean : numpy.ndarray
        Mean correlation over subjects, shape (n_pairs, n_bands, n_lags).
    statistic : numpy.ndarray
        Mean z in standard deviations of its surrogates, of the same shape.
    p : numpy.ndarray
        Family-wise p-values over subjects, of the same shape: how often, with the signs of whole subjects flipped, the largest t of all
        pairs, bands and lags is at least this large (`eegfmri.metrics.sign_flip_max_t`). They speak of other subjects, and cannot reach
        0.05 with fewer than six.
    p_surrogates : numpy.ndarray
        Family-wise p-values against surrogates, of the same shape: how often the largest statistic of a surrogate, over all pairs, bands
        and lags, is at least this large. They speak of these recordings and of no other subject.
    threshold : float
        Absolute statistic that 5 % of the surrogates' largest exceed.
    """

    lags: np.ndarray
    curves: np.ndarray
    mean: np.ndarray
    statistic: np.ndarray
    p: np.ndarray
    p_surrogates: np.ndarray
    threshold: float

    def peak(self, pair: int, band: int, seed: int = 0) -> metrics.Interval:
        """Lag at which a pair's mean curve is furthest from zero, with a bootstrap interval over subjects, in s.

        The peak lies on the parabola through the largest value and its neighbours.
        """
        own = self.curves[:, pair, band]
        return metrics.bootstrap(lambda drawn: peak_lag(own[drawn].mean(axis=-2), self.lags), len(own), seed)

    def strongest(self) -> tuple[int, int]:
        """Return pair and band of the largest absolute statistic."""
        pair, band, _ = np.unravel_index(np.abs(self.statistic).argmax(), self.statistic.shape)
        return int(pair), int(band)


def peak_lag(curves: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Lag at which curves are furthest from zero, refined by a parabola through the largest value and its neighbours.

    Parameters
    ----------
    curves : numpy.ndarray
        Shape (…, n_lags).
    lags : numpy.ndarray
        Evenly spaced, shape (n_lags,), at least three.

    Returns
    -------
    numpy.ndarray
        Shape (…), in the unit of the lags.

    Examples
    --------
    A negative correlation, strongest between two of the lags that were tried:

    >>> import numpy as np
    >>> lags = np.arange(0.0, 10.0, 2.0)
    >>> print(peak_lag(-np.exp(-0.5 * ((lags - 4.6) / 6) ** 2), lags).round(1))
    4.6
    """
    curves, lags = np.asarray(curves, dtype=float), np.asarray(lags, dtype=float)
    size = np.abs(curves)
    best = size.argmax(axis=-1)
    inner = np.clip(best, 1, len(lags) - 2)
    left, middle, right = (np.take_along_axis(size, (inner + step)[..., None], axis=-1)[..., 0] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.divide(0.5 * (left - right), bend, out=np.zeros_like(bend), where=np.abs(bend) > 1e-15)
    return np.where(best == inner, lags[inner] + np.clip(shift, -0.5, 0.5) * (lags[1] - lags[0]), lags[best])


def lag_analysis(
    runs: Sequence[Mapping[str, object]], lags: Sequence[float], n_surrogates: int = 199, seed: int = 0
) -> LagAnalysis:
    """Correlate power with BOLD over lags in every run, average over subjects, and correct for all that was looked at.

    Parameters
    ----------
    runs : sequence of mapping
        One per run: ``subject``, and ``power``, ``power_times``, ``bold``, ``bold_times`` as `lagged_correlations` takes them;
        pairs and bands alike in all.
    lags : sequence of float
        Evenly spaced, in the unit of the times.
    n_surrogates : int, default=199
        At least 19 for a threshold at 5 %.
    seed : int, default=0
        Of the surrogates, and of flipped signs where there are too many to try them all.

    Returns
    -------
    LagAnalysis
        Runs of a subject are averaged first; a subject is the unit of tests and intervals.

    Raises
    ------
    RequestError
        If there is no run, or fewer than 19 surrogates.
    """
    if not runs or n_surrogates < 19:
        raise RequestError(
            f"{len(runs)} runs and {n_surrogates} surrogates: a threshold at 5 % needs a run and at least 19 surrogates."
        )
    rng = np.random.default_rng(seed)
    by_subject: dict[object, list] = {}
    for run in runs:
        found = lagged_correlations(
            run["power"], run["power_times"], run["bold"], run["bold_times"], lags, n_surrogates, rng
        )
        by_subject.setdefault(run["subject"], []).append([np.arctanh(np.clip(r, -0.999999, 0.999999)) for r in found])
    subjects = [[np.mean(part, axis=0) for part in zip(*found, strict=True)] for found in by_subject.values()]
    curves = np.stack([curve for curve, _ in subjects])
    null = np.mean([surrogate for _, surrogate in subjects], axis=0)
    mean, spread = curves.mean(axis=0), null.std(axis=0)
    spread = np.where(spread > 0, spread, np.inf)
    largest = np.abs(null / spread).max(axis=(1, 2, 3))
    statistic = mean / spread
    exceeded = (largest[:, None, None, None] >= np.abs(statistic)).sum(axis=0)
    of_subjects = metrics.sign_flip_max_t(curves.reshape(len(curves), -1), seed).reshape(mean.shape)
    threshold = float(np.sort(largest)[int(np.ceil(0.95 * (n_surrogates + 1))) - 1])
    return LagAnalysis(
        np.asarray(lags, dtype=float),
        curves,
        np.tanh(mean),
        statistic,
        of_subjects,
        (1 + exceeded) / (1 + n_surrogates),
        threshold,
    )


def standardise(series: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance along the last axis; a constant series becomes zero."""
    centred = series - series.mean(axis=-1, keepdims=True)
    spread = centred.std(axis=-1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred, dtype=float), where=spread > 0)
