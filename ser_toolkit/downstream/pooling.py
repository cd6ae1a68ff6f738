"""Poolings: frames of an utterance -> one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Pooling(nn.Module, ABC):
    """Frames -> utterance vector: (B, T, D), (B,) -> (B, E).

    Frames behind ``lengths`` must never matter; ``lengths`` are at least 1.

    Args:
        input_dim: D, injected.
    """

    #: Order of the per-frame moments that suffice for this pooling (1: mean, 2: mean and variance), None if none do.
    moment_order: int | None = None

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = input_dim

    @abstractmethod
    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, E)."""
