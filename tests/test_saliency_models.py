"""The modules of saliency_fusion against slow, literal versions of their equations."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from eegfmri.models import saliency_fusion as model
from eegfmri.models.saliency_fusion import (
    AdaptiveFusion,
    CrossViewAttention,
    FusionConfig,
    GcnnConfig,
    GeometricAttention,
    GraphAttention,
    MultiScaleGCNN,
    MultiViewFusion,
    SpectralScales,
    TemporalScales,
    _Moments,
)

BANDS = [(1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0)]


def graph(n, seed=0, density=0.5):
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.uniform(0.1, 1, (n, n)) * (rng.random((n, n)) < density), 1)
    return torch.tensor(weights + weights.T, dtype=torch.float32)


def eeg_network(n=9, n_classes=3, config=None, seed=0, n_times=200, sfreq=100.0):
    torch.manual_seed(seed)
    frequencies = torch.fft.rfftfreq(n_times, 1 / sfreq, dtype=torch.float64)
    front = SpectralScales(frequencies, sfreq, BANDS, model.kernel_lengths((0.5, 0.25, 0.125), sfreq), 4)
    return MultiScaleGCNN(front, graph(n, seed), n_classes, config).eval()


def bold_network(n=9, n_classes=3, config=None, seed=0, shared=False):
    torch.manual_seed(seed)
    return MultiScaleGCNN(TemporalScales(n, (1, 3, 5), 4, shared), graph(n, seed), n_classes, config).eval()


# --- temporal filters --------------------------------------------------------------------------------------------------


def test_the_sampling_rate_alone_sets_odd_kernels():
    assert model.kernel_lengths((0.5, 0.25, 0.125), 100.0) == (51, 25, 13)
    assert model.kernel_lengths((0.5, 0.25, 0.125), 250.0) == (125, 63, 31)
    assert model.kernel_lengths((6.0, 12.0, 20.0), 1 / 2.1) == (3, 5, 9)
    assert model.kernel_lengths((0.1,), 1 / 2.1) == (1,)


@pytest.mark.parametrize("n_times", [200, 201])
def test_filters_on_the_spectrum_do_what_filters_on_the_signal_do(n_times):
    """Parseval: the mean square of the filtered signal is its periodogram weighted by the squared response."""
    sfreq = 100.0
    torch.manual_seed(1)
    frequencies = torch.fft.rfftfreq(n_times, 1 / sfreq, dtype=torch.float64)
    front = SpectralScales(frequencies, sfreq, BANDS, (51, 25, 13), 3)
    signal = torch.randn(2, 4, n_times)
    power = torch.fft.rfft(signal).abs().square() / n_times**2
    twice = torch.full((power.shape[-1],), 2.0)
    twice[0] = 1.0
    if n_times % 2 == 0:
        twice[-1] = 1.0
    with torch.no_grad():
        torch.testing.assert_close(front.energy(power * twice), front.of_signal(signal), rtol=1e-4, atol=1e-7)


def test_bold_filters_are_grouped_convolutions():
    torch.manual_seed(0)
    front = TemporalScales(6, (1, 3, 5), 2).eval()
    bold = torch.randn(3, 6, 11)
    with torch.no_grad():
        found = front(bold)
        parts = []
        for kernels, offsets, length in zip(front.filters, front.offsets, (1, 3, 5), strict=True):
            layer = torch.nn.Conv1d(6, 12, length, padding=length // 2, groups=6)
            layer.weight.copy_(kernels.reshape(12, 1, length))
            layer.bias.copy_(offsets.reshape(12))
            y = torch.nn.functional.elu(layer(bold)).reshape(3, 6, 2, 11)
            parts.append(torch.cat([y.mean(-1), y.std(-1, correction=0)], dim=-1))
        expected = front.scale(torch.stack(parts, dim=2).reshape(18, -1)).reshape(3, 6, 3, 4).permute(0, 2, 1, 3)
    torch.testing.assert_close(found[:, 0], expected, atol=1e-5, rtol=1e-5)


def test_attention_over_scales_is_a_convex_combination():
    torch.manual_seed(0)
    attend = model.ScaleAttention(4)
    scales = torch.randn(2, 5, 3, 6, 4)
    mixed, weights = attend(scales)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 5))
    expected = torch.zeros_like(mixed)
    for s in range(3):
        expected += weights[:, :, s, None, None] * scales[:, :, s]
    torch.testing.assert_close(mixed, expected)


# --- the classifier and its activation maps ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [eeg_network, bold_network])
def test_class_activation_is_dense_weights_on_node_features_and_its_mean_is_the_logit(make):
    network = make()
    x = torch.rand(4, 9, 101) if make is eeg_network else torch.randn(4, 9, 14)
    with torch.no_grad():
        nodes = network.nodes(x)
        maps = network.activation(nodes)
        _, v, n, g = nodes.shape
        for c in range(3):
            for view in range(v):
                weights = network.classify.weight[c, view * g : (view + 1) * g]
                for i in range(n):
                    torch.testing.assert_close(
                        maps[:, c, view, i], (nodes[:, view, i] * weights).sum(-1), atol=1e-5, rtol=1e-5
                    )
        logits = maps.sum(dim=2).mean(dim=2) + network.classify.bias
        torch.testing.assert_close(logits, network(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("make", [eeg_network, bold_network])
def test_permuting_nodes_permutes_node_features_and_maps_and_leaves_logits(make, learned):
    config = GcnnConfig(learned_graph=learned)
    network = make(config=config) if make is eeg_network else make(config=config, shared=True)
    x = torch.rand(4, 9, 101) if make is eeg_network else torch.randn(4, 9, 14)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    permuted = make(config=config) if make is eeg_network else make(config=config, shared=True)
    with torch.no_grad():
        if learned:
            permuted.adjacency.free.copy_(network.adjacency.free[order][:, order])
        else:
            permuted.polynomials.copy_(network.polynomials[:, order][:, :, order])
        torch.testing.assert_close(permuted.nodes(x[:, order]), network.nodes(x)[:, :, order], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            permuted.activation(permuted.nodes(x[:, order])),
            network.activation(network.nodes(x))[..., order],
            atol=1e-5,
            rtol=1e-5,
        )
        torch.testing.assert_close(permuted(x[:, order]), network(x), atol=1e-5, rtol=1e-5)


def test_a_learned_graph_starts_at_the_given_one_and_is_trained():
    fixed, learned = (eeg_network(config=GcnnConfig(learned_graph=which)) for which in (False, True))
    torch.testing.assert_close(learned.graph(), fixed.graph())
    state = {name: value for name, value in fixed.state_dict().items() if name in learned.state_dict()}
    learned.load_state_dict(state, strict=False)
    x = torch.rand(4, 9, 101)
    torch.testing.assert_close(learned(x), fixed(x), atol=1e-5, rtol=1e-5)
    learned(x)[:, 0].sum().backward()
    gradient = learned.adjacency.free.grad
    assert gradient.abs().sum() > 0
    grown = learned.adjacency()
    assert not torch.diagonal(grown).any()
    torch.testing.assert_close(grown, grown.T)


def test_readings_of_the_equations_change_what_they_should():
    x = torch.rand(4, 9, 101)
    meant = eeg_network()
    assert meant.n_terms == 4
    assert eeg_network(config=GcnnConfig(eq10_terms="as_printed")).n_terms == 3
    unscaled = eeg_network(config=GcnnConfig(eq7_scaling="as_printed", laplacian="combinatorial"))
    assert unscaled.polynomials[3].abs().max() > 10 * meant.polynomials[3].abs().max()
    assert torch.linalg.matrix_norm(meant.polynomials[3], 2) < 1 + 1e-4
    assert not torch.allclose(meant(x), eeg_network(config=GcnnConfig(laplacian="combinatorial"))(x))
    with pytest.raises(ValueError, match="no term"):
        eeg_network(config=GcnnConfig(order=0, eq10_terms="as_printed"))


# --- graph attention -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eq14", ["as_meant", "as_printed"])
@pytest.mark.parametrize("complete", [True, False])
def test_graph_attention_against_its_equations_one_node_and_head_at_a_time(eq14, complete):
    torch.manual_seed(0)
    layer = GraphAttention(5, 6, 2, eq14)
    torch.nn.init.normal_(layer.bias)
    f = torch.randn(7, 5)
    edges = (
        torch.ones(7, 7, dtype=torch.bool) if complete else (torch.rand(7, 7) < 0.4) | torch.eye(7, dtype=torch.bool)
    )
    with torch.no_grad():
        found, coefficients = layer(f, None if complete else edges)
        for head in range(2):
            w = layer.project.weight[3 * head : 3 * (head + 1)]
            a = torch.cat([layer.to_target[head], layer.to_source[head]])
            for i in range(7):
                e = {}
                for j in range(7):
                    if edges[i, j]:
                        z = float(a @ torch.cat([w @ f[i], w @ f[j]]))
                        e[j] = (z if z > 0 else 0.2 * z) if eq14 == "as_meant" else math.exp(max(z, 0.0))
                total = sum(math.exp(value) for value in e.values())
                mixed = sum(math.exp(value) / total * (w @ f[j]) for j, value in e.items())
                torch.testing.assert_close(
                    found[i, 3 * head : 3 * (head + 1)],
                    mixed + layer.bias[3 * head : 3 * (head + 1)],
                    atol=1e-5,
                    rtol=1e-5,
                )
                for j in range(7):
                    expected = math.exp(e[j]) / total if j in e else 0.0
                    assert float(coefficients[head, i, j]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("complete", [True, False])
def test_graph_attention_equals_torch_geometrics(complete):
    torch.manual_seed(1)
    dense = GraphAttention(5, 8, 2)
    torch.nn.init.normal_(dense.bias)
    theirs = GeometricAttention(5, 8, 2).copy_of(dense)
    nodes = torch.randn(3, 6, 5)
    edges = None if complete else (torch.rand(6, 6) < 0.5) | torch.eye(6, dtype=torch.bool)
    with torch.no_grad():
        for ours, other in zip(dense(nodes, edges), theirs(nodes, edges), strict=True):
            torch.testing.assert_close(ours, other, atol=1e-6, rtol=1e-5)


def test_on_a_complete_graph_a_node_enters_its_own_output_by_one_number_per_head_only():
    """Where nodes agree in that number they come out alike, whatever else tells them apart; neighbourhoods undo it."""
    torch.manual_seed(0)
    layer = GraphAttention(5, 6, 2)
    f = torch.randn(7, 5)
    with torch.no_grad():
        to_target = torch.stack([layer.to_target[h] @ layer.project.weight[3 * h : 3 * (h + 1)] for h in range(2)])
        alike = f - f @ torch.linalg.pinv(to_target) @ to_target  # the number is 0 for all
        out, _ = layer(alike)
        torch.testing.assert_close(out, out[:1].expand(7, -1), atol=1e-5, rtol=1e-5)
        ring = torch.eye(7, dtype=torch.bool) | torch.eye(7, dtype=torch.bool).roll(1, 1)
        assert layer(alike, ring)[0].std(dim=0).min() > 0.05


# --- attention across views, adaptive fusion ------------------------------------------------------------------------------


@pytest.mark.parametrize("eq18", ["as_meant", "as_printed"])
@pytest.mark.parametrize("eq19", ["as_meant", "as_printed"])
@pytest.mark.parametrize("n_heads", [1, 2])
def test_cross_attention_against_its_equations(eq18, eq19, n_heads):
    torch.manual_seed(0)
    b, m, n, d = 2, 3, 4, 6
    layer = CrossViewAttention(d, n_heads, n, eq18, eq19)
    views = torch.randn(b, m, n, d)
    with torch.no_grad():
        found, shares = layer(views)
        k = d // n_heads
        width = layer.value.weight.shape[0] // n_heads
        for window in range(b):
            attended = [[None] * n_heads for _ in range(m)]
            expected_shares = torch.zeros(m, m)
            for i in range(m):
                for h in range(n_heads):
                    own = slice(h * k, (h + 1) * k)
                    q = views[window, i] @ layer.query.weight[own].T
                    seen = range(m) if eq18 == "as_meant" else [i]
                    keys = torch.cat([views[window, j] @ layer.key.weight[own].T for j in seen])
                    values = torch.cat(
                        [views[window, j] @ layer.value.weight[h * width : (h + 1) * width].T for j in seen]
                    )
                    weights = torch.softmax(q @ keys.T / math.sqrt(k), dim=1)
                    attended[i][h] = weights @ values
                    for place, j in enumerate(seen):
                        expected_shares[i, j] += weights[:, place * n : (place + 1) * n].sum(1).mean() / n_heads
            torch.testing.assert_close(shares[window], expected_shares, atol=1e-5, rtol=1e-5)
            if eq19 == "as_meant":
                for i in range(m):
                    torch.testing.assert_close(found[window, i], torch.cat(attended[i], dim=1), atol=1e-5, rtol=1e-5)
            else:
                total = sum(sum(attended[i]) / n_heads @ views[window, i] for i in range(m))
                for i in range(m):
                    torch.testing.assert_close(found[window, i], total, atol=1e-4, rtol=1e-4)


def test_only_eq_18_as_meant_lets_views_see_each_other():
    torch.manual_seed(0)
    views = torch.randn(1, 3, 4, 6)
    changed = views.clone()
    changed[:, 1] += 1
    with torch.no_grad():
        for eq18, sees in (("as_meant", True), ("as_printed", False)):
            layer = CrossViewAttention(6, 1, 4, eq18)
            assert torch.allclose(layer(views)[0][:, 0], layer(changed)[0][:, 0]) != sees


@pytest.mark.parametrize("eq21", ["as_meant", "as_printed"])
@pytest.mark.parametrize("eq22", ["as_meant", "as_printed"])
def test_adaptive_fusion_against_its_equations(eq21, eq22):
    torch.manual_seed(0)
    b, m, n, d, rho = 2, 3, 4, 5, 0.3
    layer = AdaptiveFusion(d, m, rho, eq21, eq22)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    views, attended = torch.randn(2, b, m, n, d)
    with torch.no_grad():
        found, weights = layer(views, attended)
        for window in range(b):
            scores = [float(views[window, i].mean(0) @ layer.weight[i] + layer.bias[i]) for i in range(m)]
            total = sum(map(math.exp, scores))
            omega = [math.exp(score) / total for score in scores]
            assert weights[window].tolist() == pytest.approx(omega, abs=1e-6)
            common = sum(omega[j] * views[window, j] for j in range(m))
            for i in range(m):
                fused = common + (omega[i] * views[window, i] if eq21 == "as_printed" else 0)
                mixed = rho * attended[window, i] + (1 - rho) * views[window, i]
                partner = mixed if eq22 == "as_meant" else attended[window, i]
                torch.testing.assert_close(found[window, i], (fused + partner) / 2, atol=1e-5, rtol=1e-5)


def test_rho_has_an_effect_only_as_meant():
    torch.manual_seed(0)
    views, attended = torch.randn(2, 1, 3, 4, 5)
    for eq22, matters in (("as_meant", True), ("as_printed", False)):
        found = []
        for rho in (0.1, 0.9):
            layer = AdaptiveFusion(5, 3, rho, eq22=eq22)
            with torch.no_grad():
                found.append(layer(views, attended)[0])
        assert torch.allclose(*found) != matters
    with pytest.raises(ValueError, match="between 0 and 1"):
        AdaptiveFusion(5, 3, 1.0)


# --- the whole fusion ----------------------------------------------------------------------------------------------------


def test_correlations_are_cosines():
    f = torch.randn(2, 5, 7)
    found = model.node_correlations(f)
    for w in range(2):
        for i in range(5):
            for j in range(5):
                assert float(found[w, i, j]) == pytest.approx(
                    float(torch.nn.functional.cosine_similarity(f[w, i], f[w, j], dim=0)), abs=1e-6
                )
    assert not model.node_correlations(torch.zeros(1, 3, 4)).any()


def test_the_loss_is_the_double_sum_of_eq_23_and_24():
    torch.manual_seed(0)
    predicted, correlations = torch.randn(2, 3, 6, 4, 4)
    total = 0.0
    for window in range(3):
        for view in range(6):
            for i in range(4):
                for j in range(4):
                    total += float(correlations[window, view, i, j] - predicted[window, view, i, j]) ** 2 / 3
    assert float(model.reconstruction_loss(predicted, correlations)) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("kind", ["fused", "single", "concatenated"])
def test_permuting_nodes_permutes_reconstructions(kind):
    torch.manual_seed(0)
    network = MultiViewFusion(6, 5, 7, FusionConfig(kind=kind, embedding=8))
    x = torch.randn(3, 6, 5, 7)
    order = torch.randperm(5)
    with torch.no_grad():
        torch.testing.assert_close(network(x[:, :, order]), network(x)[:, :, order][..., order], atol=1e-5, rtol=1e-5)


def test_single_views_ignore_each_other_and_the_fused_ones_do_not():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 7)
    changed = x.clone()
    changed[:, 3] += 1
    others = [0, 1, 2, 4, 5]
    with torch.no_grad():
        single = MultiViewFusion(6, 5, 7, FusionConfig("single", 8))
        torch.testing.assert_close(single(x)[:, others], single(changed)[:, others])
        for kind in ("fused", "concatenated"):
            network = MultiViewFusion(6, 5, 7, FusionConfig(kind, 8))
            assert not torch.allclose(network(x)[:, others], network(changed)[:, others])


def test_both_implementations_of_graph_attention_give_one_fusion():
    torch.manual_seed(0)
    dense = MultiViewFusion(6, 5, 7, FusionConfig(embedding=8))
    theirs = MultiViewFusion(6, 5, 7, FusionConfig(embedding=8, layers="torch_geometric"))
    for ours, other in zip(dense.encoders, theirs.encoders, strict=True):
        for a, b in zip(ours.layers, other.layers, strict=True):
            b.copy_of(a)
    theirs.cross.load_state_dict(dense.cross.state_dict())
    theirs.fusion.load_state_dict(dense.fusion.state_dict())
    x = torch.randn(2, 6, 5, 7)
    with torch.no_grad():
        torch.testing.assert_close(dense(x), theirs(x), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="dense"):
        MultiViewFusion(6, 5, 7, FusionConfig(embedding=8, layers="torch_geometric", eq14="as_printed"))


def test_end_to_end_gradients_reach_the_temporal_filters_of_both_networks():
    eeg, bold = eeg_network().train(), bold_network().train()
    network = model.EndToEnd(eeg, bold, MultiViewFusion(6, 4, 8, FusionConfig(embedding=8)), torch.tensor([0, 2, 5, 7]))
    found = network(torch.rand(6, 9, 101), torch.randn(6, 9, 14))
    assert found["correlations"].shape == (6, 6, 4, 4)
    pairs = (found["reconstructed"] - found["correlations"].detach()).square().sum()
    pairs.backward()
    assert eeg.front.kernels[0].grad.abs().sum() > 0
    assert bold.front.filters[0].grad.abs().sum() > 0
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    crossed = sum(torch.nn.functional.cross_entropy(found[name], y) for name in ("eeg", "bold"))
    expected = crossed + 2.0 * model.reconstruction_loss(found["reconstructed"], found["correlations"]) / 16
    torch.testing.assert_close(model.end_to_end_loss(found, y, 2.0), expected)


def test_the_slopes_of_filtered_moments_are_those_of_their_values():
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, dtype=torch.double, generator=generator, requires_grad=True)

    assert torch.autograd.gradcheck(_Moments.apply, (drawn(2, 3, 2, 5), drawn(2, 4, 3), drawn(2, 4)))


@pytest.mark.parametrize("shared", [False, True])
def test_filters_of_bold_are_a_convolution_a_rectifier_and_two_moments(shared):
    torch.manual_seed(0)
    front = TemporalScales(5, (3, 7), 2, shared).double().eval()
    bold = torch.randn(4, 5, 14, dtype=torch.double)
    found = []
    for kernels, offsets in zip(front.filters, front.offsets, strict=True):
        copies = 5 // len(kernels)
        weight, bias = kernels.repeat(copies, 1, 1).flatten(0, 1)[:, None], offsets.repeat(copies, 1).flatten()
        y = nn.functional.elu(nn.functional.conv1d(bold, weight, bias, padding="same", groups=5)).unflatten(1, (5, 2))
        found.append(torch.cat([y.mean(dim=-1), y.var(dim=-1, correction=0).sqrt()], dim=-1))  # (B, N, 2F)
    plain = torch.stack(found, dim=2)  # (B, N, S, 2F)
    scaled = front.scale(plain.reshape(20, -1)).reshape(plain.shape).permute(0, 2, 1, 3)[:, None]
    torch.testing.assert_close(front(bold), scaled)
    # a region whose signal never varies has a spread that has no slope, and no training step is spoiled by it
    front.zero_grad()
    front(torch.zeros(2, 5, 14, dtype=torch.double)).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in front.parameters())
