"""Objectives for a distribution over classes per utterance, as the votes of several raters give."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.objectives._numeric import masked_ratio, needed
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import ClassWeights, check_class_weights, weights_of_classes


def soft_cross_entropy(logits: Tensor, soft: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy against distributions, 0 with a graph if no row has one.

    The mean is sum_ic w_c q_ic (-log p_ic) / sum_ic w_c q_ic: on one-hot rows it is torch's weighted cross-entropy
    with labels. (torch's own, with probabilities, divides by the number of rows whatever the weights are.)

    Args:
        logits: (B, C).
        soft: (B, C) rows that sum to 1, NaN rows where there is none.
        weights: (C,).
    """
    known = soft.isfinite().all(dim=1, keepdim=True)
    mass = torch.where(known, soft, 0.0).to(logits) * weights.to(logits)
    return masked_ratio(-(mass * logits.log_softmax(dim=1)).sum(), mass.sum())


class SoftCrossEntropy(Objective):
    """Cross-entropy against a distribution over classes; utterances without one are left out.

    Its minimum is the entropy of the targets, not 0, and is reached where probabilities equal the targets.

    Args:
        num_classes: C, injected from the data.
        class_weights: "balanced" weighs a class by N / (C * n_c), its inverse frequency in the training part.
            Weighted, the minimum moves towards rare classes.

    Raises:
        RecipeError: ``class_weights`` is unknown.
    """

    def __init__(self, num_classes: int, class_weights: ClassWeights = "none") -> None:
        super().__init__(num_classes)
        check_class_weights(class_weights, "SoftCrossEntropy")
        self.class_weights: ClassWeights = class_weights

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "soft_cross_entropy"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        weights = weights_of_classes(self.class_counts, self.class_weights)
        loss = soft_cross_entropy(logits, batch.targets.soft, weights)
        return loss, {"soft_cross_entropy": loss}
