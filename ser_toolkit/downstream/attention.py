"""Poolings under learnt weights: one a frame, one a head, one a channel, or from learnt queries.

``AttentivePooling`` and ``AttentiveStatisticsPooling``, which weigh frames by a small tanh network, are in ``pooling``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_toolkit.downstream.frames import MaskedBatchNorm2d
from ser_toolkit.downstream.pooling import Pooling, masked_frames, weighted_moments
from ser_toolkit.errors import RecipeError


def _over_time(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the valid frames, in float32 at least: (B, T, ...), mask of as many axes -> the same shape."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=1)


def _check_heads(part: str, input_dim: int, num_heads: int) -> None:
    if num_heads < 1 or input_dim % num_heads:
        raise RecipeError(
            f"{part}: num_heads must divide the features of a frame into equal parts, found num_heads={num_heads} and "
            f"{input_dim} features. Choose a divisor of {input_dim}."
        )


class SelfAttentivePooling(Pooling):
    """Mean over time under learnt weights, each from one linear score of its frame.

    Weights are softmax over time of w . x, or of w . f(W x + b) with ``hidden`` f. The published offset of the score
    is left out: the softmax does not see it. s3prl's ``SelfAttentionPooling`` is this with "none" and its
    ``AttentivePooling`` this with "relu", each for an utterance alone. In a batch they differ: ``AttentivePooling``
    means to mask by adding 1 to the scores of valid frames, so that padding keeps weight; here it has none.

    Source: Safari et al. 2020, "Self-attention encoding and pooling for speaker recognition", the pooling layer.

    Args:
        input_dim: D, injected.
        hidden: "none" scores the frame itself; "relu" and "tanh" score a hidden layer of D units.

    Raises:
        RecipeError: ``hidden`` is something else.
    """

    def __init__(self, input_dim: int, hidden: Literal["none", "relu", "tanh"] = "none") -> None:
        super().__init__(input_dim)
        if hidden not in ("none", "relu", "tanh"):
            raise RecipeError(f"SelfAttentivePooling: hidden must be 'none', 'relu' or 'tanh', found {hidden!r}.")
        self.hidden = hidden
        self.layer = None if hidden == "none" else nn.Linear(input_dim, input_dim)
        self.score = nn.Linear(input_dim, 1, bias=False)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, D)."""
        values, mask = masked_frames(frames, lengths)
        scored = values.to(frames.dtype)
        if self.layer is not None:
            scored = self.layer(scored)
            scored = scored.relu() if self.hidden == "relu" else scored.tanh()
        return (_over_time(self.score(scored), mask) * values).sum(dim=1).to(frames.dtype)


class MultiHeadAttentivePooling(Pooling):
    """Features are split into heads, and each head has its own mean over time under learnt weights.

    Head j sees its D / num_heads features x_j only: its weights are softmax over time of u_j . x_j / sqrt(D /
    num_heads), with a learnt query u_j. (The square root only sets where training starts.) This is the published
    split; in other work every head sees the whole frame.

    Source: India et al. 2019, "Self multi-head attention for speaker recognition", the attention layer.

    Args:
        input_dim: D, injected.
        num_heads: heads; must divide D.
        statistics: also the standard deviation sqrt(variance + eps) under the same weights (E = 2 * D, means first).
        eps: added to the variance, in squared units of the features.

    Raises:
        RecipeError: ``num_heads`` does not divide D.
    """

    def __init__(self, input_dim: int, num_heads: int = 2, statistics: bool = False, eps: float = 1e-6) -> None:
        super().__init__(input_dim)
        _check_heads("MultiHeadAttentivePooling", input_dim, num_heads)
        self.output_dim = 2 * input_dim if statistics else input_dim
        self.statistics = statistics
        self.eps = eps
        self.queries = nn.Parameter(torch.empty(num_heads, input_dim // num_heads))
        nn.init.xavier_normal_(self.queries)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, D), or (B, 2 * D) with ``statistics``."""
        values, mask = masked_frames(frames, lengths)
        heads = values.unflatten(2, self.queries.shape)
        scores = (heads * self.queries).sum(dim=3, keepdim=True) / self.queries.shape[1] ** 0.5
        mean, variance = weighted_moments(heads, _over_time(scores, mask[..., None]))
        pooled = [mean.flatten(1)]
        if self.statistics:
            pooled.append((variance + self.eps).sqrt().flatten(1))
        return torch.cat(pooled, dim=1).to(frames.dtype)


class QueryPooling(Pooling):
    """Learnt queries attend to the frames, as in the Set Transformer: E = num_queries * D.

    Multi-head scaled dot-product attention of num_queries learnt vectors to the frames, then a linear layer. Of the
    published block the residual, layer norms and feed-forward layers are left out: they act on one vector a query,
    which a head behind the pooling can do. What projects the queries is left out too, as they are learnt themselves,
    and the offset of the keys, which the softmax does not see.

    Source: Lee et al. 2019, "Set Transformer", section 3.2 (pooling by multihead attention); the attention is that of
    Vaswani et al. 2017, "Attention is all you need", eq. 1.

    Args:
        input_dim: D, injected.
        num_queries: learnt queries; one is usual.
        num_heads: attention heads; must divide D.
        dropout: probability, in [0, 1), that an attention weight is dropped while training.

    Raises:
        RecipeError: ``num_heads`` does not divide D, there is no query, or ``dropout`` is out of range.
    """

    def __init__(self, input_dim: int, num_queries: int = 1, num_heads: int = 2, dropout: float = 0.0) -> None:
        super().__init__(input_dim)
        _check_heads("QueryPooling", input_dim, num_heads)
        if num_queries < 1 or not 0 <= dropout < 1:
            raise RecipeError(
                f"QueryPooling: num_queries must be at least 1 and dropout in [0, 1), found num_queries={num_queries} "
                f"and dropout={dropout}."
            )
        self.output_dim = num_queries * input_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.queries = nn.Parameter(torch.empty(num_queries, input_dim))
        nn.init.xavier_uniform_(self.queries)
        self.key = nn.Linear(input_dim, input_dim, bias=False)
        self.value = nn.Linear(input_dim, input_dim)
        self.out = nn.Linear(input_dim, input_dim)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, num_queries * D)."""
        values, mask = masked_frames(frames, lengths)
        values = values.to(frames.dtype)
        keys, contents = self._heads(self.key(values)), self._heads(self.value(values))
        queries = self._heads(self.queries.to(keys.dtype).expand(len(frames), -1, -1))
        attended = functional.scaled_dot_product_attention(
            queries,
            keys,
            contents,
            attn_mask=mask[:, None, None, :, 0],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(attended.transpose(1, 2).flatten(2)).flatten(1).to(frames.dtype)

    def _heads(self, vectors: Tensor) -> Tensor:
        """(B, N, D) -> (B, num_heads, N, D / num_heads)."""
        return vectors.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class ChannelAttentiveStatisticsPooling(Pooling):
    """Mean and standard deviation over time under learnt weights of each channel, as in ECAPA-TDNN: E = 2 * D.

    The network that weighs frames also sees mean m and standard deviation s of the utterance: weights are softmax
    over time of V tanh(BN(relu(W x + U [m, s] + b))), one a frame and channel. The published offset of V is left out:
    the softmax does not see it. Standard deviations are sqrt(max(variance, eps)), as in SpeechBrain, to whose
    ``AttentiveStatisticsPooling`` this is equal. Batch statistics are taken over valid frames only.

    Source: Desplanques et al. 2020, "ECAPA-TDNN", section 3.1; the batch normalisation is SpeechBrain's.

    Args:
        input_dim: D, injected.
        attention_channels: hidden size of the network that weighs frames.
        eps: smallest variance, in squared units of the features.

    Raises:
        RecipeError: ``attention_channels`` or ``eps`` is not positive.
    """

    def __init__(self, input_dim: int, attention_channels: int = 128, eps: float = 1e-12) -> None:
        super().__init__(input_dim)
        if attention_channels < 1 or eps <= 0:
            raise RecipeError(
                "ChannelAttentiveStatisticsPooling: attention_channels and eps must be positive, found "
                f"attention_channels={attention_channels} and eps={eps}."
            )
        self.output_dim = 2 * input_dim
        self.eps = eps
        # One layer on [x, m, s], cut in two: m and s are the same for all frames, and computed on once.
        self.frame = nn.Linear(input_dim, attention_channels, bias=False)
        self.context = nn.Linear(2 * input_dim, attention_channels)
        self.norm = MaskedBatchNorm2d(attention_channels)
        self.score = nn.Linear(attention_channels, input_dim, bias=False)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, 2 * D)."""
        values, mask = masked_frames(frames, lengths)
        context = self._statistics(values, mask / lengths[:, None, None]).to(frames.dtype)
        hidden = (self.frame(values.to(frames.dtype)) + self.context(context)[:, None]).relu()
        hidden = self.norm(hidden.transpose(1, 2)[..., None], lengths)[..., 0].transpose(1, 2)
        return self._statistics(values, _over_time(self.score(hidden.tanh()), mask)).to(frames.dtype)

    def _statistics(self, values: Tensor, weights: Tensor) -> Tensor:
        """(B, T, D), (B, T, 1 or D) -> (B, 2 * D)."""
        mean, variance = weighted_moments(values, weights)
        return torch.cat([mean, variance.clamp_min(self.eps).sqrt()], dim=1)
