"""A user's own upstream, found by its class path: it can be fine-tuned, and refuses long recordings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_toolkit.errors import AudioError
from ser_toolkit.upstreams.base import Upstream, weights_hash

LONGEST = 16000


class TinyUpstream(Upstream):
    """Energies of 100 samples through one linear layer, at most one second.

    Args:
        frozen: keep the weights, or train them.
    """

    feature_dim = 3
    num_layers = 2
    hop_samples = receptive_samples = 100

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(frozen)
        self.layer = nn.Linear(1, 3)
        if frozen:
            self.freeze()

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return torch.div(lengths, 100, rounding_mode="floor")

    def fingerprint(self) -> str:
        return weights_hash(self)

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if int(lengths.max()) > LONGEST:
            raise AudioError(f"longer than {LONGEST} samples")
        counts = self.frame_lengths(lengths)
        energy = wav[:, : wav.shape[1] // 100 * 100].unflatten(1, (-1, 100)).square().mean(dim=2)
        frames = self.layer(100 * energy[:, None, :, None]).expand(-1, 2, -1, -1)
        there = torch.arange(frames.shape[2])[None] < counts[:, None]
        return frames * there[:, None, :, None], counts


class LimitedUpstream(TinyUpstream):
    """The same, and it says how much it takes.

    Args:
        frozen: keep the weights, or train them.
    """

    longest_samples = LONGEST
