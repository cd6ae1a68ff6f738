"""Focal loss: cross-entropy that looks away from what is already right."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import needed
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import (
    ClassWeights,
    check_class_weights,
    mean_over_labelled,
    weights_of_classes,
)


class FocalLoss(Objective):
    """Cross-entropy with one label per utterance, weighted down by (1 - p)^gamma where it is already right.

    l_i = -(1 - p_i)^gamma log p_i with p_i the probability of the label; the mean is sum_i w(y_i) l_i / sum_i w(y_i) as
    in CrossEntropy, which it is at gamma 0. Probabilities come out less sure than those of cross-entropy.

    Source: Lin et al. 2017, "Focal loss for dense object detection", eq. 4 and, with class weights, 5.

    Args:
        num_classes: C, injected from the data.
        gamma: how much, not negative.
        class_weights: "balanced" weighs a class by N / (C * n_c), its inverse frequency in the training part, "sqrt"
            by the square root of that, "effective" by its effective number of samples (Cui et al. 2019).

    Raises:
        RecipeError: an option is out of range.
    """

    def __init__(self, num_classes: int, gamma: float = 2.0, class_weights: ClassWeights = "none") -> None:
        super().__init__(num_classes)
        check_class_weights(class_weights, "FocalLoss")
        if not 0 <= gamma < math.inf:
            raise RecipeError(f"FocalLoss: gamma must be at least 0, found {gamma}.")
        self.gamma = gamma
        self.class_weights: ClassWeights = class_weights

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "focal"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        labels = batch.targets.label
        log_p = logits.log_softmax(dim=1).gather(1, labels.clamp_min(0)[:, None])[:, 0]
        # 1 - p without cancellation, and away from 0, where a power below 1 has no finite derivative.
        rest = (-log_p.expm1()).clamp_min(torch.finfo(log_p.dtype).tiny)
        weights = weights_of_classes(self.class_counts, self.class_weights)
        loss = mean_over_labelled(-rest.pow(self.gamma) * log_p, labels, weights)
        return loss, {"focal": loss}
