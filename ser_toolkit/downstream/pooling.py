"""Poolings: frames of an utterance -> one vector."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import Part


class Pooling(nn.Module, Part):
    """Frames -> utterance vector: (B, T, D), (B,) -> (B, E).

    Frames behind ``lengths`` must never matter; ``lengths`` are at least 1.

    Args:
        input_dim: D, injected.
    """

    #: Order of the per-frame moments that suffice for this pooling (1: mean, 2: mean and variance), None if none do.
    moment_order: int | None = None
    #: Whether an utterance's vector is the same alone and in a batch. False only for what ``peers`` copies from others.
    padding_exact: bool = True
    #: Whether the order of the frames changes the vector, as it does for a recurrent pooling.
    ordered: bool = False

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = input_dim

    @abstractmethod
    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, E)."""

    def from_moments(self, mean: Tensor, variance: Tensor | None = None) -> Tensor:
        """The same vector from the moments of the frames, where ``moment_order`` declares that they suffice.

        Args:
            mean: (B, D) mean of the frames over time.
            variance: (B, D) population variance of the frames over time; needed for ``moment_order`` 2.

        Returns:
            (B, E).

        Raises:
            RecipeError: this pooling needs the frames themselves, or the variance is missing.
        """
        raise RecipeError(
            f"{type(self).__name__} as configured needs frames, but only moments (mean, variance) are stored. "
            "Store frames instead, or choose MeanPooling or StatisticsPooling."
        )


def masked_frames(frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Frames in float32 at least, zero (not garbage, not NaN) behind the lengths; and the mask (B, T, 1)."""
    mask = valid_mask(lengths, frames.shape[1])[..., None]
    return frames.to(torch.promote_types(frames.dtype, torch.float32)).masked_fill(~mask, 0.0), mask


def masked_mean(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the valid frames: (B, T, D), (B,) -> (B, D)."""
    values, _ = masked_frames(frames, lengths)
    return values.sum(dim=1) / lengths[:, None]


def weighted_moments(frames: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over time under weights: (B, T, D), (B, T, 1) that sum to 1 over T -> (B, D), (B, D).

    The variance is centred first: E[x^2] - E[x]^2 is the same number but cancels in float32.
    """
    mean = (weights * frames).sum(dim=1)
    variance = (weights * (frames - mean[:, None]).square()).sum(dim=1)
    return mean, variance


class MeanPooling(Pooling):
    """Mean over time, of all valid frames.

    Args:
        input_dim: D, injected.
    """

    moment_order: int | None = 1

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, D)."""
        return masked_mean(frames, lengths).to(frames.dtype)

    def from_moments(self, mean: Tensor, variance: Tensor | None = None) -> Tensor:
        """(B, D) -> (B, D): the mean itself."""
        return mean


class StatisticsPooling(Pooling):
    """Mean and standard deviation over time: E = 2 * D.

    The standard deviation is sqrt(variance + eps): its gradient stays finite where all frames are equal, and one
    frame gives sqrt(eps).

    Source: Snyder et al. 2018, "X-vectors", section 2.1 (statistics pooling).

    Args:
        input_dim: D, injected.
        unbiased: divide the sum of squares by T - 1 (1 if T = 1) and not by T. Moments then do not suffice.
        eps: added to the variance, in squared units of the features.
    """

    moment_order: int | None = 2

    def __init__(self, input_dim: int, unbiased: bool = False, eps: float = 1e-6) -> None:
        super().__init__(input_dim)
        self.output_dim = 2 * input_dim
        self.unbiased = unbiased
        self.eps = eps
        if unbiased:
            self.moment_order = None

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, 2 * D)."""
        values, mask = masked_frames(frames, lengths)
        mean, variance = weighted_moments(values, mask / lengths[:, None, None])
        if self.unbiased:
            variance = variance * (lengths / (lengths - 1).clamp_min(1))[:, None]
        return self._vector(mean, variance).to(frames.dtype)

    def from_moments(self, mean: Tensor, variance: Tensor | None = None) -> Tensor:
        """(B, D), (B, D) population variance -> (B, 2 * D)."""
        if self.moment_order is None:
            return super().from_moments(mean, variance)
        if variance is None:
            raise RecipeError(
                "StatisticsPooling needs the variance of the frames, but only their mean is stored. "
                "Store second moments too, or choose MeanPooling."
            )
        # A variance that was put together from stored moments may be below zero by rounding.
        return self._vector(mean, variance.clamp_min(0.0))

    def _vector(self, mean: Tensor, variance: Tensor) -> Tensor:
        return torch.cat([mean, (variance + self.eps).sqrt()], dim=1)


def _masked_max(frames: Tensor, lengths: Tensor) -> Tensor:
    """Maximum over the valid frames: (B, T, D), (B,) -> (B, D)."""
    return frames.masked_fill(~valid_mask(lengths, frames.shape[1])[..., None], -torch.inf).amax(dim=1)


class MaxPooling(Pooling):
    """Maximum over time, of all valid frames.

    Args:
        input_dim: D, injected.
    """

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, D)."""
        return _masked_max(frames, lengths)


class MeanMaxPooling(Pooling):
    """Mean and maximum over time, side by side or added.

    Source: Niizumi et al. 2021, "BYOL for Audio", section III-C (the sum).

    Args:
        input_dim: D, injected.
        combine: "concatenate" gives E = 2 * D (mean, then maximum), "add" gives E = D.

    Raises:
        RecipeError: ``combine`` is something else.
    """

    def __init__(self, input_dim: int, combine: Literal["concatenate", "add"] = "concatenate") -> None:
        super().__init__(input_dim)
        if combine not in ("concatenate", "add"):
            raise RecipeError(f"MeanMaxPooling: combine must be 'concatenate' or 'add', found {combine!r}.")
        self.combine = combine
        self.output_dim = input_dim if combine == "add" else 2 * input_dim

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, 2 * D) or (B, D)."""
        mean = masked_mean(frames, lengths).to(frames.dtype)
        maximum = _masked_max(frames, lengths)
        return mean + maximum if self.combine == "add" else torch.cat([mean, maximum], dim=1)


class MeanStdMaxPooling(Pooling):
    """Mean, standard deviation and maximum over time, side by side: E = 3 * D.

    Args:
        input_dim: D, injected.
        eps: added to the variance, in squared units of the features.
    """

    def __init__(self, input_dim: int, eps: float = 1e-6) -> None:
        super().__init__(input_dim)
        self.output_dim = 3 * input_dim
        self.statistics = StatisticsPooling(input_dim, eps=eps)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, 3 * D)."""
        return torch.cat([self.statistics(frames, lengths), _masked_max(frames, lengths)], dim=1)


class _Attention(nn.Module):
    """One weight a frame: softmax over the valid frames of v . tanh(W x + b)."""

    def __init__(self, input_dim: int, bottleneck_dim: int) -> None:
        super().__init__()
        self.bottleneck = nn.Linear(input_dim, bottleneck_dim)
        # The published offset k is left out: the softmax over time does not see it.
        self.score = nn.Linear(bottleneck_dim, 1, bias=False)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T, 1) -> (B, T, 1), 0 behind the end, sums to 1 over T, in float32 at least."""
        scores = self.score(self.bottleneck(frames).tanh())
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return scores.masked_fill(~mask, -torch.inf).softmax(dim=1)


class AttentivePooling(Pooling):
    """Mean over time under learnt weights, one a frame.

    Source: Okabe et al. 2018, "Attentive statistics pooling for deep speaker embedding", eq. 1-3.

    Args:
        input_dim: D, injected.
        bottleneck_dim: hidden size of the network that weighs frames.
    """

    def __init__(self, input_dim: int, bottleneck_dim: int = 128) -> None:
        super().__init__(input_dim)
        self.attention = _Attention(input_dim, bottleneck_dim)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, D)."""
        values, mask = masked_frames(frames, lengths)
        weights = self.attention(values.to(frames.dtype), mask)
        return (weights * values).sum(dim=1).to(frames.dtype)


class AttentiveStatisticsPooling(Pooling):
    """Mean and standard deviation over time under learnt weights, one a frame: E = 2 * D.

    The standard deviation is sqrt(variance + eps), as in StatisticsPooling.

    Source: Okabe et al. 2018, "Attentive statistics pooling for deep speaker embedding", eq. 1-5.

    Args:
        input_dim: D, injected.
        bottleneck_dim: hidden size of the network that weighs frames.
        eps: added to the variance, in squared units of the features.
    """

    def __init__(self, input_dim: int, bottleneck_dim: int = 128, eps: float = 1e-6) -> None:
        super().__init__(input_dim)
        self.output_dim = 2 * input_dim
        self.eps = eps
        self.attention = _Attention(input_dim, bottleneck_dim)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, 2 * D)."""
        values, mask = masked_frames(frames, lengths)
        weights = self.attention(values.to(frames.dtype), mask)
        mean, variance = weighted_moments(values, weights)
        return torch.cat([mean, (variance + self.eps).sqrt()], dim=1).to(frames.dtype)
