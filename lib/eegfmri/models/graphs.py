"""Graphs of regions and of electrodes: who is whose neighbour, and by how much.

An adjacency is a symmetric matrix with an empty diagonal. Functional connectivity has a sign; whoever drops it should
have to say so. Degrees are sums of absolute weights, so that a normalised adjacency has eigenvalues in [−1, 1] and its
Laplacian in [0, 2], signed or not.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from eegfmri.errors import RequestError

Signs = Literal["keep", "fold", "drop"]


def functional_connectivity(series: Iterable[np.ndarray]) -> np.ndarray:
    """Average the correlation matrices of several runs, after Fisher's z.

    Parameters
    ----------
    series : iterable of numpy.ndarray
        One array of shape (n_regions, n_volumes) per run or window; the training ones only.

    Returns
    -------
    numpy.ndarray
        Correlations, shape (n_regions, n_regions), diagonal 0; a region that never varies has 0 everywhere.

    Raises
    ------
    RequestError
        If there is no series.
    """
    total, count = None, 0
    for one in series:
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.corrcoef(np.asarray(one, dtype=float))
        z = np.arctanh(np.clip(np.nan_to_num(correlation), -0.999999, 0.999999))
        total, count = z if total is None else total + z, count + 1
    if total is None:
        raise RequestError("Functional connectivity needs at least one training series; the fold has none.")
    mean = np.tanh(total / count)
    np.fill_diagonal(mean, 0.0)
    return mean


def sparsify(
    weights: np.ndarray, *, density: float | None = None, threshold: float | None = None, signs: Signs = "keep"
) -> np.ndarray:
    """Keep the strongest edges of a weighted graph.

    Parameters
    ----------
    weights : numpy.ndarray
        Symmetric, shape (n_nodes, n_nodes).
    density : float or None
        Share of all possible edges to keep, by absolute weight; in (0, 1].
    threshold : float or None
        Keep edges whose absolute weight reaches this instead.
    signs : {"keep", "fold", "drop"}
        Keep signed weights, take absolute values, or drop negative edges before the choice.

    Returns
    -------
    numpy.ndarray
        Symmetric, diagonal 0, other edges 0.

    Raises
    ------
    RequestError
        Unless exactly one of ``density`` and ``threshold`` is given, in its range.

    Examples
    --------
    Of three possible edges the strongest, signed or not, is the negative one:

    >>> import numpy as np
    >>> weights = np.array([[0.0, 0.2, -0.9], [0.2, 0.0, 0.5], [-0.9, 0.5, 0.0]])
    >>> print(sparsify(weights, density=1 / 3))
    [[ 0.   0.  -0.9]
     [ 0.   0.   0. ]
     [-0.9  0.   0. ]]
    """
    if (density is None) == (threshold is None):
        raise RequestError("Give either a density or a threshold for the graph, not both and not neither.")
    weights = np.asarray(weights, dtype=float)
    weights = (weights + weights.T) / 2
    if signs == "fold":
        weights = np.abs(weights)
    elif signs == "drop":
        weights = np.maximum(weights, 0.0)
    rows, columns = np.triu_indices(len(weights), 1)
    strength = np.abs(weights[rows, columns])
    if density is not None:
        if not 0 < density <= 1:
            raise RequestError(f"The density of a graph lies in (0, 1], not at {density:g}.")
        chosen = np.argsort(-strength, kind="stable")[: max(1, round(density * len(strength)))]
    else:
        chosen = np.flatnonzero(strength >= threshold)
    kept = np.zeros_like(weights)
    kept[rows[chosen], columns[chosen]] = weights[rows[chosen], columns[chosen]]
    return kept + kept.T


def nearest_neighbours(weights: np.ndarray, n_neighbours: int = 8) -> np.ndarray:
    """Connect each node to its strongest neighbours, and symmetrise: an edge stays if either end chose it.

    Parameters
    ----------
    weights : numpy.ndarray
        Shape (n_nodes, n_nodes); strength is the absolute weight.
    n_neighbours : int, default=8
        How many each node chooses.

    Returns
    -------
    numpy.ndarray
        Symmetric, diagonal 0, shape (n_nodes, n_nodes).

    Raises
    ------
    RequestError
        If there are not that many other nodes.
    """
    weights = np.array(weights, dtype=float)
    if not 0 < n_neighbours < len(weights):
        raise RequestError(f"{len(weights)} nodes cannot each choose {n_neighbours} neighbours.")
    np.fill_diagonal(weights, 0.0)
    strength = np.abs(weights)
    np.fill_diagonal(strength, -np.inf)
    chosen = np.argsort(-strength, axis=1, kind="stable")[:, :n_neighbours]
    mask = np.zeros(weights.shape, dtype=bool)
    np.put_along_axis(mask, chosen, True, axis=1)
    return np.where(mask | mask.T, (weights + weights.T) / 2, 0.0)


def is_connected(adjacency: np.ndarray) -> bool:
    """Tell whether every node can be reached from every other one."""
    from scipy.sparse.csgraph import connected_components

    return connected_components(np.asarray(adjacency) != 0, directed=False, return_labels=False) == 1


def scalp_adjacency(positions: np.ndarray, width: float | None = None, reach: float = 3.0) -> np.ndarray:
    """Gaussian kernel of the distance between electrodes.

    Parameters
    ----------
    positions : numpy.ndarray
        Of the electrodes, in m, shape (n_channels, 3).
    width : float or None
        Standard deviation of the kernel in m; None takes the mean distance to the nearest neighbour.
    reach : float, default=3.0
        Edges longer than this many widths are left out.

    Returns
    -------
    numpy.ndarray
        Weights in [0, 1], shape (n_channels, n_channels), diagonal 0.
    """
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    if width is None:
        width = np.where(np.eye(len(distance), dtype=bool), np.inf, distance).min(axis=1).mean()
    weights = np.where(distance <= reach * width, np.exp(-(distance**2) / (2 * width**2)), 0.0)
    np.fill_diagonal(weights, 0.0)
    return weights
