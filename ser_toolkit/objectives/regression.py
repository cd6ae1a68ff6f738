"""Errors of valence, arousal and dominance, utterance by utterance: they need no large batch as correlations do."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import needed
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.dimensional import mean_over_dimensions, weights_of_dimensions


class _DimensionError(Objective):
    """Mean over the utterances of each dimension, then the weighted mean over dimensions; missing targets left out."""

    requires = ("dimensions",)
    dimension_weights: Tensor

    def __init__(self, num_classes: int, weights: list[float] | None = None) -> None:
        super().__init__(num_classes)
        tensor = weights_of_dimensions(weights, type(self).__name__)
        self.register_buffer("dimension_weights", tensor, persistent=False)

    @property
    @abstractmethod
    def part(self) -> str:
        """Name of the loss in the log."""

    @abstractmethod
    def errors(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """(B, 3), (B, 3) -> (B, 3)."""

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its single part."""
        predictions = needed(outputs.dimensions, "dimensions", type(self).__name__)
        known = batch.targets.dimensions.isfinite()
        count = known.sum(dim=0)
        targets = torch.where(known, batch.targets.dimensions, 0.0).to(predictions)
        errors = torch.where(known, self.errors(predictions, targets), 0.0).sum(dim=0) / count.clamp_min(1)
        loss = mean_over_dimensions(errors, count, self.dimension_weights)
        return loss, {self.part: loss}


class MeanSquaredError(_DimensionError):
    """(x - y)^2, averaged over utterances, then over valence, arousal and dominance.

    Its best prediction is the conditional mean, so predictions gather near the middle where speech says little.

    Args:
        num_classes: C, injected from the data; not used.
        weights: of valence, arousal, dominance in the mean, not negative; null weighs all alike.

    Raises:
        RecipeError: the weights are not three numbers >= 0.
    """

    part = "mse"

    def errors(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Squared differences of predictions and targets: twice (B, 3) -> (B, 3)."""
        return (predictions - targets).square()


class MeanAbsoluteError(_DimensionError):
    """|x - y|, averaged over utterances, then over valence, arousal and dominance.

    Its best prediction is the conditional median: single utterances that are rated far off count less than in
    MeanSquaredError.

    Args:
        num_classes: C, injected from the data; not used.
        weights: of valence, arousal, dominance in the mean, not negative; null weighs all alike.

    Raises:
        RecipeError: the weights are not three numbers >= 0.
    """

    part = "mae"

    def errors(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Absolute differences of predictions and targets: twice (B, 3) -> (B, 3)."""
        return (predictions - targets).abs()


class MeanAvoidingError(_DimensionError):
    """Squared error that costs more while the prediction x lies near the middle of the scale, where it hides.

    (1 + strength * exp(-(x - centre)^2 / (2 width^2))) * (x - y)^2: an error made near the centre counts up to
    1 + strength times, one made far from it once. The weight follows the prediction, not the target, and is
    differentiated too: leaving the middle pays by itself, wherever the target is. The 1 keeps errors far off from being
    free. With strength up to 1 and width from 0.2 the target is the only stationary point for x and y in [0, 1].

    Source: idea of SRPOL's system for the Interspeech 2025 challenge on naturalistic speech emotion, which multiplies
    the squared error by a Gaussian of the prediction at 4 on a scale of 1 to 7 (here 0.5); the form is ours.

    Args:
        num_classes: C, injected from the data; not used.
        centre: where errors cost most, on the scale of the targets, [0, 1].
        width: standard deviation of the Gaussian, above 0, on the same scale.
        strength: how much more an error costs at the centre, at least 0; 0 is MeanSquaredError.
        weights: of valence, arousal, dominance in the mean, not negative; null weighs all alike.

    Raises:
        RecipeError: an option is out of range.
    """

    part = "mean_avoiding_error"

    def __init__(
        self,
        num_classes: int,
        centre: float = 0.5,
        width: float = 0.2,
        strength: float = 1.0,
        weights: list[float] | None = None,
    ) -> None:
        super().__init__(num_classes, weights)
        if not 0 <= centre <= 1:
            raise RecipeError(
                f"MeanAvoidingError: centre must be in [0, 1], the scale of the targets, found {centre}. "
                "The middle of any rating scale is 0.5."
            )
        if not 0 < width < math.inf or not 0 <= strength < math.inf:
            raise RecipeError(
                f"MeanAvoidingError: width must be above 0 and strength at least 0, found {width} and {strength}."
            )
        self.centre, self.width, self.strength = centre, width, strength

    def errors(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Squared differences, weighted by nearness of the prediction to the centre: twice (B, 3) -> (B, 3)."""
        nearness = torch.exp(-((predictions - self.centre) / self.width).square() / 2)
        return (1 + self.strength * nearness) * (predictions - targets).square()
