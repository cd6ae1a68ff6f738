"""Cross-entropies of cosines with a margin: the label's prototype has to be nearer than the others by some distance."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import needed
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import ClassWeights, check_class_weights, cross_entropy, weights_of_classes


class _Margin(Objective):
    """Cross-entropy of scale * cosines in which the label's cosine is made smaller, in training only."""

    requires = ("cosines",)

    def __init__(self, num_classes: int, margin: float, scale: float, class_weights: ClassWeights) -> None:
        super().__init__(num_classes)
        name = type(self).__name__
        check_class_weights(class_weights, name)
        if not 0 < scale < math.inf:
            raise RecipeError(f"{name}: scale must be above 0, found {scale}.")
        self.margin, self.scale = margin, scale
        self.class_weights: ClassWeights = class_weights

    @abstractmethod
    def shrink(self, cosines: Tensor) -> Tensor:
        """The cosines as they count where they are the label's: (B, C) in [-1, 1] -> (B, C)."""

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "margin_cross_entropy"."""
        cosines = needed(outputs.cosines, "cosines", type(self).__name__)
        labels = batch.targets.label
        is_label = F.one_hot(labels.clamp_min(0), cosines.shape[1]).bool()
        logits = self.scale * torch.where(is_label, self.shrink(cosines), cosines)
        loss = cross_entropy(logits, labels, weights_of_classes(self.class_counts, self.class_weights))
        return loss, {"margin_cross_entropy": loss}


class AdditiveAngularMargin(_Margin):
    """ArcFace: cross-entropy of scale * cos(theta), with cos(theta + margin) for the label.

    Beyond theta = pi - margin, where cos(theta + margin) would rise again, cos(theta) - margin * sin(margin) stands in,
    so that a larger angle always costs more. At margin 0 it is the cross-entropy of scale * cosines.

    Source: Deng et al. 2019, "ArcFace: additive angular margin loss for deep face recognition", eq. 3; the stand-in
    is that of its reference code. Margin and scale are those usual for speakers (ECAPA-TDNN).

    Args:
        num_classes: C, injected from the data.
        margin: angle in radians, in [0, pi / 2].
        scale: what cosines are multiplied by, above 0.
        class_weights: "balanced" weighs a class by N / (C * n_c), its inverse frequency in the training part, "sqrt"
            by the square root of that, "effective" by its effective number of samples (Cui et al. 2019).

    Raises:
        RecipeError: an option is out of range.
    """

    def __init__(
        self, num_classes: int, margin: float = 0.2, scale: float = 30.0, class_weights: ClassWeights = "none"
    ) -> None:
        super().__init__(num_classes, margin, scale, class_weights)
        if not 0 <= margin <= math.pi / 2:
            raise RecipeError(f"AdditiveAngularMargin: margin must be in [0, pi / 2] radians, found {margin}.")

    def shrink(self, cosines: Tensor) -> Tensor:
        """cos(theta + margin), or what stands in for it."""
        square = (1 - cosines) * (1 + cosines)
        # The root has no finite derivative at 0, and rounding may leave a cosine just outside of its range: in both
        # cases the sine is a constant.
        sine = torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
        turned = cosines * math.cos(self.margin) - sine * math.sin(self.margin)
        instead = cosines - self.margin * math.sin(self.margin)
        return torch.where(cosines > -math.cos(self.margin), turned, instead)


class AdditiveMargin(_Margin):
    """CosFace: cross-entropy of scale * cos(theta), with cos(theta) - margin for the label.

    Source: Wang et al. 2018, "CosFace: large margin cosine loss for deep face recognition", eq. 4.

    Args:
        num_classes: C, injected from the data.
        margin: taken off the label's cosine, in [0, 2).
        scale: what cosines are multiplied by, above 0.
        class_weights: "balanced" weighs a class by N / (C * n_c), its inverse frequency in the training part, "sqrt"
            by the square root of that, "effective" by its effective number of samples (Cui et al. 2019).

    Raises:
        RecipeError: an option is out of range.
    """

    def __init__(
        self, num_classes: int, margin: float = 0.2, scale: float = 30.0, class_weights: ClassWeights = "none"
    ) -> None:
        super().__init__(num_classes, margin, scale, class_weights)
        if not 0 <= margin < 2:
            raise RecipeError(f"AdditiveMargin: margin must be in [0, 2), found {margin}.")

    def shrink(self, cosines: Tensor) -> Tensor:
        """Margin subtracted from the cosine of the true class: cos(theta) - margin."""
        return cosines - self.margin
