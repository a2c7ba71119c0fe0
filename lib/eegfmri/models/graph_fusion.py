"""graph_fusion: two graph-convolutional encoders, one per modality, joined by a gate.

After Umesh & Paul 2026 (a report without equations): EEG goes through per-channel convolutions, a graph over electrodes
that is partly geometry and partly learned, and a bidirectional LSTM over three epochs; BOLD through per-region convolutions
over 42 volumes and a graph of functional connectivity; a sigmoid gate mixes the two embeddings element by element, and the
EEG embedding is dropped in training so that the other branch learns to stand alone. Whatever the report leaves open is a
field of the configurations below.

Of an epoch of EEG the network asks for nothing but the energy of filtered channels, and that follows from their autocorrelation
(`FilterEnergy`): this is what it is given.

Shapes: B windows, S epochs of context, C channels, L lags, R regions, V volumes, F features, E embedding.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from eegfmri.models.graph_convolution import GraphConvolution, HybridAdjacency, normalise


@dataclass(frozen=True)
class EegConfig:
    """Configuration of the EEG encoder.

    Attributes
    ----------
    n_epochs : int
        S, odd: scored epochs of context, the middle one is classified.
    n_filters : int
        Temporal filters, shared over electrodes.
    kernel : int
        L, their length in samples.
    graph_features, embedding : int
        Features per node and of the embedding E.
    adjacency : {"hybrid", "fixed", "learned"}
        Which part of the electrodes' graph is used.
    recurrent : bool
        Bidirectional LSTM over the epochs; otherwise the middle epoch alone.
    dropout : float
        On the embedding.
    """

    n_epochs: int = 3
    n_filters: int = 8
    kernel: int = 100
    graph_features: int = 16
    embedding: int = 32
    adjacency: str = "hybrid"
    recurrent: bool = True
    dropout: float = 0.25


def filter_length(seconds: float, sfreq: float) -> int:
    """Length in samples, at least 2, of a filter of so many seconds at a rate of ``sfreq`` Hz."""
    return max(2, round(seconds * sfreq))


class FilterEnergy(nn.Module):
    """Energy of a signal after learned temporal filters, from the signal's autocorrelation.

    What a filter h lets through of a signal x has the energy Σ_l r_h(l) r_x(l), with r the autocorrelation of either (Parseval): a
    convolution with the signal, squared and averaged over time, costs as many products as the filter has samples, however long the
    signal is, and the signal itself is read once and never again. The filters begin as sines under a Hann window, from one cycle to
    two fifths of the sampling rate, evenly on a logarithmic scale, with random phases.

    Parameters
    ----------
    n_filters : int
        F.
    kernel : int
        L, in samples.
    """

    def __init__(self, n_filters: int, kernel: int):
        super().__init__()
        cycles = torch.logspace(0, math.log10(max(1.0, 0.4 * kernel)), n_filters)  # per kernel
        time = (torch.arange(kernel) + 0.5) / kernel
        phase = 2 * math.pi * torch.rand(n_filters, 1)
        sines = torch.sin(2 * math.pi * cycles[:, None] * time + phase) * torch.sin(math.pi * time) ** 2
        self.weight = nn.Parameter(sines / sines.norm(dim=1, keepdim=True).clamp_min(1e-3))

    def forward(self, autocorrelation: torch.Tensor) -> torch.Tensor:
        """Return energies of shape (…, F) of signals whose autocorrelation at lags 0 to L − 1 has the shape (…, L)."""
        kernel = self.weight.shape[1]
        spectrum = torch.fft.rfft(self.weight, 2 * kernel)
        of_filters = torch.fft.irfft(spectrum.abs().square(), 2 * kernel)[:, :kernel]  # (F, L)
        both_sides = torch.full((kernel,), 2.0, device=self.weight.device)
        both_sides[0] = 1.0
        return autocorrelation @ (of_filters * both_sides).T


class EegEncoder(nn.Module):
    """From the autocorrelation of S epochs of EEG to an embedding of the middle one.

    Parameters
    ----------
    fixed : torch.Tensor
        Scalp-geometry adjacency, shape (C, C).
    config : EegConfig
        Sizes and choices.
    """

    def __init__(self, fixed: torch.Tensor, config: EegConfig | None = None):
        super().__init__()
        self.config = config = config or EegConfig()
        self.temporal = FilterEnergy(config.n_filters, config.kernel)
        self.scale = nn.BatchNorm1d(config.n_filters)
        self.adjacency = HybridAdjacency(fixed, config.adjacency)
        self.graph = nn.ModuleList(
            [
                GraphConvolution(config.n_filters, config.graph_features),
                GraphConvolution(config.graph_features, config.graph_features),
            ]
        )
        pooled = 2 * config.graph_features
        if config.recurrent:
            self.lstm = nn.LSTM(pooled, config.embedding // 2, batch_first=True, bidirectional=True)
        self.project = nn.Linear(config.embedding if config.recurrent else pooled, config.embedding)
        self.dropout = nn.Dropout(config.dropout)

    def epochs(self, autocorrelation: torch.Tensor) -> torch.Tensor:
        """Encode each epoch by itself: (N, C, L) to (N, 2 × graph features)."""
        n, c, _ = autocorrelation.shape
        # Log energy: how strong each learned rhythm is, as band power in decibels is.
        x = torch.log(self.temporal(autocorrelation).clamp_min(0) + 1e-4)  # (N, C, F)
        x = self.scale(x.reshape(n * c, -1)).reshape(n, c, -1)
        normalised = normalise(self.adjacency())
        for layer in self.graph:
            x = torch.relu(layer(x, normalised))  # (N, C, G)
        return torch.cat([x.mean(dim=1), x.amax(dim=1)], dim=-1)  # (N, 2G)

    def forward(self, autocorrelation: torch.Tensor) -> torch.Tensor:
        """Encode windows of shape (B, S, C, L) into (B, E)."""
        b, s, c, n_lags = autocorrelation.shape
        if self.config.recurrent:
            x = self.epochs(autocorrelation.reshape(b * s, c, n_lags)).reshape(b, s, -1)  # (B, S, 2G)
            x = self.lstm(x)[0][:, s // 2]  # (B, E)
        else:
            x = self.epochs(autocorrelation[:, s // 2])  # (B, 2G)
        return self.dropout(torch.tanh(self.project(x)))  # (B, E)


@dataclass(frozen=True)
class BoldConfig:
    """Configuration of the BOLD encoder.

    Attributes
    ----------
    conv_features, graph_features, embedding : int
        Features per region, per node and of the embedding E.
    kernel : int
        In volumes, odd, of the temporal convolutions.
    shared : bool
        All regions share the convolutions' weights; otherwise each has its own, and only then can pooling over regions
        tell one region from another.
    dropout : float
        On the embedding.
    """

    conv_features: int = 8
    kernel: int = 7
    shared: bool = False
    graph_features: int = 16
    embedding: int = 32
    dropout: float = 0.25


class _Shifted(torch.autograd.Function):
    """Convolution of (R, F, T) with (R, K, G, F) into (R, G, T − K + 1): each region's own weights, one product per shift.

    torch's grouped convolutions are several times slower where groups are many and features few; a test holds both equal.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        n = x.shape[2] - weight.shape[1] + 1
        out = torch.bmm(weight[:, 0], x[:, :, :n])
        for shift in range(1, weight.shape[1]):
            out.baddbmm_(weight[:, shift], x[:, :, shift : shift + n])
        return out

    @staticmethod
    def backward(ctx, slope: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        x, weight = ctx.saved_tensors
        n, kernel = slope.shape[2], weight.shape[1]
        of_weight = torch.stack(
            [torch.bmm(slope, x[:, :, shift : shift + n].transpose(1, 2)) for shift in range(kernel)], dim=1
        )
        if not ctx.needs_input_grad[0]:
            return None, of_weight
        padded, back, length = nn.functional.pad(slope, (kernel - 1, kernel - 1)), weight.transpose(2, 3), x.shape[2]
        of_x = torch.bmm(back[:, 0], padded[:, :, kernel - 1 : kernel - 1 + length])
        for shift in range(1, kernel):
            of_x.baddbmm_(back[:, shift], padded[:, :, kernel - 1 - shift : kernel - 1 - shift + length])
        return of_x, of_weight


class RegionConvolution(nn.Module):
    """A temporal convolution with weights of each region's own, zeros beyond both ends.

    Parameters
    ----------
    n_regions, in_features, out_features : int
        R, F and G.
    kernel : int
        K, odd.
    """

    def __init__(self, n_regions: int, in_features: int, out_features: int, kernel: int):
        super().__init__()
        bound = (in_features * kernel) ** -0.5  # as torch's convolutions begin
        self.weight = nn.Parameter(torch.empty(n_regions, kernel, out_features, in_features).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (R, F, B, V) to (R, G, B, V)."""
        r, f, b, v = x.shape
        kernel = self.weight.shape[1]
        if f == 1:  # the shifted volumes as rows: one product
            frames = nn.functional.pad(x[:, 0], (kernel // 2, kernel // 2)).unfold(-1, kernel, 1)  # (R, B, V, K)
            frames = frames.permute(0, 3, 1, 2).reshape(r, kernel, b * v)
            return torch.bmm(self.weight[..., 0].transpose(1, 2), frames).reshape(r, -1, b, v)
        # All windows in a row with zeros between them, so that a shift is one stretch of memory.
        row = nn.functional.pad(x, (kernel // 2, kernel // 2)).reshape(r, f, -1)
        out = _Shifted.apply(row, self.weight)  # what lies across two windows is cut off below
        width = v + kernel - 1
        return nn.functional.pad(out, (0, kernel - 1)).reshape(r, -1, b, width)[..., :v]


class BoldEncoder(nn.Module):
    """From a context of regional BOLD to an embedding.

    Parameters
    ----------
    adjacency : torch.Tensor
        Functional connectivity of the fold's training subjects, shape (R, R), signed or not.
    config : BoldConfig
        Sizes and choices.
    """

    def __init__(self, adjacency: torch.Tensor, config: BoldConfig | None = None):
        super().__init__()
        self.config = config = config or BoldConfig()
        n_regions, features = len(adjacency), config.conv_features
        self.register_buffer("normalised", normalise(adjacency))
        copies = 1 if config.shared else n_regions
        self.temporal = nn.ModuleList([RegionConvolution(copies, n, features, config.kernel) for n in (1, features)])
        self.scale = nn.ModuleList([nn.BatchNorm1d(copies * features) for _ in self.temporal])
        self.graph = nn.ModuleList(
            [
                GraphConvolution(2 * features, config.graph_features),
                GraphConvolution(config.graph_features, config.graph_features),
            ]
        )
        self.project = nn.Linear(2 * config.graph_features, config.embedding)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, bold: torch.Tensor, adjacency: torch.Tensor | None = None) -> torch.Tensor:
        """Encode windows of shape (B, R, V) into (B, E); another normalised adjacency (R, R) may stand in for the own one."""
        normalised = self.normalised if adjacency is None else adjacency
        b, r, v = bold.shape
        x = bold.transpose(0, 1)  # (R, B, V): each region's values lie together
        x = x.reshape(1, 1, r * b, v) if self.config.shared else x.reshape(r, 1, b, v)
        for layer, scale in zip(self.temporal, self.scale, strict=True):
            x = layer(x)
            shape = x.shape
            x = torch.relu(scale(x.reshape(1, shape[0] * shape[1], -1))).reshape(shape)
        average = x.new_full((v, 1), 1 / v)
        mean = (x @ average)[..., 0]  # (R, F, B), or (1, F, R B)
        spread = torch.sqrt(((x.square() @ average)[..., 0] - mean.square()).clamp_min(1e-6))
        x = torch.cat([mean, spread], dim=1)  # (R, 2F, B)
        x = x.reshape(-1, r, b).permute(2, 1, 0) if self.config.shared else x.permute(2, 0, 1)  # (B, R, 2F)
        for layer in self.graph:
            x = torch.relu(layer(x, normalised))  # (B, R, G)
        x = torch.cat([x.mean(dim=1), x.amax(dim=1)], dim=-1)  # (B, 2G)
        return self.dropout(torch.tanh(self.project(x)))  # (B, E)


class GatedFusion(nn.Module):
    """z = g ⊙ h_eeg + (1 − g) ⊙ h_bold with g = σ(W [h_eeg; h_bold] + b), and dropout of the whole EEG embedding.

    Parameters
    ----------
    embedding : int
        E.
    modality_dropout : float, default=0.5
        Probability, in training, that a window's EEG embedding is replaced by zeros before the gate sees it.
    """

    def __init__(self, embedding: int, modality_dropout: float = 0.5):
        super().__init__()
        self.gate = nn.Linear(2 * embedding, embedding)
        self.modality_dropout = modality_dropout

    def forward(
        self, h_eeg: torch.Tensor, h_bold: torch.Tensor, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fuse embeddings of shape (B, E); return z and the gate g, each (B, E)."""
        h_eeg = _dropped(h_eeg, self.modality_dropout if self.training else 0.0, generator)
        gate = torch.sigmoid(self.gate(torch.cat([h_eeg, h_bold], dim=-1)))
        return gate * h_eeg + (1 - gate) * h_bold, gate


class MeanFusion(nn.Module):
    """z = (h_eeg + h_bold) / 2, what a gate with W = 0 and b = 0 does: a control without weights of its own.

    Parameters
    ----------
    embedding : int
        E, not needed.
    modality_dropout : float, default=0.5
        See `GatedFusion`.
    """

    def __init__(self, embedding: int, modality_dropout: float = 0.5):
        super().__init__()
        self.modality_dropout = modality_dropout

    def forward(self, h_eeg: torch.Tensor, h_bold: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Fuse embeddings of shape (B, E); return z, (B, E), and None: there is no gate."""
        h_eeg = _dropped(h_eeg, self.modality_dropout if self.training else 0.0)
        return (h_eeg + h_bold) / 2, None


class ConcatenationFusion(nn.Module):
    """z = W [h_eeg; h_bold] + b: as many weights as the gate, used for a mixture that is the same for every window.

    Parameters
    ----------
    embedding : int
        E.
    modality_dropout : float, default=0.5
        See `GatedFusion`.
    """

    def __init__(self, embedding: int, modality_dropout: float = 0.5):
        super().__init__()
        self.mix = nn.Linear(2 * embedding, embedding)
        self.modality_dropout = modality_dropout

    def forward(self, h_eeg: torch.Tensor, h_bold: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Fuse embeddings of shape (B, E); return z, (B, E), and None: there is no gate."""
        h_eeg = _dropped(h_eeg, self.modality_dropout if self.training else 0.0)
        return self.mix(torch.cat([h_eeg, h_bold], dim=-1)), None


def _dropped(h: torch.Tensor, probability: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Replace rows of (B, E) by zeros with a probability."""
    if not probability:
        return h
    return h * (torch.rand(len(h), 1, generator=generator, device=h.device) >= probability)


#: Ways to join two embeddings: the report's gate, and two controls.
FUSIONS = {"gate": GatedFusion, "mean": MeanFusion, "concatenation": ConcatenationFusion}


class GraphFusion(nn.Module):
    """Classify windows from EEG, from BOLD, or from both through the gate.

    Parameters
    ----------
    n_classes : int
        Number of stages.
    eeg, bold : torch.nn.Module or None
        The encoders; with one of them the classifier stands on it alone.
    modality_dropout : float, default=0.5
        See `GatedFusion`.
    fusion : {"gate", "mean", "concatenation"}, default="gate"
        How the embeddings are joined, see `FUSIONS`.
    """

    def __init__(
        self,
        n_classes: int,
        eeg: EegEncoder | None = None,
        bold: BoldEncoder | None = None,
        modality_dropout: float = 0.5,
        fusion: str = "gate",
    ):
        super().__init__()
        if eeg is None and bold is None:
            raise ValueError("a classifier needs an encoder: give eeg, bold or both")
        self.eeg, self.bold = eeg, bold
        encoder = eeg if eeg is not None else bold
        self.fusion = None
        if eeg is not None and bold is not None:
            if eeg.config.embedding != bold.config.embedding:
                raise ValueError(f"embeddings differ: {eeg.config.embedding} of EEG, {bold.config.embedding} of BOLD")
            self.fusion = FUSIONS[fusion](eeg.config.embedding, modality_dropout)
        self.classify = nn.Linear(encoder.config.embedding, n_classes)

    def embed(
        self,
        eeg: torch.Tensor | None = None,
        bold: torch.Tensor | None = None,
        adjacency: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return the embeddings ``eeg``, ``bold``, and, with both, ``fused`` and, with a gate, ``gate``; each of shape (B, E).

        A modality that the model has but the call lacks is missing at test: its embedding is zeros. For EEG that is what modality dropout
        has shown in training; for BOLD it was never shown. The adjacency belongs to the BOLD encoder.
        """
        found = {}
        if self.eeg is not None and eeg is not None:
            found["eeg"] = self.eeg(eeg)
        if self.bold is not None and bold is not None:
            found["bold"] = self.bold(bold, adjacency)
        if not found:
            raise ValueError("nothing to embed: give the modality that the model encodes")
        if self.fusion is not None:
            nothing = torch.zeros_like(next(iter(found.values())))
            fused, gate = self.fusion(found.get("eeg", nothing), found.get("bold", nothing))
            found |= {"fused": fused} if gate is None else {"fused": fused, "gate": gate}
        return found

    def forward(self, eeg: torch.Tensor | None = None, bold: torch.Tensor | None = None) -> torch.Tensor:
        """Return the stages' logits, shape (B, n_classes)."""
        found = self.embed(eeg, bold)
        return self.classify(found["fused"] if self.fusion is not None else next(iter(found.values())))
