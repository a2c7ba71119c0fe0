"""Signals on graphs against their definitions: the equations of saliency_fusion 1 to 10, as printed and as meant."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.chebyshev import chebinterpolate

from eegfmri.errors import RequestError
from eegfmri.models import graph_signals as gs
from eegfmri.models import saliency_fusion as model


def random_graph(n, seed, signed):
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.normal(size=(n, n)) if signed else rng.uniform(size=(n, n)), 1)
    weights *= np.triu(rng.random((n, n)) < 0.6, 1)
    return weights + weights.T


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", ["normalised", "combinatorial"])
def test_laplacians_have_no_negative_eigenvalue_and_the_normalised_one_none_above_two(signed, kind):
    for seed in range(10):
        matrix = gs.laplacian(random_graph(12, seed, signed), kind)
        eigenvalues = np.linalg.eigvalsh(matrix)
        assert eigenvalues.min() > -1e-10
        if kind == "normalised":
            assert eigenvalues.max() < 2 + 1e-10
        weights = random_graph(12, seed, signed)
        degree = np.diag(np.abs(weights).sum(axis=1))
        root = np.linalg.pinv(np.sqrt(degree))
        slow = degree - weights if kind == "combinatorial" else root @ (degree - weights) @ root
        np.testing.assert_allclose(matrix, slow, atol=1e-12)


def test_a_tensor_is_answered_with_a_tensor_of_its_type_and_gradients_pass_through():
    weights = random_graph(8, 0, signed=True)
    tensor = torch.tensor(weights, dtype=torch.float32, requires_grad=True)
    terms = gs.chebyshev_polynomials(gs.scaled(gs.laplacian(tensor)), 4)
    assert terms.dtype == torch.float32
    of_array = gs.chebyshev_polynomials(gs.scaled(gs.laplacian(weights)), 4)
    assert of_array.dtype == np.float64
    np.testing.assert_allclose(terms.detach().numpy(), of_array, atol=1e-5)
    [gradient] = torch.autograd.grad(terms.square().sum(), tensor)
    assert gradient.abs().max() > 0


def test_a_lonely_node_passes_no_gradient_on():
    tensor = torch.zeros(4, 4)
    tensor[0, 1] = tensor[1, 0] = 0.5
    tensor.requires_grad_(True)
    [gradient] = torch.autograd.grad(gs.laplacian(tensor).square().sum(), tensor)
    assert not gradient[2:, 2:].any()
    assert gradient.isfinite().all()


def test_the_combinatorial_laplacian_is_the_printed_one_without_negative_edges():
    weights = random_graph(9, 0, signed=False)
    np.testing.assert_allclose(gs.laplacian(weights, "combinatorial"), np.diag(weights.sum(axis=1)) - weights)


def test_a_lonely_node_has_a_row_of_zeros():
    weights = np.zeros((4, 4))
    weights[0, 1] = weights[1, 0] = 0.5
    for kind in ("normalised", "combinatorial"):
        assert not gs.laplacian(weights, kind)[2:].any()


def test_a_laplacian_of_what_is_no_graph_is_refused():
    with pytest.raises(RequestError, match="symmetric"):
        gs.laplacian(np.arange(9.0).reshape(3, 3))
    with pytest.raises(RequestError, match="normalised"):
        gs.laplacian(np.zeros((3, 3)), "random-walk")


def test_the_graph_fourier_transform_is_orthonormal_and_inverted():
    eigenvalues, basis = gs.fourier_basis(gs.laplacian(random_graph(15, 1, signed=True)))
    np.testing.assert_allclose(basis.T @ basis, np.eye(15), atol=1e-12)
    assert (np.diff(eigenvalues) >= -1e-12).all()
    signal = np.random.default_rng(0).normal(size=(15, 4))
    spectrum = gs.transform(signal, basis)
    np.testing.assert_allclose(gs.inverse_transform(spectrum, basis), signal, atol=1e-12)
    np.testing.assert_allclose((spectrum**2).sum(axis=0), (signal**2).sum(axis=0))


def test_smoothness_is_the_spectrum_weighted_by_frequency():
    """xᵀ L x, the sum of squared differences along edges, in both domains."""
    weights = random_graph(10, 2, signed=False)
    matrix = gs.laplacian(weights, "combinatorial")
    eigenvalues, basis = gs.fourier_basis(matrix)
    x = np.random.default_rng(1).normal(size=10)
    along_edges = 0.5 * (weights * (x[:, None] - x[None, :]) ** 2).sum()
    assert (eigenvalues * gs.transform(x, basis) ** 2).sum() == pytest.approx(along_edges)


def test_convolution_multiplies_spectra_and_eq_6_is_a_convolution_with_the_filter_s_signal():
    eigenvalues, basis = gs.fourier_basis(gs.laplacian(random_graph(11, 3, signed=False)))
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 11))
    np.testing.assert_allclose(
        gs.transform(gs.convolve(x, y, basis), basis), gs.transform(x, basis) * gs.transform(y, basis), atol=1e-12
    )
    gain = lambda f: np.exp(-f)  # noqa: E731
    filtered = gs.spectral_filter(x, eigenvalues, basis, gain)
    np.testing.assert_allclose(gs.convolve(x, basis @ gain(eigenvalues), basis), filtered, atol=1e-12)


@given(
    n=st.integers(3, 25),
    order=st.integers(0, 8),
    signed=st.booleans(),
    kind=st.sampled_from(["normalised", "combinatorial"]),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_eq_10_as_meant_equals_eq_5_with_a_chebyshev_filter(n, order, signed, kind, seed):
    matrix = gs.laplacian(random_graph(n, seed, signed), kind)
    rng = np.random.default_rng(seed)
    theta, x = rng.normal(size=order + 1), rng.normal(size=(n, 3))
    eigenvalues, basis = gs.fourier_basis(matrix)
    largest = eigenvalues[-1]
    if largest < 1e-9:
        return
    scaled_frequencies = np.clip(2 * eigenvalues / largest - 1, -1, 1)
    # T_k as the cosine it is: U cos(k arccos Λ) Uᵀ
    gains = sum(t * np.cos(k * np.arccos(scaled_frequencies)) for k, t in enumerate(theta))
    expected = basis @ (gains[:, None] * (basis.T @ x))
    scaled = gs.scaled(matrix)
    np.testing.assert_allclose(gs.chebyshev_filter(x, scaled, theta), expected, atol=1e-6)
    np.testing.assert_allclose(
        gs.spectral_filter(x, eigenvalues, basis, lambda f: gs.chebyshev_gain(f, theta, largest)), expected, atol=1e-6
    )
    # the same by the stack of polynomials that the network uses
    stack = gs.chebyshev_polynomials(scaled, order + 1)
    np.testing.assert_allclose(np.einsum("k,kij,jc->ic", theta, stack, x), expected, atol=1e-6)


def test_a_filter_of_order_k_reaches_k_steps_and_no_further():
    path = np.diag(np.ones(11), 1)
    scaled = gs.scaled(gs.laplacian(path + path.T))
    impulse = np.zeros(12)
    impulse[0] = 1
    for order in range(1, 8):
        reached = np.flatnonzero(np.abs(gs.chebyshev_filter(impulse, scaled, np.ones(order + 1))) > 1e-9)
        assert reached.max() == order


def test_a_truncated_expansion_approaches_the_filter():
    eigenvalues, basis = gs.fourier_basis(gs.laplacian(random_graph(20, 5, signed=False)))
    x = np.random.default_rng(3).normal(size=20)
    gain = lambda f: 1 / (1 + np.exp(8 * (f - 1)))  # noqa: E731
    exact = gs.spectral_filter(x, eigenvalues, basis, gain)
    scaled = gs.scaled(gs.laplacian(random_graph(20, 5, signed=False)))
    on_scaled = lambda x: gain((x + 1) * eigenvalues[-1] / 2)  # noqa: E731
    errors = [
        np.abs(gs.chebyshev_filter(x, scaled, chebinterpolate(on_scaled, order)) - exact).max()
        for order in (2, 6, 12, 24)
    ]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 1e-4


def test_the_network_s_layer_equals_torch_geometrics():
    from torch_geometric.nn import ChebConv
    from torch_geometric.utils import dense_to_sparse

    torch.manual_seed(0)
    adjacency = torch.tensor(random_graph(14, 6, signed=False), dtype=torch.float32)
    ours = model.ChebyshevConvolution(5, 7, n_terms=4)
    theirs = ChebConv(5, 7, K=4, normalization="sym")
    with torch.no_grad():
        for k, linear in enumerate(theirs.lins):
            linear.weight.copy_(ours.weight[0, 5 * k : 5 * (k + 1)].T)
        ours.bias.normal_()
        theirs.bias.copy_(ours.bias.flatten())
    matrix = gs.laplacian(adjacency)
    largest = torch.linalg.eigvalsh(matrix)[-1]
    stack = gs.chebyshev_polynomials(gs.scaled(matrix), 4)
    nodes = torch.randn(3, 14, 5)
    edges, weights = dense_to_sparse(adjacency)
    expected = torch.stack([theirs(one, edges, weights, lambda_max=largest) for one in nodes])
    torch.testing.assert_close(ours(nodes[:, None], stack)[:, 0], expected, atol=1e-5, rtol=1e-5)
