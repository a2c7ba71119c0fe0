"""The haemodynamic response, estimated from a neural signal and the haemodynamics that follow it; and what stimulus times alone predict.

A response is estimated as a finite impulse response: the haemodynamic signal is a weighted sum of the neural signal so many samples
before, and the weights are the response :cite:p:`glover1999`. Neighbouring samples of a neural signal resemble each other, so a ridge
penalty, chosen inside the training part, holds the weights small.
"""

from dataclasses import dataclass

import numpy as np

from eegfmri.errors import RequestError
from eegfmri.lags import lag_curve, peak_lag

#: How long a response is taken to last, s.
RESPONSE_SECONDS = 20.0

#: Ridge penalties among which is chosen; the neural signal has unit variance.
PENALTIES = (1e-1, 1e0, 1e1, 1e2, 1e3, 1e4)

#: Contiguous blocks in turn held out, and those of the training part by which the penalty is chosen.
N_BLOCKS, N_INNER = 5, 4


@dataclass(frozen=True, eq=False)
class Response:
    """A response as it was estimated, and how well it predicts what it was not estimated from.

    Attributes
    ----------
    times : numpy.ndarray
        Shape (n_lags,), s after the neural signal.
    kernel : numpy.ndarray
        Shape (n_lags,): change of the haemodynamic signal per standard deviation of the neural signal, in its own unit.
    held_out : numpy.ndarray
        Shape (n_blocks,): correlation of prediction and measurement within each held-out block.
    peak : float
        Time at which the kernel is furthest from zero, s.
    """

    times: np.ndarray
    kernel: np.ndarray
    held_out: np.ndarray
    peak: float


def before_volumes(signal: np.ndarray, sfreq: float, volume_times: np.ndarray, t_r: float) -> np.ndarray:
    """Average a signal over the repetition time that ends at each volume.

    Parameters
    ----------
    signal : numpy.ndarray
        Shape (n_times,), its first sample at time 0.
    sfreq : float
        Hz.
    volume_times : numpy.ndarray
        Shape (n_volumes,), s.
    t_r : float
        Repetition time, s.

    Returns
    -------
    numpy.ndarray
        Shape (n_volumes,).

    Raises
    ------
    RequestError
        If a volume has no sample before it.
    """
    total = np.concatenate([[0.0], np.cumsum(signal)])
    last, first = (np.clip(np.round((volume_times - back) * sfreq).astype(int), 0, len(signal)) for back in (0.0, t_r))
    if np.any(last <= first):
        raise RequestError("A volume has no sample of the signal before it: give a signal as long as the volumes.")
    return (total[last] - total[first]) / (last - first)


def lagged(signal: np.ndarray, n_lags: int) -> np.ndarray:
    """Put a signal's past beside it: column k is the signal k samples ago.

    Parameters
    ----------
    signal : numpy.ndarray
        Shape (n_times,).
    n_lags : int
        Number of columns.

    Returns
    -------
    numpy.ndarray
        Shape (n_times, n_lags); the mean stands for what came before the beginning.
    """
    from scipy.linalg import toeplitz

    centred = signal - signal.mean()
    return toeplitz(centred, np.concatenate([centred[:1], np.zeros(n_lags - 1)])) + signal.mean()


def blocks(n_times: int, n_blocks: int, gap: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divide time into contiguous blocks, each held out once; what lies within a gap of it trains nothing.

    Parameters
    ----------
    n_times : int
        Samples.
    n_blocks : int
        Blocks.
    gap : int
        Samples between training and test.

    Returns
    -------
    list of (numpy.ndarray, numpy.ndarray)
        Indices of the training and of the test part.
    """
    from sklearn.model_selection import KFold

    folds = []
    for train, test in KFold(n_blocks).split(np.zeros(n_times)):
        folds.append((train[(train < test[0] - gap) | (train > test[-1] + gap)], test))
    return folds


def estimate_response(
    neural: np.ndarray,
    haemodynamic: np.ndarray,
    step: float,
    seconds: float = RESPONSE_SECONDS,
    n_blocks: int = N_BLOCKS,
) -> Response:
    """Estimate a response by ridge regression, and test it on blocks of time that it was not estimated from.

    Parameters
    ----------
    neural, haemodynamic : numpy.ndarray
        Shape (n_times,), sampled together.
    step : float
        Time between two samples, s.
    seconds : float, default=20.0
        How long a response lasts.
    n_blocks : int, default=5
        Blocks, see `blocks`; the gap is as long as the response.

    Returns
    -------
    Response
        The kernel is of the whole series.

    Raises
    ------
    RequestError
        If the series are too short for the response and the blocks.
    """
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, KFold

    n_lags = int(np.ceil(seconds / step))
    if len(neural) != len(haemodynamic) or len(neural) < 3 * n_lags * n_blocks / (n_blocks - 1):
        raise RequestError(
            f"{len(neural)} and {len(haemodynamic)} samples hold no response of {n_lags} samples and {n_blocks} blocks to test it: "
            "give longer series of one length, or a shorter response."
        )
    spread = neural.std()
    design = lagged((neural - neural.mean()) / spread, n_lags)
    search = GridSearchCV(Ridge(), {"alpha": PENALTIES}, cv=KFold(N_INNER), scoring="r2")
    held_out = []
    for train, test in blocks(len(neural), n_blocks, n_lags):
        predicted = search.fit(design[train], haemodynamic[train]).predict(design[test])
        held_out.append(np.corrcoef(predicted, haemodynamic[test])[0, 1])
    kernel = search.fit(design, haemodynamic).best_estimator_.coef_
    times = step * np.arange(n_lags)
    return Response(times, kernel, np.array(held_out), float(peak_lag(kernel, times)))


def stimulus_prediction(stimulus_times: np.ndarray, volume_times: np.ndarray) -> np.ndarray:
    """Predict BOLD from nothing but the times of stimuli: each with the canonical response after it :cite:p:`glover1999`.

    Parameters
    ----------
    stimulus_times, volume_times : numpy.ndarray
        Shapes (n_stimuli,) and (n_volumes,), s.

    Returns
    -------
    numpy.ndarray
        Shape (n_volumes,), of arbitrary size.
    """
    from nilearn.glm.first_level import glover_hrf

    step = 0.1
    pulses, _ = np.histogram(stimulus_times, np.arange(0.0, volume_times[-1] + 2 * step, step))
    course = np.convolve(pulses, glover_hrf(step, oversampling=1, time_length=32.0))[: len(pulses)]
    return np.interp(volume_times, step * np.arange(len(pulses)), course)


def within_blocks(predicted: np.ndarray, measured: np.ndarray, n_blocks: int = N_BLOCKS) -> np.ndarray:
    """Correlate a prediction that has learned nothing with a measurement, within the blocks of `estimate_response`.

    Parameters
    ----------
    predicted, measured : numpy.ndarray
        Shape (n_times,).
    n_blocks : int, default=5
        Blocks.

    Returns
    -------
    numpy.ndarray
        Shape (n_blocks,).
    """
    return np.array(
        [np.corrcoef(predicted[test], measured[test])[0, 1] for _, test in blocks(len(measured), n_blocks, 0)]
    )


def cross_correlation(
    neural: np.ndarray, haemodynamic: np.ndarray, step: float, seconds: float = RESPONSE_SECONDS
) -> tuple[np.ndarray, np.ndarray, float]:
    """Correlate a neural signal with the haemodynamics after it, at each lag.

    Parameters
    ----------
    neural, haemodynamic : numpy.ndarray
        Shape (n_times,), sampled together.
    step : float
        Time between two samples, s.
    seconds : float, default=20.0
        Longest lag.

    Returns
    -------
    lags : numpy.ndarray
        Shape (n_lags,), s.
    curve : numpy.ndarray
        Shape (n_lags,).
    peak : float
        Lag at which it is furthest from zero, s.
    """
    times = step * np.arange(len(neural))
    lags = step * np.arange(int(np.ceil(seconds / step)))
    curve, _ = lag_curve(neural, times, haemodynamic, times, lags)
    return lags, curve, float(peak_lag(curve, lags))
