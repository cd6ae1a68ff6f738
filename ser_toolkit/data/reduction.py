"""Reductions of frames to statistics: as little is stored as the parts behind the upstream need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ser_toolkit.data.batch import Moments, layer_pairs

What = Literal["means", "variances", "covariances", "frames"]
#: From the least to the most: each one can be derived from any that follows it.
ORDER: tuple[What, ...] = ("means", "variances", "covariances", "frames")
_WORDS = {
    "means": "the mean of each layer",
    "variances": "mean and variance of each layer",
    "covariances": "the mean of each layer and second moments across layers",
    "frames": "the frames of each layer",
}


@dataclass(frozen=True)
class Reduction:
    """Reduction of the frames under one upstream: statistics over time, or the frames themselves.

    Args:
        what: "means" and "variances" of each layer over time, "covariances": means and second moments across layers,
            or "frames" themselves.
        layer_norm: whether each frame of each layer is layer-normalised first.
        reason: for which no smaller reduction is enough.
    """

    what: What = "frames"
    layer_norm: bool = False
    reason: str = field(default="", compare=False)

    def covers(self, needed: Reduction) -> bool:
        """Whether the needed reduction can be derived from this one."""
        # layer-normalised frames can be derived from raw ones, their moments cannot be derived from raw moments
        same = self.layer_norm == needed.layer_norm or (self.what == "frames" and not self.layer_norm)
        return same and ORDER.index(self.what) >= ORDER.index(needed.what)

    def joined(self, other: Reduction) -> Reduction:
        """The smaller reduction from which both can be derived; both have the same layer normalisation."""
        return self if ORDER.index(self.what) >= ORDER.index(other.what) else other

    def values(self, num_layers: int, feature_dim: int, frames: float) -> float:
        """Count of the numbers that are stored of an utterance of so many frames."""
        rows = {
            "means": num_layers,
            "variances": 2 * num_layers,
            "covariances": num_layers + num_layers * (num_layers + 1) // 2,
            "frames": num_layers * frames,
        }
        return rows[self.what] * feature_dim

    @property
    def words(self) -> str:
        """The reduction in words, such as ``mean and variance of each layer``."""
        return _WORDS[self.what] + (", layer-normalised" if self.layer_norm else "")

    def of(self, frames: Tensor, layer_norm: bool | None = None) -> Tensor | Moments:
        """Reduce one utterance: frames (L, T, D) -> the same, or their moments in float32.

        Args:
            frames: as they leave the upstream, in any precision.
            layer_norm: whether to layer-normalise; ``self.layer_norm`` when None.
        """
        if self.layer_norm if layer_norm is None else layer_norm:
            frames = torch.nn.functional.layer_norm(frames.float(), frames.shape[-1:])
        return frames if self.what == "frames" else moments_of(frames, self.what)

    def less(self, moments: Moments) -> Moments:
        """Reduce richer moments of one utterance to those of this reduction."""
        if self.what == "means":
            return Moments(moments.count, moments.mean)
        if self.what == "variances":
            return Moments(moments.count, moments.mean, moments.variances)
        return moments


#: Frames as they leave the upstream.
FRAMES = Reduction()


def moments_of(frames: Tensor, what: What) -> Moments:
    """Moments over time of one utterance's frames (L, T, D), in float32 whatever they came in.

    Second moments are those of centred frames, because E[x^2] - E[x]^2 cancels. Frames are centred twice:
    the rounding error of the mean would otherwise appear as a variance of constant features.
    """
    values = frames.float()
    mean = values.mean(dim=1)
    centred = values - mean[:, None]
    left = centred.mean(dim=1)
    mean, centred = mean + left, centred - left[:, None]
    count = torch.tensor(frames.shape[1])
    if what == "means":
        return Moments(count, mean)
    if what == "variances":
        return Moments(count, mean, centred.square().mean(dim=1))
    by_feature = centred.permute(2, 0, 1)
    products = (by_feature @ by_feature.transpose(1, 2)) / frames.shape[1]
    first, second = layer_pairs(frames.shape[0])
    return Moments(count, mean, cross=products[:, first, second].T.contiguous())
