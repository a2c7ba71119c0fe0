"""synthesis: a volume of fMRI from thirty seconds of EEG, by dense, convolutional and transformer networks.

After Bricman & Borst (EEG2fMRI). Four families, in the paper's order, each meant to mend what the one before it lacked: a dense
network on the flattened EEG; a Siamese one, whose embedding is shared by all channels; a convolutional embedding in its place;
and an encoder–decoder transformer that reads a sequence of channels and writes a sequence of slices, each slice with an eye on
those before it. The paper gives no sizes: they are fields of the configurations below.

Every network writes deviations from a mean volume that its owner knows (the training windows' mean), only at voxels inside a
mask, and starts at zero: an untrained network *is* the mean volume. Where it ends up no better, it has learned nothing.

Shapes: B windows, C channels, T samples, T' samples after pooling, E numbers per channel, H hidden, V voxels in the mask, S slices,
P pixels of a slice, D width of the transformer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from eegfmri.models.attention import Attention, sinusoids

Positions = Literal["learned", "sinusoidal"]


@dataclass(frozen=True)
class FullyConnectedConfig:
    """Configuration of `FullyConnected`.

    Attributes
    ----------
    pool : int
        Neighbouring samples averaged into one before anything else; 4 makes 250 of 1000 Hz, as in the public code.
    hidden : tuple of int
        Sizes of the hidden layers; the last is the bottleneck from which voxels are read.
    dropout : float
        After each hidden layer.
    """

    pool: int = 4
    hidden: tuple[int, ...] = (64, 64)
    dropout: float = 0.2


@dataclass(frozen=True)
class SiameseConfig(FullyConnectedConfig):
    """Configuration of `Siamese`.

    Attributes
    ----------
    channel : int
        E: size of the embedding of one channel, by weights that all channels share.
    """

    channel: int = 16


@dataclass(frozen=True)
class ConvolutionalConfig(SiameseConfig):
    """Configuration of `Convolutional`.

    Attributes
    ----------
    all_electrodes : bool
        The first kernel spans all channels at once, as in the public code, instead of one channel, as in the text.
    features : int
        Filters of the first convolution; the second has twice as many.
    kernel, stride : float
        Of the first convolution, in s.
    bin : float
        Length of the bins, in s, over which a filter's energy is averaged.
    activation : {"log_energy", "relu"}
        What stands between the convolutions: the logarithm of each filter's energy in each bin, or the mean of its
        rectified output there.
    """

    all_electrodes: bool = False
    features: int = 8
    kernel: float = 0.4
    stride: float = 0.08
    bin: float = 2.0
    activation: Literal["log_energy", "relu"] = "log_energy"

    def steps(self, sfreq: float) -> tuple[int, int, int]:
        """Return, at ``sfreq`` samples per s, the samples of a kernel, those from step to step, and the steps in a bin."""
        kernel, stride = max(1, round(self.kernel * sfreq)), max(1, round(self.stride * sfreq))
        return kernel, stride, max(1, round(self.bin * sfreq / stride))


@dataclass(frozen=True)
class TransformerConfig:
    """Configuration of `Transformer`.

    Attributes
    ----------
    pool : int
        As in `FullyConnectedConfig`.
    width, n_heads, n_layers, feedforward : int
        D, attention heads, layers on either side, hidden size inside a layer.
    dropout : float
        On every layer's contribution.
    positions : {"learned", "sinusoidal"}
        Positional encodings of channels and of slices.
    slice_dropout : float
        Probability, in training, that a window's true slices are hidden from the decoder, which then has only the EEG and
        the slices' numbers. 0 is plain teacher forcing, as published; with 1 slices are never fed back, in evaluation neither.
    embedding : ConvolutionalConfig or None
        Embed channels by these convolutions instead of one linear layer.
    """

    pool: int = 4
    width: int = 32
    n_heads: int = 4
    n_layers: int = 2
    feedforward: int = 64
    dropout: float = 0.1
    positions: Positions = "learned"
    slice_dropout: float = 0.0
    embedding: ConvolutionalConfig | None = None


#: Added to an energy before its logarithm, in units of the normalised EEG.
FLOOR = 1e-4


class AveragePool(nn.Module):
    """Average neighbouring samples: (…, T) to (…, T // size), a crude low-pass filter and a lower rate in one.

    Parameters
    ----------
    size : int
        Samples that become one; those left over at the end are dropped.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, eeg: torch.Tensor) -> torch.Tensor:
        """Pool the last axis."""
        if self.size == 1:
            return eeg
        n_times = eeg.shape[-1] // self.size * self.size
        # Sums of strided views: on a CPU several times faster than a mean over a short last axis.
        total = eeg[..., 0 : n_times : self.size].clone()
        for offset in range(1, self.size):
            total += eeg[..., offset : n_times : self.size]
        return total / self.size


class Dropout(nn.Module):
    """Set a share of numbers to zero in training and enlarge the others, as torch's own does.

    That one draws its coins one by one on a CPU; these come from a vector of uniform numbers, four times as fast.

    Parameters
    ----------
    share : float
        Probability of a zero.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop numbers of a tensor of any shape."""
        if not self.training or self.share == 0:
            return x
        return x * (torch.rand_like(x) >= self.share) / (1 - self.share)


class VoxelHead(nn.Module):
    """Read voxels from an embedding: deviations = W z, zero before training.

    Parameters
    ----------
    n_features, n_voxels : int
        H and V.
    """

    def __init__(self, n_features: int, n_voxels: int):
        super().__init__()
        self.linear = nn.Linear(n_features, n_voxels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """From (B, H) to (B, V)."""
        return self.linear(embedding)


def dense(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """Stack linear layers, each with a rectifier and dropout behind it.

    Parameters
    ----------
    sizes : sequence of int
        Of the input and of every layer.
    dropout : float
        Probability.

    Returns
    -------
    torch.nn.Sequential
        On the last axis.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(), Dropout(dropout)]
    return nn.Sequential(*layers)


class FullyConnected(nn.Module):
    """One dense network on the flattened EEG.

    Parameters
    ----------
    n_channels, n_times : int
        C and T.
    n_voxels : int
        V.
    config : FullyConnectedConfig
        Sizes and choices.
    """

    def __init__(self, n_channels: int, n_times: int, n_voxels: int, config: FullyConnectedConfig | None = None):
        super().__init__()
        self.config = config = config or FullyConnectedConfig()
        self.pool = AveragePool(config.pool)
        self.flatten = nn.Flatten()
        self.hidden = dense([n_channels * (n_times // config.pool), *config.hidden], config.dropout)
        self.head = VoxelHead(config.hidden[-1], n_voxels)

    def forward(self, eeg: torch.Tensor) -> torch.Tensor:
        """Predict deviations at voxels, (B, V), from EEG of shape (B, C, T)."""
        x = self.pool(eeg)  # (B, C, T')
        x = self.flatten(x)  # (B, C T'): every sample of every channel has a weight of its own
        x = self.hidden(x)  # (B, H)
        return self.head(x)  # (B, V)


class Siamese(nn.Module):
    """A dense embedding of one channel, shared by all channels, then dense layers on all embeddings side by side.

    Parameters
    ----------
    n_channels, n_times, n_voxels : int
        C, T and V.
    config : SiameseConfig
        Sizes and choices.
    """

    def __init__(self, n_channels: int, n_times: int, n_voxels: int, config: SiameseConfig | None = None):
        super().__init__()
        self.config = config = config or SiameseConfig()
        self.pool = AveragePool(config.pool)
        self.channel = dense([n_times // config.pool, config.channel], config.dropout)
        self.flatten = nn.Flatten()
        self.hidden = dense([n_channels * config.channel, *config.hidden], config.dropout)
        self.head = VoxelHead(config.hidden[-1], n_voxels)

    def forward(self, eeg: torch.Tensor) -> torch.Tensor:
        """Predict deviations at voxels, (B, V), from EEG of shape (B, C, T)."""
        x = self.pool(eeg)  # (B, C, T')
        x = self.channel(x)  # (B, C, E): the same weights for every channel
        x = self.flatten(x)  # (B, C E)
        x = self.hidden(x)  # (B, H)
        return self.head(x)  # (B, V)


class Energy(nn.Module):
    """Reduce each filter's output to one number per bin of time.

    Parameters
    ----------
    size : int
        Steps in a bin.
    activation : {"log_energy", "relu"}
        log of the mean square, as band power in decibels is; or the mean of the positive part.
    """

    def __init__(self, size: int, activation: str):
        super().__init__()
        if activation not in ("log_energy", "relu"):
            raise ValueError(f"an activation is 'log_energy' or 'relu', not {activation!r}")
        self.size, self.activation = size, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (…, F, t) to (…, F, t // size)."""
        x = x.square() if self.activation == "log_energy" else torch.relu(x)
        x = functional.avg_pool1d(x, self.size)
        return torch.log(x + FLOOR) if self.activation == "log_energy" else x


def bin_covariances(signals: torch.Tensor, kernel: int, stride: int, size: int) -> torch.Tensor:
    """Products of the samples that a filter sees, averaged over its steps in each bin of time.

    Parameters
    ----------
    signals : torch.Tensor
        Shape (N, T').
    kernel, stride, size : int
        K: samples of the filter; samples from step to step; steps in a bin.

    Returns
    -------
    torch.Tensor
        Shape (N, bins, K (K + 1) / 2): the upper triangles, row by row.
    """
    steps = signals.unfold(1, kernel, stride)  # (N, t, K)
    n_bins = steps.shape[1] // size
    steps = steps[:, : n_bins * size].reshape(-1, size, kernel)
    products = torch.bmm(steps.transpose(1, 2), steps) / size  # (N bins, K, K)
    first, second = torch.triu_indices(kernel, kernel, device=signals.device)
    return products[:, first, second].reshape(len(signals), n_bins, -1)


class ChannelConvolutions(nn.Module):
    """Embed a stretch of signal by two convolutions over time: rhythms first, then how their strength changes.

    Parameters
    ----------
    n_signals : int
        1 if each channel is embedded by itself, C if the first kernel spans all channels.
    n_times : int
        T'.
    sfreq : float
        Samples per s after pooling.
    n_out : int
        E.
    config : ConvolutionalConfig
        Kernel, stride and bins in s.
    """

    def __init__(self, n_signals: int, n_times: int, sfreq: float, n_out: int, config: ConvolutionalConfig):
        super().__init__()
        kernel, stride, size = config.steps(sfreq)
        n_bins = ((n_times - kernel) // stride + 1) // size
        if n_bins < 3:
            raise ValueError(
                f"{n_times} samples at {sfreq:g} Hz hold {max(0, n_bins)} bins of {config.bin:g} s, and the second convolution "
                "needs three: take longer windows or shorter bins"
            )
        self.rhythms = nn.Conv1d(n_signals, config.features, kernel, stride, bias=config.activation == "relu")
        self.energy = Energy(size, config.activation)
        self.scale = nn.BatchNorm1d(config.features)
        self.changes = nn.Sequential(nn.Conv1d(config.features, 2 * config.features, 3), nn.ReLU())
        self.flatten = nn.Flatten()
        self.embed = dense([2 * config.features * (n_bins - 2), n_out], config.dropout)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """From (N, n_signals, T') to (N, E)."""
        return self._of_energies(self.energy(self.rhythms(signals)))

    def of_covariances(self, covariances: torch.Tensor) -> torch.Tensor:
        r"""Do the same from `bin_covariances` of single channels, (B, bins, C, K (K + 1) / 2) to (B C, E), samples not looked at again.

        The mean square of what a filter lets through is a quadratic form in the filter,
        :math:`\overline{(k \cdot x_t)^2} = k^\top \overline{x_t x_t^\top}\, k`, and the matrix in it does not change in training.
        """
        filters = self.rhythms.weight[:, 0]  # (F, K)
        first, second = torch.triu_indices(filters.shape[1], filters.shape[1], device=filters.device)
        twice = 2.0 - (first == second).to(filters.dtype)  # what lies off the diagonal is there once
        forms = filters[:, first] * filters[:, second] * twice  # (F, K (K + 1) / 2)
        energies = (covariances @ forms.T).clamp_min(0)  # (B, bins, C, F)
        energies = energies.permute(0, 2, 3, 1).flatten(0, 1)  # (B C, F, bins)
        return self._of_energies(torch.log(energies + FLOOR))

    def _of_energies(self, x: torch.Tensor) -> torch.Tensor:
        x = self.changes(self.scale(x))  # (N, F, bins) to (N, 2F, bins − 2)
        return self.embed(self.flatten(x))  # (N, E)


class Convolutional(nn.Module):
    """Convolutions in place of the dense embedding; shared by the channels, or spanning all of them.

    Parameters
    ----------
    n_channels, n_times, n_voxels : int
        C, T and V.
    sfreq : float
        Samples per s of the EEG.
    config : ConvolutionalConfig
        Sizes and choices.
    """

    def __init__(
        self, n_channels: int, n_times: int, n_voxels: int, sfreq: float, config: ConvolutionalConfig | None = None
    ):
        super().__init__()
        self.config = config = config or ConvolutionalConfig()
        self.pool = AveragePool(config.pool)
        at_once = n_channels if config.all_electrodes else 1
        self.channel = ChannelConvolutions(at_once, n_times // config.pool, sfreq / config.pool, config.channel, config)
        self.flatten = nn.Flatten()
        self.hidden = dense([n_channels // at_once * config.channel, *config.hidden], config.dropout)
        self.head = VoxelHead(config.hidden[-1], n_voxels)

    def forward(self, eeg: torch.Tensor | None = None, covariances: torch.Tensor | None = None) -> torch.Tensor:
        """Predict deviations at voxels, (B, V), from EEG of shape (B, C, T) or its `bin_covariances`, (B, bins, C, K (K + 1) / 2)."""
        if covariances is not None:
            x = self.channel.of_covariances(covariances).unflatten(0, (len(covariances), -1))  # (B, C, E)
            return self.head(self.hidden(self.flatten(x)))
        x = self.pool(eeg)  # (B, C, T')
        if self.config.all_electrodes:
            x = self.channel(x)  # (B, E)
        else:
            b, c, t = x.shape
            x = self.channel(x.reshape(b * c, 1, t)).reshape(b, c, -1)  # (B, C, E): the same weights for every channel
        x = self.flatten(x)  # (B, C E)
        x = self.hidden(x)  # (B, H)
        return self.head(x)  # (B, V)


class Slices(nn.Module):
    """Cut volumes into slices along their first axis, and put slices together again.

    Only pixels that lie inside the mask in some slice take part; a slice holds zeros where the mask does not reach.

    Parameters
    ----------
    mask : torch.Tensor
        Voxels of the grid that have values, bool, shape (x, y, z). Values run over its true voxels, the last axis fastest.
    """

    def __init__(self, mask: torch.Tensor):
        super().__init__()
        seen = mask.any(dim=0)  # (y, z): the brain's outline, seen from the side
        pixel_of = torch.full(seen.shape, -1, device=mask.device)
        pixel_of[seen] = torch.arange(int(seen.sum()), device=mask.device)
        place = mask.nonzero()  # (V, 3)
        self.n_slices, self.n_pixels = len(mask), int(seen.sum())
        self.register_buffer("inside", mask[:, seen])  # (S, P)
        self.register_buffer("address", place[:, 0] * self.n_pixels + pixel_of[place[:, 1], place[:, 2]])  # (V,)

    def cut(self, values: torch.Tensor) -> torch.Tensor:
        """From values at voxels, (B, V), to slices, (B, S, P)."""
        flat = values.new_zeros(len(values), self.n_slices * self.n_pixels)
        flat.index_copy_(1, self.address, values)
        return flat.reshape(len(values), self.n_slices, self.n_pixels)

    def join(self, slices: torch.Tensor) -> torch.Tensor:
        """From slices, (B, S, P), to values at voxels, (B, V)."""
        return slices.flatten(1).index_select(1, self.address)


class Layer(nn.Module):
    """One layer of encoder or decoder, normalised before each part :cite:p:`xiong2020`.

    Parameters
    ----------
    config : TransformerConfig
        Sizes.
    decoder : bool
        Attend to the encoder's output as well, and to earlier tokens only.
    """

    def __init__(self, config: TransformerConfig, decoder: bool):
        super().__init__()
        width = config.width
        self.norm_self, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend_self = Attention(width, config.n_heads)
        if decoder:
            self.norm_cross, self.attend_cross = nn.LayerNorm(width), Attention(width, config.n_heads)
        self.feed = nn.Sequential(nn.Linear(width, config.feedforward), nn.ReLU(), nn.Linear(config.feedforward, width))
        self.dropout = Dropout(config.dropout)
        self.decoder = decoder

    def forward(
        self,
        x: torch.Tensor,
        memory: tuple[torch.Tensor, torch.Tensor] | None = None,
        past: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Transform tokens.

        Parameters
        ----------
        x : torch.Tensor
            Shape (B, L, D).
        memory : tuple of torch.Tensor or None
            Keys and values of the encoder's output (decoder).
        past : tuple of torch.Tensor or None
            Keys and values of the tokens before ``x``; then ``x`` is a single token.

        Returns
        -------
        x : torch.Tensor
            Shape (B, L, D).
        past : tuple of torch.Tensor
            Keys and values of all tokens so far.
        """
        normed = self.norm_self(x)
        keys, values = self.attend_self.keys_values(normed)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        x = x + self.dropout(self.attend_self(normed, keys, values, causal=self.decoder and past is None))
        if self.decoder:
            x = x + self.dropout(self.attend_cross(self.norm_cross(x), *memory))
        x = x + self.dropout(self.feed(self.norm_feed(x)))
        return x, (keys, values)


class Transformer(nn.Module):
    """A sequence of channels is translated into a sequence of slices.

    In training the decoder is fed the true slices before the one it predicts (teacher forcing). In evaluation it is fed what it has
    written itself; the true volume is not looked at, even if it is given. `teacher_forced` is the exception and says so by its name.

    Parameters
    ----------
    n_channels, n_times : int
        C and T.
    mask : torch.Tensor
        As in `Slices`.
    sfreq : float
        Samples per s of the EEG.
    config : TransformerConfig
        Sizes and choices.
    """

    def __init__(
        self, n_channels: int, n_times: int, mask: torch.Tensor, sfreq: float, config: TransformerConfig | None = None
    ):
        super().__init__()
        self.config = config = config or TransformerConfig()
        if config.positions not in ("learned", "sinusoidal"):
            raise ValueError(f"positions are 'learned' or 'sinusoidal', not {config.positions!r}")
        width, n_pooled = config.width, n_times // config.pool
        self.pool = AveragePool(config.pool)
        if config.embedding is None:
            self.channel = nn.Linear(n_pooled, width)
        else:
            self.channel = ChannelConvolutions(1, n_pooled, sfreq / config.pool, width, config.embedding)
        self.slices = Slices(mask)
        self.slice_in = nn.Linear(self.slices.n_pixels, width)
        self.slice_out = VoxelHead(width, self.slices.n_pixels)
        self.start = nn.Parameter(0.02 * torch.randn(width))
        for name, n_positions in (("channel_positions", n_channels), ("slice_positions", self.slices.n_slices)):
            if config.positions == "learned":
                self.register_parameter(name, nn.Parameter(0.02 * torch.randn(n_positions, width)))
            else:
                self.register_buffer(name, sinusoids(torch.arange(n_positions), width))
        self.encoder = nn.ModuleList(Layer(config, decoder=False) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(Layer(config, decoder=True) for _ in range(config.n_layers))
        self.norm_memory, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)

    def encode(self, eeg: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Read EEG of shape (B, C, T); return, for each decoder layer, keys and values of the channels."""
        x = self.pool(eeg)  # (B, C, T')
        b, c, t = x.shape
        if self.config.embedding is not None:
            x = x.reshape(b * c, 1, t)
        x = self.channel(x).reshape(b, c, -1)  # (B, C, D)
        x = x + self.channel_positions  # (B, C, D)
        for layer in self.encoder:
            x, _ = layer(x)  # (B, C, D)
        x = self.norm_memory(x)
        return [layer.attend_cross.keys_values(x) for layer in self.decoder]  # (B, heads, C, d) each

    def _write(self, x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """From decoded tokens (B, L, D) to slices (B, L, P), zero outside the mask."""
        return self.slice_out(self.norm_out(x)) * inside

    def teacher_forced(self, eeg: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
        """Predict each slice from the EEG *and the true slices before it*: no synthesis, since it needs the volume it predicts.

        Parameters
        ----------
        eeg : torch.Tensor
            Shape (B, C, T).
        volume : torch.Tensor
            True deviations, shape (B, V).

        Returns
        -------
        torch.Tensor
            Shape (B, V).
        """
        memory = self.encode(eeg)
        before = self.slice_in(self.slices.cut(volume)[:, :-1])  # (B, S − 1, D)
        if self.config.slice_dropout >= 1:
            before = torch.zeros_like(before)
        elif self.training and self.config.slice_dropout > 0:
            before = before * (torch.rand(len(before), 1, 1, device=before.device) >= self.config.slice_dropout)
        x = torch.cat([self.start.expand(len(before), 1, -1), before], dim=1) + self.slice_positions  # (B, S, D)
        for layer, keys_values in zip(self.decoder, memory, strict=True):
            x, _ = layer(x, keys_values)  # (B, S, D)
        return self.slices.join(self._write(x, self.slices.inside))  # (B, V)

    def generate(
        self, eeg: torch.Tensor, cached: bool = True, instead: Mapping[int, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Write slice after slice from the EEG alone, feeding back what was written.

        Parameters
        ----------
        eeg : torch.Tensor
            Shape (B, C, T).
        cached : bool, default=True
            Keep keys and values of earlier slices; otherwise decode the whole sequence anew for each slice.
        instead : mapping of int to torch.Tensor or None
            By slice number, what to put in place of a written slice, shape (B, P): to see what depends on it.

        Returns
        -------
        torch.Tensor
            Deviations at voxels, shape (B, V).
        """
        memory, instead = self.encode(eeg), instead or {}
        token = self.start.expand(len(eeg), 1, -1)  # (B, 1, D)
        tokens, written = [], []
        past: list = [None] * len(self.decoder)
        for number in range(self.slices.n_slices):
            token = token + self.slice_positions[number]
            if cached:
                x = token
                for depth, (layer, keys_values) in enumerate(zip(self.decoder, memory, strict=True)):
                    x, past[depth] = layer(x, keys_values, past[depth])  # (B, 1, D)
            else:
                tokens.append(token)
                x = torch.cat(tokens, dim=1)  # (B, number + 1, D)
                for layer, keys_values in zip(self.decoder, memory, strict=True):
                    x, _ = layer(x, keys_values)
            slice_ = self._write(x[:, -1:], self.slices.inside[number])  # (B, 1, P)
            if number in instead:
                slice_ = instead[number][:, None]
            written.append(slice_)
            token = self.slice_in(slice_)  # (B, 1, D)
            if self.config.slice_dropout >= 1:
                token = torch.zeros_like(token)
        return self.slices.join(torch.cat(written, dim=1))  # (B, V)

    def forward(self, eeg: torch.Tensor, volume: torch.Tensor | None = None) -> torch.Tensor:
        """Predict deviations at voxels, (B, V): in training by teacher forcing, otherwise from EEG (B, C, T) alone."""
        if self.training:
            if volume is None:
                raise ValueError("in training the decoder is fed true slices: give the volume")
            return self.teacher_forced(eeg, volume)
        return self.generate(eeg)


class Augmented(nn.Module):
    """A network whose EEG is disturbed in training, and in training only.

    Parameters
    ----------
    network : torch.nn.Module
        What is disturbed.
    shift : float
        Standard deviation of the constant added to each channel of a window ("vertical shift"), in units of the EEG.
    noise : float
        Standard deviation of the noise added to every sample.
    """

    def __init__(self, network: nn.Module, shift: float = 0.0, noise: float = 0.0):
        super().__init__()
        self.network, self.shift, self.noise = network, shift, noise

    def forward(self, eeg: torch.Tensor | None = None, **given: torch.Tensor) -> torch.Tensor:
        """Predict deviations at voxels, (B, V), from EEG of shape (B, C, T) and whatever else the network takes.

        What is given in place of EEG cannot be disturbed.
        """
        if eeg is None:
            if self.training and (self.shift > 0 or self.noise > 0):
                raise ValueError("only EEG can be disturbed: give it, or ask for no augmentation")
            return self.network(**given)
        if self.training:
            if self.shift > 0:
                eeg = eeg + self.shift * torch.randn_like(eeg[..., :1])
            if self.noise > 0:
                eeg = eeg + self.noise * torch.randn_like(eeg)
        return self.network(eeg, **given)


#: Networks by the name they bear in result keys.
MODELS = ("fully_connected", "siamese", "convolutional", "convolutional_all", "transformer", "transformer_sinusoidal")


def build(
    name: str,
    n_channels: int,
    n_times: int,
    sfreq: float,
    mask: torch.Tensor,
    config: FullyConnectedConfig | TransformerConfig | None = None,
) -> nn.Module:
    """Build a network by name.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    n_channels, n_times : int
        C and T.
    sfreq : float
        Samples per s of the EEG.
    mask : torch.Tensor
        Voxels that have values, bool, shape (x, y, z).
    config : FullyConnectedConfig, SiameseConfig, ConvolutionalConfig, TransformerConfig or None
        Sizes; None: the defaults of its kind.

    Returns
    -------
    torch.nn.Module
        From (B, C, T) to deviations at voxels, (B, V).
    """
    if name not in MODELS:
        raise ValueError(f"there is no network {name!r}: choose one of {', '.join(MODELS)}")
    if name.startswith("transformer"):
        return Transformer(n_channels, n_times, mask, sfreq, config or default_config(name))
    n_voxels = int(mask.sum())
    if name.startswith("convolutional"):
        return Convolutional(n_channels, n_times, n_voxels, sfreq, config or default_config(name))
    kind = FullyConnected if name == "fully_connected" else Siamese
    return kind(n_channels, n_times, n_voxels, config)


def default_config(name: str) -> FullyConnectedConfig | TransformerConfig:
    """Return the small configuration that makes a network what its name says, sizes as they stand above."""
    return {
        "fully_connected": FullyConnectedConfig(),
        "siamese": SiameseConfig(),
        "convolutional": ConvolutionalConfig(),
        "convolutional_all": ConvolutionalConfig(all_electrodes=True),
        "transformer": TransformerConfig(),
        "transformer_sinusoidal": TransformerConfig(positions="sinusoidal"),
    }[name]


def full_config(name: str) -> FullyConnectedConfig | TransformerConfig:
    """Return the configuration for volumes and EEG of the published size.

    Where the public code has sizes, they are close to it: the Siamese and the convolutional network's dense layers, the transformer's
    width and depth (with four heads instead of eight), and, where the kernel spans all electrodes, its 512 filters. The public code
    has three-dimensional convolutions of the whole volume after that network, of which the text says nothing; here there are none.
    """
    hidden = (1000, 1000, 1000, 100)
    transformer = TransformerConfig(width=64, n_heads=4, n_layers=6, feedforward=512, dropout=0.5)
    return {
        "fully_connected": FullyConnectedConfig(hidden=(64, 100), dropout=0.5),
        "siamese": SiameseConfig(channel=100, hidden=hidden, dropout=0.5),
        "convolutional": ConvolutionalConfig(channel=100, hidden=hidden, dropout=0.5, features=16),
        "convolutional_all": ConvolutionalConfig(
            all_electrodes=True,
            channel=200,
            hidden=hidden,
            dropout=0.5,
            features=512,
            kernel=0.388,
            stride=0.016,
            bin=0.256,
        ),
        "transformer": transformer,
        "transformer_sinusoidal": replace(transformer, positions="sinusoidal"),
    }[name]


@torch.no_grad()
def shapes(module: nn.Module, eeg: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shape after each step of a network, in the order of the steps.

    Parameters
    ----------
    module : torch.nn.Module
        A network of this module, in evaluation mode.
    eeg : torch.Tensor
        Shape (B, C, T).

    Returns
    -------
    dict of str to tuple of int
        ``eeg``, then the steps by the names they have in the code, then ``voxels``; a step done several times (a slice after
        the other) with the shape of its first time.
    """
    seen: dict[str, tuple[int, ...]] = {"eeg": tuple(eeg.shape)}

    def note(name):
        def hook(_module, _inputs, output):
            seen.setdefault(name, tuple((output[0] if isinstance(output, tuple) else output).shape))

        return hook

    skipped = (nn.ModuleList, Slices)
    handles = [
        child.register_forward_hook(note(n)) for n, child in module.named_children() if not isinstance(child, skipped)
    ]
    for name in ("encoder", "decoder"):
        layers = getattr(module, name, None)
        if isinstance(layers, nn.ModuleList) and len(layers):
            handles.append(layers[-1].register_forward_hook(note(name)))
    try:
        seen["voxels"] = tuple(module(eeg).shape)
    finally:
        for handle in handles:
            handle.remove()
    return seen
