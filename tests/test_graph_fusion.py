"""The models of graph_fusion against their written equations."""

import pytest
import torch

from eegfmri.models.graph_fusion import (
    BoldConfig,
    BoldEncoder,
    EegConfig,
    EegEncoder,
    FilterEnergy,
    GatedFusion,
    GraphFusion,
    RegionConvolution,
)

C, R, L, V = 6, 10, 100, 42


@pytest.fixture
def models():
    torch.manual_seed(0)
    scalp, connectivity = torch.rand(C, C), torch.randn(R, R)
    eeg = EegEncoder((scalp + scalp.T) / 2)
    bold = BoldEncoder((connectivity + connectivity.T) / 2)
    return GraphFusion(3, eeg, bold).eval()


@pytest.fixture(scope="module")
def windows():
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn(5, 3, C, 600, generator=generator)
    return autocorrelation(signal), torch.randn(5, R, V, generator=generator)


def autocorrelation(signal, n_lags=L):
    """Sums of lagged products over the number of samples."""
    n = signal.shape[-1]
    lagged = [(signal[..., : n - lag] * signal[..., lag:]).sum(dim=-1) / n for lag in range(n_lags)]
    return torch.stack(lagged, dim=-1)


def test_each_encoder_stands_alone(models, windows):
    eeg, bold = windows
    assert models.eeg(eeg).shape == models.bold(bold).shape == (5, 32)
    assert GraphFusion(3, eeg=models.eeg).eval()(eeg=eeg).shape == (5, 3)
    assert GraphFusion(3, bold=models.bold).eval()(bold=bold).shape == (5, 3)
    with pytest.raises(ValueError, match="needs an encoder"):
        GraphFusion(3)
    with pytest.raises(ValueError, match="nothing to embed"):
        models.embed()


def test_the_gate_is_the_written_equation(windows):
    torch.manual_seed(2)
    fusion = GatedFusion(4).eval()
    h_eeg, h_bold = torch.randn(2, 7, 4)
    z, gate = fusion(h_eeg, h_bold)
    for i in range(7):
        joined = torch.cat([h_eeg[i], h_bold[i]])
        expected = 1 / (1 + torch.exp(-(fusion.gate.weight @ joined + fusion.gate.bias)))
        torch.testing.assert_close(gate[i], expected)
        torch.testing.assert_close(z[i], expected * h_eeg[i] + (1 - expected) * h_bold[i])
    assert (torch.minimum(h_eeg, h_bold) <= z + 1e-6).all()
    assert (z <= torch.maximum(h_eeg, h_bold) + 1e-6).all()


def test_modality_dropout_drops_whole_embeddings_in_training_only():
    torch.manual_seed(3)
    fusion = GatedFusion(4, modality_dropout=0.5)
    h_eeg, h_bold = torch.randn(2, 4000, 4)
    z, gate = fusion.train()(h_eeg, h_bold, torch.Generator().manual_seed(0))
    dropped = torch.isclose(z, (1 - gate) * h_bold).all(dim=1)
    # 4000 fair coins have a standard error of 0.8 %.
    assert abs(dropped.float().mean() - 0.5) < 0.03
    without = fusion(torch.zeros_like(h_eeg), h_bold, torch.Generator().manual_seed(1))
    torch.testing.assert_close(gate[dropped], without[1][dropped])
    z, gate = fusion.eval()(h_eeg, h_bold)
    torch.testing.assert_close(z, gate * h_eeg + (1 - gate) * h_bold)


def test_a_missing_modality_is_the_zeros_of_training(models, windows):
    eeg, bold = windows
    alone = models.embed(bold=bold)
    z, _ = models.fusion(torch.zeros_like(alone["bold"]), alone["bold"])
    torch.testing.assert_close(alone["fused"], z)
    assert models(eeg=eeg).shape == (5, 3)


def test_windows_do_not_see_one_another(models, windows):
    eeg, bold = windows
    together = models(eeg, bold)
    for i in range(5):
        torch.testing.assert_close(models(eeg[i : i + 1], bold[i : i + 1]), together[i : i + 1], atol=1e-5, rtol=1e-5)


def test_renumbering_electrodes_or_regions_changes_nothing(windows):
    torch.manual_seed(4)
    scalp, connectivity = torch.rand(C, C), torch.randn(R, R)
    scalp, connectivity = scalp + scalp.T, connectivity + connectivity.T
    eeg, bold = windows
    order = torch.randperm(C)
    encoder = EegEncoder(scalp).eval()
    renumbered = EegEncoder(scalp[order][:, order]).eval()
    state = encoder.state_dict()
    state["adjacency.fixed"] = scalp[order][:, order]
    state["adjacency.free"] = state["adjacency.free"][order][:, order]
    renumbered.load_state_dict(state)
    torch.testing.assert_close(renumbered(eeg[:, :, order]), encoder(eeg), atol=1e-5, rtol=1e-5)
    order = torch.randperm(R)
    alike = BoldConfig(shared=True)  # with weights of their own, regions are not exchangeable
    encoder = BoldEncoder(connectivity, alike).eval()
    renumbered = BoldEncoder(connectivity[order][:, order], alike).eval()
    renumbered.load_state_dict(encoder.state_dict() | {"normalised": renumbered.normalised})
    torch.testing.assert_close(renumbered(bold[:, order]), encoder(bold), atol=1e-5, rtol=1e-5)


def test_regions_may_have_their_own_weights(windows):
    connectivity = torch.eye(R)
    shared, own = (BoldEncoder(connectivity, BoldConfig(shared=shared)) for shared in (True, False))
    assert sum(p.numel() for p in own.temporal.parameters()) == R * sum(p.numel() for p in shared.temporal.parameters())
    assert own.eval()(windows[1]).shape == (5, 32)


@pytest.mark.parametrize("adjacency", ["hybrid", "fixed", "learned"])
@pytest.mark.parametrize("recurrent", [True, False])
def test_every_choice_of_the_eeg_encoder_trains(adjacency, recurrent, windows):
    encoder = EegEncoder(torch.rand(C, C), EegConfig(adjacency=adjacency, recurrent=recurrent))
    encoder(windows[0]).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_without_recurrence_only_the_middle_epoch_counts(windows):
    encoder = EegEncoder(torch.rand(C, C), EegConfig(recurrent=False)).eval()
    changed = windows[0].clone()
    changed[:, [0, 2]] = 0
    torch.testing.assert_close(encoder(changed), encoder(windows[0]))
    recurrent = EegEncoder(torch.rand(C, C)).eval()
    assert not torch.allclose(recurrent(changed), recurrent(windows[0]))


@pytest.mark.parametrize("n_filters, kernel, n_times", [(1, 2, 50), (3, 20, 50), (8, 100, 600), (4, 50, 30)])
def test_the_energy_of_a_filter_is_that_of_the_convolution(n_filters, kernel, n_times):
    torch.manual_seed(6)
    energy = FilterEnergy(n_filters, kernel).double()
    signal = torch.randn(4, n_times, dtype=torch.double)
    filtered = torch.nn.functional.conv1d(signal[:, None], energy.weight.flip(1)[:, None], padding=kernel - 1)
    expected = filtered.square().sum(dim=-1) / n_times
    lags = torch.nn.functional.pad(signal, (0, kernel))  # a filter may be longer than the signal
    found = energy(autocorrelation(lags, kernel) * lags.shape[1] / n_times)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(value.log().sum(), energy.weight)[0] for value in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_filters_begin_as_sines_from_slow_to_fast():
    torch.manual_seed(7)
    spectra = torch.fft.rfft(FilterEnergy(6, 100).weight.detach(), 1000).abs()
    peaks = spectra.argmax(dim=1) / 10  # in cycles per filter
    expected = torch.logspace(0, 1.602, 6)
    assert ((peaks - expected).abs() < 1).all(), peaks
    torch.testing.assert_close(FilterEnergy(6, 100).weight.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize("n_regions, n_in, n_out, kernel", [(R, 1, 4, 7), (R, 3, 4, 7), (1, 2, 5, 3), (2, 4, 1, 1)])
def test_regions_are_convolved_as_by_a_grouped_convolution(n_regions, n_in, n_out, kernel):
    torch.manual_seed(8)
    own = RegionConvolution(n_regions, n_in, n_out, kernel).double()
    usual = torch.nn.Conv1d(
        n_regions * n_in, n_regions * n_out, kernel, padding=kernel // 2, groups=n_regions, bias=False
    ).double()
    with torch.no_grad():
        usual.weight.copy_(own.weight.permute(0, 2, 3, 1).reshape(n_regions * n_out, n_in, kernel))
    x = torch.randn(n_regions, n_in, 5, V, dtype=torch.double, requires_grad=True)
    found = own(x)
    expected = usual(x.permute(2, 0, 1, 3).reshape(5, -1, V)).reshape(5, n_regions, n_out, V).permute(1, 2, 0, 3)
    torch.testing.assert_close(found, expected)
    weigh = torch.randn_like(expected)
    of_found = torch.autograd.grad((found * weigh).sum(), [x, own.weight])
    of_expected = torch.autograd.grad((expected * weigh).sum(), [x, usual.weight])
    torch.testing.assert_close(of_found[0], of_expected[0])
    weights = of_expected[1].reshape(n_regions, n_out, n_in, kernel).permute(0, 3, 1, 2)
    torch.testing.assert_close(of_found[1], weights)
