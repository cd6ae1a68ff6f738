"""Poolings that describe the distribution of each feature over time: its percentiles, its moments."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.downstream.pooling import Pooling, masked_frames, weighted_moments
from ser_toolkit.errors import RecipeError


class PercentilePooling(Pooling):
    """Percentiles over time, with linear interpolation: E = len(percentiles) * D.

    The q-th percentile of n sorted values lies at position (n - 1) * q / 100, counted from 0; between two values it is
    interpolated. Gradients go to the one or two frames that it lies between.

    Source: Hyndman & Fan 1996, "Sample quantiles in statistical packages", definition 7.

    Args:
        input_dim: D, injected.
        percentiles: q, each in [0, 100]; the vector holds all features of the first, then of the second, and so on.

    Raises:
        RecipeError: there is no percentile, or one is outside [0, 100].
    """

    def __init__(self, input_dim: int, percentiles: tuple[float, ...] = (10.0, 50.0, 90.0)) -> None:
        super().__init__(input_dim)
        if not percentiles or not all(0 <= q <= 100 for q in percentiles):
            raise RecipeError(
                f"PercentilePooling: percentiles must be one or more numbers from 0 to 100, found {list(percentiles)}."
            )
        # Not a buffer: ``pooling.bfloat16()`` would round 90 % to 89.8 %.
        self.percentiles = tuple(percentiles)
        self.output_dim = len(self.percentiles) * input_dim

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, len(percentiles) * D)."""
        values = frames.to(torch.promote_types(frames.dtype, torch.float32))
        # Infinity sorts behind every valid frame, and no position reaches it.
        mask = valid_mask(lengths, frames.shape[1])[..., None]
        ordered = values.masked_fill(~mask, torch.inf).sort(dim=1).values
        shares = torch.tensor(self.percentiles, dtype=values.dtype, device=values.device) / 100
        last = (lengths - 1)[:, None]
        position = shares * last
        lower = position.floor().long()
        upper = torch.minimum(lower + 1, last)
        below, above = (ordered.gather(1, index[..., None].expand(-1, -1, self.input_dim)) for index in (lower, upper))
        return below.lerp(above, (position - lower)[..., None]).flatten(1).to(frames.dtype)


class MomentPooling(Pooling):
    """Mean, standard deviation, skewness and excess kurtosis over time, up to an order: E = order * D.

    With m the mean over time, v = mean (x - m)^2, s = sqrt(v + eps) and z = (x - m) / s, the vector holds

    1. m,
    2. s,
    3. mean z^3, the skewness (0 where the distribution is symmetric),
    4. mean z^4 - 3, the excess kurtosis (0 for a normal distribution, -3 where all frames are equal).

    These are the population formulas; with eps = 0 they are those of ``scipy.stats.skew`` and ``kurtosis``.

    Source: Joanes & Gill 1998, "Comparing measures of sample skewness and kurtosis", g1 and g2.

    Args:
        input_dim: D, injected.
        order: how many of the four, from 1 (the mean alone) to 4. Up to 2, stored moments suffice.
        eps: added to the variance, in squared units of the features.

    Raises:
        RecipeError: ``order`` is not 1, 2, 3 or 4, or ``eps`` is not positive.
    """

    def __init__(self, input_dim: int, order: int = 4, eps: float = 1e-6) -> None:
        super().__init__(input_dim)
        if order not in (1, 2, 3, 4):
            raise RecipeError(f"MomentPooling: order must be 1, 2, 3 or 4, found {order!r}.")
        if eps <= 0:
            raise RecipeError(f"MomentPooling: eps must be positive, or equal frames divide by zero; found {eps}.")
        self.order = order
        self.eps = eps
        self.output_dim = order * input_dim
        self.moment_order = order if order <= 2 else None

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, order * D)."""
        values, mask = masked_frames(frames, lengths)
        weights = mask / lengths[:, None, None]
        mean, variance = weighted_moments(values, weights)
        std = (variance + self.eps).sqrt()
        moments = [mean, std]
        if self.order > 2:
            # Standardised before the power: the fourth power of a raw feature leaves float32 soon.
            z = (values - mean[:, None]) / std[:, None]
            moments += [(weights * z**3).sum(dim=1), (weights * z**4).sum(dim=1) - 3]
        return torch.cat(moments[: self.order], dim=1).to(frames.dtype)

    def from_moments(self, mean: Tensor, variance: Tensor | None = None) -> Tensor:
        """(B, D), (B, D) population variance -> (B, order * D), for an order of 1 or 2."""
        if self.moment_order is None:
            return super().from_moments(mean, variance)
        if self.order == 1:
            return mean
        if variance is None:
            raise RecipeError(
                "MomentPooling of order 2 needs the variance of the frames, but only their mean is stored. "
                "Store second moments too, or set order to 1."
            )
        # A variance that was put together from stored moments may be below zero by rounding.
        return torch.cat([mean, (variance.clamp_min(0.0) + self.eps).sqrt()], dim=1)
