"""Chebyshev graph convolution: dense products against torch-geometric's message passing, over edge density and order.

Both are given the same weights and give the same numbers, which is asserted for every case; nothing is asserted of times.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from eegfmri import device as devices
from eegfmri.estimators.training import one_thread
from eegfmri.models.graph_signals import chebyshev_polynomials, laplacian, scaled
from eegfmri.models.saliency_fusion import ChebyshevConvolution

#: Sizes of a training step on regions: windows, nodes, features before and after.
N_WINDOWS, N_NODES, IN_FEATURES, OUT_FEATURES = 64, 100, 42, 42

#: Share of possible edges, and orders K.
DENSITIES = (0.05, 0.2, 0.5, 1.0)
ORDERS = (1, 3, 5, 8)

#: Largest difference between the two, relative to the largest output: single precision, sums of up to 9 × 42 × 100 terms.
TOLERANCE = 1e-4


def graphs(
    densities: Sequence[float] = DENSITIES,
    orders: Sequence[int] = ORDERS,
    n_windows: int = N_WINDOWS,
    n_nodes: int = N_NODES,
    n_repeats: int = 5,
) -> list[dict]:
    """Time one forward and backward pass of both on one thread, or on the device that is meant, for every density and order.

    Parameters
    ----------
    densities : sequence of float
        Share of possible edges that the graph has.
    orders : sequence of int
        K: the sum has K + 1 terms.
    n_windows, n_nodes : int
        Size of a batch and of the graph.
    n_repeats : int
        Repetitions; the median counts.

    Returns
    -------
    list of dict
        Per case: milliseconds of either, how many times faster the dense one is, and the largest relative difference of
        outputs and of gradients.
    """
    rows = []
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for density in densities:
            adjacency = random_graph(n_nodes, density)
            for order in orders:
                case = f"density {density:g}, K = {order}"
                dense, sparse, difference = compare(adjacency, order, n_windows, n_repeats)
                rows += [
                    {"case": case, "measure": "dense", "value": round(1e3 * dense, 3), "unit": "ms"},
                    {"case": case, "measure": "torch-geometric", "value": round(1e3 * sparse, 3), "unit": "ms"},
                    {"case": case, "measure": "ratio", "value": round(sparse / dense, 2), "unit": "x"},
                    {"case": case, "measure": "largest relative difference", "value": difference, "unit": ""},
                ]
    return rows


def random_graph(n_nodes: int, density: float, seed: int = 0) -> torch.Tensor:
    """Draw a graph with positive weights, shape (n_nodes, n_nodes); every node has an edge to the next, so that none is alone."""
    rng = np.random.default_rng(seed)
    rows, columns = np.triu_indices(n_nodes, 1)
    chosen = rng.permutation(len(rows))[: max(1, round(density * len(rows)))]
    weights = np.zeros((n_nodes, n_nodes), dtype=np.float32)
    weights[rows[chosen], columns[chosen]] = rng.uniform(0.1, 1.0, len(chosen))
    ring = np.arange(n_nodes)
    weights[ring, (ring + 1) % n_nodes] = 0.5
    weights = np.triu(weights + weights.T, 1)
    return torch.from_numpy(weights + weights.T)


def compare(adjacency: torch.Tensor, order: int, n_windows: int, n_repeats: int) -> tuple[float, float, float]:
    """Time both on the same input and weights.

    Parameters
    ----------
    adjacency : torch.Tensor
        Positive weights, shape (n_nodes, n_nodes).
    order : int
        K.
    n_windows, n_repeats : int
        Windows in a batch; repetitions.

    Returns
    -------
    dense, sparse : float
        Median seconds of a forward and backward pass.
    difference : float
        Largest relative difference of outputs and gradients.

    Raises
    ------
    AssertionError
        If they differ by more than `TOLERANCE`.
    """
    from torch_geometric.nn import ChebConv
    from torch_geometric.utils import dense_to_sparse

    n_nodes = len(adjacency)
    matrix = laplacian(adjacency)
    largest = torch.linalg.eigvalsh(matrix)[-1]
    polynomials = chebyshev_polynomials(scaled(matrix), order + 1)
    ours = ChebyshevConvolution(IN_FEATURES, OUT_FEATURES, order + 1)
    theirs = ChebConv(IN_FEATURES, OUT_FEATURES, order + 1, normalization="sym")
    with torch.no_grad():
        for k, linear in enumerate(theirs.lins):
            linear.weight.copy_(ours.weight[0, IN_FEATURES * k : IN_FEATURES * (k + 1)].T)
        theirs.bias.copy_(ours.bias.flatten())
    nodes = torch.randn(n_windows, n_nodes, IN_FEATURES)
    edges, weights = dense_to_sparse(adjacency)
    # one graph of all windows' nodes, as torch-geometric's loader makes it
    offset = n_nodes * torch.arange(n_windows).repeat_interleave(edges.shape[1])
    index, weight = edges.repeat(1, n_windows) + offset, weights.repeat(n_windows)
    place = devices.resolve()
    ours, theirs, nodes, polynomials = (part.to(place) for part in (ours, theirs, nodes, polynomials))
    index, weight, largest = (part.to(place) for part in (index, weight, largest))
    nodes.requires_grad_()

    def dense() -> torch.Tensor:
        return ours(nodes[:, None], polynomials)[:, 0]

    def sparse() -> torch.Tensor:
        flat = theirs(nodes.reshape(-1, IN_FEATURES), index, weight, lambda_max=largest)
        return flat.reshape(n_windows, n_nodes, -1)

    found = [_output_and_gradient(step, nodes) for step in (dense, sparse)]
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*found, strict=True))
    assert difference < TOLERANCE, f"outputs differ by {difference:g} of the largest, more than {TOLERANCE:g}"
    return _median_seconds(dense, n_repeats, place), _median_seconds(sparse, n_repeats, place), difference


def _output_and_gradient(step: Callable[[], torch.Tensor], nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    output = step()
    [gradient] = torch.autograd.grad(output.square().sum(), nodes)
    return output.detach(), gradient


def _median_seconds(step: Callable[[], torch.Tensor], n_repeats: int, place: str) -> float:
    seconds = []
    for _ in range(n_repeats):
        started = time.perf_counter()
        step().sum().backward()
        devices.wait(place)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
