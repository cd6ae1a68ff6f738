"""Base class of objectives: outputs and a batch -> one number to minimise, and its named parts."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.parts.finding import Part


class Objective(nn.Module, Part):
    """Outputs and batch -> (scalar loss, named parts).

    Args:
        num_classes: C, injected from the data.
    """

    #: Outputs that the objective needs from the head: checked before training, not in the first step. An objective
    #: made of others states its own in the constructor.
    requires: tuple[str, ...] = ("logits",)
    class_counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        # Counts of the training part; ones until known, so that weights are neutral in a model built by hand.
        self.register_buffer("class_counts", torch.ones(num_classes))

    def set_class_counts(self, counts: Tensor) -> None:
        """Tell the objective how often each class occurs in the training part: (C,)."""
        self.class_counts.copy_(counts.to(self.class_counts))

    @abstractmethod
    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar to minimise, and its parts by name for the log.

        Utterances without a label for the task are masked; a batch without any label gives 0 with a gradient graph.
        """
