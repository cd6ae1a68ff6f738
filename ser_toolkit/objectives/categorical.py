"""Objectives for one label per utterance."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import masked_ratio, needed
from ser_toolkit.objectives.base import Objective

ClassWeights = Literal["none", "balanced", "sqrt", "effective"]


def check_class_weights(class_weights: str, objective: str) -> None:
    """Refuse an unknown way to weigh classes."""
    known = get_args(ClassWeights)
    if class_weights not in known:
        raise RecipeError(f"{objective}: class_weights must be one of {', '.join(known)}, found {class_weights!r}.")


def weights_of_classes(counts: Tensor, class_weights: ClassWeights) -> Tensor:
    """Weight of each class from its count in the training part: (C,) -> (C,).

    - "none": ones.
    - "balanced": N / (C * n_c); the mean weight over the training part is 1.
    - "sqrt": the square root of that, half as far from ones on a logarithmic scale.
    - "effective": (1 - b) / (1 - b^n_c) with b = (N - 1) / N, scaled to a mean over classes of 1.

    Equal counts give ones in every way. A class that was never counted is left out of C and of the means, as in
    scikit-learn, and weighs 1: a rare class's weight would let label smoothing, which weighs every class, pull all
    predictions towards a class that no utterance has.

    Source: Cui et al. 2019, "Class-balanced loss based on effective number of samples", eq. 2, for "effective", with
    N for the volume of the data as in EMO-SUPERB (Wu et al. 2024), which counts classes in votes, however, and not in
    labels; "sqrt" is of MEDUSA (Interspeech 2025 challenge on naturalistic speech emotion).
    """
    if class_weights == "none":
        return torch.ones_like(counts)
    counted = counts > 0
    classes, seen = counted.sum().clamp_min(1), counts.clamp_min(1.0)
    if class_weights == "effective":
        # b^n = exp(n log b), and expm1 and log1p because 1 - b and 1 - b^n cancel for a large N.
        weights = -1 / torch.expm1(seen * torch.log1p(-1 / counts.sum().clamp_min(1.0)))
        weights = weights / (torch.where(counted, weights, 0.0).sum().clamp_min(1.0) / classes)
    else:
        weights = counts.sum() / (classes * seen)
        weights = weights.sqrt() if class_weights == "sqrt" else weights
    return torch.where(counted, weights, 1.0)


def weights_of_rows(labels: Tensor, weights: Tensor) -> Tensor:
    """Weight of each row's class, 0 where there is no label: (B,), (C,) -> (B,)."""
    return torch.where(labels == MISSING_LABEL, 0.0, weights[labels.clamp_min(0)])


def mean_over_labelled(losses: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """sum_i w(y_i) l_i / sum_i w(y_i) over the rows that have a label, 0 with a graph if none has.

    Args:
        losses: (B,), finite also where there is no label.
        labels: (B,) class index, ``MISSING_LABEL`` where there is none.
        weights: (C,).
    """
    row_weights = weights_of_rows(labels, weights.to(losses))
    return masked_ratio((row_weights * losses).sum(), row_weights.sum())


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Weighted mean cross-entropy of the rows that have a label, 0 with a graph if none has.

    The mean is torch's: sum_i w(y_i) l_i / sum_i w(y_i).

    Args:
        logits: (B, C).
        labels: (B,) class index, ``MISSING_LABEL`` where there is none.
        weights: (C,).
        label_smoothing: mass that is spread evenly over all classes, in [0, 1).
    """
    weights = weights.to(logits)
    losses = F.cross_entropy(
        logits, labels, weights, ignore_index=MISSING_LABEL, reduction="none", label_smoothing=label_smoothing
    )
    return masked_ratio(losses.sum(), weights_of_rows(labels, weights).sum())


class CrossEntropy(Objective):
    """Cross-entropy with one label per utterance; utterances without a label are left out.

    With weights w the loss of a batch is sum_i w(y_i) l_i / sum_i w(y_i), as torch's weighted mean: a batch in which
    all labels are alike is not scaled by their weight.

    Args:
        num_classes: C, injected from the data.
        class_weights: "balanced" weighs a class by N / (C * n_c), its inverse frequency in the training part, "sqrt"
            by the square root of that, "effective" by its effective number of samples (Cui et al. 2019).
        label_smoothing: mass that is spread evenly over all classes, in [0, 1).

    Raises:
        RecipeError: an option is out of range.
    """

    def __init__(self, num_classes: int, class_weights: ClassWeights = "none", label_smoothing: float = 0.0) -> None:
        super().__init__(num_classes)
        check_class_weights(class_weights, "CrossEntropy")
        if not 0 <= label_smoothing < 1:
            raise RecipeError(f"CrossEntropy: label_smoothing must be in [0, 1), found {label_smoothing}.")
        self.class_weights: ClassWeights = class_weights
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "cross_entropy"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        weights = weights_of_classes(self.class_counts, self.class_weights)
        loss = cross_entropy(logits, batch.targets.label, weights, self.label_smoothing)
        return loss, {"cross_entropy": loss}
