"""Objectives for heads that judge frames."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_toolkit.data.batch import Batch, Outputs, valid_mask
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives._numeric import masked_ratio, needed
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import (
    ClassWeights,
    check_class_weights,
    mean_over_labelled,
    weights_of_classes,
)


class FrameCrossEntropy(Objective):
    """Cross-entropy of every frame with the label of its utterance; utterances without a label are left out.

    The loss of an utterance is the mean over its frames, so that a long one counts no more than a short one; the mean
    over utterances is sum_i w(y_i) l_i / sum_i w(y_i), as in CrossEntropy, which it is where there is one frame each.

    Source: Fayek et al. 2017, "Evaluating deep learning architectures for speech emotion recognition", where each
    frame inherits the label of its utterance.

    Args:
        num_classes: C, injected from the data.
        class_weights: "balanced" weighs a class by N / (C * n_c), its inverse frequency in the training part, "sqrt"
            by the square root of that, "effective" by its effective number of samples (Cui et al. 2019).

    Raises:
        RecipeError: ``class_weights`` is unknown.
    """

    requires = ("frame_logits",)

    def __init__(self, num_classes: int, class_weights: ClassWeights = "none") -> None:
        super().__init__(num_classes)
        check_class_weights(class_weights, "FrameCrossEntropy")
        self.class_weights: ClassWeights = class_weights

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its part "frame_cross_entropy"."""
        logits = needed(outputs.frame_logits, "frame_logits", type(self).__name__)
        if outputs.frame_lengths is None:
            raise RecipeError(
                "FrameCrossEntropy needs the number of frames of each utterance, but the outputs have frame_logits "
                "without frame_lengths. Train on waveforms or stored frames, not on stored vectors."
            )
        labels = batch.targets.label
        valid = valid_mask(outputs.frame_lengths, logits.shape[1])
        # Padding is replaced before the softmax: whatever stands there may be infinite.
        log_p = torch.where(valid[:, :, None], logits, 0.0).log_softmax(dim=2)
        index = labels.clamp_min(0)[:, None, None].expand(-1, logits.shape[1], 1)
        losses = torch.where(valid, -log_p.gather(2, index)[:, :, 0], 0.0)
        per_utterance = masked_ratio(losses.sum(dim=1), valid.sum(dim=1))
        weights = weights_of_classes(self.class_counts, self.class_weights)
        loss = mean_over_labelled(per_utterance, labels, weights)
        return loss, {"frame_cross_entropy": loss}
