"""What a decoder looks at.

From maps of single windows to maps of subjects and of the group, to nodes and their overlap; what a decoder's weights say of the
signal (patterns instead of filters); how well a map finds what was planted.
"""

from collections.abc import Sequence

import numpy as np

from eegfmri.errors import RequestError
from eegfmri.lags import standardise


def class_maps(activation: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Average class-activation maps of windows into one per class, each window weighing as much as the class is likely in it.

    Parameters
    ----------
    activation : numpy.ndarray
        Shape (n_windows, n_classes, n_nodes).
    probabilities : numpy.ndarray
        The decoder's, shape (n_windows, n_classes); labels are not used.

    Returns
    -------
    numpy.ndarray
        Shape (n_classes, n_nodes).
    """
    weights = probabilities / np.maximum(probabilities.sum(axis=0), 1e-12)
    return np.einsum("wcn,wc->cn", activation, weights)


def contrast_maps(activation: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return by how much a class's activation is higher where the class is likely than where it is not.

    A node can be active for a class in every window, whatever the window's class; that says nothing of the class.

    Parameters
    ----------
    activation, probabilities : numpy.ndarray
        As in `class_maps`.

    Returns
    -------
    numpy.ndarray
        Shape (n_classes, n_nodes).
    """
    return class_maps(activation, probabilities) - class_maps(activation, 1 - probabilities)


def group_map(maps: np.ndarray) -> np.ndarray:
    """Mean over subjects of maps that were standardised over nodes, so that nobody's scale decides.

    Parameters
    ----------
    maps : numpy.ndarray
        Shape (n_subjects, …, n_nodes).

    Returns
    -------
    numpy.ndarray
        Shape (…, n_nodes).
    """
    return standardise(np.asarray(maps, dtype=float)).mean(axis=0)


def times_maximal(maps: np.ndarray) -> np.ndarray:
    """Count how often each node is the maximal one.

    Parameters
    ----------
    maps : numpy.ndarray
        Of windows or subjects, shape (n_maps, n_nodes).

    Returns
    -------
    numpy.ndarray
        Shape (n_nodes,), adding up to ``n_maps``.
    """
    maps = np.asarray(maps)
    return np.bincount(maps.argmax(axis=1), minlength=maps.shape[1])


def salient_nodes(maps: np.ndarray, n_salient: int | None = None, argmax: str = "as_meant") -> np.ndarray:
    """Choose the salient nodes of a set of maps, the most salient first.

    Parameters
    ----------
    maps : numpy.ndarray
        Of windows or subjects, shape (n_maps, n_nodes).
    n_salient : int or None
        How many; None takes those that are maximal at least twice as often as if every node had its equal share.
    argmax : {"as_meant", "as_printed"}
        The nodes most often maximal, ties broken by the mean map; or the argmax of each map and nothing else, which yields at
        most as many nodes as there are maps, and one if they agree.

    Returns
    -------
    numpy.ndarray
        Indices of nodes.

    Raises
    ------
    RequestError
        If more nodes are asked for than there are.
    """
    maps = np.asarray(maps, dtype=float)
    n_nodes = maps.shape[1]
    if n_salient is not None and not 1 <= n_salient <= n_nodes:
        raise RequestError(f"{n_salient} salient nodes cannot be chosen from {n_nodes}: take from 1 to {n_nodes}.")
    counts = times_maximal(maps)
    order = np.lexsort((-maps.mean(axis=0), -counts))
    if argmax == "as_printed":
        found = order[counts[order] > 0]
        return found if n_salient is None else found[:n_salient]
    if n_salient is None:
        n_salient = max(1, int((counts >= 2 * len(maps) / n_nodes).sum()))
    return order[:n_salient]


def node_overlap(a: Sequence[int], b: Sequence[int], n_nodes: int) -> float:
    """Share of nodes that two sets have in common, beyond what a random choice of as many would have.

    Parameters
    ----------
    a, b : sequence of int
        Indices of nodes.
    n_nodes : int
        From how many they were chosen.

    Returns
    -------
    float
        |a ∩ b| / min(|a|, |b|) less its expectation, max(|a|, |b|) / n_nodes.

    Examples
    --------
    Three of four nodes in common out of twenty, of which chance would have given a fifth:

    >>> round(node_overlap([0, 1, 2, 3], [1, 2, 3, 4], n_nodes=20), 2)
    0.55
    """
    a, b = set(map(int, a)), set(map(int, b))
    return len(a & b) / min(len(a), len(b)) - max(len(a), len(b)) / n_nodes


def forward_patterns(features: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    r"""Turn a decoder into a forward model: how the features change with its output :cite:p:`haufe2014`.

    :math:`A = \mathrm{cov}(x, s)\,\mathrm{cov}(s)^{+}`. A decoder's weights may be large where there is only noise to be cancelled; the
    pattern is large where the signal is.

    Parameters
    ----------
    features : numpy.ndarray
        x, shape (n_windows, …).
    outputs : numpy.ndarray
        s, shape (n_windows, n_outputs): logits.

    Returns
    -------
    numpy.ndarray
        Shape (n_outputs, …): change of each feature per unit of output.
    """
    features, outputs = np.asarray(features, dtype=float), np.asarray(outputs, dtype=float)
    flat = features.reshape(len(features), -1)
    x, s = flat - flat.mean(axis=0), outputs - outputs.mean(axis=0)
    pattern = np.linalg.pinv(s.T @ s, hermitian=True) @ (s.T @ x)
    return pattern.reshape(outputs.shape[1], *features.shape[1:])


def class_statistic(features: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Test every node in a linear model with one regressor, the class against all others.

    Parameters
    ----------
    features : numpy.ndarray
        Shape (n_windows, n_nodes) or (n_windows, n_nodes, n_features); several features' squared t are added.
    y : numpy.ndarray
        Class indices, shape (n_windows,).
    n_classes : int
        How many.

    Returns
    -------
    numpy.ndarray
        Root of the (summed) squared t, shape (n_classes, n_nodes); NaN for a class that does not occur or always does.
    """
    features = np.asarray(features, dtype=float)
    features = features[..., None] if features.ndim == 2 else features
    found = np.full((n_classes, features.shape[1]), np.nan)
    for c in range(n_classes):
        own = y == c
        if not 2 <= own.sum() <= len(y) - 2:
            continue
        one, other = features[own], features[~own]
        variance = (one.var(axis=0) * len(one) + other.var(axis=0) * len(other)) / (len(y) - 2)
        error = np.sqrt(variance * (1 / len(one) + 1 / len(other)))
        t = np.divide(one.mean(axis=0) - other.mean(axis=0), error, out=np.zeros_like(error), where=error > 0)
        found[c] = np.sqrt((t**2).sum(axis=-1))
    return found


def recovery(scores: np.ndarray, planted: np.ndarray) -> float:
    """Area under the precision–recall curve (average precision) of a map against the nodes that were planted.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape (n_nodes,).
    planted : numpy.ndarray of bool
        Shape (n_nodes,).

    Returns
    -------
    float
        1 if all planted nodes stand first; the share of planted nodes, on average, for a random order. NaN without a map or truth.
    """
    from sklearn.metrics import average_precision_score

    if not np.isfinite(scores).all() or not planted.any():
        return float("nan")
    return float(average_precision_score(planted, scores))


def largest(effects: np.ndarray, share: float = 0.2) -> np.ndarray:
    """Mark the share of nodes whose planted effect is largest.

    Parameters
    ----------
    effects : numpy.ndarray
        Signed or not, shape (…, n_nodes).
    share : float, default=0.2
        Of the nodes; at least one.

    Returns
    -------
    numpy.ndarray of bool
        Shape of the effects; more nodes where several are equal, all False in rows without an effect.

    Examples
    --------
    >>> import numpy as np
    >>> largest(np.array([[0.1, -2.0, 1.2, 0.3], [0.0, 0.0, 0.0, 0.0]]), share=0.5).tolist()
    [[False, True, True, False], [False, False, False, False]]
    """
    size = np.abs(np.asarray(effects, dtype=float))
    least = np.sort(size, axis=-1)[..., -max(1, round(share * size.shape[-1]))]
    return (size >= least[..., None]) & (size > 0)
