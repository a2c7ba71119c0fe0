"""graph_fusion: two graph-convolutional encoders, one per modality, joined by a gate.

After Umesh & Paul 2026 (a report without equations): EEG goes through per-channel convolutions, a graph over electrodes
that is partly geometry and partly learned, and a bidirectional LSTM over three epochs; BOLD through per-region convolutions
over 42 volumes and a graph of functional connectivity; a sigmoid gate mixes the two embeddings element by element, and the
EEG embedding is dropped in training so that the other branch learns to stand alone. Whatever the report leaves open is a
field of the configurations below.

Shapes: B windows, S epochs of context, C channels, T samples, R regions, V volumes, F features, E embedding.
"""

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
    conv_features, graph_features, embedding : int
        Features per channel, per node and of the embedding E.
    kernels, strides : tuple of int
        In samples, of the two temporal convolutions.
    adjacency : {"hybrid", "fixed", "learned"}
        Which part of the electrodes' graph is used.
    recurrent : bool
        Bidirectional LSTM over the epochs; otherwise the middle epoch alone.
    dropout : float
        On the embedding.
    """

    n_epochs: int = 3
    conv_features: int = 8
    kernels: tuple[int, int] = (50, 9)
    strides: tuple[int, int] = (25, 4)
    graph_features: int = 16
    embedding: int = 32
    adjacency: str = "hybrid"
    recurrent: bool = True
    dropout: float = 0.25


class EegEncoder(nn.Module):
    """From S epochs of EEG to an embedding of the middle one.

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
        features = config.conv_features
        self.temporal = nn.Sequential(
            nn.Conv1d(1, features, config.kernels[0], config.strides[0], bias=False),
            nn.BatchNorm1d(features),
            nn.ELU(),
            nn.Conv1d(features, 2 * features, config.kernels[1], config.strides[1], bias=False),
            nn.BatchNorm1d(2 * features),
        )
        self.adjacency = HybridAdjacency(fixed, config.adjacency)
        self.graph = nn.ModuleList(
            [
                GraphConvolution(2 * features, config.graph_features),
                GraphConvolution(config.graph_features, config.graph_features),
            ]
        )
        pooled = 2 * config.graph_features
        if config.recurrent:
            self.lstm = nn.LSTM(pooled, config.embedding // 2, batch_first=True, bidirectional=True)
        self.project = nn.Linear(config.embedding if config.recurrent else pooled, config.embedding)
        self.dropout = nn.Dropout(config.dropout)

    def epochs(self, eeg: torch.Tensor) -> torch.Tensor:
        """Encode each epoch by itself: (N, C, T) to (N, 2 × graph features)."""
        n, c, t = eeg.shape
        x = self.temporal(eeg.reshape(n * c, 1, t))  # (N C, 2F, t')
        # Log energy over time: how strong each learned rhythm is, as band power in decibels is.
        x = torch.log(x.square().mean(dim=-1) + 1e-4)  # (N C, 2F)
        x = x.reshape(n, c, -1)  # (N, C, 2F)
        normalised = normalise(self.adjacency())
        for layer in self.graph:
            x = torch.relu(layer(x, normalised))  # (N, C, G)
        return torch.cat([x.mean(dim=1), x.amax(dim=1)], dim=-1)  # (N, 2G)

    def forward(self, eeg: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
        """Encode windows of shape (B, S, C, T) into (B, E).

        Neighbouring windows share epochs. With ``index`` of shape (B, S), ``eeg`` holds each epoch once, (U, C, T), and the
        index tells which of them make up a window.
        """
        if index is None:
            b, s, c, t = eeg.shape
            eeg, index = eeg.reshape(b * s, c, t), torch.arange(b * s, device=eeg.device).reshape(b, s)
        middle = index.shape[1] // 2
        if self.config.recurrent:
            x = self.epochs(eeg)[index]  # (B, S, 2G)
            x = self.lstm(x)[0][:, middle]  # (B, E)
        else:
            used, place = index[:, middle].unique(return_inverse=True)
            x = self.epochs(eeg[used])[place]  # (B, 2G)
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
        padding = config.kernel // 2
        self.temporal = nn.ModuleList(
            [
                nn.Conv1d(copies, copies * features, config.kernel, padding=padding, groups=copies, bias=False),
                nn.Conv1d(
                    copies * features, copies * features, config.kernel, padding=padding, groups=copies, bias=False
                ),
            ]
        )
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
        x = bold.reshape(b * r, 1, v) if self.config.shared else bold
        for layer, scale in zip(self.temporal, self.scale, strict=True):
            x = torch.relu(scale(layer(x)))
        x = x.reshape(b, r, -1, v)  # (B, R, F, V)
        mean = x.mean(dim=-1)  # (B, R, F)
        spread = torch.sqrt((x.square().mean(dim=-1) - mean.square()).clamp_min(1e-6))
        x = torch.cat([mean, spread], dim=-1)  # (B, R, 2F)
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
        if self.training and self.modality_dropout > 0:
            chance = torch.rand(len(h_eeg), 1, generator=generator, device=h_eeg.device)
            h_eeg = h_eeg * (chance >= self.modality_dropout)
        gate = torch.sigmoid(self.gate(torch.cat([h_eeg, h_bold], dim=-1)))
        return gate * h_eeg + (1 - gate) * h_bold, gate


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
    """

    def __init__(
        self,
        n_classes: int,
        eeg: EegEncoder | None = None,
        bold: BoldEncoder | None = None,
        modality_dropout: float = 0.5,
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
            self.fusion = GatedFusion(eeg.config.embedding, modality_dropout)
        self.classify = nn.Linear(encoder.config.embedding, n_classes)

    def embed(
        self,
        eeg: torch.Tensor | None = None,
        bold: torch.Tensor | None = None,
        index: torch.Tensor | None = None,
        adjacency: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return the embeddings ``eeg``, ``bold``, and, with both, ``fused`` and ``gate``; each of shape (B, E).

        A modality that the model has but the call lacks is missing at test: its embedding is zeros, as in training. The
        index belongs to the EEG encoder, the adjacency to the BOLD encoder.
        """
        found = {}
        if self.eeg is not None and eeg is not None:
            found["eeg"] = self.eeg(eeg, index)
        if self.bold is not None and bold is not None:
            found["bold"] = self.bold(bold, adjacency)
        if not found:
            raise ValueError("nothing to embed: give the modality that the model encodes")
        if self.fusion is not None:
            nothing = torch.zeros_like(next(iter(found.values())))
            found["fused"], found["gate"] = self.fusion(found.get("eeg", nothing), found.get("bold", nothing))
        return found

    def forward(
        self, eeg: torch.Tensor | None = None, bold: torch.Tensor | None = None, index: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the stages' logits, shape (B, n_classes)."""
        found = self.embed(eeg, bold, index)
        return self.classify(found["fused"] if self.fusion is not None else next(iter(found.values())))
