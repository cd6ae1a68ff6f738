"""Everything that stored features depend on, besides the audio."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

import torch

from ser_toolkit.data.reduction import FRAMES, Reduction
from ser_toolkit.features import FEATURE_VERSION
from ser_toolkit.features.settings import Precision, StoredType
from ser_toolkit.system.version import VERSION


@dataclass(frozen=True)
class StoreKey:
    """Everything that stored features depend on, besides the audio.

    Args:
        fingerprint: of the upstream, from ``Upstream.fingerprint()``.
        reduction: of the frames.
        dtype: of stored frames; moments are always float32.
        precision: in which the upstream computed, with the kind of device where that matters.
        upstream: name of the upstream's class, for ``ser-extract status``.
        source: hash of the source of an upstream of one's own, which may change under the same fingerprint.
        channel: number of the channel that was taken of recordings with several; None for their average.
    """

    fingerprint: str
    reduction: Reduction = FRAMES
    dtype: StoredType = "float32"
    precision: str = "float32"
    upstream: str = field(default="", compare=False)
    source: str = ""
    channel: int | None = None

    @property
    def stored_as(self) -> StoredType:
        """The type of the numbers on disk."""
        return self.dtype if self.reduction.what == "frames" else "float32"

    @property
    def identity(self) -> str:
        """Name of the folder (16 hex digits)."""
        settings = [self.reduction.what, self.reduction.layer_norm, self.stored_as, self.precision]
        text = json.dumps([FEATURE_VERSION, self.fingerprint, *settings, self.source, self.channel])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def description(self) -> dict[str, object]:
        """Content of the store's ``store.json``."""
        reduction = {name: value for name, value in asdict(self.reduction).items() if name != "reason"}
        return {
            "feature_version": FEATURE_VERSION,
            "toolkit_version": VERSION,
            "upstream": self.upstream,
            "fingerprint": self.fingerprint,
            **reduction,
            "dtype": self.stored_as,
            "precision": self.precision,
            "source": self.source,
            "channel": self.channel,
        }


def precision_label(precision: Precision, device: torch.device | str) -> str:
    """Precision in words: float32 alone, which is the same everywhere to rounding, else with the kind of device."""
    return precision if precision == "float32" else f"{precision} on {torch.device(device).type}"
