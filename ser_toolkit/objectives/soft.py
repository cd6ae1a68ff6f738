"""Objectives for a distribution over classes per utterance, as the votes of several raters give."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.objectives._numeric import masked_ratio, needed
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import ClassWeights, check_class_weights, weights_of_classes


def rows_with_distribution(soft: Tensor) -> Tensor:
    """Which rows have a distribution: (B, C) -> (B,) bool."""
    return soft.isfinite().all(dim=1)


def soft_cross_entropy(logits: Tensor, soft: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy against distributions, 0 with a graph if no row has one.

    The mean is sum_ic w_c q_ic (-log p_ic) / sum_ic w_c q_ic: on one-hot rows it is torch's weighted cross-entropy
    with labels. (torch's own, with probabilities, divides by the number of rows whatever the weights are.)

    Args:
        logits: (B, C).
        soft: (B, C) rows that sum to 1, NaN rows where there is none.
        weights: (C,).
    """
    known = rows_with_distribution(soft)[:, None]
    mass = torch.where(known, soft, 0.0).to(logits) * weights.to(logits)
    return masked_ratio(-(mass * logits.log_softmax(dim=1)).sum(), mass.sum())


class SoftCrossEntropy(Objective):
    """Cross-entropy against a distribution over classes; utterances without one are left out.

    Its minimum is the entropy of the targets, not 0, and is reached where probabilities equal the targets.

    Args:
        num_classes: C, injected from the data.
        class_weights: "balanced" weighs a class by N / (C * n_c), its inverse frequency in the training part, "sqrt"
            by the square root of that, "effective" by its effective number of samples (Cui et al. 2019).
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


class ClassBalancedSoftCrossEntropy(Objective):
    """Soft cross-entropy in which a whole utterance weighs as the classes of its votes do: EMO-SUPERB's objective.

    The mean over utterances of w_i * sum_c q_ic (-log p_ic) with w_i = sum_c w_c q_ic. Unlike in SoftCrossEntropy the
    weights are of utterances, so that every utterance's minimum stays where probabilities equal its targets; and the
    sum is divided by the number of utterances, not by their weights.

    Source: Wu et al. 2024, "EMO-SUPERB: an in-depth look at speech emotion recognition".

    Args:
        num_classes: C, injected from the data.
        class_weights: w_c, as in CrossEntropy: "none", "balanced", "sqrt" or, as EMO-SUPERB, "effective". Classes are
            counted in labels; EMO-SUPERB counts the utterances in which a class has more than 1/C of the votes.

    Raises:
        RecipeError: ``class_weights`` is unknown.
    """

    def __init__(self, num_classes: int, class_weights: ClassWeights = "effective") -> None:
        super().__init__(num_classes)
        check_class_weights(class_weights, "ClassBalancedSoftCrossEntropy")
        self.class_weights: ClassWeights = class_weights

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "balanced_soft_cross_entropy"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        known = rows_with_distribution(batch.targets.soft)
        soft = torch.where(known[:, None], batch.targets.soft, 0.0).to(logits)
        row_weights = (soft * weights_of_classes(self.class_counts, self.class_weights).to(logits)).sum(dim=1)
        losses = -(soft * logits.log_softmax(dim=1)).sum(dim=1)
        loss = masked_ratio((row_weights * losses).sum(), known.sum())
        return loss, {"balanced_soft_cross_entropy": loss}


class SoftKLDivergence(Objective):
    """KL(target || prediction) = sum_c q_c log(q_c / p_c) of distributions over classes; 0 where they are equal.

    Without weights it is SoftCrossEntropy less the entropy of the targets: the same gradients, another zero. The mean
    over utterances is sum_i w_i KL_i / sum_i w_i with w_i = sum_c w_c q_ic; weights are of utterances, because weighted
    terms of a divergence may sum to less than 0.

    Source: Kullback & Leibler 1951, "On information and sufficiency", with the raters' distribution as the
    true one.

    Args:
        num_classes: C, injected from the data.
        class_weights: w_c, as in CrossEntropy: "none", "balanced", "sqrt" or "effective".

    Raises:
        RecipeError: ``class_weights`` is unknown.
    """

    def __init__(self, num_classes: int, class_weights: ClassWeights = "none") -> None:
        super().__init__(num_classes)
        check_class_weights(class_weights, "SoftKLDivergence")
        self.class_weights: ClassWeights = class_weights

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "kl_divergence"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        known = rows_with_distribution(batch.targets.soft)[:, None]
        soft = torch.where(known, batch.targets.soft, 0.0).to(logits)
        row_weights = (soft * weights_of_classes(self.class_counts, self.class_weights).to(logits)).sum(dim=1)
        divergences = F.kl_div(logits.log_softmax(dim=1), soft, reduction="none").sum(dim=1)
        loss = masked_ratio((row_weights * divergences).sum(), row_weights.sum())
        return loss, {"kl_divergence": loss}
