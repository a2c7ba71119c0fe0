"""saliency_fusion: a multi-scale graph network per modality with class activation, and the fusion of six views.

After the text of :cite:t:`saliencyfusion`, which has neither title nor authors; equation numbers are its. Other sources:
Defferrard et al. 2016 (Chebyshev graph convolution), Zhou et al. 2016 (class activation), Veličković et al. 2018 (graph
attention), Vaswani et al. 2017 (attention). What is printed but cannot be meant is a flag, `Reading`: "as_meant" by default.

Phase one, `MultiScaleGCNN`: temporal filters of several lengths, attention over the lengths, Chebyshev graph convolutions, the
mean over nodes, one dense layer. Phase two, `MultiViewFusion`: the node features of six views (five bands and fMRI) through two
graph-attention layers each, attention across views, adaptive weights, and node correlations reconstructed from what comes out.

Shapes: B windows, V views, S scales, N nodes, n salient nodes, Q frequencies, T volumes, F and G features, K order, C classes,
M views of the fusion, d embedding, H heads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from eegfmri.models.graph_signals import LaplacianKind, chebyshev_polynomials, laplacian, scaled

Reading = Literal["as_meant", "as_printed"]


# --- graph convolution -------------------------------------------------------------------------------------------------


class ChebyshevConvolution(nn.Module):
    r"""Graph convolution, eq. 10 as meant: :math:`y = \sum_k T_k(\tilde L)\,x\,\Theta_k + b`, dense and batched.

    Parameters
    ----------
    in_features, out_features : int
        F and G.
    n_terms : int
        K + 1 as meant, K as eq. 7 and 10 print it.
    n_views : int, default=1
        Views that share the graph and have weights of their own.
    """

    def __init__(self, in_features: int, out_features: int, n_terms: int, n_views: int = 1):
        super().__init__()
        self.n_terms = n_terms
        self.weight = nn.Parameter(torch.empty(n_views, n_terms * in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(n_views, 1, out_features))
        bound = math.sqrt(6 / (n_terms * in_features + out_features))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, nodes: torch.Tensor, polynomials: torch.Tensor) -> torch.Tensor:
        """Convolve nodes of shape (B, V, N, F) with T_k of shape (n_terms, N, N) into (B, V, N, G)."""
        b, v, n, f = nodes.shape
        flat = nodes.permute(2, 0, 1, 3).reshape(n, b * v * f)
        # One product for all orders, windows and views: T_0 needs none.
        spread = (polynomials[1:].reshape(-1, n) @ flat).reshape(self.n_terms - 1, n, b, v, f)
        terms = torch.cat([flat.reshape(1, n, b, v, f), spread])  # (K+1, N, B, V, F)
        terms = terms.permute(2, 3, 1, 0, 4).reshape(b, v, n, self.n_terms * f)
        return terms @ self.weight + self.bias  # (B, V, N, G)


class LearnableAdjacency(nn.Module):
    """A symmetric graph without self-loops that starts at a prior and is trained with the rest.

    Parameters
    ----------
    prior : torch.Tensor
        Shape (N, N). Edges that it lacks may grow.
    """

    def __init__(self, prior: torch.Tensor):
        super().__init__()
        self.free = nn.Parameter(prior.clone())
        self.register_buffer("off_diagonal", 1 - torch.eye(len(prior), dtype=prior.dtype, device=prior.device))

    def forward(self) -> torch.Tensor:
        """Return the adjacency, shape (N, N)."""
        return (self.free + self.free.T) / 2 * self.off_diagonal


# --- temporal filters of several lengths -------------------------------------------------------------------------------


def kernel_lengths(seconds: Sequence[float], sfreq: float) -> tuple[int, ...]:
    """Lengths in samples, odd and at least 1, of kernels of so many seconds: the sampling rate alone sets them."""
    return tuple(max(1, 2 * int(s * sfreq / 2) + 1) for s in seconds)


class SpectralScales(nn.Module):
    r"""Temporal convolutions of several lengths on EEG, and the logarithm of what power each lets through, band by band.

    By Parseval's theorem the mean square of a filtered signal is the signal's power spectrum weighted by the filter's squared
    response, :math:`\overline{(k * x)^2} = \sum_q |\hat k(q)|^2 S_x(q)`. So the filters can be learned on spectra that were computed once;
    `of_signal` convolves the signal itself and gives the same numbers.

    Parameters
    ----------
    frequencies : torch.Tensor
        Of the spectrum's bins in Hz, shape (Q,).
    sfreq : float
        Rate of the signal in Hz.
    bands : sequence of (float, float)
        Edges of the views in Hz, upper edge exclusive.
    lengths : sequence of int
        Samples per kernel, one entry per scale.
    n_filters : int
        Filters per scale.
    """

    def __init__(self, frequencies, sfreq: float, bands, lengths: Sequence[int], n_filters: int):
        super().__init__()
        self.sfreq, self.lengths, self.n_filters = sfreq, tuple(lengths), n_filters
        self.n_views, self.n_scales, self.out_features = len(bands), len(self.lengths), n_filters
        self.bands = tuple(bands)
        inside = [(frequencies >= low) & (frequencies < high) for low, high in bands]
        self.register_buffer("inside", torch.stack(inside).float())  # (V, Q)
        self.kernels = nn.ParameterList([torch.randn(n_filters, length) / math.sqrt(length) for length in self.lengths])
        for number, length in enumerate(self.lengths):
            time = torch.arange(length, device=frequencies.device)
            angle = 2 * math.pi * time[:, None] * frequencies[None, :] / sfreq
            self.register_buffer(f"cosine_{number}", torch.cos(angle).float())  # (length, Q)
            self.register_buffer(f"sine_{number}", torch.sin(angle).float())
        self.scale = nn.BatchNorm1d(self.n_views * self.n_scales * n_filters)

    def responses(self) -> torch.Tensor:
        """Squared responses of the filters, shape (S, F, Q)."""
        return torch.stack(
            [
                (kernel @ getattr(self, f"cosine_{i}")) ** 2 + (kernel @ getattr(self, f"sine_{i}")) ** 2
                for i, kernel in enumerate(self.kernels)
            ]
        )

    def energy(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Power let through, shape (B, N, V, S, F), from power per bin, shape (B, N, Q)."""
        weights = self.inside[:, None, None, :] * self.responses()  # (V, S, F, Q)
        flat = spectrum @ weights.flatten(0, 2).T
        return flat.reshape(*spectrum.shape[:2], self.n_views, self.n_scales, self.n_filters)

    def of_signal(self, signal: torch.Tensor) -> torch.Tensor:
        """Do the same the long way: cut out the band, convolve (around the end), take the mean square.

        Parameters
        ----------
        signal : torch.Tensor
            Shape (B, N, n_times).

        Returns
        -------
        torch.Tensor
            Shape (B, N, V, S, F).
        """
        b, n, t = signal.shape
        frequencies = torch.fft.rfftfreq(t, 1 / self.sfreq, device=signal.device)
        spectrum = torch.fft.rfft(signal)
        found = []
        for low, high in self.bands:
            kept = ((frequencies >= low) & (frequencies < high)).to(spectrum.dtype)
            band = torch.fft.irfft(spectrum * kept, t).reshape(b * n, 1, t)
            for kernel in self.kernels:
                length = kernel.shape[1]
                around = torch.cat([band[..., t - length + 1 :], band], dim=-1) if length > 1 else band
                filtered = nn.functional.conv1d(around, kernel.flip(1)[:, None])  # (B N, F, n_times)
                found.append(filtered.square().mean(dim=-1))
        stacked = torch.stack(found, dim=1)  # (B N, V S, F)
        return stacked.reshape(b, n, self.n_views, self.n_scales, self.n_filters)

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return log power, standardised over the batch, shape (B, V, S, N, F)."""
        b, n, _ = spectrum.shape
        x = torch.log(self.energy(spectrum).clamp_min(0) + 1e-8).reshape(b * n, -1)
        x = self.scale(x).reshape(b, n, self.n_views, self.n_scales, self.n_filters)
        return x.permute(0, 2, 3, 1, 4)


class TemporalScales(nn.Module):
    """Temporal convolutions of several lengths on BOLD; mean and spread over time of what each lets through.

    Parameters
    ----------
    n_nodes : int
        N.
    lengths : sequence of int
        Volumes per kernel, odd, one entry per scale.
    n_filters : int
        Filters per scale; two features each.
    shared : bool, default=False
        All regions share the filters; otherwise each has its own, and only then can the mean over nodes tell them apart.
    """

    def __init__(self, n_nodes: int, lengths: Sequence[int], n_filters: int, shared: bool = False):
        super().__init__()
        self.lengths, self.shared = tuple(lengths), shared
        self.n_views, self.n_scales, self.out_features = 1, len(self.lengths), 2 * n_filters
        copies = 1 if shared else n_nodes
        self.filters = nn.ParameterList(
            [(2 * torch.rand(copies, n_filters, length) - 1) / math.sqrt(length) for length in self.lengths]
        )
        self.offsets = nn.Parameter(torch.zeros(self.n_scales, copies, n_filters))
        self.scale = nn.BatchNorm1d(self.n_scales * self.out_features)

    def forward(self, bold: torch.Tensor) -> torch.Tensor:
        """Filter windows of shape (B, N, T) into (B, 1, S, N, 2F)."""
        b, n, t = bold.shape
        most = max(self.lengths) // 2
        padded = nn.functional.pad(bold.transpose(0, 1), (most, most))  # (N, B, T + 2 most)
        found = []
        for kernels, offsets, length in zip(self.filters, self.offsets, self.lengths, strict=True):
            first = most - length // 2
            steps = torch.stack([padded[..., first + step : first + step + t] for step in range(length)], dim=1)
            kernels, offsets = kernels.expand(n, -1, -1), offsets.expand(n, -1)
            found.append(torch.cat(_Moments.apply(steps, kernels, offsets), dim=1))  # (N, 2F, B)
        x = torch.stack(found, dim=1).permute(3, 0, 1, 2).reshape(b * n, -1)  # (B N, S 2F)
        x = self.scale(x).reshape(b, n, self.n_scales, self.out_features)
        return x.permute(0, 2, 1, 3)[:, None]


class _Moments(torch.autograd.Function):
    """Filter a region's steps, rectify by ELU; mean and spread over time: (N, length, B, T) to two of (N, F, B).

    Windows are short and filters few, so that going forth and back through the operations one by one is mostly going through memory.
    """

    @staticmethod
    def forward(ctx, steps: torch.Tensor, kernels: torch.Tensor, offsets: torch.Tensor):
        *_, b, t = steps.shape
        y = torch.baddbmm(offsets[..., None], kernels, steps.flatten(2))  # (N, F, B T): one product per region
        y = nn.functional.elu(y).unflatten(2, (b, t))
        mean = y.mean(dim=3)
        centred = y - mean[..., None]
        variance = centred.square().mean(dim=3)
        spread = variance.clamp_min(1e-8).sqrt()
        ctx.save_for_backward(steps, kernels, y, centred, spread, variance > 1e-8)
        return mean, spread

    @staticmethod
    def backward(ctx, of_mean: torch.Tensor, of_spread: torch.Tensor):
        steps, kernels, y, centred, spread, varies = ctx.saved_tensors
        t = steps.shape[3]
        slope = centred * (of_spread * varies / (t * spread))[..., None] + (of_mean / t)[..., None]
        slope = (slope * (y.clamp_max(0) + 1)).flatten(2)  # (N, F, B T); the derivative of ELU from its value
        of_steps = None
        if ctx.needs_input_grad[0]:
            of_steps = (kernels.transpose(1, 2) @ slope).unflatten(2, steps.shape[2:])
        return of_steps, slope @ steps.flatten(2).transpose(1, 2), slope.sum(dim=2)


class ScaleAttention(nn.Module):
    """Weigh the scales of each window and view: α_s = softmax_s(v · tanh(W mean over nodes of h_s)).

    Parameters
    ----------
    features : int
        F.
    """

    def __init__(self, features: int):
        super().__init__()
        self.hidden = nn.Linear(features, features)
        self.score = nn.Linear(features, 1, bias=False)

    def forward(self, scales: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From (B, V, S, N, F): the weighted sum over scales (B, V, N, F), and the weights (B, V, S)."""
        weights = torch.softmax(self.score(torch.tanh(self.hidden(scales.mean(dim=3)))).squeeze(-1), dim=2)
        return (weights[..., None, None] * scales).sum(dim=2), weights


# --- phase one: the network that says which nodes speak for a class -----------------------------------------------------


@dataclass(frozen=True)
class GcnnConfig:
    """Configuration of the graph network.

    Attributes
    ----------
    order : int
        K of the Chebyshev expansion.
    features : int
        G, features per node after a graph convolution.
    n_layers : int
        Graph convolutions, one after the other.
    learned_graph : bool
        Train the adjacency, starting at the given one.
    laplacian : {"normalised", "combinatorial"}
        As eq. 1 names it, or as it prints it.
    eq7_scaling : {"as_meant", "as_printed"}
        Chebyshev polynomials of the scaled Laplacian, or of the unscaled one.
    eq10_terms : {"as_meant", "as_printed"}
        The sum ends at K, or at K − 1.
    dropout : float
        On node features before the dense layer, whole features at a time.
    """

    order: int = 3
    features: int = 8
    n_layers: int = 2
    learned_graph: bool = False
    laplacian: LaplacianKind = "normalised"
    eq7_scaling: Reading = "as_meant"
    eq10_terms: Reading = "as_meant"
    dropout: float = 0.1


class MultiScaleGCNN(nn.Module):
    """Classify windows of one modality by a graph network whose last step is a mean over nodes.

    Parameters
    ----------
    front : SpectralScales or TemporalScales
        Temporal filters.
    adjacency : torch.Tensor
        Shape (N, N).
    n_classes : int
        C.
    config : GcnnConfig
        Sizes and readings.
    """

    def __init__(self, front: nn.Module, adjacency: torch.Tensor, n_classes: int, config: GcnnConfig | None = None):
        super().__init__()
        self.config = config = config or GcnnConfig()
        self.front = front
        self.attention = ScaleAttention(front.out_features)
        self.n_terms = config.order + (config.eq10_terms == "as_meant")
        if self.n_terms < 1:
            raise ValueError(f"order {config.order} leaves no term in eq. 10 as printed: take at least 1")
        if config.learned_graph:
            self.adjacency = LearnableAdjacency(adjacency)
        else:
            self.register_buffer("fixed", adjacency)
            self.register_buffer("polynomials", self._polynomials(adjacency))
        sizes = [front.out_features] + [config.features] * config.n_layers
        self.layers = nn.ModuleList(
            [ChebyshevConvolution(a, b, self.n_terms, front.n_views) for a, b in pairwise(sizes)]
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(front.n_views * config.features, n_classes)

    def _polynomials(self, adjacency: torch.Tensor) -> torch.Tensor:
        return chebyshev_polynomials(self.scaled_laplacian(adjacency), self.n_terms)

    def scaled_laplacian(self, adjacency: torch.Tensor) -> torch.Tensor:
        """Return the matrix whose Chebyshev polynomials are taken, shape (N, N)."""
        matrix = laplacian(adjacency, self.config.laplacian)
        return matrix if self.config.eq7_scaling == "as_printed" else scaled(matrix)

    def graph(self) -> torch.Tensor:
        """Return the adjacency in use, shape (N, N)."""
        return self.adjacency() if self.config.learned_graph else self.fixed

    def nodes(self, x: torch.Tensor, polynomials: torch.Tensor | None = None) -> torch.Tensor:
        """Return node features after the last graph convolution, shape (B, V, N, G), none negative.

        ``x`` is what the front takes; other polynomials (K + 1, N, N) may stand in for those of the network's own graph.
        """
        h, _ = self.attention(self.front(x))  # (B, V, N, F)
        if polynomials is None:
            polynomials = self._polynomials(self.adjacency()) if self.config.learned_graph else self.polynomials
        for layer in self.layers:
            h = torch.relu(layer(h, polynomials))  # (B, V, N, G)
        return h

    def forward(self, x: torch.Tensor, polynomials: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits, shape (B, C): the mean over nodes, then one dense layer."""
        h = self.nodes(x, polynomials).mean(dim=2)  # global average pooling: (B, V, G)
        return self.classify(self.dropout(h.flatten(1)))

    def activation(self, nodes: torch.Tensor) -> torch.Tensor:
        """Class activation of every node: the dense weights of a class on the features of a node, shape (B, C, V, N).

        Its sum over views and mean over nodes, plus the bias, is the class's logit.
        """
        return class_activation(nodes, self.classify.weight)


def class_activation(nodes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    r"""Project dense weights back on nodes: :math:`M_c(v, i) = \sum_g w_{c,vg} h_{v,i,g}`.

    Parameters
    ----------
    nodes : torch.Tensor
        h, shape (B, V, N, G).
    weights : torch.Tensor
        Of the dense layer, shape (C, V · G).

    Returns
    -------
    torch.Tensor
        Shape (B, C, V, N).
    """
    of_view = weights.reshape(len(weights), nodes.shape[1], nodes.shape[3])
    return torch.einsum("bvng,cvg->bcvn", nodes, of_view)


# --- phase two: six views of the salient nodes --------------------------------------------------------------------------


def node_correlations(features: torch.Tensor) -> torch.Tensor:
    """Cosine similarity of every two nodes' features, eq. 11: (…, n, F) to (…, n, n); a node of zeros is like none."""
    unit = features / features.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    return unit @ unit.transpose(-1, -2)


class GraphAttention(nn.Module):
    """Multi-head graph attention on a small dense graph, eq. 14 to 16; equal to torch-geometric's ``GATConv`` as meant.

    Parameters
    ----------
    in_features, out_features : int
        Per node; the output is split over the heads.
    n_heads : int
        H, divides ``out_features``.
    eq14 : {"as_meant", "as_printed"}
        Leaky ReLU and one softmax, as in the network that is cited; or exp(ReLU(·)) put through the softmax of eq. 15.
    """

    def __init__(self, in_features: int, out_features: int, n_heads: int, eq14: Reading = "as_meant"):
        super().__init__()
        if out_features % n_heads:
            raise ValueError(f"{out_features} features cannot be split over {n_heads} heads")
        self.n_heads, self.eq14 = n_heads, eq14
        self.project = nn.Linear(in_features, out_features, bias=False)  # W
        per_head = out_features // n_heads
        self.to_source = nn.Parameter(torch.empty(n_heads, per_head))  # the half of a that meets node j
        self.to_target = nn.Parameter(torch.empty(n_heads, per_head))  # the half that meets node i
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.xavier_uniform_(self.to_source)
        nn.init.xavier_uniform_(self.to_target)

    def coefficients(self, projected: torch.Tensor, edges: torch.Tensor | None = None) -> torch.Tensor:
        """Attention α_ij of node i to node j, shape (…, H, n, n), from projected features (…, n, H, F')."""
        target = (projected * self.to_target).sum(dim=-1).transpose(-1, -2)  # (…, H, n)
        source = (projected * self.to_source).sum(dim=-1).transpose(-1, -2)
        score = target[..., :, None] + source[..., None, :]  # aᵀ [W f_i ‖ W f_j]
        meant = self.eq14 == "as_meant"
        # eq. 14 as printed: exp once here, and once more in the softmax of eq. 15
        score = nn.functional.leaky_relu(score, 0.2) if meant else torch.exp(torch.relu(score).clamp_max(30.0))
        if edges is not None:
            score = score.masked_fill(~edges, float("-inf"))
        return torch.softmax(score, dim=-1)  # eq. 15

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend.

        Parameters
        ----------
        nodes : torch.Tensor
            Shape (…, n, F).
        edges : torch.Tensor or None
            Boolean, shape (n, n): node i may look at node j. None: at all, itself included.

        Returns
        -------
        nodes : torch.Tensor
            Shape (…, n, out_features), before any non-linearity.
        coefficients : torch.Tensor
            Shape (…, H, n, n), rows sum to 1.
        """
        projected = self.project(nodes).unflatten(-1, (self.n_heads, -1))  # (…, n, H, F')
        alpha = self.coefficients(projected, edges)
        mixed = alpha @ projected.transpose(-2, -3)  # (…, H, n, F')
        return mixed.transpose(-2, -3).flatten(-2) + self.bias, alpha


class GeometricAttention(nn.Module):
    """The same layer by torch-geometric's message passing, for graphs with few edges; as meant only.

    Parameters
    ----------
    in_features, out_features, n_heads : int
        As for `GraphAttention`.
    """

    def __init__(self, in_features: int, out_features: int, n_heads: int):
        super().__init__()
        from torch_geometric.nn import GATConv

        self.layer = GATConv(in_features, out_features // n_heads, n_heads, add_self_loops=False)

    def copy_of(self, dense: GraphAttention) -> "GeometricAttention":
        """Take over a dense layer's weights; return itself."""
        with torch.no_grad():
            self.layer.lin.weight.copy_(dense.project.weight)
            self.layer.att_src.copy_(dense.to_source[None])
            self.layer.att_dst.copy_(dense.to_target[None])
            self.layer.bias.copy_(dense.bias)
        return self

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend, as `GraphAttention.forward` does."""
        lead, (n, f) = nodes.shape[:-2], nodes.shape[-2:]
        flat = nodes.reshape(-1, n, f)
        edges = torch.ones(n, n, dtype=torch.bool, device=nodes.device) if edges is None else edges
        target, source = edges.nonzero(as_tuple=True)
        number = torch.arange(len(flat), device=nodes.device)
        offset = n * number[:, None]
        index = torch.stack([(source + offset).flatten(), (target + offset).flatten()])
        out, (_, alpha) = self.layer(flat.reshape(-1, f), index, return_attention_weights=True)
        dense = alpha.new_zeros(len(flat), n, n, alpha.shape[1])
        dense[number.repeat_interleave(len(source)), target.repeat(len(flat)), source.repeat(len(flat))] = alpha
        return out.reshape(*lead, n, -1), dense.permute(0, 3, 1, 2).reshape(*lead, -1, n, n)


class ViewEncoder(nn.Module):
    """Two consecutive multi-head graph-attention layers on one view.

    Parameters
    ----------
    in_features, embedding, n_heads : int
        F, d, H.
    eq14 : {"as_meant", "as_printed"}
        See `GraphAttention`.
    layers : {"dense", "torch_geometric"}
        Which implementation; they agree.
    """

    def __init__(
        self,
        in_features: int,
        embedding: int,
        n_heads: int,
        eq14: Reading = "as_meant",
        layers: Literal["dense", "torch_geometric"] = "dense",
    ):
        super().__init__()
        if layers == "torch_geometric":
            if eq14 != "as_meant":
                raise ValueError(
                    "torch-geometric's layer is the one that is cited: eq. 14 as printed needs dense layers"
                )
            made = [GeometricAttention(size, embedding, n_heads) for size in (in_features, embedding)]
        else:
            made = [GraphAttention(size, embedding, n_heads, eq14) for size in (in_features, embedding)]
        self.layers = nn.ModuleList(made)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """From (B, n, F): embeddings Ɛ (B, n, d), and the second layer's attention, mean over heads, (B, n, n)."""
        first, second = self.layers
        hidden, _ = first(nodes, edges)
        out, alpha = second(nn.functional.elu(hidden), edges)  # σ of eq. 16, as in the network that is cited
        return out, alpha.mean(dim=-3)


class CrossViewAttention(nn.Module):
    """Attention across views, eq. 17 to 19.

    Parameters
    ----------
    embedding : int
        d.
    n_heads : int
        H, divides d; eq. 18 as printed has one.
    n_nodes : int
        n: as printed, the values must have this width, or the product of eq. 19 does not exist.
    eq18 : {"as_meant", "as_printed"}
        A node's query meets the nodes of all views, or those of its own view only.
    eq19 : {"as_meant", "as_printed"}
        What is attended *is* the new representation; or it is multiplied by the embedding it already holds and summed over
        views, which gives all of them the same.
    """

    def __init__(
        self, embedding: int, n_heads: int, n_nodes: int, eq18: Reading = "as_meant", eq19: Reading = "as_meant"
    ):
        super().__init__()
        if embedding % n_heads:
            raise ValueError(f"an embedding of {embedding} cannot be split over {n_heads} heads")
        self.n_heads, self.eq18, self.eq19 = n_heads, eq18, eq19
        value = embedding if eq19 == "as_meant" else n_nodes * n_heads
        self.key = nn.Linear(embedding, embedding, bias=False)
        self.query = nn.Linear(embedding, embedding, bias=False)
        self.value = nn.Linear(embedding, value, bias=False)

    def forward(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend.

        Parameters
        ----------
        views : torch.Tensor
            Ɛ, shape (B, M, n, d).

        Returns
        -------
        new : torch.Tensor
            ἑ, shape (B, M, n, d).
        shares : torch.Tensor
            Shape (B, M, M): how much of its attention view i gives to view j; rows sum to 1.
        """
        b, m, n, d = views.shape

        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (self.n_heads, -1)).permute(0, 3, 1, 2, 4)  # (B, H, M, n, ·)

        query, key, value = heads(self.query(views)), heads(self.key(views)), heads(self.value(views))  # eq. 17
        if self.eq18 == "as_meant":
            key, value = (x.flatten(2, 3)[:, :, None] for x in (key, value))  # (B, H, 1, M n, ·): all views' nodes
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        attended = weights @ value  # eq. 18: (B, H, M, n, ·)
        if self.eq18 == "as_meant":
            shares = weights.reshape(b, self.n_heads, m, n, m, n).sum(dim=-1).mean(dim=(1, 3))
        else:
            shares = torch.eye(m, dtype=views.dtype, device=views.device).expand(b, m, m)
        if self.eq19 == "as_meant":
            return attended.permute(0, 2, 3, 1, 4).flatten(-2), shares
        products = attended.mean(dim=1) @ views  # A_i Ɛ_i: (B, M, n, n) times (B, M, n, d)
        return products.sum(dim=1, keepdim=True).expand(b, m, n, d), shares


class AdaptiveFusion(nn.Module):
    """Weights of views from their embeddings, and what is learned from, eq. 20 to 22.

    Parameters
    ----------
    embedding : int
        d.
    n_views : int
        M.
    rho : float
        Share of what was attended in eq. 20, between 0 and 1.
    eq21 : {"as_meant", "as_printed"}
        Each view counts once; or the view itself a second time.
    eq22 : {"as_meant", "as_printed"}
        Average with eq. 20's output; or with eq. 19's, whereby ρ has no effect.
    """

    def __init__(
        self, embedding: int, n_views: int, rho: float, eq21: Reading = "as_meant", eq22: Reading = "as_meant"
    ):
        super().__init__()
        if not 0 < rho < 1:
            raise ValueError(f"rho lies between 0 and 1, not at {rho}")
        self.rho, self.eq21, self.eq22 = rho, eq21, eq22
        self.weight = nn.Parameter(torch.zeros(n_views, embedding))
        self.bias = nn.Parameter(torch.zeros(n_views))

    def weights(self, views: torch.Tensor) -> torch.Tensor:
        """ω of shape (B, M), summing to 1: one linear layer per view on its mean node, then a softmax over views."""
        return torch.softmax((views.mean(dim=2) * self.weight).sum(dim=-1) + self.bias, dim=-1)

    def forward(self, views: torch.Tensor, attended: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From Ɛ and ἑ, each (B, M, n, d): what is learned from, (B, M, n, d), and ω, (B, M)."""
        mixed = self.rho * attended + (1 - self.rho) * views  # eq. 20
        weights = self.weights(views)
        weighted = weights[:, :, None, None] * views
        fused = weighted.sum(dim=1, keepdim=True)  # eq. 21: (B, 1, n, d)
        if self.eq21 == "as_printed":
            fused = weighted + fused
        return (fused + (mixed if self.eq22 == "as_meant" else attended)) / 2, weights  # eq. 22


@dataclass(frozen=True)
class FusionConfig:
    """Configuration of the fusion.

    Attributes
    ----------
    kind : {"fused", "single", "concatenated"}
        The method; each view's attention layers alone; or one pair of attention layers on the concatenated features of
        all views, and a linear map from its embedding to each view's.
    embedding : int
        d.
    n_heads : int
        H of both kinds of attention.
    rho : float
        Of eq. 20.
    eq14, eq18, eq19, eq21, eq22 : {"as_meant", "as_printed"}
        Readings of these equations.
    layers : {"dense", "torch_geometric"}
        Implementation of graph attention.
    """

    kind: Literal["fused", "single", "concatenated"] = "fused"
    embedding: int = 16
    n_heads: int = 2
    rho: float = 0.5
    eq14: Reading = "as_meant"
    eq18: Reading = "as_meant"
    eq19: Reading = "as_meant"
    eq21: Reading = "as_meant"
    eq22: Reading = "as_meant"
    layers: Literal["dense", "torch_geometric"] = "dense"


class MultiViewFusion(nn.Module):
    """Embed the same n nodes seen from M views, so that inner products give back each view's correlations.

    Parameters
    ----------
    n_views, n_nodes, in_features : int
        M, n, F.
    config : FusionConfig
        Sizes and readings.
    """

    def __init__(self, n_views: int, n_nodes: int, in_features: int, config: FusionConfig | None = None):
        super().__init__()
        self.config = config = config or FusionConfig()
        d, heads = config.embedding, config.n_heads
        if config.kind == "concatenated":
            self.encoders = nn.ModuleList([ViewEncoder(n_views * in_features, d, heads, config.eq14, config.layers)])
            self.heads = nn.ModuleList([nn.Linear(d, d) for _ in range(n_views)])
            return
        self.encoders = nn.ModuleList(
            [ViewEncoder(in_features, d, heads, config.eq14, config.layers) for _ in range(n_views)]
        )
        if config.kind == "fused":
            self.cross = CrossViewAttention(d, heads, n_nodes, config.eq18, config.eq19)
            self.fusion = AdaptiveFusion(d, n_views, config.rho, config.eq21, config.eq22)
        elif config.kind != "single":
            raise ValueError(f"views are 'fused', 'single' or 'concatenated', not {config.kind!r}")

    def embed(self, features: torch.Tensor, edges: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Return ``embedding`` (B, M, n, d) and, by kind, ``graph_attention`` (B, M, n, n), ``shares`` (B, M, M), ``weights`` (B, M).

        Parameters
        ----------
        features : torch.Tensor
            Shape (B, M, n, F).
        edges : torch.Tensor or None
            Boolean, shape (n, n); None: every node may look at every node.
        """
        if self.config.kind == "concatenated":
            joined, alpha = self.encoders[0](features.transpose(1, 2).flatten(2), edges)  # (B, n, d)
            return {
                "embedding": torch.stack([head(joined) for head in self.heads], dim=1),
                "graph_attention": alpha[:, None],
            }
        made = [encode(features[:, i], edges) for i, encode in enumerate(self.encoders)]
        views, alpha = (torch.stack(parts, dim=1) for parts in zip(*made, strict=True))  # Ɛ: (B, M, n, d)
        if self.config.kind == "single":
            return {"embedding": views, "graph_attention": alpha}
        attended, shares = self.cross(views)
        out, weights = self.fusion(views, attended)
        return {"embedding": out, "graph_attention": alpha, "shares": shares, "weights": weights}

    def forward(self, features: torch.Tensor, edges: torch.Tensor | None = None) -> torch.Tensor:
        """Return reconstructed correlations, e_iᵀ e_j, shape (B, M, n, n)."""
        embedding = self.embed(features, edges)["embedding"]
        return embedding @ embedding.transpose(-1, -2)


def reconstruction_loss(predicted: torch.Tensor, correlations: torch.Tensor) -> torch.Tensor:
    """Eq. 23 per view and eq. 24 over views: summed squared error over pairs of nodes, mean over windows.

    Parameters
    ----------
    predicted, correlations : torch.Tensor
        Shape (B, M, n, n).

    Returns
    -------
    torch.Tensor
        A scalar.
    """
    return (correlations - predicted).square().sum(dim=(1, 2, 3)).mean()


class EndToEnd(nn.Module):
    """Both graph networks and the fusion as one network: it classifies and reconstructs, and gradients reach everything.

    Parameters
    ----------
    eeg, bold : MultiScaleGCNN
        On the same nodes; EEG gives five views, BOLD one.
    fusion : MultiViewFusion
        Of six views.
    nodes : torch.Tensor
        Indices of the salient nodes, shape (n,).
    edges : torch.Tensor or None
        Boolean, shape (n, n): which of them may look at which.
    """

    def __init__(
        self,
        eeg: MultiScaleGCNN,
        bold: MultiScaleGCNN,
        fusion: MultiViewFusion,
        nodes: torch.Tensor,
        edges: torch.Tensor | None = None,
    ):
        super().__init__()
        self.eeg, self.bold, self.fusion = eeg, bold, fusion
        self.register_buffer("chosen", nodes)
        self.register_buffer("edges", edges)

    def forward(self, spectrum: torch.Tensor, bold: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return logits of both networks (``eeg``, ``bold``), the views' ``correlations`` and what was ``reconstructed``."""
        of_eeg, of_bold = self.eeg.nodes(spectrum), self.bold.nodes(bold)
        features = torch.cat([of_eeg, of_bold], dim=1)[:, :, self.chosen]  # (B, 6, n, G)
        features = features - features.mean(dim=2, keepdim=True)
        return {
            "eeg": self.eeg.classify(of_eeg.mean(dim=2).flatten(1)),
            "bold": self.bold.classify(of_bold.mean(dim=2).flatten(1)),
            "correlations": node_correlations(features),
            "reconstructed": self.fusion(features, self.edges),
        }


def end_to_end_loss(
    found: dict[str, torch.Tensor], y: torch.Tensor, share: float = 1.0, detached: bool = True
) -> torch.Tensor:
    """Cross-entropy of both modalities plus a share of eq. 24 (per pair of nodes).

    Parameters
    ----------
    found : dict of str to torch.Tensor
        From `EndToEnd`.
    y : torch.Tensor
        Classes, shape (B,).
    share : float, default=1.0
        Weight of the reconstruction.
    detached : bool, default=True
        Hold the correlations that are to be reconstructed fixed. Otherwise the networks may make them easy: nodes that are
        all alike, or all unlike, are reconstructed without error.

    Returns
    -------
    torch.Tensor
        A scalar.
    """
    target = found["correlations"].detach() if detached else found["correlations"]
    pairs = target.shape[-1] ** 2
    crossed = sum(nn.functional.cross_entropy(found[name], y) for name in ("eeg", "bold"))
    return crossed + share * reconstruction_loss(found["reconstructed"], target) / pairs
