"""Attention and positions, against torch and against the equations as they are written."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from eegfmri.models.attention import Attention, sinusoids


def test_sinusoids_are_the_written_equation():
    encoding = sinusoids(torch.arange(9), 6)
    for k in range(9):
        for i in range(3):
            assert encoding[k, 2 * i] == pytest.approx(np.sin(k / 1e4 ** (2 * i / 6)), abs=1e-6)
            assert encoding[k, 2 * i + 1] == pytest.approx(np.cos(k / 1e4 ** (2 * i / 6)), abs=1e-6)
    assert sinusoids(torch.arange(4), 5).shape == (4, 5)


def test_attention_is_torch_s_own():
    torch.manual_seed(0)
    ours, theirs = Attention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, memory = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    torch.testing.assert_close(ours(x, *ours.keys_values(memory)), theirs(x, memory, memory)[0])
    barred = nn.Transformer.generate_square_subsequent_mask(5)
    torch.testing.assert_close(ours(x, *ours.keys_values(x), causal=True), theirs(x, x, x, attn_mask=barred)[0])
    with pytest.raises(ValueError, match="cannot be shared by 3 heads"):
        Attention(8, 3)


def test_attention_is_the_written_equation():
    torch.manual_seed(2)
    attend = Attention(8, 2)
    x, source = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 0, 1], [1, 0, 0, 0, 0]], dtype=torch.bool)
    q = attend.query(x)[0]
    k, v = attend.key_value(source)[0].chunk(2, dim=-1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = (q[:, part] @ k[:, part].T / math.sqrt(4)).masked_fill(~mask, -math.inf)
        heads.append(scores.softmax(dim=-1) @ v[:, part])
    torch.testing.assert_close(attend(x, *attend.keys_values(source), mask)[0], attend.out(torch.cat(heads, dim=-1)))
