"""Heads: utterance vector -> logits and/or valence, arousal, dominance."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ser_toolkit.data.batch import Outputs


class Head(nn.Module, ABC):
    """Utterance vector -> outputs: (B, E) -> Outputs.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
    """

    #: What the head fills in: "logits", "dimensions" or both.
    outputs: tuple[str, ...] = ("logits",)

    def __init__(self, input_dim: int, num_classes: int) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> Outputs with ``logits`` (B, C) and/or ``dimensions`` (B, 3)."""
