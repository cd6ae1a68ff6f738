"""Objectives for several emotions in one utterance: those that more than 1/C of the raters' votes name are present.

The head's outputs stay one distribution over classes, as everywhere: a class is said where its probability lies above
1/C, the threshold that decides on the raters' side too (all-inclusive rule, Chou et al. 2024). Neither objective asks
for the shares themselves; ``SoftCrossEntropy`` does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import masked_ratio, needed
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.soft import rows_with_distribution
from ser_toolkit.terms import TIE


def present_classes(soft: Tensor, threshold: float | None) -> Tensor:
    """Classes whose share lies above the threshold, 1/C by default: (B, C), NaN rows without -> (B, C) bool."""
    return soft > (1 / soft.shape[1] if threshold is None else threshold) + TIE


class _MultiLabel(Objective):
    """Base of objectives that compare with the set of present classes.

    Args:
        num_classes: C, injected from the data.
        threshold: share of the votes above which (strictly) a class is present; None is 1 / C.

    Raises:
        RecipeError: ``threshold`` is no share.
    """

    def __init__(self, num_classes: int, threshold: float | None = None) -> None:
        super().__init__(num_classes)
        if threshold is not None and not 0 <= threshold < 1:
            raise RecipeError(f"{type(self).__name__}: threshold must be None or in [0, 1), found {threshold}.")
        self.threshold = threshold


class MultiLabelBinaryCrossEntropy(_MultiLabel):
    """Binary cross-entropy of every class, present or not, with log(C p_c) as its logit.

    With the logit log(C p_c) a class is as likely as not where its probability p_c is 1/C, so that what is trained is
    what is decided; plain logits of a sigmoid would decide at another place than the stored distribution. The mean is
    over the classes of the utterances that have a distribution. Its least value is above 0, because p_c is at most 1.

    Source: Chou et al. 2024, "Embracing Ambiguity And Subjectivity Using The All-Inclusive Aggregation Rule For
    Evaluating Multi-Label Speech Emotion Recognition Systems", for the threshold; the logit is this toolkit's.

    Args:
        num_classes: C, injected from the data.
        threshold: share of the votes above which (strictly) a class is present; None is 1 / C.

    Raises:
        RecipeError: ``threshold`` is no share.
    """

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "multilabel_binary_cross_entropy"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        known = rows_with_distribution(batch.targets.soft)
        there = present_classes(batch.targets.soft, self.threshold).to(logits)
        odds = logits.log_softmax(dim=1) + math.log(self.num_classes)
        losses = F.binary_cross_entropy_with_logits(odds, there, reduction="none").mean(dim=1)
        loss = masked_ratio(torch.where(known, losses, 0.0).sum(), known.sum().to(losses))
        return loss, {"multilabel_binary_cross_entropy": loss}


class MultiLabelCrossEntropy(_MultiLabel):
    """Cross-entropy against 1/k for each of the k classes that are present; without one, an utterance is left out.

    Its minimum is log k, where the present classes share all probability evenly: 1/k is above 1/C.

    Source: Mahajan et al. 2018, "Exploring the Limits of Weakly Supervised Pretraining", for the targets of 1/k;
    Chou et al. 2024 (as above) for the threshold.

    Args:
        num_classes: C, injected from the data.
        threshold: share of the votes above which (strictly) a class is present; None is 1 / C.

    Raises:
        RecipeError: ``threshold`` is no share.
    """

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "multilabel_cross_entropy"."""
        logits = needed(outputs.logits, "logits", type(self).__name__)
        there = present_classes(batch.targets.soft, self.threshold).to(logits)
        count = there.sum(dim=1, keepdim=True)
        target = there / count.clamp_min(1)
        losses = -(target * logits.log_softmax(dim=1)).sum(dim=1)
        loss = masked_ratio(losses.sum(), (count > 0).sum().to(losses))
        return loss, {"multilabel_cross_entropy": loss}
