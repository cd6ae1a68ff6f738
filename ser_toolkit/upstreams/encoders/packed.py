"""Utterances behind one another in place of padded side by side: no frame is computed that does not exist.

Linear layers and norms treat every frame alike, so that a batch may be one long row, (1, sum of T, D); only attention
has to know where an utterance ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Packed:
    """Stands where an attention mask would: the frames of each utterance of a packed batch."""

    counts: tuple[int, ...]

    def pack(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (1, sum of T, D)."""
        return torch.cat([row[:count] for row, count in zip(hidden, self.counts, strict=True)])[None]

    def split(self, *heads: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Tensors (1, H, sum of T, D), cut for each utterance."""
        return zip(*(part.split(self.counts, dim=2) for part in heads), strict=True)

    def unpack(self, states: Sequence[Tensor], frames: int, kept: Tensor | None = None) -> Tensor:
        """L states (1, sum of T, D) -> (B, L, T, D): the first ``kept`` (B,) frames of each, or all, then zeros."""
        out = states[0].new_zeros(len(self.counts), len(states), frames, states[0].shape[-1])
        pieces = zip(*(state[0].split(self.counts) for state in states), strict=True)
        for row, count, piece in zip(out, self.counts if kept is None else kept.tolist(), pieces, strict=True):
            row[:, :count] = torch.stack([state[:count] for state in piece])
        return out


class SelfAttention(nn.Module):
    """Self-attention on the projections of an existing module, for padded and for packed batches.

    Parameter names are those of the module it replaces, so that state dicts fit both ways.

    Args:
        source: a transformers attention module, whose submodules are taken over.
    """

    # Taken over from the source; any of them may be wrapped by an adapter.
    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    out_proj: nn.Module

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.num_heads: int = source.num_heads  # type: ignore[assignment]
        self.dropout: float = source.dropout  # type: ignore[assignment]
        for name, module in source.named_children():
            self.add_module(name, module)
        self.train(source.training)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | Packed | None = None, **ignored: object
    ) -> tuple[Tensor, None]:
        """Attend: (B, T, D), mask of ``scaled_dot_product_attention`` or None -> (B, T, D), None.

        The signature is that of the module it replaces; the other arguments have no meaning here.
        """
        query, key, value = self._projected(hidden_states)
        if not isinstance(attention_mask, Packed):
            return self._output(self._attend(query, key, value, attention_mask)), None
        mixed = [self._attend(q, k, v, None) for q, k, v in attention_mask.split(query, key, value)]
        return self._output(torch.cat(mixed, dim=2)), None

    def _projected(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = (self._heads(project(hidden)) for project in (self.q_proj, self.k_proj, self.v_proj))
        return query, key, value

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        learns = torch.is_grad_enabled() and (dropout > 0 or (mask is not None and mask.requires_grad))
        if learns and query.device.type == "cpu":
            return _spelled_out(query, key, value, mask, dropout)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)

    def _output(self, mixed: Tensor) -> Tensor:
        """(B, H, T, D / H) -> (B, T, D)."""
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, values: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, D / H)."""
        return values.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _spelled_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Attention step by step, as ``scaled_dot_product_attention`` computes it.

    On a CPU that function has no fused kernel for dropout or for a mask that learns, and its fallback computes
    in float32 even under autocast.
    """
    left, right = query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2)
    scale = query.shape[-1] ** -0.5
    if mask is not None and mask.is_floating_point():
        scores = torch.baddbmm(mask.expand(*query.shape[:3], -1).flatten(0, 1), left, right, alpha=scale)
    else:
        scores = torch.bmm(left * scale, right)
        if mask is not None:
            scores = scores.unflatten(0, query.shape[:2]).masked_fill(~mask, -torch.inf).flatten(0, 1)
    weights = F.dropout(scores.softmax(-1), dropout)
    return torch.bmm(weights.to(value.dtype), value.flatten(0, 1)).unflatten(0, query.shape[:2])
