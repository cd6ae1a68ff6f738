"""Several upstreams on the same recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ser_toolkit.data.alignment import align
from ser_toolkit.errors import RecipeError
from ser_toolkit.upstreams.base import Upstream


class FusedUpstreams(Upstream):
    """Several upstreams at once; ``model.fusion`` sets how they become one vector (EarlyFusion, LateFusion).

    Each keeps its own layers, feature size and frame rate, and its own features in the store: what another recipe has
    extracted is not extracted again. As one upstream it gives all layers of all of them side by side on one time grid.

    Args:
        upstreams: two or more, all at one sampling rate, all frozen or all fine-tuned.

    Raises:
        RecipeError: fewer than two, unequal sampling rates, or some frozen and some not.
    """

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        names = ", ".join(type(upstream).__name__ for upstream in upstreams)
        if len(upstreams) < 2:
            raise RecipeError(f"FusedUpstreams: upstreams should list two or more, found {names or 'none'}.")
        if any(len(upstream.parts) > 1 for upstream in upstreams):
            raise RecipeError("FusedUpstreams: upstreams holds another FusedUpstreams; list all of them in one.")
        if len({upstream.sampling_rate for upstream in upstreams}) > 1:
            rates = ", ".join(f"{type(u).__name__} {u.sampling_rate} Hz" for u in upstreams)
            raise RecipeError(f"FusedUpstreams: all upstreams should hear one sampling rate, found {rates}.")
        if len({upstream.frozen for upstream in upstreams}) > 1:
            raise RecipeError(f"FusedUpstreams: all of {names} should be frozen, or none. Set frozen alike.")
        super().__init__(upstreams[0].frozen)
        self.upstreams = nn.ModuleList(upstreams)
        self.sampling_rate = upstreams[0].sampling_rate
        self.receptive_samples = max(upstream.receptive_samples for upstream in upstreams)
        limits = [upstream.longest_samples for upstream in upstreams if upstream.longest_samples is not None]
        self.longest_samples = min(limits, default=None)
        self.feature_dim = sum(upstream.num_layers * upstream.feature_dim for upstream in upstreams)
        self.num_layers = 1
        self.hop_samples = self._finest.hop_samples

    @property
    def parts(self) -> tuple[Upstream, ...]:
        """The upstreams, each with a stream of its own."""
        return tuple(self.upstreams)  # type: ignore[arg-type]

    @property
    def batch_dependent(self) -> str | None:
        """Reason of the first part whose frames depend on the batch; None where those of no part do."""
        return next((reason for part in self.parts if (reason := part.batch_dependent)), None)

    @property
    def _finest(self) -> Upstream:
        return min(self.parts, key=lambda part: part.hop_samples or float("inf"))

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """All layers of all upstreams side by side as one layer: (B, N), (B,) -> (B, 1, T, sum of L * D), (B,)."""
        found = [part(wav, lengths) for part in self.parts]
        sequences = [frames.transpose(1, 2).flatten(2) for frames, _ in found]
        hops = [part.hop_samples / part.sampling_rate for part in self.parts]
        values, frame_lengths = align(sequences, [count for _, count in found], hops)
        return values[:, None], frame_lengths

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Number of frames of the upstream with the closest frames: (B,) -> (B,)."""
        return self._finest.frame_lengths(lengths)

    def fingerprint(self) -> str:
        """The fingerprints of all."""
        return " + ".join(part.fingerprint() for part in self.parts)

    @property
    def frame_settings(self) -> dict[str, Any]:
        """Frame settings of all parts, by number and name."""
        return {
            f"{i}.{name}": value for i, part in enumerate(self.parts) for name, value in part.frame_settings.items()
        }

    @property
    def training_settings(self) -> dict[str, Any]:
        """Training settings of all parts, by number and name."""
        each = enumerate(part.training_settings for part in self.parts)
        return {f"{index}.{name}": value for index, found in each for name, value in found.items()}
