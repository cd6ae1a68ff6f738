"""Frame stages: frames -> frames, between the layer mix and the pooling."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class FrameStage(nn.Module, ABC):
    """Frames -> frames: (B, T, D), (B,) -> (B, T', D'), (B,).

    Args:
        input_dim: D, injected.
    """

    #: Whether the map is linear in each frame by itself (then it commutes with the mean over time).
    linear: bool = False

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = input_dim

    @abstractmethod
    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T', D'), (B,); frames behind the new lengths may hold anything."""
