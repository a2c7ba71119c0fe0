"""The equations of `saliency_fusion` exactly as printed, put to the test on small graphs.

Each function answers one statement of the ledger (``check: {routine: NAME}`` in ``data/claims.yml``) by computing it:
whether the statement holds, a number that shows it, and why. What the equations must have meant is built in the
models; here stands only what follows from the print. Equation numbers are the paper's (``saliencyfusion``).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev


class Finding(NamedTuple):
    """What a test of a printed equation found.

    Attributes
    ----------
    holds : bool
        Whether the ledger's statement holds.
    value : float
        The number that shows it.
    why : str
        One sentence that says what was computed.
    """

    holds: bool
    value: float
    why: str


#: The tests by the name the ledger gives them.
ROUTINES: dict[str, Callable[[], Finding]] = {}


def _routine(function: Callable[[], Finding]) -> Callable[[], Finding]:
    ROUTINES[function.__name__] = function
    return function


def _path_laplacian(n_nodes: int) -> np.ndarray:
    """Return D − W (eq. 1) of a path of nodes joined by edges of weight 1."""
    weights = np.diag(np.ones(n_nodes - 1), 1)
    weights += weights.T
    return np.diag(weights.sum(axis=1)) - weights


def _random_laplacian(rng: np.random.Generator, n_nodes: int) -> np.ndarray:
    """Return D − W (eq. 1) of a complete graph with weights drawn from (0, 1)."""
    weights = np.triu(rng.uniform(size=(n_nodes, n_nodes)), 1)
    weights += weights.T
    return np.diag(weights.sum(axis=1)) - weights


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@_routine
def laplacian_is_normalised() -> Finding:
    """Compare the largest eigenvalue of eq. 1 with 2, the bound of the normalised Laplacian."""
    complete = 4 * np.eye(4) - np.ones((4, 4))
    largest = float(np.linalg.eigvalsh(complete).max())
    why = (
        f"on the complete graph of four nodes D − W has the eigenvalue {largest:.3g}: it is the combinatorial Laplacian"
    )
    return Finding(largest <= 2 + 1e-9, largest, why)


@_routine
def scaled_eigenvalues() -> Finding:
    """Scale the eigenvalues of random graphs as the text does before eq. 10."""
    rng = np.random.default_rng(0)
    furthest = 0.0
    for n_nodes in (3, 8, 30, 100):
        eigenvalues = np.linalg.eigvalsh(_random_laplacian(rng, n_nodes))
        furthest = max(furthest, float(np.abs(2 * eigenvalues / eigenvalues.max() - 1).max()))
    why = "the largest absolute scaled eigenvalue over four random graphs of 3 to 100 nodes with positive weights"
    return Finding(furthest <= 1 + 1e-9, furthest, why)


@_routine
def filter_shapes() -> Finding:
    """Form the factors of the product in eq. 6 as printed: Uᵀ(U g(Λ)) and Uᵀx."""
    eigenvalues, basis = np.linalg.eigh(_path_laplacian(5))
    signal = np.ones(5)
    left, right = basis.T @ (basis @ np.diag(eigenvalues)), basis.T @ signal
    why = (
        f"for five nodes the left factor has shape {left.shape} and the right one {right.shape}; "
        "g(Λ) must be read as the vector of its diagonal"
    )
    return Finding(left.shape == right.shape, float(left.ndim - right.ndim), why)


@_routine
def chebyshev_domain() -> Finding:
    """Evaluate a Chebyshev polynomial at the unscaled eigenvalues that eq. 7 uses."""
    eigenvalues = np.linalg.eigvalsh(_path_laplacian(8))
    largest = float(np.abs(chebyshev.chebval(eigenvalues, [0, 0, 0, 0, 1])).max())
    why = (
        f"on a path of eight nodes the eigenvalues reach {eigenvalues.max():.2f}, where T₄ is {largest:.0f} "
        "instead of at most 1; eq. 10 scales them"
    )
    return Finding(largest <= 1 + 1e-9, largest, why)


@_routine
def chebyshev_order() -> Finding:
    """Measure how far a sum from 0 to K − 1 reaches along a path."""
    n_nodes, order = 12, 4
    laplacian = _path_laplacian(n_nodes)
    scaled = 2 * laplacian / np.linalg.eigvalsh(laplacian).max() - np.eye(n_nodes)
    terms = [np.eye(n_nodes), scaled]
    while len(terms) < order:  # k = 0 … K − 1
        terms.append(2 * scaled @ terms[-1] - terms[-2])
    response = np.abs(np.sum(terms, axis=0)[:, 0])
    reach = int(np.flatnonzero(response > 1e-9).max())
    why = f"with K = {order} the sum has {order} terms and reaches {reach} steps, one fewer than K"
    return Finding(reach == order, float(reach), why)


@_routine
def chebyshev_without_basis() -> Finding:
    """Compare the two sides of eq. 10 on a path."""
    rng = np.random.default_rng(0)
    eigenvalues, basis = np.linalg.eigh(_path_laplacian(8))
    scaled = 2 * eigenvalues / eigenvalues.max() - 1
    gains = chebyshev.chebval(scaled, [0.5, 1.0, 0.25])
    signal = rng.standard_normal(8)
    left, right = basis @ (gains * (basis.T @ signal)), gains * signal
    difference = float(np.linalg.norm(left - right) / np.linalg.norm(left))
    why = (
        f"on a path of eight nodes the sides differ by {difference:.0%} of the left one; "
        "with the Laplacian in place of Λ they agree"
    )
    return Finding(difference < 1e-9, difference, why)


@_routine
def argmax_nodes() -> Finding:
    """Take the argmax over subjects when all of them agree on the order of nodes."""
    n_subjects, n_nodes = 10, 6
    saliency = np.tile(np.arange(n_nodes, 0, -1.0), (n_subjects, 1))
    n_found = len(set(saliency.argmax(axis=1)))
    why = (
        f"ten subjects who agree on the order of {n_nodes} nodes yield {n_found} node; "
        "counting how often a node is maximal, or averaging, is needed to rank n"
    )
    return Finding(n_found == n_nodes, float(n_found), why)


@_routine
def node_count() -> Finding:
    """Count the members of a set indexed from 0 to n."""
    n_nodes = 100
    count = len(range(0, n_nodes + 1))
    return Finding(count == n_nodes, float(count), f"for n = {n_nodes} nodes the indices 0 to n are {count}")


@_routine
def count_views() -> Finding:
    """Count the losses of eq. 24."""
    losses = ("β", "α", "θ", "γ", "δ", "fMRI")
    why = f"eq. 24 adds the losses of {', '.join(losses)}, and six embeddings are named after eq. 16 and 22"
    return Finding(len(losses) == 5, float(len(losses)), why)


@_routine
def attention_softmax() -> Finding:
    """Apply eq. 14 and 15 one after the other to two scores, 0 and 1."""
    scores = np.array([0.0, 1.0])
    meant, printed = _softmax(scores)[1], _softmax(np.exp(np.maximum(scores, 0)))[1]
    why = (
        "eq. 14 exponentiates and eq. 15 again: of two neighbours with scores 0 and 1 the second "
        f"gets {printed:.3f} of the attention instead of {meant:.3f}"
    )
    return Finding(bool(np.isclose(printed, meant)), float(printed), why)


@_routine
def attention_activation() -> Finding:
    """Compare ReLU, as printed in eq. 14, with the leaky ReLU of slope 0.2 of the cited network, at −1."""
    score, slope = -1.0, 0.2
    printed, meant = max(score, 0.0), slope * score
    why = (
        f"the cited network applies a leaky ReLU of slope {slope} (at −1: −{-meant:g}), "
        f"eq. 14 a ReLU (at −1: {printed:g})"
    )
    return Finding(printed == meant, printed, why)


def _attended(views: list[np.ndarray], weights: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Return A_i of eq. 17 and 18 for every view."""
    keys, queries, values = weights
    return [_softmax((view @ queries) @ (view @ keys).T / np.sqrt(keys.shape[1])) @ (view @ values) for view in views]


def _views(n_views: int = 3, n_nodes: int = 5, width: int = 4) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(0)
    views = [rng.standard_normal((n_nodes, width)) for _ in range(n_views)]
    return views, tuple(rng.standard_normal((width, width)) for _ in range(3))


@_routine
def cross_view_attention() -> Finding:
    """Change one view and see whether eq. 18 changes the others."""
    views, weights = _views()
    before = _attended(views, weights)
    after = _attended([views[0], views[1] + 1.0, views[2]], weights)
    change = float(max(np.abs(before[i] - after[i]).max() for i in (0, 2)))
    why = (
        "changing the second of three views leaves eq. 18 of the first and third unchanged: each attends to itself only"
    )
    return Finding(change > 0, change, why)


@_routine
def adaptation_index() -> Finding:
    """Compute eq. 19, whose sum uses up the index i, for every view."""
    views, weights = _views(n_nodes=4)
    attended = _attended(views, weights)
    new = [sum(attended[i] @ views[i] for i in range(len(views))) for _ in views]
    difference = float(max(np.abs(new[0] - other).max() for other in new[1:]))
    why = "the index i of eq. 19 is summed over, so all views receive the same representation"
    return Finding(difference > 0, difference, why)


@_routine
def adaptation_shapes() -> Finding:
    """Match the inner dimensions of the product in eq. 19 for n = 100 nodes and k = d = 64."""
    n_nodes, n_keys, width = 100, 64, 64
    inner = (n_keys, n_nodes)  # (n, k) times (n, d)
    why = (
        f"with n = {n_nodes} and k = d = {width} the inner dimensions are {inner[0]} and {inner[1]}; "
        "the product exists only where k = n, and the values already hold the embedding"
    )
    return Finding(inner[0] == inner[1], float(n_keys - n_nodes), why)


@_routine
def fusion_weights() -> Finding:
    """Add up the weights of eq. 21 for six equally weighted views."""
    n_views = 6
    weights = np.full(n_views, 1 / n_views)
    total = float(weights[0] + weights.sum())
    why = f"with six weights of 1/6 the free view i is counted twice and the weights add up to {total:.3f}"
    return Finding(bool(np.isclose(total, 1)), total, why)


@_routine
def rho_effect() -> Finding:
    """Compute eq. 22 for two values of ρ."""
    views, weights = _views(n_nodes=4)
    attended = _attended(views, weights)
    share = 1 / len(views)
    new = sum(a @ view for a, view in zip(attended, views, strict=True))  # eq. 19

    def embeddings(rho: float) -> list[np.ndarray]:
        mixed = [rho * new + (1 - rho) * view for view in views]  # eq. 20: nothing below reads it
        assert len(mixed) == len(views)
        fused = [share * view + share * sum(views) for view in views]  # eq. 21
        return [(part + new) / 2 for part in fused]  # eq. 22

    pairs = zip(embeddings(0.1), embeddings(0.9), strict=True)
    change = float(max(np.abs(low - high).max() for low, high in pairs))
    why = "eq. 22 takes the output of eq. 19, not of eq. 20: ρ = 0.1 and ρ = 0.9 give the same embeddings"
    return Finding(change > 0, change, why)
