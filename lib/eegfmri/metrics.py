"""Scores, and how sure one can be of them: subjects are the units, of intervals and of tests.

Epochs of one person resemble each other, so an interval over epochs would be far too narrow. Here every interval is a
bootstrap over subjects and every comparison a paired test over subjects.
"""

from collections.abc import Callable, Mapping, Sequence
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
    return float(SCORES["balanced_accuracy"](confusion(y_true, y_pred)))


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
    return float(SCORES["macro_f1"](confusion(y_true, y_pred)))


def cohen_kappa(y_true, y_pred) -> float:
    """Agreement beyond chance :cite:p:`cohen1960`; 0 where both sides are one and the same single class.

    Parameters
    ----------
    y_true, y_pred : array-like, shape (n_windows,)
        Class indices.

    Returns
    -------
    float
        At most 1; NaN without windows.
    """
    return float(SCORES["cohen_kappa"](confusion(y_true, y_pred)))


def confusion(y_true, y_pred, n_classes: int | None = None) -> np.ndarray:
    """Count true (rows) against predicted (columns) classes.

    Parameters
    ----------
    y_true, y_pred : array-like of int, shape (n_windows,)
        Class indices.
    n_classes : int or None
        Number of classes; None: as many as occur.

    Returns
    -------
    numpy.ndarray
        Shape (n_classes, n_classes).
    """
    y_true, y_pred = np.asarray(y_true, dtype=int), np.asarray(y_pred, dtype=int)
    n_classes = n_classes or int(max(y_true.max(initial=0), y_pred.max(initial=0))) + 1
    counts = np.bincount(y_true * n_classes + y_pred, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


def _mean_over_present(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(present, values, 0).sum(axis=-1) / present.sum(axis=-1)


def _balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    occurring = counts.sum(axis=-1)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _mean_over_present(hits / np.maximum(occurring, 1), occurring > 0)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    occurring, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _mean_over_present(2 * hits / np.maximum(occurring + predicted, 1), occurring > 0)


def _cohen_kappa(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.trace(counts, axis1=-2, axis2=-1) / total
        expected = (counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1) / total**2
        return np.where(expected == 1, 0.0, (observed - expected) / (1 - expected))


#: Scores by the name they bear in results.json, as functions of counts of shape (..., n_classes, n_classes): a
#: bootstrap then only adds up people's counts.
SCORES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "cohen_kappa": _cohen_kappa,
}


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

    everyone = np.arange(n_subjects)
    if n_subjects == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    value = float(statistic(everyone))
    if n_subjects == 1:
        return Interval(value, float("nan"), float("nan"), 1)
    limits = stats.bootstrap(
        (everyone,),
        lambda drawn, axis: statistic(drawn),
        n_resamples=N_RESAMPLES,
        method="percentile",
        vectorized=True,
        batch=1000,
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


def compare_pairs(by_subject, pairs: Sequence[tuple[str, str]], seed: int = 0):
    """Compare methods subject by subject: difference a − b, interval, sign-flip p-value, Holm over the pairs.

    Parameters
    ----------
    by_subject : pandas.DataFrame
        A score of each subject (rows) and method (columns).
    pairs : sequence of (str, str)
        Methods ``a`` and ``b``.
    seed : int, default=0
        Of bootstrap and test.

    Returns
    -------
    pandas.DataFrame
        ``a``, ``b``, ``difference``, ``low``, ``high``, ``n``, ``p``, ``p_holm``.
    """
    import pandas as pd

    rows = []
    for a, b in pairs:
        difference = (by_subject[a] - by_subject[b]).to_numpy()
        found = bootstrap_mean(difference, seed)
        p = sign_flip_test(difference, seed)
        rows.append(
            {"a": a, "b": b, "difference": found.value, "low": found.low, "high": found.high, "n": found.n, "p": p}
        )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def linear_cka(x, y, debiased: bool = True) -> float:
    """Linear centred kernel alignment of two sets of embeddings :cite:p:`kornblith2019`.

    Parameters
    ----------
    x, y : array-like, shapes (n_windows, n_features_x), (n_windows, n_features_y)
        Embeddings of the same windows.
    debiased : bool, default=True
        Use the unbiased estimate of the Hilbert–Schmidt independence criterion. The biased one is far above zero for
        independent embeddings whenever there are not many more windows than features.

    Returns
    -------
    float
        1 for embeddings that are equal up to rotation and scale; around 0 for independent ones (a little below is
        possible when debiased); NaN with fewer than four windows or a constant embedding.
    """
    kernels = []
    for embedding in (x, y):
        embedding = np.asarray(embedding, dtype=float)
        if len(embedding) < 4:
            return float("nan")
        kernels.append(embedding @ embedding.T)
    hsic = _unbiased_hsic if debiased else _biased_hsic
    cross, own_x, own_y = hsic(*kernels), hsic(kernels[0], kernels[0]), hsic(kernels[1], kernels[1])
    if own_x <= 1e-12 or own_y <= 1e-12:
        return float("nan")
    return float(cross / np.sqrt(own_x * own_y))


def _biased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    centred = k - k.mean(axis=0) - k.mean(axis=1)[:, None] + k.mean()
    return float((centred * m).sum()) / (len(k) - 1) ** 2


def _unbiased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Estimate HSIC without the diagonals, after Song et al. 2012."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    rows_k, rows_m = k.sum(axis=1), m.sum(axis=1)
    value = (k * m).sum() + rows_k.sum() * rows_m.sum() / ((n - 1) * (n - 2)) - 2 * rows_k @ rows_m / (n - 2)
    return float(value) / (n * (n - 3))


def circular_shift_null(statistic: Callable, x, y, n_shifts: int = 199, seed: int = 0, margin: int = 5) -> np.ndarray:
    """Recompute a statistic with one side moved along its own circle: slowness stays, simultaneity goes.

    Parameters
    ----------
    statistic : callable
        Takes ``x`` and ``y``.
    x, y : array-like
        Same length, in order of time.
    n_shifts : int, default=199
        How many shifts to draw; every possible one is taken if there are fewer.
    seed : int, default=0
        Of the shifts.
    margin : int, default=5
        Shifts nearer to zero than this are not drawn.

    Returns
    -------
    numpy.ndarray
        One value per shift.
    """
    x, y = np.asarray(x), np.asarray(y)
    possible = np.arange(margin, len(y) - margin + 1)
    if len(possible) > n_shifts:
        possible = np.random.default_rng(seed).choice(possible, n_shifts, replace=False)
    return np.array([statistic(x, np.roll(y, shift, axis=0)) for shift in possible])


@dataclass(frozen=True)
class DistanceMatch:
    """How alike two geometries of the same things are.

    Attributes
    ----------
    correlation : float
        Of the distances between all pairs.
    null, null_low, null_high : float
        Its mean when the things of one side are renumbered at random, and the limits between which 95 % of renumberings fall.
    p : float
        One-sided share of renumberings that match at least as well.
    """

    correlation: float
    null: float
    null_low: float
    null_high: float
    p: float


def distance_match(x, y, n_permutations: int = 999, seed: int = 0) -> DistanceMatch:
    """Correlate the distances between things in one space with those in another :cite:p:`mantel1967`.

    Parameters
    ----------
    x, y : array-like, shapes (n_things, n_dimensions_x), (n_things, n_dimensions_y)
        Where each thing lies in either space.
    n_permutations : int, default=999
        Random renumberings: distances that share a thing are not independent, so pairs cannot be shuffled one by one.
    seed : int, default=0
        Of the renumberings.

    Returns
    -------
    DistanceMatch
        1 for geometries that differ by size, place and orientation only.
    """
    from scipy.spatial.distance import pdist, squareform

    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    of_x, of_y = squareform(pdist(x)), pdist(y)
    upper, rng = np.triu_indices(len(x), 1), np.random.default_rng(seed)

    def match(order: np.ndarray) -> float:
        return float(np.corrcoef(of_x[np.ix_(order, order)][upper], of_y)[0, 1])

    found = match(np.arange(len(x)))
    null = np.array([match(rng.permutation(len(x))) for _ in range(n_permutations)])
    low, high = np.percentile(null, [2.5, 97.5])
    p = (1 + (null >= found).sum()) / (1 + n_permutations)
    return DistanceMatch(found, float(null.mean()), float(low), float(high), float(p))
