"""Fusion: the streams of several upstreams -> one utterance vector."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from ser_toolkit.data.alignment import align
from ser_toolkit.data.batch import Frames, Moments
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.downstream.frames import FrameStage
from ser_toolkit.downstream.layers import LayerMix
from ser_toolkit.downstream.path import Embedded, embed, reduction
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import Part

LayerMixMaker = Callable[[int, int], LayerMix]
FrameStageMaker = Callable[[int], FrameStage]
PoolingMaker = Callable[[int], Pooling]


class StreamShape(NamedTuple):
    """Layers, feature size and distance of two frames in seconds (0: one frame an utterance) of a stream."""

    num_layers: int
    feature_dim: int
    hop_seconds: float


class Fusion(nn.Module, Part):
    """Streams of several upstreams -> one utterance vector.

    Args:
        shapes: of the streams, injected.
        layer_mix: makes the layer mix of a stream, injected from ``model.layer_mix``.
        frames: makes a frame stage, injected from ``model.frames``.
        pooling: makes a pooling, injected from ``model.pooling``.
        layer_mixes: one for each stream, in place of ``model.layer_mix``; empty uses that for all.

    Raises:
        RecipeError: there are fewer or more layer mixes than streams.
    """

    output_dim: int

    def __init__(
        self,
        shapes: Sequence[StreamShape],
        layer_mix: LayerMixMaker,
        frames: FrameStageMaker,
        pooling: PoolingMaker,
        layer_mixes: Sequence[LayerMixMaker] = (),
    ) -> None:
        super().__init__()
        makers = one_each(layer_mixes, layer_mix, len(shapes), f"{type(self).__name__}: layer_mixes")
        self.hops = [shape.hop_seconds for shape in shapes]
        self.layer_mix = nn.ModuleList(
            make(shape.num_layers, shape.feature_dim) for make, shape in zip(makers, shapes, strict=True)
        )

    @property
    def mixes(self) -> list[LayerMix]:
        """The layer mix of each stream."""
        return list(self.layer_mix)  # type: ignore[arg-type]

    @property
    @abstractmethod
    def reductions(self) -> tuple[Reduction, ...]:
        """The least that has to be kept of the frames under each upstream."""

    @abstractmethod
    def forward(self, streams: Sequence[Frames | Moments]) -> Embedded:
        """One stream for each upstream -> vectors (B, E) and, if there is one sequence of frames, that."""


class EarlyFusion(Fusion):
    """Frames of all upstreams side by side on one time grid, then one frame stage and one pooling.

    The grid is that of the upstream with the closest frames; the others are interpolated linearly in time, and one
    vector an utterance is repeated (``ser_toolkit.data.alignment.align``).

    Source: Morais et al. 2022, "Speech emotion recognition using self-supervised features", section 3.1 (early fusion:
    concatenation of frames on the feature axis before one aggregator).

    Args:
        shapes: of the streams, injected.
        layer_mix: injected from ``model.layer_mix``.
        frames: injected from ``model.frames``.
        pooling: injected from ``model.pooling``.
        layer_mixes: one for each stream, in place of ``model.layer_mix``; empty uses that for all.
    """

    def __init__(
        self,
        shapes: Sequence[StreamShape],
        layer_mix: LayerMixMaker,
        frames: FrameStageMaker,
        pooling: PoolingMaker,
        layer_mixes: Sequence[LayerMixMaker] = (),
    ) -> None:
        super().__init__(shapes, layer_mix, frames, pooling, layer_mixes)
        self.frames = frames(sum(mix.output_dim for mix in self.layer_mix))  # type: ignore[misc]
        self.pooling = pooling(self.frames.output_dim)
        self.output_dim = self.pooling.output_dim

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """Frames of each upstream: they are brought onto one time grid."""
        return tuple(Reduction("frames", mix.layer_norm, "EarlyFusion aligns frames in time") for mix in self.mixes)

    def forward(self, streams: Sequence[Frames | Moments]) -> Embedded:
        """One Frames for each upstream -> vectors (B, E), frames (B, T, D), lengths (B,).

        Raises:
            RecipeError: a stream carries moments.
        """
        frames = [stream for stream in streams if isinstance(stream, Frames)]
        if len(frames) < len(streams):
            raise RecipeError("EarlyFusion aligns frames in time: moments are not enough (features.keep=frames).")
        mixed = [mix(stream.values) for mix, stream in zip(self.mixes, frames, strict=True)]
        aligned, lengths = align(mixed, [stream.lengths for stream in frames], self.hops)
        values, lengths = self.frames(aligned, lengths)
        return Embedded(self.pooling(values, lengths), values, lengths)


class LateFusion(Fusion):
    """Each upstream has a layer mix, frame stage and pooling of its own; their vectors stand side by side.

    Nothing has to be aligned in time.

    Source: Morais et al. 2022, "Speech emotion recognition using self-supervised features", section 3.1 (late fusion:
    concatenation of two aggregators' utterance embeddings).

    Args:
        shapes: of the streams, injected.
        layer_mix: injected from ``model.layer_mix``.
        frames: injected from ``model.frames``.
        pooling: injected from ``model.pooling``.
        layer_mixes: one for each stream, in place of ``model.layer_mix``; empty uses that for all.
        frame_stages: one for each stream, in place of ``model.frames``; empty uses that for all.
        poolings: one for each stream, in place of ``model.pooling``; empty uses that for all.

    Raises:
        RecipeError: a list has fewer or more entries than there are streams.
    """

    def __init__(
        self,
        shapes: Sequence[StreamShape],
        layer_mix: LayerMixMaker,
        frames: FrameStageMaker,
        pooling: PoolingMaker,
        layer_mixes: Sequence[LayerMixMaker] = (),
        frame_stages: Sequence[FrameStageMaker] = (),
        poolings: Sequence[PoolingMaker] = (),
    ) -> None:
        super().__init__(shapes, layer_mix, frames, pooling, layer_mixes)
        stages = one_each(frame_stages, frames, len(shapes), "LateFusion: frame_stages")
        makers = one_each(poolings, pooling, len(shapes), "LateFusion: poolings")
        self.frames = nn.ModuleList(make(mix.output_dim) for make, mix in zip(stages, self.layer_mix, strict=True))
        self.pooling = nn.ModuleList(make(stage.output_dim) for make, stage in zip(makers, self.frames, strict=True))
        self.output_dim = sum(pooling.output_dim for pooling in self.pooling)  # type: ignore[misc]

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """What each upstream's own parts need."""
        return tuple(reduction(*parts) for parts in self._paths)

    def forward(self, streams: Sequence[Frames | Moments]) -> Embedded:
        """One stream for each upstream -> vectors (B, E); there is no one sequence of frames."""
        found = [embed(*parts, stream) for parts, stream in zip(self._paths, streams, strict=True)]
        return Embedded(torch.cat([one.embedding for one in found], dim=1), None, None)

    @property
    def _paths(self) -> list[tuple[LayerMix, FrameStage, Pooling]]:
        return list(zip(self.mixes, self.frames, self.pooling, strict=True))  # type: ignore[arg-type]


def one_each(own: Sequence, common: object, count: int, what: str) -> Sequence:
    """``own`` if there are as many as streams, ``count`` times ``common`` if there are none.

    Raises:
        RecipeError: there are some, but not ``count``.
    """
    if own and len(own) != count:
        raise RecipeError(f"{what} lists {len(own)}, but there are {count} upstreams. Give one for each, or none.")
    return own or [common] * count
