"""Graphs against their definitions, and graph convolution against torch-geometric."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eegfmri.errors import RequestError
from eegfmri.models import graphs
from eegfmri.models.graph_convolution import GraphConvolution, HybridAdjacency, normalise
from eegfmri.preprocessing.sources import electrode_positions


def random_graph(n, seed, signed=True):
    weights = np.random.default_rng(seed).normal(size=(n, n))
    weights = (weights + weights.T) / 2
    np.fill_diagonal(weights, 0)
    return weights if signed else np.abs(weights)


def test_connectivity_is_the_mean_correlation_after_fishers_z():
    rng = np.random.default_rng(0)
    runs = [rng.normal(size=(5, 40)) for _ in range(3)]
    expected = np.tanh(np.mean([np.arctanh(np.corrcoef(run) - np.eye(5)) for run in runs], axis=0))
    found = graphs.functional_connectivity(runs)
    np.testing.assert_allclose(found, expected - np.diag(np.diag(expected)), atol=1e-6)
    runs[0][2] = 1.0
    assert np.isfinite(graphs.functional_connectivity(runs)).all()
    with pytest.raises(RequestError, match="at least one"):
        graphs.functional_connectivity([])


@given(n=st.integers(3, 20), density=st.floats(0.05, 1.0), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_density_keeps_that_many_of_the_strongest_edges(n, density, seed):
    weights = random_graph(n, seed)
    kept = graphs.sparsify(weights, density=density)
    pairs = n * (n - 1) // 2
    assert np.count_nonzero(kept) // 2 == max(1, round(density * pairs))
    assert (kept == kept.T).all()
    dropped = np.abs(weights[(kept == 0) & ~np.eye(n, dtype=bool)])
    assert np.abs(kept[kept != 0]).min() >= (dropped.max() if len(dropped) else 0)


def test_signs_are_kept_folded_or_dropped_as_asked():
    weights = random_graph(8, 1)
    np.testing.assert_array_equal(graphs.sparsify(weights, density=1.0), weights)
    np.testing.assert_array_equal(graphs.sparsify(weights, density=1.0, signs="fold"), np.abs(weights))
    assert graphs.sparsify(weights, density=1.0, signs="drop").min() == 0
    thresholded = graphs.sparsify(weights, threshold=0.5)
    np.testing.assert_array_equal(thresholded != 0, np.abs(weights) >= 0.5)
    with pytest.raises(RequestError, match="either"):
        graphs.sparsify(weights)
    with pytest.raises(RequestError, match=r"\(0, 1\]"):
        graphs.sparsify(weights, density=0)


@given(n=st.integers(4, 30), density=st.floats(0.1, 0.9), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_control_graphs_keep_what_they_say_and_lose_the_rest(n, density, seed):
    given_graph = graphs.sparsify(random_graph(n, seed), density=density)
    np.testing.assert_array_equal(graphs.control_graph(given_graph, "given"), given_graph)
    assert not graphs.control_graph(given_graph, "identity").any()
    for control in ("permuted", "rewired"):
        found = graphs.control_graph(given_graph, control, seed)
        assert (found == found.T).all()
        assert not np.diag(found).any()
        np.testing.assert_allclose(np.sort(found, axis=None), np.sort(given_graph, axis=None))
        np.testing.assert_array_equal(graphs.control_graph(given_graph, control, seed), found)
    degrees = (graphs.control_graph(given_graph, "rewired", seed) != 0).sum(axis=1)
    np.testing.assert_array_equal(degrees, (given_graph != 0).sum(axis=1))
    order = np.linalg.eigvalsh(graphs.control_graph(given_graph, "permuted", seed))
    np.testing.assert_allclose(order, np.linalg.eigvalsh(given_graph), atol=1e-9)


def test_a_rewired_graph_is_another_one():
    given_graph = graphs.sparsify(random_graph(40, 3), density=0.2)
    found = graphs.control_graph(given_graph, "rewired", 0) != 0
    share = (found & (given_graph != 0)).sum() / found.sum()
    assert share < 0.4
    with pytest.raises(RequestError, match="no control graph 'random'"):
        graphs.control_graph(given_graph, "random")


def test_neighbours_are_symmetric_and_at_least_as_many_as_asked():
    adjacency = graphs.nearest_neighbours(random_graph(20, 2), 4)
    assert (adjacency == adjacency.T).all()
    assert (np.count_nonzero(adjacency, axis=1) >= 4).all()
    assert not np.diag(adjacency).any()
    with pytest.raises(RequestError, match="neighbours"):
        graphs.nearest_neighbours(random_graph(4, 0), 4)


def test_connectedness():
    two_islands = np.kron(np.eye(2), np.ones((3, 3)) - np.eye(3))
    assert not graphs.is_connected(two_islands)
    two_islands[0, 5] = two_islands[5, 0] = 0.1
    assert graphs.is_connected(two_islands)


def test_near_electrodes_weigh_more_and_mirror_images_alike():
    names = ["Fp1", "Fp2", "F3", "F4", "O1", "O2", "Oz"]
    weights = graphs.scalp_adjacency(electrode_positions(names), width=0.06, reach=10)
    assert weights[4, 6] > weights[2, 6] > weights[0, 6] > 0
    assert weights[4, 6] == pytest.approx(weights[5, 6], rel=0.05)
    assert (weights == weights.T).all()
    with pytest.raises(RequestError, match="ECG"):
        electrode_positions(["Cz", "ECG"])


@pytest.mark.parametrize("signed", [True, False])
def test_normalised_spectra_stay_within_one(signed):
    for seed in range(10):
        adjacency = graphs.sparsify(random_graph(15, seed, signed), density=0.3)
        for self_loops in (True, False):
            eigenvalues = np.linalg.eigvalsh(normalise(torch.tensor(adjacency), self_loops).numpy())
            assert eigenvalues.min() >= -1 - 1e-9
            assert eigenvalues.max() <= 1 + 1e-9


def test_graph_convolution_equals_torch_geometrics():
    from torch_geometric.nn import GCNConv
    from torch_geometric.utils import dense_to_sparse

    torch.manual_seed(0)
    adjacency = torch.tensor(graphs.sparsify(random_graph(12, 3, signed=False), density=0.4), dtype=torch.float32)
    ours, theirs = GraphConvolution(5, 7), GCNConv(5, 7)
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.weight.T)
        ours.bias.normal_()
        theirs.bias.copy_(ours.bias)
    nodes = torch.randn(4, 12, 5)
    edges, weights = dense_to_sparse(adjacency)
    expected = torch.stack([theirs(one, edges, weights) for one in nodes])
    torch.testing.assert_close(ours(nodes, normalise(adjacency)), expected, atol=1e-5, rtol=1e-5)


def test_a_hybrid_graph_is_symmetric_trains_and_starts_near_the_given_one():
    fixed = torch.tensor(random_graph(6, 4, signed=False), dtype=torch.float32)
    hybrid = HybridAdjacency(fixed)
    torch.testing.assert_close(hybrid(), hybrid().T)
    torch.testing.assert_close(hybrid(), 0.5 * fixed, atol=0.05, rtol=0)
    assert not torch.diagonal(hybrid()).any()
    hybrid().sum().backward()
    assert hybrid.free.grad.abs().sum() > 0
    assert hybrid.mix.grad is not None
    assert not list(HybridAdjacency(fixed, "fixed").parameters())
    assert set(dict(HybridAdjacency(fixed, "learned").named_parameters())) == {"free"}
    with pytest.raises(ValueError, match="hybrid"):
        HybridAdjacency(fixed, "both")
