"""A branch: streams of a batch -> one vector an utterance, from frames or, where that is exact, from their moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from ser_toolkit.data.alignment import align
from ser_toolkit.data.batch import STREAM, Frames, Moments
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.downstream.frames import FrameStage, NoFrameStage
from ser_toolkit.downstream.layers import LayerMix
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import check_size

ModuleT = TypeVar("ModuleT", bound=nn.Module)
#: Reason for which a branch of several streams needs their frames.
_ALIGNED = "EarlyFusion aligns frames in time"


class Embedded(NamedTuple):
    """Vectors (B, E), and the frames (B, T, D) and lengths (B,) that were pooled, where there is one sequence."""

    embedding: Tensor
    frames: Tensor | None
    lengths: Tensor | None


class Branch(nn.Module):
    """Layer mix of each stream, frame stage, pooling: streams (B, L, T, D) -> vectors (B, E).

    Most branches read one stream. Several are brought onto one time grid behind their layer mixes (``data.alignment``),
    and share the frame stage and the pooling. The upstreams that give the streams stand beside the branches: their
    entries in stored weights stay the same, whatever is chosen behind them.

    Args:
        layer_mixes: one for each stream.
        frames: made for the features of all streams side by side.
        pooling: frames -> one vector.
        reads: names of the streams of a batch, in the order of ``layer_mixes``.
        hops: seconds between two frames of each stream (0: one frame an utterance); read where there are several.
    """

    def __init__(
        self,
        layer_mixes: Sequence[LayerMix],
        frames: FrameStage,
        pooling: Pooling,
        reads: Sequence[str] = (STREAM,),
        hops: Sequence[float] = (0.0,),
    ) -> None:
        super().__init__()
        self.reads, self.hops = tuple(reads), tuple(hops)
        self.layer_mixes = module_list(layer_mixes)
        self.frames = frames
        self.pooling = pooling
        self.output_dim = pooling.output_dim

    @property
    def parts(self) -> tuple[LayerMix | FrameStage | Pooling, ...]:
        """Layer mixes, frame stage and pooling, in the order of computation."""
        return (*self.layer_mixes, self.frames, self.pooling)

    @property
    def reductions(self) -> dict[str, Reduction]:
        """The least that has to be stored of the frames of each stream, so that the vectors stay the same."""
        if len(self.reads) == 1:
            return {self.reads[0]: reduction(self.layer_mixes[0], self.frames, self.pooling)}
        mixes = zip(self.reads, self.layer_mixes, strict=True)
        return {name: Reduction("frames", mix.layer_norm, _ALIGNED) for name, mix in mixes}

    def forward(self, streams: Mapping[str, Frames | Moments]) -> Embedded:
        """Vectors (B, E) from the streams that the branch reads; with the pooled frames, where frames were given.

        Raises:
            RecipeError: a stream carries moments, and these parts need frames.
        """
        read = [streams[name] for name in self.reads]
        moments = next((stream for stream in read if isinstance(stream, Moments)), None)
        if moments is None:
            return self._from_frames([stream for stream in read if isinstance(stream, Frames)])
        if len(read) > 1:
            raise RecipeError(f"{_ALIGNED}: moments are not enough (features.keep=frames).")
        return Embedded(self._from_moments(moments), None, None)

    def _from_frames(self, streams: Sequence[Frames]) -> Embedded:
        mixed = [mix(stream.values) for mix, stream in zip(self.layer_mixes, streams, strict=True)]
        for mix, values in zip(self.layer_mixes, mixed, strict=True):
            check_size(mix, "output_dim", mix.output_dim, values)
        frames, lengths = mixed[0], streams[0].lengths
        if len(mixed) > 1:
            frames, lengths = align(mixed, [stream.lengths for stream in streams], self.hops)
        frames, lengths = self.frames(frames, lengths)
        check_size(self.frames, "output_dim", self.frames.output_dim, frames)
        vectors = self.pooling(frames, lengths)
        check_size(self.pooling, "output_dim", self.pooling.output_dim, vectors)
        return Embedded(vectors, frames, lengths)

    def _from_moments(self, moments: Moments) -> Tensor:
        mix = self.layer_mixes[0]
        needed = reduction(mix, self.frames, self.pooling)
        if needed.what == "frames":
            raise RecipeError(
                f"Moments of frames are not enough: {needed.reason}. Store frames (features.keep=frames)."
            )
        mean, variance = mix.from_moments(moments)
        if needed.what == "means":
            # a mean is a sequence of one frame: the same frame stage sees it, so that nothing can differ
            one = torch.ones(len(mean), dtype=torch.long, device=mean.device)
            mean = self.frames(mean[:, None], one)[0][:, 0]
        return self.pooling.from_moments(mean, variance)


def module_list(modules: Iterable[ModuleT]) -> Sequence[ModuleT]:
    """``nn.ModuleList`` of modules of one kind, with the type of its entries, which torch does not state."""
    return cast("Sequence[ModuleT]", nn.ModuleList(modules))


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
    """Whether a part's declarations are about its own ``forward``, not about one that it inherited and replaced."""
    words = ("moment_order", "from_moments") if isinstance(part, Pooling) else ("linear", "weights", "from_moments")
    for kind in type(part).__mro__:
        if any(name in vars(kind) for name in words):
            return True
        if "forward" in vars(kind):
            return "linear" in vars(part)  # declared for this object
    return True
