"""WavLM's attention through ``scaled_dot_product_attention``.

transformers hands the raw weights to ``multi_head_attention_forward``: slow in reduced precision, and blind to an
adapter wrapped around the query or value projection. Here every projection is called as a module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ser_toolkit.upstreams.encoders.packed import Packed, SelfAttention


class GatedRelativeAttention(SelfAttention):
    """Self-attention with WavLM's gated relative position bias, on the parameters of an existing attention module.

    Source: Chen et al., "WavLM", IEEE JSTSP 2022, section III.A, eq. 3-7.

    Args:
        source: a ``WavLMAttention``, whose submodules are taken over.
    """

    gru_rel_pos_linear: nn.Module
    rel_attn_embed: nn.Embedding

    def __init__(self, source: nn.Module) -> None:
        super().__init__(source)
        self.num_buckets: int = source.num_buckets  # type: ignore[assignment]
        self.max_distance: int = source.max_distance  # type: ignore[assignment]
        self.gru_rel_pos_const = source.gru_rel_pos_const

    def forward(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | Packed | None = None,
        position_bias: Tensor | None = None,
        index: int = 0,
        **ignored: object,
    ) -> tuple[Tensor, None, Tensor]:
        """Attend: (B, T, D), valid frames (B, T) or None, bias (1, H, T, T) or None -> (B, T, D), None, bias.

        The bias may be for more frames than there are. The signature is that of the module it replaces, which its layer
        calls; the other arguments have no meaning here.
        """
        if position_bias is None:
            position_bias = self.position_bias(hidden_states.shape[1])
        query, key, value = self._projected(hidden_states)
        gate = self._gate(self._heads(hidden_states))
        if isinstance(attention_mask, Packed):
            pieces = attention_mask.split(query, key, value, gate)
            mixed = torch.cat([self._gated(q, k, v, g, position_bias, None) for q, k, v, g in pieces], dim=2)
        else:
            mixed = self._gated(query, key, value, gate, position_bias, attention_mask)
        return self._output(mixed), None, position_bias

    def _gated(
        self, query: Tensor, key: Tensor, value: Tensor, gate: Tensor, position_bias: Tensor, valid: Tensor | None
    ) -> Tensor:
        """Attention with the bias of each query weighed by its gate, to valid frames only."""
        frames = query.shape[2]
        bias = gate * position_bias[..., :frames, :frames]
        if valid is not None:
            bias = bias.masked_fill_(~valid.bool()[:, None, None, :], -math.inf)
        return self._attend(query, key, value, bias.to(query.dtype))

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
