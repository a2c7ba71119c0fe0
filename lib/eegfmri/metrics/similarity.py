"""How alike two sets of embeddings are, or whether their rows match."""

from dataclasses import dataclass

import numpy as np


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
