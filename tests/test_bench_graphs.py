"""The benchmark of graph convolutions compares what is equal; no time is asserted."""

import numpy as np
import pytest
import torch

from eegfmri.bench import graphs as bench


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_graphs_have_the_density_asked_for_and_no_lonely_node(density):
    adjacency = bench.random_graph(40, density).numpy()
    edges = np.count_nonzero(np.triu(adjacency, 1))
    assert edges == pytest.approx(density * 780, abs=40)
    assert (adjacency > 0).any(axis=0).all()
    np.testing.assert_array_equal(adjacency, adjacency.T)
    assert adjacency.min() >= 0


def test_each_case_has_both_times_their_ratio_and_the_difference():
    rows = bench.graphs(densities=(0.2, 1.0), orders=(2,), n_windows=2, n_nodes=12, n_repeats=1)
    assert len(rows) == 8
    assert {row["measure"] for row in rows} == {"dense", "torch-geometric", "ratio", "largest relative difference"}
    assert all(row["value"] < bench.TOLERANCE for row in rows if row["measure"].startswith("largest"))


def test_what_differs_is_not_timed(monkeypatch):
    original = bench.chebyshev_polynomials
    monkeypatch.setattr(bench, "chebyshev_polynomials", lambda *args: original(*args) * 1.01)
    with pytest.raises(AssertionError, match="differ"), torch.random.fork_rng(devices=[]):
        bench.compare(bench.random_graph(10, 0.5), 2, 2, 1)
