"""Graphs of regions and of electrodes: who is whose neighbour, and by how much.

An adjacency is a symmetric matrix with an empty diagonal. Functional connectivity has a sign; whoever drops it should
have to say so. Degrees are sums of absolute weights, so that a normalised adjacency has eigenvalues in [−1, 1] and its
Laplacian in [0, 2], signed or not.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

import numpy as np

from eegfmri.errors import RequestError

Signs = Literal["keep", "fold", "drop"]

#: A graph as it is, or what it is compared with, see `control_graph`.
Control = Literal["given", "identity", "permuted", "rewired"]


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


def control_graph(adjacency: np.ndarray, control: Control, seed: int = 0) -> np.ndarray:
    """Return a graph that lacks what a graph is thought to know: a control for a network that uses it.

    Parameters
    ----------
    adjacency : numpy.ndarray
        Shape (n_nodes, n_nodes), symmetric, diagonal 0.
    control : {"given", "identity", "permuted", "rewired"}
        ``given``: the graph itself. ``identity``: no edge; every node is alone. ``permuted``: the same graph with its nodes exchanged, so
        that it joins the wrong ones. ``rewired``: every node keeps its number of edges, but not to whom; weights are shuffled over edges.
    seed : int, default=0
        Of permutation and rewiring.

    Returns
    -------
    numpy.ndarray
        Shape (n_nodes, n_nodes).

    Raises
    ------
    RequestError
        If there is no such control.
    """
    import networkx

    rng = np.random.default_rng(seed)
    if control == "given":
        return adjacency
    if control == "identity":
        return np.zeros_like(adjacency)
    if control == "permuted":
        order = rng.permutation(len(adjacency))
        return adjacency[np.ix_(order, order)]
    if control != "rewired":
        raise RequestError(f"There is no control graph {control!r}: choose given, identity, permuted or rewired.")
    edges = np.argwhere(np.triu(adjacency != 0, 1))
    graph = networkx.Graph(map(tuple, edges))
    if len(edges) > 1:
        # Ten swaps an edge forget where it was; a graph that is nearly complete allows fewer.
        with suppress(networkx.NetworkXException):
            networkx.double_edge_swap(graph, 10 * len(edges), 1000 * len(edges), seed=seed)
    rewired, weights = np.zeros_like(adjacency), rng.permutation(adjacency[tuple(edges.T)])
    for (a, b), weight in zip(sorted(tuple(sorted(edge)) for edge in graph.edges), weights, strict=True):
        rewired[a, b] = rewired[b, a] = weight
    return rewired


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
