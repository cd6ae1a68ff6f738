"""An upstream that costs nothing: one random frame of 13 layers x 768 a recording, as means of WavLM-base are."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_toolkit.upstreams.base import Upstream

_SAMPLES = 64


class RandomMeans(Upstream):
    """The first samples of a recording of noise, through a fixed random matrix.

    Args:
        frozen: it has nothing to train.
        num_layers: L.
        feature_dim: D.
    """

    def __init__(self, frozen: bool = True, num_layers: int = 13, feature_dim: int = 768) -> None:
        super().__init__(frozen)
        self.num_layers, self.feature_dim = num_layers, feature_dim
        self.hop_samples, self.receptive_samples = 0, _SAMPLES
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("matrix", torch.randn(_SAMPLES, num_layers * feature_dim, generator=generator))
        self.freeze()

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N), (B,) -> (B, L, 1, D), ones."""
        rows = wav[:, :_SAMPLES] @ self.matrix
        return rows.unflatten(1, (self.num_layers, 1, self.feature_dim)), self.frame_lengths(lengths)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Ones: (B,) -> (B,)."""
        return torch.ones_like(lengths)

    def fingerprint(self) -> str:
        """Its sizes."""
        return f"random-means:{self.num_layers}:{self.feature_dim}"
