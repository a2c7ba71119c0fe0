"""The models of graph_fusion against their written equations."""

import pytest
import torch

from eegfmri.models.graph_fusion import BoldConfig, BoldEncoder, EegConfig, EegEncoder, GatedFusion, GraphFusion

C, R, T, V = 6, 10, 600, 42


@pytest.fixture
def models():
    torch.manual_seed(0)
    scalp, connectivity = torch.rand(C, C), torch.randn(R, R)
    eeg = EegEncoder((scalp + scalp.T) / 2)
    bold = BoldEncoder((connectivity + connectivity.T) / 2)
    return GraphFusion(3, eeg, bold).eval()


@pytest.fixture
def windows():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 3, C, T, generator=generator), torch.randn(5, R, V, generator=generator)


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


@pytest.mark.parametrize("recurrent", [True, False])
def test_sharing_epochs_between_windows_changes_nothing(recurrent):
    torch.manual_seed(5)
    encoder = EegEncoder(torch.rand(C, C), EegConfig(recurrent=recurrent)).eval()
    epochs = torch.randn(7, C, T)
    index = torch.stack([torch.arange(i, i + 3) for i in range(5)])
    torch.testing.assert_close(encoder(epochs, index), encoder(epochs[index]), atol=1e-5, rtol=1e-5)
