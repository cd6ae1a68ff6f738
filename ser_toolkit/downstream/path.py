"""What lies between an upstream and the head: layer mix, frame stage, pooling; from frames, or exactly from moments."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ser_toolkit.data.batch import Frames, Moments
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.downstream.frames import FrameStage, NoFrameStage
from ser_toolkit.downstream.layers import LayerMix
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import check_size


class Embedded(NamedTuple):
    """Vectors (B, E), and the frames (B, T, D) and lengths (B,) that were pooled, where there is one sequence."""

    embedding: Tensor
    frames: Tensor | None
    lengths: Tensor | None


def reduction(mix: LayerMix, stage: FrameStage, pooling: Pooling) -> Reduction:
    """The least that has to be kept of frames, as these parts declare.

    A mean passes a linear mix and a linear frame stage (mean(P(x)) = P(mean(x)), bias included). A variance passes a
    weighted sum of layers with second moments across layers, but behind a projection it would need covariances across
    features: then frames are kept. So they are where a class replaces the ``forward`` that it inherits without
    declaring anything: what its parent declares may not be true of it.
    """
    names = " -> ".join(type(part).__name__ for part in (mix, stage, pooling))
    layer_norm, order = mix.layer_norm, pooling.moment_order
    if not mix.linear:
        return Reduction("frames", layer_norm, f"{type(mix).__name__} is not linear in the frames")
    if not stage.linear:
        return Reduction("frames", layer_norm, f"{type(stage).__name__} is not linear in the frames")
    if order is None or order > 2:
        return Reduction("frames", layer_norm, f"{type(pooling).__name__} needs more than mean and variance over time")
    silent = next((type(part).__name__ for part in (mix, stage, pooling) if not _declared(part)), None)
    if silent is not None:
        return Reduction("frames", layer_norm, f"{silent} has a forward of its own and does not say what it needs")
    if order == 1:
        return Reduction("means", layer_norm, f"{names} is linear in the frames")
    if not isinstance(stage, NoFrameStage):
        return Reduction("frames", layer_norm, f"a variance behind {type(stage).__name__} needs the frames")
    if mix.crosses_layers:
        return Reduction("covariances", layer_norm, f"{names} takes mean and variance of a sum of layers")
    return Reduction("variances", layer_norm, f"{names} takes mean and variance of each layer")


def _declared(part: LayerMix | FrameStage | Pooling) -> bool:
    """Whether what a part declares was said of its own ``forward``, not of one that it inherited and replaced."""
    for kind in type(part).__mro__:
        if any(name in vars(kind) for name in ("linear", "weights", "moment_order", "from_moments")):
            return True
        if "forward" in vars(kind):
            return "linear" in vars(part)  # said of this object
    return True


def embed(mix: LayerMix, stage: FrameStage, pooling: Pooling, stream: Frames | Moments) -> Embedded:
    """Frames, or moments of them, of every layer -> pooled vectors.

    Raises:
        RecipeError: the stream carries moments, and these parts need more.
    """
    if isinstance(stream, Frames):
        mixed = mix(stream.values)
        check_size(mix, "output_dim", mix.output_dim, mixed)
        frames, lengths = stage(mixed, stream.lengths)
        check_size(stage, "output_dim", stage.output_dim, frames)
        vectors = pooling(frames, lengths)
        check_size(pooling, "output_dim", pooling.output_dim, vectors)
        return Embedded(vectors, frames, lengths)
    needed = reduction(mix, stage, pooling)
    if needed.what == "frames":
        raise RecipeError(f"Moments of frames are not enough: {needed.reason}. Store frames (features.keep=frames).")
    mean, variance = mix.from_moments(stream)
    if needed.what == "means":
        # a mean is a sequence of one frame: the same frame stage sees it, so that nothing can differ
        one = torch.ones(len(mean), dtype=torch.long, device=mean.device)
        mean = stage(mean[:, None], one)[0][:, 0]
    return Embedded(pooling.from_moments(mean, variance), None, None)
