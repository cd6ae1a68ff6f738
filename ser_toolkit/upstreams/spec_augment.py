"""SpecAugment on the frames that enter a transformer encoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import RecipeError


@dataclass
class SpecAugment:
    """Masks spans of frames and of channels while fine-tuning.

    Spans never leave the utterance and are never longer than half of it; together they cover at most the larger of
    half and ``time_prob`` of it. An utterance of one frame is left alone.

    Source: Park et al., "SpecAugment", Interspeech 2019, section 2; on latent frames and with the number of spans
    rounded at random as in Baevski et al., "wav2vec 2.0", NeurIPS 2020, appendix B.

    Args:
        time_prob: share of frames to mask, 0 to 1 (spans may overlap, so that fewer are hit); 0 masks no frames.
        time_length: length of one span, in frames.
        time_min_spans: spans per utterance at least, where it is long enough.
        feature_prob: share of channels to set to zero, 0 to 1.
        feature_length: length of one span, in channels.
    """

    time_prob: float = 0.05
    time_length: int = 10
    time_min_spans: int = 2
    feature_prob: float = 0.0
    feature_length: int = 64

    def __post_init__(self) -> None:
        for name in ("time_prob", "feature_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"SpecAugment.{name} is {getattr(self, name)}, expected a share between 0 and 1.")
        for name in ("time_length", "feature_length"):
            if getattr(self, name) < 1:
                raise RecipeError(f"SpecAugment.{name} is {getattr(self, name)}, expected at least 1.")

    def __call__(self, hidden: Tensor, counts: Tensor, fill: Tensor) -> Tensor:
        """Frames with spans masked: time spans become ``fill``, channel spans become zero.

        Args:
            hidden: (B, T, D) frames.
            counts: (B,) valid frames.
            fill: (D,) the vector that stands for a masked frame.

        Returns:
            (B, T, D), with a gradient for ``fill`` even when chance masked nothing.
        """
        batch, frames, channels = hidden.shape
        if self.time_prob > 0:
            spans = draw_spans(counts, frames, self.time_prob, self.time_length, self.time_min_spans)
            hidden = torch.where(spans[..., None], fill.to(hidden.dtype), hidden)
        if self.feature_prob > 0:
            whole = torch.full((batch,), channels, device=hidden.device)
            spans = draw_spans(whole, channels, self.feature_prob, self.feature_length, 0)
            hidden = hidden.masked_fill(spans[:, None, :], 0)
        return hidden


def draw_spans(counts: Tensor, size: int, share: float, length: int, at_least: int) -> Tensor:
    """Random spans inside the first ``counts`` positions.

    Chance comes from torch's CPU generator: the same seed masks the same frames on every device.

    Args:
        counts: (B,) valid positions.
        size: positions in all, T.
        share: share of the positions to cover, 0 to 1.
        length: positions of one span; at most half of the utterance is used.
        at_least: spans per row at least, where they fit.

    Returns:
        (B, T) bool, True where masked.
    """
    valid = counts.detach().cpu().to(torch.float64)
    lengths = torch.clamp(valid // 2, max=length)
    wanted = torch.floor(share * valid / lengths.clamp(min=1) + torch.rand(len(valid), dtype=torch.float64))
    fitting = torch.floor(max(share, 0.5) * valid / lengths.clamp(min=1))
    number = torch.minimum(wanted.clamp(min=at_least), fitting) * (lengths > 0)
    most = int(number.max())
    starts = torch.floor(torch.rand(len(valid), most, dtype=torch.float64) * (valid - lengths + 1)[:, None])
    drawn = valid_mask(number, most)
    position = torch.arange(size)
    inside = (position >= starts[..., None]) & (position < (starts + lengths[:, None])[..., None])
    return (inside & drawn[..., None]).any(dim=1).to(counts.device)
