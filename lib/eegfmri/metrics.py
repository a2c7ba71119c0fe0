"""Scores, and how sure one can be of them: subjects are the units, of intervals and of tests.

Epochs of one person resemble each other, so an interval over epochs would be far too narrow. Here every interval is a
bootstrap over subjects and every comparison a paired test over subjects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

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


def balanced_accuracy(y_true, y_pred) -> float:
    """Mean recall over the classes that occur in ``y_true``.

    Parameters
    ----------
    y_true, y_pred : array-like, shape (n_windows,)
        Class indices. A predicted class that never occurs counts as an error but adds no recall of its own.

    Returns
    -------
    float
        Between 0 and 1; NaN without windows.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    present = np.unique(y_true)
    if not len(present):
        return float("nan")
    return float(np.mean([(y_pred[y_true == label] == label).mean() for label in present]))


def macro_f1(y_true, y_pred) -> float:
    """Mean F1 over the classes that occur in ``y_true``: an absent class neither helps nor hurts.

    Parameters
    ----------
    y_true, y_pred : array-like, shape (n_windows,)
        Class indices.

    Returns
    -------
    float
        Between 0 and 1; NaN without windows.
    """
    from sklearn.metrics import f1_score

    present = np.unique(y_true)
    if not len(present):
        return float("nan")
    return float(f1_score(y_true, y_pred, labels=present, average="macro", zero_division=0))


def cohen_kappa(y_true, y_pred) -> float:
    """Agreement beyond chance; 0 where both sides are one and the same single class."""
    from sklearn.metrics import cohen_kappa_score

    if len(np.union1d(y_true, y_pred)) < 2:
        return 0.0
    return float(cohen_kappa_score(y_true, y_pred))


#: Scores by the name they bear in results.json.
SCORES: Mapping[str, Callable] = {
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "cohen_kappa": cohen_kappa,
}


def bootstrap_mean(values, seed: int = 0) -> Interval:
    """Mean over subjects with a percentile bootstrap interval.

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
    return bootstrap(lambda rows: values[rows].mean(axis=-1), len(values), seed, vectorized=True)


def bootstrap_pooled(score: Callable, y_true, y_pred, groups, seed: int = 0, n_resamples: int = 999) -> Interval:
    """Score of all windows together, with an interval from resampling whole subjects.

    Parameters
    ----------
    score : callable
        Takes ``y_true`` and ``y_pred``.
    y_true, y_pred, groups : array-like, shape (n_windows,)
        Class indices, and the subject of each window.
    seed : int, default=0
        Of the resampling.
    n_resamples : int, default=999
        How many times subjects are drawn.

    Returns
    -------
    Interval
        95 %.
    """
    y_true, y_pred, groups = map(np.asarray, (y_true, y_pred, groups))
    rows = [np.flatnonzero(groups == subject) for subject in dict.fromkeys(groups)]

    def pooled(drawn: np.ndarray) -> float:
        chosen = np.concatenate([rows[int(subject)] for subject in drawn])
        return score(y_true[chosen], y_pred[chosen])

    return bootstrap(pooled, len(rows), seed, vectorized=False, n_resamples=n_resamples)


def bootstrap(
    statistic: Callable, n_subjects: int, seed: int, vectorized: bool, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Percentile bootstrap over subjects of any statistic of their indices.

    Parameters
    ----------
    statistic : callable
        Takes an integer array of drawn subjects (last axis: draws).
    n_subjects : int
        Number of subjects.
    seed : int
        Of the resampling.
    vectorized : bool
        Whether ``statistic`` takes many draws at once.
    n_resamples : int
        How many times subjects are drawn.

    Returns
    -------
    Interval
        95 %; limits NaN with fewer than two subjects.
    """
    from scipy import stats

    everyone = np.arange(n_subjects)
    if n_subjects == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    value = float(statistic(everyone))
    if n_subjects == 1:
        return Interval(value, float("nan"), float("nan"), 1)
    wrapped = (lambda rows, axis: statistic(rows)) if vectorized else statistic
    limits = stats.bootstrap(
        (everyone,),
        wrapped,
        n_resamples=n_resamples,
        method="percentile",
        vectorized=vectorized,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, float(limits.low), float(limits.high), n_subjects)


def sign_flip_test(differences, seed: int = 0) -> float:
    """Two-sided p-value that paired differences are centred on zero, by flipping the signs of subjects.

    Parameters
    ----------
    differences : array-like, shape (n_subjects,)
        One difference per subject; NaN is left out.
    seed : int, default=0
        Of the resampling; up to 13 subjects every combination of signs is tried and nothing is random.

    Returns
    -------
    float
        At least 2 / 2**n_subjects, so fewer than 6 subjects can never reach 0.05.
    """
    from scipy import stats

    differences = np.asarray(differences, dtype=float)
    differences = differences[np.isfinite(differences)]
    if not len(differences) or not differences.any():
        return 1.0
    result = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        n_resamples=N_RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values) -> np.ndarray:
    """Adjust p-values for several comparisons :cite:p:`holm1979`, keeping their order.

    Parameters
    ----------
    p_values : array-like, shape (n_comparisons,)
        Unadjusted.

    Returns
    -------
    numpy.ndarray
        Adjusted, at most 1, shape (n_comparisons,).
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    out = np.empty_like(p_values)
    out[order] = np.minimum(adjusted, 1.0)
    return out
