"""Parts of one's own, complete: an upstream, a pooling, a head and an objective.

Copy what you need into a file in your working directory, and name its classes:

    ser-train --check my_parts.MidRange
    ser-train recipe=demo model.upstream=my_parts.BandEnergies model.pooling=my_parts.MidRange
    ser-train recipe=demo model.head=my_parts.CosineHead model.objective=my_parts.PolyLoss model.objective.epsilon=2
    ser-train --model.pooling.help my_parts.MidRange

The constructor is the command line: sizes come first and are filled in by the model, options follow, typed and with a
default. The first line of the docstring and its ``Args:`` are what ``--help`` shows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs, valid_mask
from ser_toolkit.downstream.heads import Head
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.base import Objective
from ser_toolkit.upstreams.base import Upstream


class BandEnergies(Upstream):
    """Log energy in equally wide bands of the spectrum, every 10 ms; no weights.

    Args:
        num_bands: bands between 0 and 8 kHz.
    """

    def __init__(self, num_bands: int = 16) -> None:
        super().__init__(frozen=True)  # nothing to train
        self.num_bands = num_bands
        # what every upstream states: these four, and sampling_rate where it is not 16000
        self.feature_dim = num_bands
        self.num_layers = 1
        self.hop_samples = 160
        self.receptive_samples = 400
        self.register_buffer("window", torch.hann_window(self.receptive_samples), persistent=False)
        self.freeze()

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Windows that lie wholly within the utterance: (B,) samples -> (B,) frames."""
        return torch.div(lengths - self.receptive_samples, self.hop_samples, rounding_mode="floor") + 1

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N), (B,) -> (B, 1, T, num_bands), (B,)."""
        counts = self.frame_lengths(lengths)
        blocks = wav.float().unfold(1, self.receptive_samples, self.hop_samples)[:, : int(counts.max())]
        power = torch.fft.rfft(blocks * self.window).abs().square()[..., 1:]
        energies = F.adaptive_avg_pool1d(power, self.num_bands).add(1e-6).log()
        valid = valid_mask(counts, energies.shape[1])[..., None]  # frames behind the end are zeros
        return energies.masked_fill(~valid, 0)[:, None], counts

    def fingerprint(self) -> str:
        """All that the frames depend on: a store of features is found by it, so raise the number with the code."""
        return f"BandEnergies/1|bands={self.num_bands}"


class MidRange(Pooling):
    """Middle and half width of each feature's range over time: E = 2 * D.

    Args:
        input_dim: D, injected.
        width: whether the half width stands beside the middle; E = D without it.
    """

    def __init__(self, input_dim: int, width: bool = True) -> None:
        super().__init__(input_dim)
        self.output_dim = 2 * input_dim if width else input_dim  # what the parts behind are made for
        self.width = width

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, E)."""
        behind = ~valid_mask(lengths, frames.shape[1])[..., None]  # never let padding in
        highest = frames.masked_fill(behind, -torch.inf).amax(dim=1)
        lowest = frames.masked_fill(behind, torch.inf).amin(dim=1)
        middle = (highest + lowest) / 2
        return torch.cat([middle, (highest - lowest) / 2], dim=1) if self.width else middle


class CosineHead(Head):
    """Cosine to a prototype of each class, times a scale that is learnt.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        scale: at the start of training.
    """

    outputs = ("logits",)

    def __init__(self, input_dim: int, num_classes: int, scale: float = 10.0) -> None:
        super().__init__(input_dim, num_classes)
        self.prototypes = nn.Parameter(torch.randn(num_classes, input_dim))
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, embedding: Tensor) -> Outputs:
        """(B, E) -> logits (B, C)."""
        cosines = F.linear(F.normalize(embedding, dim=1), F.normalize(self.prototypes, dim=1))
        return Outputs(logits=self.scale * cosines)


class PolyLoss(Objective):
    """Cross-entropy plus ``epsilon`` times the probability that the right class is short of.

    Source: Leng et al., "PolyLoss", ICLR 2022, eq. 4 (Poly-1).

    Args:
        num_classes: C, injected from the data.
        epsilon: weight of the second term.
    """

    requires = ("logits",)

    def __init__(self, num_classes: int, epsilon: float = 1.0) -> None:
        super().__init__(num_classes)
        self.epsilon = epsilon

    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar to minimise, and its parts for the log."""
        if outputs.logits is None:
            raise RecipeError("PolyLoss needs logits: choose a model.head that gives them.")
        # half precision is not enough for a loss; what is more precise stays so
        logits = outputs.logits.to(torch.promote_types(outputs.logits.dtype, torch.float32))
        label = batch.targets.label
        known = label != MISSING_LABEL
        if not known.any():  # a batch without labels teaches nothing, and keeps the graph
            nothing = 0.0 * logits.sum()
            return nothing, {"cross_entropy": nothing.detach()}
        logits, label = logits[known], label[known]
        cross_entropy = F.cross_entropy(logits, label)
        missing = 1 - logits.softmax(dim=1).gather(1, label[:, None]).mean()
        return cross_entropy + self.epsilon * missing, {"cross_entropy": cross_entropy.detach()}
