"""Graph convolution, dense and batched: the graphs here are small, so a matrix product beats message passing on a CPU.

Sources: Kipf & Welling 2017 for the layer; torch-geometric's ``GCNConv`` is the reference it is tested against.
"""

import torch
from torch import nn


def normalise(adjacency: torch.Tensor, self_loops: bool = True) -> torch.Tensor:
    """Add self-loops and normalise symmetrically; degrees are sums of absolute weights, so signs may stay.

    Parameters
    ----------
    adjacency : torch.Tensor
        Symmetric, shape (n_nodes, n_nodes).
    self_loops : bool, default=True
        Add them; a Laplacian is made without.

    Returns
    -------
    torch.Tensor
        D^{-1/2} (A + I) D^{-1/2}, or D^{-1/2} A D^{-1/2}, shape (n_nodes, n_nodes): eigenvalues in [−1, 1]. A node without edges has a
        row of zeros, and no gradient.
    """
    looped = adjacency
    if self_loops:
        looped = adjacency + torch.eye(len(adjacency), dtype=adjacency.dtype, device=adjacency.device)
    degree = looped.abs().sum(dim=1)
    scale = torch.where(degree > 1e-12, degree.clamp_min(1e-12).rsqrt(), torch.zeros_like(degree))
    return scale[:, None] * looped * scale[None, :]


class GraphConvolution(nn.Module):
    """H' = Â H W + b: mix features by W, then nodes by the normalised adjacency Â.

    Parameters
    ----------
    in_features, out_features : int
        Features per node before and after.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, nodes: torch.Tensor, normalised: torch.Tensor) -> torch.Tensor:
        """Convolve nodes of shape (..., n_nodes, in_features) with Â of shape (n_nodes, n_nodes)."""
        return normalised @ (nodes @ self.weight) + self.bias  # (..., n_nodes, out_features)


class HybridAdjacency(nn.Module):
    """A graph that is partly given and partly learned: A = α A_fixed + (1 − α) tanh((P + Pᵀ) / 2), diagonal 0.

    Parameters
    ----------
    fixed : torch.Tensor
        The given graph, shape (n_nodes, n_nodes).
    kind : {"hybrid", "fixed", "learned"}
        Use both, or one of them alone.
    seed_scale : float, default=0.01
        Standard deviation of the learnable matrix P at the start: close to the given graph.
    """

    def __init__(self, fixed: torch.Tensor, kind: str = "hybrid", seed_scale: float = 0.01):
        super().__init__()
        if kind not in ("hybrid", "fixed", "learned"):
            raise ValueError(f"an adjacency is 'hybrid', 'fixed' or 'learned', not {kind!r}")
        self.kind = kind
        self.register_buffer("fixed", fixed)
        self.register_buffer("off_diagonal", 1 - torch.eye(len(fixed), dtype=fixed.dtype, device=fixed.device))
        if kind != "fixed":
            self.free = nn.Parameter(seed_scale * torch.randn_like(fixed))  # P
        if kind == "hybrid":
            self.mix = nn.Parameter(torch.zeros((), dtype=fixed.dtype))  # α = sigmoid(mix), one half at the start

    def forward(self) -> torch.Tensor:
        """Return the adjacency, shape (n_nodes, n_nodes), symmetric."""
        if self.kind == "fixed":
            return self.fixed
        learned = torch.tanh((self.free + self.free.T) / 2) * self.off_diagonal
        if self.kind == "learned":
            return learned
        share = torch.sigmoid(self.mix)
        return share * self.fixed + (1 - share) * learned
