"""Objectives that aim at the mean over classes rather than over utterances, by other ways than class weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import masked_ratio, needed
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import cross_entropy


class LogitAdjustedCrossEntropy(Objective):
    """Cross-entropy of logits + tau * log prior: the logits themselves then judge as if all classes were as frequent.

    The adjustment is made in training only. At tau 1 the best logits are log p(x|c) + constant, whose largest is the
    Bayes decision for the unweighted average recall; no class weights are needed, or wanted, besides.

    Source: Menon et al. 2021, "Long-tail learning via logit adjustment", eq. 10.

    Args:
        num_classes: C, injected from the data.
        tau: how much, at least 0; 0 is CrossEntropy. The prior is n_c / N of the training part; a class that was never
            counted counts as if it had been seen once.

    Raises:
        RecipeError: tau is negative.
    """

    def __init__(self, num_classes: int, tau: float = 1.0) -> None:
        super().__init__(num_classes)
        if not 0 <= tau < math.inf:
            raise RecipeError(f"LogitAdjustedCrossEntropy: tau must be at least 0, found {tau}.")
        self.tau = tau

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "adjusted_cross_entropy"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        seen = self.class_counts.clamp_min(1.0)
        adjusted = logits + self.tau * (seen / seen.sum()).log().to(logits)
        loss = cross_entropy(adjusted, batch.targets.label, torch.ones_like(seen))
        return loss, {"adjusted_cross_entropy": loss}


class SoftF1Loss(Objective):
    """1 - macro F1, counted with probabilities instead of decisions, over the classes that the batch has.

    F1_c = 2 TP_c / (2 TP_c + FP_c + FN_c) with TP_c = sum of p_ic over utterances of class c, FP_c = sum of p_ic over
    the others, FN_c = sum of 1 - p_ic over those of class c. It is taken over the batch, so large batches are better;
    with probabilities of 0 and 1 it is 1 - macro F1 over the classes of the truth.

    Source: Pastor-Pellicer et al. 2013, "F-measure as the error function to train neural networks", here one class
    against the others and averaged; Bénédict et al. 2022, "sigmoidF1", for several labels at once.

    Args:
        num_classes: C, injected from the data.
    """

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "soft_f1"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        labels = batch.targets.label
        known = (labels != MISSING_LABEL)[:, None]
        truth = torch.where(known, F.one_hot(labels.clamp_min(0), logits.shape[1]), 0).to(logits)
        probabilities = torch.where(known, logits.softmax(dim=1), 0.0)
        support = truth.sum(dim=0)
        # 2 TP + FP + FN is the number of predictions and of labels of the class, never below TP.
        f1 = masked_ratio(2 * (probabilities * truth).sum(dim=0), probabilities.sum(dim=0) + support)
        present = (support > 0).to(logits)
        loss = masked_ratio((present * (1 - f1)).sum(), present.sum())
        return loss, {"soft_f1": loss}
