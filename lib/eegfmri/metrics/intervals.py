"""How sure one can be of a score: every interval is a bootstrap over subjects.

Epochs of one subject resemble each other, so an interval over epochs would be far too narrow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eegfmri.metrics.scores import SCORES, confusion

#: Resamples of a bootstrap; the Monte-Carlo error of a 95 % limit is then below 1 % of the interval's width.
N_RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval over subjects.

    Attributes
    ----------
    value, low, high : float
        Estimate and limits; limits are NaN with fewer than two subjects.
    n : int
        Number of subjects.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_mean(values, seed: int = 0) -> Interval:
    """Mean over subjects with a percentile bootstrap interval :cite:p:`efron1979`.

    Parameters
    ----------
    values : array-like, shape (n_subjects,)
        One score per subject; NaN (nothing to score) is left out.
    seed : int, default=0
        Of the resampling.

    Returns
    -------
    Interval
        95 %.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    return bootstrap(lambda drawn: values[drawn].mean(axis=-1), len(values), seed)


def bootstrap_pooled(score: str, y_true, y_pred, groups, seed: int = 0) -> Interval:
    """Score of all windows together, with an interval from resampling whole subjects.

    Parameters
    ----------
    score : str
        One of `SCORES`.
    y_true, y_pred, groups : array-like, shape (n_windows,)
        Class indices, and the subject of each window.
    seed : int, default=0
        Of the resampling.

    Returns
    -------
    Interval
        95 %.
    """
    y_true, y_pred, groups = map(np.asarray, (y_true, y_pred, groups))
    n_classes = len(confusion(y_true, y_pred))
    subjects = [groups == subject for subject in dict.fromkeys(groups.tolist())]
    counts = np.array([confusion(y_true[own], y_pred[own], n_classes) for own in subjects])
    return bootstrap(lambda drawn: SCORES[score](counts[drawn].sum(axis=-3)), len(counts), seed)


def bootstrap(statistic: Callable, n_subjects: int, seed: int = 0) -> Interval:
    """Percentile bootstrap over subjects of any statistic.

    Parameters
    ----------
    statistic : callable
        Takes an integer array of drawn subjects, shape (..., n_subjects), and returns one number per draw, shape (...).
    n_subjects : int
        Number of subjects.
    seed : int, default=0
        Of the resampling.

    Returns
    -------
    Interval
        95 %; limits NaN with fewer than two subjects.
    """
    from scipy import stats

    subjects = np.arange(n_subjects)
    if n_subjects == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    value = float(statistic(subjects))
    if n_subjects == 1:
        return Interval(value, float("nan"), float("nan"), 1)
    limits = stats.bootstrap(
        (subjects,),
        lambda drawn, axis: statistic(drawn),
        n_resamples=N_RESAMPLES,
        method="percentile",
        vectorized=True,
        batch=1000,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, float(limits.low), float(limits.high), n_subjects)
