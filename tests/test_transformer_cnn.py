"""The models of transformer_cnn against their written equations: causality, autoregression with and without memory, shapes."""

import pytest
import torch
from torch.nn import functional

from eegfmri.models.transformer_cnn import (
    Autoencoder,
    AutoencoderConfig,
    Enlarge,
    TransformerCnn,
    TransformerConfig,
    UNet,
    UNetConfig,
    box_around,
    causal_mask,
    fill,
)

B, T, C, F, K = 2, 11, 5, 4, 3
SMALL = {"width": 16, "n_heads": 4, "n_encoder_layers": 2, "n_decoder_layers": 2, "feedforward": 32, "dropout": 0.0}


@pytest.fixture
def mask():
    at = torch.stack(torch.meshgrid(*[torch.arange(n) for n in (11, 13, 9)], indexing="ij"), dim=-1)
    return ((at - torch.tensor([5, 6, 5])).square().sum(dim=-1) < 18).clone()


def made(mask, seed=0, n_past=None, eeg_tokens="segments", **options):
    """A small model in double precision whose every weight matters."""
    torch.manual_seed(seed)
    autoencoder = Autoencoder(mask, AutoencoderConfig((4, 6), 8))
    model = TransformerCnn(
        autoencoder, C, F, K, TransformerConfig(**SMALL, n_past=n_past, eeg_tokens=eeg_tokens), **options
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        model.token_mean.normal_()
        model.token_scale.uniform_(0.5, 2)
    return model.double().eval()


@pytest.fixture
def run():
    generator = torch.Generator().manual_seed(1)
    eeg = torch.randn(B, T, C, F, K, generator=generator).double()
    tokens = torch.randn(B, T, 8, generator=generator).double()
    position = torch.arange(T).expand(B, -1) + 4
    return eeg, position, tokens


def test_voxels_go_into_their_box_and_come_out_of_it(mask):
    box, inside = box_around(mask, 4)
    assert all(side % 4 == 0 for side in box)
    volumes = torch.randn(3, int(mask.sum()))
    filled = fill(volumes, inside, box)
    assert filled.shape == (3, 1, *box)
    torch.testing.assert_close(filled.flatten(1)[:, inside], volumes)
    assert (filled == 0).sum() == filled.numel() - volumes.numel()
    # neighbours on the grid are neighbours in the box
    at, places = mask.nonzero(), torch.stack(torch.unravel_index(inside, box), dim=1)
    torch.testing.assert_close(places - places[0], at - at[0])
    with pytest.raises(ValueError, match="no voxel"):
        box_around(torch.zeros(3, 3, 3, dtype=torch.bool), 2)


def test_the_autoencoder_has_the_shapes_it_says_and_learns_to_reconstruct(mask):
    torch.manual_seed(0)
    autoencoder = Autoencoder(mask, AutoencoderConfig((8, 16), 12))
    patterns = torch.randn(3, int(mask.sum()))
    volumes = torch.randn(32, 3) @ patterns
    assert autoencoder.encode(volumes).shape == (32, 12)
    assert autoencoder(volumes).shape == volumes.shape
    optimiser = torch.optim.Adam(autoencoder.parameters(), 6e-3)
    for _ in range(60):
        loss = functional.mse_loss(autoencoder(volumes), volumes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # three patterns fit into twelve numbers; half of the variance is far more than their mean would give
    assert loss < 0.5 * volumes.var()


def test_enlarging_is_the_transposed_convolution():
    torch.manual_seed(4)
    enlarge, slow = Enlarge(3, 2).double(), torch.nn.ConvTranspose3d(3, 2, 4, 2, padding=1).double()
    with torch.no_grad():
        enlarge.convolve.bias.copy_(slow.bias.repeat(8))
        for i in range(2):
            for j in range(2):
                for k in range(2):
                    # the taps of a place: from the further neighbour to the nearer one
                    taps = slow.weight[:, :, [3 - i, 1 - i]][:, :, :, [3 - j, 1 - j]][:, :, :, :, [3 - k, 1 - k]]
                    enlarge.convolve.weight.unflatten(0, (2, 2, 2, 2))[i, j, k] = taps.transpose(0, 1)
    x = torch.randn(2, 3, 4, 5, 3).double()
    assert enlarge(x).shape == (2, 2, 8, 10, 6)
    torch.testing.assert_close(enlarge(x), slow(x))


def test_the_mean_is_taken_away_and_given_back(mask):
    autoencoder = Autoencoder(mask, AutoencoderConfig((4, 6), 8)).eval()
    volumes, mean = torch.randn(2, 2, int(mask.sum())).unbind()
    before = autoencoder(volumes)
    autoencoder.mean.copy_(mean[0])
    torch.testing.assert_close(autoencoder(volumes + mean[0]), before + mean[0], atol=1e-5, rtol=1e-5)


def test_the_mask_lets_nobody_look_ahead_nor_further_back_than_asked():
    assert causal_mask(4).tolist() == [[column <= row for column in range(4)] for row in range(4)]
    assert causal_mask(5, 2).sum(dim=1).tolist() == [1, 2, 2, 2, 2]
    assert not causal_mask(5, 2).triu(1).any()


@pytest.mark.parametrize("eeg_tokens", ["segments", "channels"])
def test_a_volume_depends_on_earlier_volumes_and_its_own_eeg_only(mask, run, eeg_tokens):
    model, (eeg, position, tokens) = made(mask, eeg_tokens=eeg_tokens), run
    said = model.force(eeg, position, tokens)
    for t in (0, 4, T - 1):
        other, heard = tokens.clone(), eeg.clone()
        other[:, t:] += 1.0  # the volume itself and all that follow
        heard[:, t + 1 :] += 1.0  # the EEG of those that follow
        torch.testing.assert_close(model.force(heard, position, other)[:, : t + 1], said[:, : t + 1])
    changed = tokens.clone()
    changed[:, 3] += 1.0
    difference = (model.force(eeg, position, changed) - said).abs().amax(dim=(0, 2))
    assert (difference[:4] == 0).all()
    assert (difference[4:] > 1e-6).all()
    heard = eeg.clone()
    heard[:, 3] += 1.0
    difference = (model.force(heard, position, tokens) - said).abs().amax(dim=(0, 2))
    assert (difference[:3] == 0).all()
    assert difference[3] > 1e-6


def test_the_past_ends_where_it_is_said_to_end(mask, run):
    model, (eeg, position, tokens) = made(mask, n_past=3), run
    said = model.force(eeg, position, tokens)
    changed = tokens.clone()
    changed[:, 2] += 1.0
    difference = (model.force(eeg, position, changed) - said).abs().amax(dim=(0, 2))
    # volume 3 sees the token of volume 2; with two layers of three, so do the four after it, and nobody else
    assert (difference[3:8] > 1e-9).all()
    assert (difference[8:] == 0).all()


@pytest.mark.parametrize("n_past", [None, 4])
@pytest.mark.parametrize("eeg_tokens", ["segments", "channels"])
def test_autoregression_with_kept_keys_is_the_naive_one(mask, run, n_past, eeg_tokens):
    model, (eeg, position, _) = made(mask, n_past=n_past, eeg_tokens=eeg_tokens), run
    with torch.no_grad():
        cached, naive = model.generate(eeg, position), model.generate_naively(eeg, position)
    assert cached.dtype == torch.float64
    assert cached.std() > 0.1  # or nothing would be compared
    torch.testing.assert_close(cached, naive, atol=1e-5, rtol=0)
    # what it says is what it would say if it were forced along its own words
    torch.testing.assert_close(model.force(eeg, position, cached), cached, atol=1e-9, rtol=0)


@pytest.mark.slow
def test_errors_do_not_add_up_over_a_whole_run(mask):
    model, generator = made(mask), torch.Generator().manual_seed(5)
    eeg, position = torch.randn(1, 295, C, F, K, generator=generator).double(), torch.arange(295)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            model.generate(eeg, position), model.generate_naively(eeg, position), atol=1e-5, rtol=0
        )


def test_each_run_of_a_batch_is_its_own(mask, run):
    model, (eeg, position, tokens) = made(mask), run
    for part in range(B):
        alone = slice(part, part + 1)
        torch.testing.assert_close(model.generate(eeg, position)[alone], model.generate(eeg[alone], position[alone]))
        torch.testing.assert_close(
            model.force(eeg, position, tokens)[alone], model.force(eeg[alone], position[alone], tokens[alone])
        )
    # a run that ends earlier may be padded at its end
    torch.testing.assert_close(model.generate(eeg[:, :5], position[:, :5]), model.generate(eeg, position)[:, :5])


def test_chosen_volumes_are_rendered_as_all_are(mask, run):
    model, (eeg, position, tokens) = made(mask), run
    whole = model(eeg, position, tokens)
    assert whole.shape == (B * T, int(mask.sum()))
    chosen = torch.tensor([3, T + 2, 0])
    torch.testing.assert_close(model(eeg, position, tokens, rendered=chosen), whole[chosen])
    volumes = torch.randn(B, T, int(mask.sum())).double()
    encoded = model.tokens_of(volumes.flatten(0, 1)).unflatten(0, (B, T))
    torch.testing.assert_close(model(eeg, position, volumes=volumes), model(eeg, position, encoded))
    torch.testing.assert_close(model(eeg, position), model.render(model.generate(eeg, position).flatten(0, 1)))


def test_tokens_and_volumes_are_each_others_way_back(mask):
    model = made(mask)
    volumes = torch.randn(4, int(mask.sum())).double()
    torch.testing.assert_close(model.render(model.tokens_of(volumes)), model.autoencoder(volumes))
    tokens = model.autoencoder.encode(torch.randn(50, int(mask.sum())).double())
    model.standardise_tokens(tokens)
    unit = (tokens - model.token_mean) / model.token_scale
    torch.testing.assert_close(unit.mean(dim=0), torch.zeros(8).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(unit.std(dim=0), torch.ones(8).double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_autoencoder_does_not_move(mask, run, frozen):
    model, (eeg, position, tokens) = made(mask, frozen=frozen), run
    model.train()
    assert model.autoencoder.training is not frozen
    model(eeg, position, tokens).square().sum().backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("decoder.") for name in moved)
    assert any(name.startswith("encoder.") for name in moved)
    assert any(name.startswith("autoencoder.up") for name in moved) is not frozen
    assert "start" in moved


def test_scheduled_sampling_mixes_in_training_only(mask, run):
    eeg, position, tokens = run
    forced = made(mask).train().force(eeg, position, tokens)
    model = made(mask, scheduled_sampling=1.0)
    torch.testing.assert_close(model.eval().force(eeg, position, tokens), forced)
    # at probability 1 the whole past is what the model said of the true past
    expected = model.decode(model.read_eeg(eeg), position, forced)
    torch.testing.assert_close(model.train().force(eeg, position, tokens), expected)
    torch.manual_seed(0)
    half = made(mask, scheduled_sampling=0.5).train().force(eeg, position, tokens)
    assert not torch.allclose(half[:, 1:], forced[:, 1:])
    assert not torch.allclose(half[:, 1:], expected[:, 1:])
    torch.testing.assert_close(half[:, 0], forced[:, 0])  # nothing lies before the first


def test_the_u_net_has_the_shapes_it_says_and_trains(mask):
    torch.manual_seed(3)
    net = UNet(mask, C, F, K, UNetConfig(6, (4, 8)))
    eeg = torch.randn(7, C, F, K)
    said = net(eeg)
    assert said.shape == (7, int(mask.sum()))
    said.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    for row in range(7):
        torch.testing.assert_close(net(eeg[row : row + 1])[0], said[row], atol=1e-5, rtol=1e-5)


def test_eeg_is_cut_as_one_of_the_two_ways(mask):
    with pytest.raises(ValueError, match="'segments' or 'channels'"):
        made(mask, eeg_tokens="voxels")
