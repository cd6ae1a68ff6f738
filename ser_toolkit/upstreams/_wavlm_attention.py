"""WavLM's attention through ``scaled_dot_product_attention``.

transformers hands the raw weights to ``multi_head_attention_forward``: slow in reduced precision, and blind to an
adapter wrapped around the query or value projection. Here every projection is called as a module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GatedRelativeAttention(nn.Module):
    """Self-attention with WavLM's gated relative position bias, on the parameters of an existing attention module.

    Parameter names are those of the module it replaces, so that state dicts fit both ways.

    Source: Chen et al., "WavLM", IEEE JSTSP 2022, section III.A, eq. 3-7.

    Args:
        source: a ``WavLMAttention``, whose submodules are taken over.
    """

    # Taken over from the source; any of the projections may be wrapped by an adapter.
    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    out_proj: nn.Module
    gru_rel_pos_linear: nn.Module
    rel_attn_embed: nn.Embedding

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.num_heads: int = source.num_heads  # type: ignore[assignment]
        self.dropout: float = source.dropout  # type: ignore[assignment]
        self.num_buckets: int = source.num_buckets  # type: ignore[assignment]
        self.max_distance: int = source.max_distance  # type: ignore[assignment]
        for name, module in source.named_children():
            self.add_module(name, module)
        self.gru_rel_pos_const = source.gru_rel_pos_const

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        index: int = 0,
        **ignored: object,
    ) -> tuple[Tensor, None, Tensor]:
        """Attend: (B, T, D), valid frames (B, T) or None, bias (1, H, T, T) or None -> (B, T, D), None, bias.

        The signature is that of the module it replaces, which its layer calls; the other arguments have no meaning
        here.
        """
        if position_bias is None:
            position_bias = self.position_bias(hidden_states.shape[1])
        query, key, value = (self._heads(project(hidden_states)) for project in (self.q_proj, self.k_proj, self.v_proj))
        bias = self._gate(self._heads(hidden_states)) * position_bias
        if attention_mask is not None:
            bias = bias.masked_fill_(~attention_mask.bool()[:, None, None, :], -math.inf)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype), dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None, position_bias

    def position_bias(self, frames: int) -> Tensor:
        """Bias of every pair of frames before gating: (1, H, T, T). Only the first layer holds the embedding."""
        position = torch.arange(frames, device=self.rel_attn_embed.weight.device)
        bucket = self._bucket(position[None, :] - position[:, None])
        return self.rel_attn_embed(bucket).permute(2, 0, 1)[None]

    def _bucket(self, offset: Tensor) -> Tensor:
        """Key minus query position -> bucket: one half for the future; exact when near, logarithmic when far."""
        half = self.num_buckets // 2
        exact = half // 2
        distance = offset.abs()
        growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact)
        far = (exact + growth * (half - exact)).long().clamp(max=half - 1)
        return torch.where(distance < exact, distance, far) + half * (offset > 0)

    def _gate(self, heads: Tensor) -> Tensor:
        """How strongly a frame heeds positions: (B, H, T, D / H) -> (B, H, T, 1)."""
        update, reset = self.gru_rel_pos_linear(heads).unflatten(-1, (2, 4)).sum(-1).sigmoid().split(1, dim=-1)
        return update * (reset * self.gru_rel_pos_const - 1.0) + 2.0

    def _heads(self, values: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, D / H)."""
        return values.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
