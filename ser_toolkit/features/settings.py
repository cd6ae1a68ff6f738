"""Settings of a recipe for the features of its frozen upstreams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from ser_toolkit.errors import RecipeError
from ser_toolkit.terms import Precision

StoredType = Literal["float32", "float16", "bfloat16"]

#: How stored numbers are typed.
TYPES: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class FeatureSettings:
    """How the features of frozen upstreams are computed and kept.

    Args:
        keep: "auto" keeps as little as the parts behind the upstream need (means, variances, second moments across
            layers, or frames), "frames" always frames, "none" nothing: every step then starts at the recordings.
        dtype: of stored frames. float16 and bfloat16 halve the disk and cost accuracy, which is measured and printed;
            moments are always float32.
        precision: in which the upstream computes. bfloat16 is faster where the hardware has it; its error is measured
            and printed.
        compile: pass the upstream's layers through torch.compile.
        batch_seconds: padded audio seconds that go through the upstream at once, at most (a longer recording goes
            alone). Changes speed and memory, never a result.
    """

    keep: Literal["auto", "frames", "none"] = "auto"
    dtype: StoredType = "float32"
    precision: Precision = "float32"
    compile: bool = False
    batch_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.batch_seconds > 0:
            raise RecipeError(f"features.batch_seconds is {self.batch_seconds}, expected seconds above 0.")
