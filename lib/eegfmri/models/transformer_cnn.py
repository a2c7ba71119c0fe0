"""transformer_cnn: volumes from EEG spectrograms, by a convolutional auto-encoder inside a transformer.

After Bruno et al. 2025: an auto-encoder of 3-D convolutions is trained on volumes alone; its encoder makes one token of a volume,
its decoder a volume of a token. Between them works a transformer :cite:p:`vaswani2017`: its encoder reads the spectrogram of the EEG,
its decoder the tokens of past volumes (causal self-attention) and the encoder's output (cross-attention), and says the token of the
next volume. In training the past is the true one (teacher forcing), in test the model's own output (autoregression). The
U-Net :cite:p:`ronneberger2015` is the comparison that the paper announces. The paper states no sizes; whatever it leaves open is a
field of the configurations below.

Shapes: B runs or stretches of runs, T volumes of each, N volumes, V voxels inside the mask, (X, Y, Z) the box around the mask, E
numbers in a token, D width of the transformer, H heads, C channels, F bands, K segments of EEG, one repetition time each, S tokens of
EEG (K segments or C channels).
"""

import math
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import nn
from torch.nn import functional

from eegfmri.models.attention import Attention, sinusoids


@dataclass(frozen=True)
class AutoencoderConfig:
    """Configuration of the convolutional auto-encoder.

    Attributes
    ----------
    features : tuple of int
        Feature maps after each convolution of stride 2.
    embedding : int
        E, numbers in a token.
    """

    features: tuple[int, ...] = (16, 32, 64)
    embedding: int = 256


class Enlarge(nn.Module):
    """Twice as many voxels along each axis: the transposed convolution of kernel 4 and stride 2.

    y[2i + r] = Σ_k w[r, k] x[i + r + k − 1], k = 0, 1, along each axis: an ordinary convolution of kernel 2 makes all eight voxels
    that follow from one, and they are put in their places. On a CPU that is many times faster than torch's transposed convolution.

    Parameters
    ----------
    n_in, n_out : int
        Feature maps.
    """

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.convolve = nn.Conv3d(n_in, 8 * n_out, 2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Enlarge (N, n_in, X, Y, Z) to (N, n_out, 2 X, 2 Y, 2 Z)."""
        n, (a, b, c) = len(x), x.shape[2:]
        parts = self.convolve(x).chunk(8, dim=1)  # eight of (N, n_out, X + 1, Y + 1, Z + 1)
        places = [
            part[:, :, i : i + a, j : j + b, k : k + c]
            for part, (i, j, k) in zip(parts, product((0, 1), repeat=3), strict=True)
        ]
        y = torch.stack(places, dim=-1).unflatten(-1, (2, 2, 2))  # (N, n_out, X, Y, Z, 2, 2, 2)
        return y.permute(0, 1, 2, 5, 3, 6, 4, 7).reshape(n, -1, 2 * a, 2 * b, 2 * c)


class Autoencoder(nn.Module):
    """One token per volume, and back: convolutions of stride 2, one linear layer to the token, and the mirror image.

    Volumes come and go as voxels inside a mask. Only the box around the mask is computed, enlarged to sizes that can be halved as
    often as there are convolutions; what lies in it outside the mask is 0. From volumes that come, ``mean`` is subtracted, and added
    to those that go; it is 0 until someone sets it.

    Parameters
    ----------
    mask : torch.Tensor of bool
        Shape of the grid; V voxels are True.
    config : AutoencoderConfig or None
        Sizes.
    """

    def __init__(self, mask: torch.Tensor, config: AutoencoderConfig | None = None):
        super().__init__()
        self.config = config = config or AutoencoderConfig()
        self.box, inside = box_around(mask, 2 ** len(config.features))
        self.register_buffer("inside", inside)
        self.register_buffer("mean", torch.zeros(len(inside)))
        sizes = (1, *config.features)
        self.coarse = (sizes[-1], *(n >> len(config.features) for n in self.box))
        n_coarse = math.prod(self.coarse)
        self.down = nn.ModuleList([nn.Conv3d(a, b, 3, 2, padding=1) for a, b in pairwise(sizes)])
        self.to_token = nn.Linear(n_coarse, config.embedding)
        self.from_token = nn.Linear(config.embedding, n_coarse)
        self.up = nn.ModuleList([Enlarge(b, a) for a, b in pairwise(sizes)][::-1])

    def encode(self, volumes: torch.Tensor) -> torch.Tensor:
        """Make tokens of volumes: (N, V) to (N, E)."""
        x = fill(volumes - self.mean, self.inside, self.box)  # (N, 1, X, Y, Z)
        for layer in self.down:
            x = functional.gelu(layer(x))  # (N, features, X / 2, Y / 2, Z / 2) and so on
        return self.to_token(x.flatten(1))  # (N, E)

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Make volumes of tokens: (N, E) to (N, V)."""
        x = functional.gelu(self.from_token(tokens)).unflatten(1, self.coarse)  # (N, features, X / 8, Y / 8, Z / 8)
        for layer in self.up[:-1]:
            x = functional.gelu(layer(x))
        return self.mean + self.up[-1](x).flatten(1)[:, self.inside]  # (N, X Y Z) to (N, V)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Reconstruct volumes of shape (N, V)."""
        return self.decode(self.encode(volumes))


def box_around(mask: torch.Tensor, multiple: int) -> tuple[tuple[int, int, int], torch.Tensor]:
    """Find the smallest box around a mask whose sides are multiples of a number.

    Parameters
    ----------
    mask : torch.Tensor of bool
        Shape of the grid.
    multiple : int
        Of which each side is one; the box may reach beyond the grid.

    Returns
    -------
    box : tuple of int
        Sides (X, Y, Z).
    inside : torch.Tensor of int
        Where in the flattened box the V voxels of the mask lie, in the mask's order.
    """
    at = mask.nonzero()  # (V, 3)
    if not len(at):
        raise ValueError("the mask holds no voxel")
    first = at.amin(dim=0)
    sides = at.amax(dim=0) + 1 - first
    box = tuple(int(-(-side // multiple) * multiple) for side in sides)
    margin = (torch.tensor(box, device=mask.device) - sides) // 2
    x, y, z = (at - first + margin).unbind(dim=1)
    return box, (x * box[1] + y) * box[2] + z


def fill(volumes: torch.Tensor, inside: torch.Tensor, box: tuple[int, int, int]) -> torch.Tensor:
    """Put voxels inside a mask into their box, 0 elsewhere: (N, V) to (N, 1, X, Y, Z)."""
    x = volumes.new_zeros(len(volumes), math.prod(box))
    return x.index_copy(1, inside, volumes).reshape(-1, 1, *box)


@dataclass(frozen=True)
class TransformerConfig:
    """Configuration of the transformer.

    Attributes
    ----------
    width : int
        D, features of every token inside.
    n_heads : int
        H, a divisor of the width.
    n_encoder_layers, n_decoder_layers : int
        Layers that read EEG, and that read volumes.
    feedforward : int
        Features between the two layers of the feed-forward networks.
    dropout : float
        Of attention's and feed-forward networks' outputs, in training.
    n_past : int or None
        How many volumes of the past the self-attention reaches back; None: to the start.
    eeg_tokens : {"segments", "channels"}
        One token of EEG per segment (all channels and bands of it), or per channel (all segments and bands of it).
    """

    width: int = 256
    n_heads: int = 8
    n_encoder_layers: int = 4
    n_decoder_layers: int = 4
    feedforward: int = 1024
    dropout: float = 0.1
    n_past: int | None = None
    eeg_tokens: str = "segments"


class _FeedForward(nn.Sequential):
    """FFN(x) = W₂ gelu(W₁ x + b₁) + b₂, token by token."""

    def __init__(self, width: int, between: int):
        super().__init__(nn.Linear(width, between), nn.GELU(), nn.Linear(between, width))


class EncoderLayer(nn.Module):
    """x ← x + self-attention(norm(x)); x ← x + FFN(norm(x)).

    Parameters
    ----------
    config : TransformerConfig
        Sizes.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(config.width) for _ in range(2)])
        self.attend = Attention(config.width, config.n_heads)
        self.feed = _FeedForward(config.width, config.feedforward)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Let tokens of EEG, (B, S, D), look at one another."""
        y = self.norms[0](x)
        x = x + self.dropout(self.attend(y, *self.attend.keys_values(y)))
        return x + self.dropout(self.feed(self.norms[1](x)))


class DecoderLayer(nn.Module):
    """x ← x + causal self-attention(norm(x)); x ← x + cross-attention(norm(x), EEG); x ← x + FFN(norm(x)).

    Each volume has its own stretch of EEG, so cross-attention goes from one volume to the S tokens of its EEG.

    Parameters
    ----------
    config : TransformerConfig
        Sizes.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(config.width) for _ in range(3)])
        self.attend = Attention(config.width, config.n_heads)
        self.cross = Attention(config.width, config.n_heads)
        self.feed = _FeedForward(config.width, config.feedforward)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, eeg: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Go through the layer with all volumes at once: x (B, T, D), EEG (B, T, S, D), mask (T, T)."""
        y = self.norms[0](x)
        x = x + self.dropout(self.attend(y, *self.attend.keys_values(y), mask))
        return self._rest(x, *self.cross.keys_values(eeg.flatten(0, 1)))

    def step(self, x: torch.Tensor, cache: "LayerCache", number: int, n_past: int | None) -> torch.Tensor:
        """Go through the layer with one volume, (B, 1, D), the ``number``-th; the past is in the cache."""
        y = self.norms[0](x)
        keys, values = self.attend.keys_values(y)  # (B, H, 1, D / H)
        cache.keys[:, :, number], cache.values[:, :, number] = keys[:, :, 0], values[:, :, 0]
        seen = slice(0 if n_past is None else max(0, number + 1 - n_past), number + 1)
        x = x + self.attend(y, cache.keys[:, :, seen], cache.values[:, :, seen])
        return self._rest(x, cache.eeg_keys[:, number], cache.eeg_values[:, number])

    def _rest(self, x: torch.Tensor, eeg_keys: torch.Tensor, eeg_values: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        y = self.norms[1](x).flatten(0, 1).unsqueeze(1)  # (B T, 1, D)
        x = x + self.dropout(self.cross(y, eeg_keys, eeg_values).reshape(b, t, -1))
        return x + self.dropout(self.feed(self.norms[2](x)))


@dataclass
class LayerCache:
    """Keys and values of a decoder layer: of the volumes so far, and of all volumes' EEG.

    Attributes
    ----------
    keys, values : torch.Tensor
        Shape (B, H, T, D / H), filled step by step.
    eeg_keys, eeg_values : torch.Tensor
        Shape (B, T, H, S, D / H), made once.
    """

    keys: torch.Tensor
    values: torch.Tensor
    eeg_keys: torch.Tensor
    eeg_values: torch.Tensor


class TransformerCnn(nn.Module):
    """Generate a run's volumes autoregressively, from the EEG of each and the tokens generated before.

    Tokens are used in units of the training tokens' mean and deviation, which `standardise_tokens` learns: what the untrained model
    says is close to the mean token.

    Parameters
    ----------
    autoencoder : Autoencoder
        Pre-trained. Its weights are trained on with the rest unless they are frozen.
    n_channels, n_bands, n_segments : int
        C, F and K of the EEG's spectrogram.
    config : TransformerConfig or None
        Sizes and choices.
    frozen : bool, default=True
        Keep the auto-encoder as it is.
    scheduled_sampling : float, default=0.0
        In training, the probability that a volume of the past is replaced by what the model says when the past is true
        :cite:p:`bengio2015`.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        n_channels: int,
        n_bands: int,
        n_segments: int,
        config: TransformerConfig | None = None,
        frozen: bool = True,
        scheduled_sampling: float = 0.0,
    ):
        super().__init__()
        self.config = config = config or TransformerConfig()
        if config.eeg_tokens not in ("segments", "channels"):
            raise ValueError(f"EEG is cut into 'segments' or 'channels', not {config.eeg_tokens!r}")
        self.autoencoder, self.frozen, self.scheduled_sampling = autoencoder, frozen, scheduled_sampling
        if frozen:
            autoencoder.requires_grad_(False)
        width, embedding = config.width, autoencoder.config.embedding
        by_segment = config.eeg_tokens == "segments"
        n_tokens = n_segments if by_segment else n_channels
        self.embed_eeg = nn.Linear(n_bands * (n_channels if by_segment else n_segments), width)
        if by_segment:
            self.register_buffer("place", sinusoids(torch.arange(n_tokens), width))
        else:  # electrodes have no order that waves could tell
            self.place = nn.Parameter(0.02 * torch.randn(n_tokens, width))
        self.embed_volume = nn.Linear(embedding, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.encoder = nn.ModuleList([EncoderLayer(config) for _ in range(config.n_encoder_layers)])
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList([DecoderLayer(config) for _ in range(config.n_decoder_layers)])
        self.decoder_norm = nn.LayerNorm(width)
        self.to_token = nn.Linear(width, embedding)
        nn.init.normal_(self.to_token.weight, std=0.02)
        nn.init.zeros_(self.to_token.bias)
        self.register_buffer("token_mean", torch.zeros(embedding))
        self.register_buffer("token_scale", torch.ones(embedding))

    def train(self, mode: bool = True) -> "TransformerCnn":
        """Set the mode; a frozen auto-encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.autoencoder.eval()
        return self

    def standardise_tokens(self, tokens: torch.Tensor) -> None:
        """Take mean and deviation of training tokens, (N, E), as the unit of tokens."""
        self.token_mean.copy_(tokens.mean(dim=0))
        self.token_scale.copy_(tokens.std(dim=0).clamp_min(1e-6))

    def tokens_of(self, volumes: torch.Tensor) -> torch.Tensor:
        """Make tokens of volumes, (N, V) to (N, E), in their unit."""
        return (self.autoencoder.encode(volumes) - self.token_mean) / self.token_scale

    def render(self, tokens: torch.Tensor) -> torch.Tensor:
        """Make volumes of tokens in their unit, (N, E) to (N, V)."""
        return self.autoencoder.decode(tokens * self.token_scale + self.token_mean)

    def read_eeg(self, eeg: torch.Tensor) -> torch.Tensor:
        """Encode spectrograms: (B, T, C, F, K) to (B, T, S, D)."""
        b, t = eeg.shape[:2]
        order = (0, 3, 1, 2) if self.config.eeg_tokens == "segments" else (0, 1, 2, 3)
        x = self.embed_eeg(eeg.flatten(0, 1).permute(order).flatten(2)) + self.place  # (B T, S, D)
        for layer in self.encoder:
            x = layer(x)
        return self.encoder_norm(x).unflatten(0, (b, t))

    def forward(
        self,
        eeg: torch.Tensor,
        position: torch.Tensor,
        tokens: torch.Tensor | None = None,
        volumes: torch.Tensor | None = None,
        rendered: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict volumes: of given past tokens (teacher forcing), or without any (autoregression).

        Parameters
        ----------
        eeg : torch.Tensor
            Spectrograms, shape (B, T, C, F, K).
        position : torch.Tensor of int
            Number of each volume in its run, shape (B, T), rising.
        tokens : torch.Tensor or None
            The volumes' own tokens, shape (B, T, E); volume t is predicted from those before t.
        volumes : torch.Tensor or None
            In place of tokens the volumes themselves, shape (B, T, V), where the auto-encoder is trained on.
        rendered : torch.Tensor of int or None
            Which of the B × T volumes to render, in flattened order; None: all.

        Returns
        -------
        torch.Tensor
            Shape (n_rendered, V).
        """
        if volumes is not None:
            tokens = self.tokens_of(volumes.flatten(0, 1)).unflatten(0, position.shape)
        predicted = self.generate(eeg, position) if tokens is None else self.force(eeg, position, tokens)
        predicted = predicted.flatten(0, 1)
        return self.render(predicted if rendered is None else predicted[rendered])

    def force(self, eeg: torch.Tensor, position: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Predict each token from the true ones before it, all at once, (B, T, E); with scheduled sampling, from a mixture."""
        memory = self.read_eeg(eeg)
        predicted = self.decode(memory, position, tokens)
        if self.training and self.scheduled_sampling > 0:
            # The mixture is drawn in parallel: the model's output for a true past stands for its output for its own past.
            own = torch.rand(tokens.shape[:2], device=tokens.device) < self.scheduled_sampling
            predicted = self.decode(memory, position, torch.where(own[..., None], predicted.detach(), tokens))
        return predicted

    def decode(self, memory: torch.Tensor, position: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Predict token t from the tokens before t and the EEG of t: memory (B, T, S, D), tokens (B, T, E) to (B, T, E)."""
        b, t, _ = tokens.shape
        past = torch.cat([self.start.expand(b, 1, -1), self.embed_volume(tokens[:, :-1])], dim=1)  # (B, T, D)
        x = past + sinusoids(position, self.config.width)
        mask = causal_mask(t, self.config.n_past, x.device)
        for layer in self.decoder:
            x = layer(x, memory, mask)
        return self.to_token(self.decoder_norm(x))  # (B, T, E)

    def generate(self, eeg: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Generate tokens autoregressively, keys and values of the past kept: (B, T, C, F, K) to (B, T, E)."""
        memory = self.read_eeg(eeg)
        b, t = position.shape
        waves = sinusoids(position, self.config.width)  # (B, T, D)
        caches = [self._cache(layer, memory) for layer in self.decoder]
        past, predicted = self.start.expand(b, 1, -1), []
        for number in range(t):
            x = past + waves[:, number : number + 1]  # (B, 1, D)
            for layer, cache in zip(self.decoder, caches, strict=True):
                x = layer.step(x, cache, number, self.config.n_past)
            predicted.append(self.to_token(self.decoder_norm(x)))  # (B, 1, E)
            past = self.embed_volume(predicted[-1])
        return torch.cat(predicted, dim=1)

    def generate_naively(self, eeg: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Generate the same as `generate`, by computing the whole past anew for every token."""
        memory = self.read_eeg(eeg)
        b, t = position.shape
        predicted = memory.new_zeros(b, 0, self.to_token.out_features)
        nothing = memory.new_zeros(b, 1, self.to_token.out_features)
        for number in range(1, t + 1):
            tokens = torch.cat([predicted, nothing], dim=1)  # what stands last is not looked at
            predicted = torch.cat(
                [predicted, self.decode(memory[:, :number], position[:, :number], tokens)[:, -1:]], dim=1
            )
        return predicted

    def _cache(self, layer: DecoderLayer, memory: torch.Tensor) -> LayerCache:
        b, t, _, width = memory.shape
        n_heads = self.config.n_heads
        empty = (b, n_heads, t, width // n_heads)
        keys, values = layer.cross.keys_values(memory.flatten(0, 1))
        return LayerCache(
            memory.new_zeros(empty), memory.new_zeros(empty), keys.unflatten(0, (b, t)), values.unflatten(0, (b, t))
        )


def causal_mask(length: int, n_past: int | None = None, device=None) -> torch.Tensor:
    """Tell where the t-th volume may look: at itself and those before it, at most ``n_past`` in all; (T, T), True = may."""
    number = torch.arange(length, device=device)
    behind = number[:, None] - number[None]
    return (behind >= 0) if n_past is None else (behind >= 0) & (behind < n_past)


@dataclass(frozen=True)
class UNetConfig:
    """Configuration of the U-Net.

    Attributes
    ----------
    bottleneck : int
        Features that the EEG is pressed into before it is spread in space.
    features : tuple of int
        Feature maps at each level, the finest first; that is a quarter of the grid's resolution along each axis.
    """

    bottleneck: int = 64
    features: tuple[int, int] = (32, 64)


class UNet(nn.Module):
    """One volume from its EEG: spread in space by a linear layer, then down and up with skips, then enlarged four times.

    A U-Net maps images to images; EEG is none, so a linear layer first makes one of it, a quarter of the volume's size. As in
    `Autoencoder`, ``mean`` is added to what comes out.

    Parameters
    ----------
    mask : torch.Tensor of bool
        Shape of the grid; V voxels are True.
    n_channels, n_bands, n_segments : int
        C, F and K of the EEG's spectrogram.
    config : UNetConfig or None
        Sizes.
    """

    def __init__(
        self, mask: torch.Tensor, n_channels: int, n_bands: int, n_segments: int, config: UNetConfig | None = None
    ):
        super().__init__()
        self.config = config = config or UNetConfig()
        self.box, inside = box_around(mask, 8)
        self.register_buffer("inside", inside)
        self.register_buffer("mean", torch.zeros(len(inside)))
        fine, coarse = config.features
        self.first = (fine, *(n // 4 for n in self.box))
        self.press = nn.Linear(n_channels * n_bands * n_segments, config.bottleneck)
        self.spread = nn.Linear(config.bottleneck, math.prod(self.first))
        self.left = nn.Conv3d(fine, fine, 3, padding=1)
        self.down = nn.Conv3d(fine, coarse, 3, 2, padding=1)
        self.bottom = nn.Conv3d(coarse, coarse, 3, padding=1)
        self.up = Enlarge(coarse, fine)
        self.right = nn.Conv3d(2 * fine, fine, 3, padding=1)
        self.enlarge = nn.ModuleList([Enlarge(fine, fine // 2), Enlarge(fine // 2, 1)])

    def forward(self, eeg: torch.Tensor) -> torch.Tensor:
        """Predict volumes: (N, C, F, K) to (N, V)."""
        x = functional.gelu(self.press(eeg.flatten(1)))  # (N, bottleneck)
        x = functional.gelu(self.spread(x)).unflatten(1, self.first)  # (N, fine, X / 4, Y / 4, Z / 4)
        skip = functional.gelu(self.left(x))
        x = functional.gelu(self.down(skip))  # (N, coarse, X / 8, Y / 8, Z / 8)
        x = functional.gelu(self.bottom(x))
        x = functional.gelu(self.up(x))  # (N, fine, X / 4, Y / 4, Z / 4)
        x = functional.gelu(self.right(torch.cat([skip, x], dim=1)))
        x = functional.gelu(self.enlarge[0](x))  # (N, fine / 2, X / 2, Y / 2, Z / 2)
        return self.mean + self.enlarge[1](x).flatten(1)[:, self.inside]  # (N, V)
