"""Attention, and positions as waves: what both transformers of this book are made of :cite:p:`vaswani2017`.

Shapes: B windows, L tokens, S tokens that are attended to, D width, H heads, d = D / H.
"""

import math

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """Attention(Q, K, V) = softmax(Q Kᵀ / √d) V in H heads, side by side.

    Keys and values are made apart from the queries, so that they can be kept.

    Parameters
    ----------
    width, n_heads : int
        D and H.
    """

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        if width % n_heads:
            raise ValueError(f"a width of {width} cannot be shared by {n_heads} heads")
        self.n_heads = n_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Make keys and values of what is attended to: (B, S, D) to two of (B, H, S, d)."""
        keys, values = self.key_value(source).chunk(2, dim=-1)
        return self._heads(keys), self._heads(values)

    def forward(
        self,
        tokens: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor | None = None,
        causal: bool = False,
    ) -> torch.Tensor:
        """Let tokens (B, L, D) attend; ``mask`` (L, S) is True where one may look, ``causal``: token l at the first l only."""
        queries = self._heads(self.query(tokens))
        x = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal)
        return self.out(x.transpose(1, 2).flatten(2))  # (B, L, D)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        b, n, width = x.shape
        return x.reshape(b, n, self.n_heads, width // self.n_heads).transpose(1, 2)  # (B, H, L, d)


def sinusoids(positions: torch.Tensor, width: int) -> torch.Tensor:
    """Encode positions as waves of wavelengths from 2π to 20 000 π.

    Parameters
    ----------
    positions : torch.Tensor
        Numbers, any shape (…,).
    width : int
        D.

    Returns
    -------
    torch.Tensor
        PE(p, 2i) = sin(p / 10000^(2i / D)), PE(p, 2i + 1) = cos of the same; shape (…, D), float32.
    """
    # Apple's accelerators know no double precision.
    exact = torch.float32 if positions.device.type == "mps" else torch.float64
    frequency = torch.exp(torch.arange(0, width, 2, dtype=exact, device=positions.device) * (-math.log(1e4) / width))
    angle = positions.to(exact).unsqueeze(-1) * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[..., :width].float()
