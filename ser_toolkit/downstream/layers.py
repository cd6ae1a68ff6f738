"""Layer mix: the hidden states of all layers -> one sequence of frames."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class LayerMix(nn.Module, ABC):
    """All layers -> one sequence: (B, L, T, D) -> (B, T, D').

    Args:
        num_layers: L, injected from the upstream.
        feature_dim: D, injected from the upstream.
    """

    #: Whether the map is linear in the frames of each layer (then moments are enough behind it).
    linear: bool = True

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.output_dim = feature_dim

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, T, D) -> (B, T, D')."""
