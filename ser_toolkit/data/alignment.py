"""Several sequences of frames on one time grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def align(sequences: Sequence[Tensor], lengths: Sequence[Tensor], hops: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Several sequences side by side on the time grid of the one with the closest frames.

    The grid is that of the sequence with the closest frames (the first of those). Frame t stands for the time
    (t + 1/2) * hop; the other sequences are interpolated linearly between their two nearest frames, and held before
    the first and behind the last. One vector an utterance is repeated. Equal hops are not interpolated; where such
    sequences differ by a frame at the end, the last one is held.

    Args:
        sequences: (B, T_i, D_i) each; what stands behind the lengths is not read.
        lengths: (B,) each, at least 1.
        hops: seconds between two frames of each; 0 for one vector an utterance.

    Returns:
        (B, T, sum of D_i), zero behind the lengths, and (B,) lengths.
    """
    finest = min((index for index, hop in enumerate(hops) if hop > 0), key=lambda index: hops[index], default=0)
    count = int(lengths[finest].max())
    times = (torch.arange(count, device=sequences[0].device) + 0.5) * hops[finest]
    valid = torch.arange(count, device=times.device)[None] < lengths[finest][:, None]
    columns = []
    for values, own_lengths, hop in zip(sequences, lengths, hops, strict=True):
        same = hop in (0.0, hops[finest])
        position = torch.arange(count, device=times.device, dtype=times.dtype) if same else times / hop - 0.5
        columns.append(_interpolated(values, own_lengths, position))
    fused = torch.cat(columns, dim=2)
    return fused.masked_fill(~valid[..., None], 0.0), lengths[finest]


def _interpolated(values: Tensor, lengths: Tensor, position: Tensor) -> Tensor:
    """Values at fractional frame positions, held at both ends: (B, T, D), (B,), (T',) -> (B, T', D)."""
    place = position[None].clamp_min(0.0).minimum((lengths - 1)[:, None].to(position))
    below = place.floor().long()
    above = (below + 1).minimum((lengths - 1)[:, None])
    weight = (place - below).to(values)[..., None]
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, below] * (1 - weight) + values[rows, above] * weight
