"""Small networks that read band power or spectrograms and write one number for each region: what the benchmark compares.

Two are borrowed from `eegfmri.models.synthesis`, a dense network and one whose embedding is shared by the electrodes. The others are
written here, in our own words and at our own, small sizes: convolutions over time; a transformer over time that writes all regions at
once, nothing fed back; a U-Net on spectrograms, which is the idea of E2fNet :cite:p:`roos2025`; a transformer whose tokens are patches of
spectrograms, which is the idea of NeuroBOLT :cite:p:`li2024neurobolt`. None of them is those authors' network.

All write deviations from the training mean and begin at zero: an untrained network is the training mean.

Shapes: B windows, C electrodes, K bands, A areas of the scalp, F frequencies, T steps in time, D width, R regions.
"""

from dataclasses import dataclass

import torch
from torch import nn

from eegfmri.models.attention import Attention, sinusoids
from eegfmri.models.synthesis import Dropout, FullyConnected, FullyConnectedConfig, Siamese, SiameseConfig, VoxelHead

#: What a network reads: power in stretches (B, C, K × stretches), power step by step (B, C × K, T), spectrograms (B, A, F, T).
INPUTS = {
    "fully_connected": "stretches",
    "siamese": "stretches",
    "convolutional": "steps",
    "transformer": "steps",
    "unet": "spectrogram",
    "patches": "spectrogram",
}


@dataclass(frozen=True)
class Sizes:
    """Sizes that all of them share.

    Attributes
    ----------
    width : int
        D: features of a token, units of a hidden layer, filters.
    n_heads : int
        Of attention.
    patch : (int, int)
        Frequencies and steps of a patch.
    dropout : float
        On hidden features.
    """

    width: int = 16
    n_heads: int = 2
    patch: tuple[int, int] = (4, 2)
    dropout: float = 0.2


class Convolutional(nn.Module):
    """Two convolutions over time, then the mean over time.

    Parameters
    ----------
    n_features, n_regions : int
        C × K and R.
    sizes : Sizes
        Width and dropout.
    """

    def __init__(self, n_features: int, n_regions: int, sizes: Sizes):
        super().__init__()
        self.first = nn.Conv1d(n_features, sizes.width, 3)
        self.second = nn.Conv1d(sizes.width, sizes.width, 3)
        self.dropout = Dropout(sizes.dropout)
        self.head = VoxelHead(2 * sizes.width, n_regions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, C K, T) to (B, R)."""
        x = torch.relu(self.first(x))  # (B, D, T')
        x = torch.relu(self.second(self.dropout(x)))  # (B, D, T'')
        x = torch.cat([x.mean(dim=-1), x[..., -1]], dim=-1)  # (B, 2 D): all the while, and at last
        return self.head(self.dropout(x))


class Layer(nn.Module):
    """A layer of a transformer: attention, then a dense layer, each added to what it was given.

    Parameters
    ----------
    sizes : Sizes
        Width, heads and dropout.
    """

    def __init__(self, sizes: Sizes):
        super().__init__()
        width = sizes.width
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = Attention(width, sizes.n_heads)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = Dropout(sizes.dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """From (B, L, D) to (B, L, D)."""
        x = self.norms[0](tokens)
        tokens = tokens + self.dropout(self.attention(x, *self.attention.keys_values(x)))
        return tokens + self.dropout(self.dense(self.norms[1](tokens)))


class TransformerOverTime(nn.Module):
    """Steps in time attend to each other; all regions are read from them at once.

    Parameters
    ----------
    n_features, n_times, n_regions : int
        C × K, T and R.
    sizes : Sizes
        Width, heads and dropout.
    """

    def __init__(self, n_features: int, n_times: int, n_regions: int, sizes: Sizes):
        super().__init__()
        self.embed = nn.Linear(n_features, sizes.width)
        self.register_buffer("places", sinusoids(torch.arange(n_times), sizes.width), persistent=False)
        self.layer = Layer(sizes)
        self.head = VoxelHead(n_times * sizes.width, n_regions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, C K, T) to (B, R)."""
        tokens = self.embed(x.transpose(1, 2)) + self.places  # (B, T, D)
        return self.head(self.layer(tokens).flatten(1))


class SpectrogramUNet(nn.Module):
    """Down to a coarse picture of frequency and time, up again beside what was there on the way, then the mean over time.

    Parameters
    ----------
    n_areas, n_frequencies, n_regions : int
        A, F and R.
    sizes : Sizes
        Width and dropout.
    """

    def __init__(self, n_areas: int, n_frequencies: int, n_regions: int, sizes: Sizes):
        super().__init__()
        narrow = max(4, sizes.width // 2)
        self.down = nn.Conv2d(n_areas, narrow, 3, padding=1)
        self.bottom = nn.Conv2d(narrow, sizes.width, 3, padding=1)
        self.up = nn.Conv2d(sizes.width + narrow, narrow, 3, padding=1)
        self.pool, self.dropout = nn.AvgPool2d(2), Dropout(sizes.dropout)
        self.head = VoxelHead(narrow * (n_frequencies // 2) * 2, n_regions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, A, F, T) to (B, R)."""
        beside = self.pool(torch.relu(self.down(x)))  # (B, D/2, F/2, T/2)
        deep = torch.relu(self.bottom(self.pool(beside)))  # (B, D, F/4, T/4)
        back = nn.functional.interpolate(deep, size=beside.shape[-2:])  # (B, D, F/2, T/2)
        x = torch.relu(self.up(torch.cat([back, beside], dim=1)))  # (B, D/2, F/2, T/2)
        half = x.shape[-1] // 2
        x = torch.stack([x[..., :half].mean(dim=-1), x[..., half:].mean(dim=-1)], dim=-1)  # early and late
        return self.head(self.dropout(x.flatten(1)))


class PatchTransformer(nn.Module):
    """Patches of spectrograms are tokens that attend to each other; regions are read from all of them.

    Parameters
    ----------
    n_areas, n_frequencies, n_times, n_regions : int
        A, F, T and R.
    sizes : Sizes
        Width, heads, patch and dropout.
    """

    def __init__(self, n_areas: int, n_frequencies: int, n_times: int, n_regions: int, sizes: Sizes):
        super().__init__()
        high, wide = sizes.patch
        self.embed = nn.Conv2d(n_areas, sizes.width, sizes.patch, stride=sizes.patch)
        n_tokens = (n_frequencies // high) * (n_times // wide)
        self.register_buffer("places", sinusoids(torch.arange(n_tokens), sizes.width), persistent=False)
        self.layer = Layer(sizes)
        self.head = VoxelHead(n_tokens * sizes.width, n_regions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, A, F, T) to (B, R)."""
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.places  # (B, L, D)
        return self.head(self.layer(tokens).flatten(1))


def build(name: str, shape: tuple[int, ...], n_regions: int, sizes: Sizes | None = None) -> nn.Module:
    """Make one of the networks.

    Parameters
    ----------
    name : str
        A key of `INPUTS`.
    shape : tuple of int
        Of one window's input, as `INPUTS` says.
    n_regions : int
        R.
    sizes : Sizes or None
        Width and so on.

    Returns
    -------
    torch.nn.Module
        Its ``forward`` takes (B, *shape) and returns (B, R).

    Examples
    --------
    >>> import torch
    >>> network = build("unet", (5, 16, 8), 101)
    >>> float(network(torch.randn(2, 5, 16, 8)).abs().max())
    0.0
    """
    sizes = sizes or Sizes()
    hidden = {"pool": 1, "hidden": (2 * sizes.width, 2 * sizes.width), "dropout": sizes.dropout}
    if name == "fully_connected":
        return FullyConnected(*shape, n_regions, FullyConnectedConfig(**hidden))
    if name == "siamese":
        return Siamese(*shape, n_regions, SiameseConfig(**hidden, channel=4))
    if name == "convolutional":
        return Convolutional(shape[0], n_regions, sizes)
    if name == "transformer":
        return TransformerOverTime(*shape, n_regions, sizes)
    if name == "unet":
        return SpectrogramUNet(*shape[:2], n_regions, sizes)
    return PatchTransformer(*shape, n_regions, sizes)
