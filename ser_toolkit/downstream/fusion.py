"""Fusion: the streams of the upstreams -> branches -> one utterance vector. One stream is a fusion of one branch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import Frames, Moments, stream_name
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.downstream.branch import Branch, Embedded, module_list
from ser_toolkit.downstream.frames import FrameStage
from ser_toolkit.downstream.layers import LayerMix
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import Part

LayerMixMaker = Callable[[int, int], LayerMix]
FrameStageMaker = Callable[[int], FrameStage]
PoolingMaker = Callable[[int], Pooling]
MakerT = TypeVar("MakerT")


class StreamShape(NamedTuple):
    """Layers, feature size and distance of two frames in seconds (0: one frame an utterance) of a stream."""

    num_layers: int
    feature_dim: int
    hop_seconds: float


class Fusion(nn.Module, Part):
    """Streams of one or more upstreams -> branches, whose vectors become one utterance vector.

    A subclass makes its branches in the constructor and passes them to ``set_branches``; each stream is read by one.

    Args:
        shapes: of the streams, injected.
        layer_mix: makes the layer mix of a stream, injected from ``model.layer_mix``.
        frames: makes a frame stage, injected from ``model.frames``.
        pooling: makes a pooling, injected from ``model.pooling``.
    """

    branches: Sequence[Branch]
    output_dim: int

    def __init__(
        self,
        shapes: Sequence[StreamShape],
        layer_mix: LayerMixMaker,
        frames: FrameStageMaker,
        pooling: PoolingMaker,
    ) -> None:
        super().__init__()
        self.reads = tuple(stream_name(number) for number in range(len(shapes)))

    def set_branches(self, branches: Sequence[Branch]) -> None:
        """Take over the branches; their vectors side by side have ``output_dim`` features."""
        self.branches = module_list(branches)
        self.output_dim = sum(branch.output_dim for branch in branches)

    @property
    def layer_mixes(self) -> dict[str, LayerMix]:
        """The layer mix of each stream, by the stream's name."""
        return {
            name: mix for branch in self.branches for name, mix in zip(branch.reads, branch.layer_mixes, strict=True)
        }

    @property
    def reductions(self) -> dict[str, Reduction]:
        """The least that has to be stored of the frames of each stream, by the stream's name."""
        return {name: least for branch in self.branches for name, least in branch.reductions.items()}

    def forward(self, streams: Mapping[str, Frames | Moments]) -> Embedded:
        """Streams by name -> vectors (B, E) and, if there is one sequence of frames, that."""
        found = [branch(streams) for branch in self.branches]
        if len(found) == 1:
            return found[0]
        return Embedded(self.combine([one.embedding for one in found]), None, None)

    def combine(self, vectors: Sequence[Tensor]) -> Tensor:
        """The vectors of two or more branches side by side: (B, E_i) each -> (B, sum of E_i)."""
        return torch.cat(list(vectors), dim=1)


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

    Raises:
        RecipeError: there are fewer or more layer mixes than streams.
    """

    def __init__(
        self,
        shapes: Sequence[StreamShape],
        layer_mix: LayerMixMaker,
        frames: FrameStageMaker,
        pooling: PoolingMaker,
        layer_mixes: Sequence[LayerMixMaker] = (),
    ) -> None:
        super().__init__(shapes, layer_mix, frames, pooling)
        mixes = make_layer_mixes(shapes, one_each(layer_mixes, layer_mix, len(shapes), "EarlyFusion: layer_mixes"))
        stage = frames(sum(mix.output_dim for mix in mixes))
        hops = [shape.hop_seconds for shape in shapes]
        self.set_branches([Branch(mixes, stage, pooling(stage.output_dim), self.reads, hops)])


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
        super().__init__(shapes, layer_mix, frames, pooling)
        count = len(shapes)
        mixes = make_layer_mixes(shapes, one_each(layer_mixes, layer_mix, count, "LateFusion: layer_mixes"))
        # kind by kind, not branch by branch: fresh weights are drawn in the order in which parts are made
        makers = one_each(frame_stages, frames, count, "LateFusion: frame_stages")
        pool_makers = one_each(poolings, pooling, count, "LateFusion: poolings")
        stages = [make(mix.output_dim) for make, mix in zip(makers, mixes, strict=True)]
        pools = [make(stage.output_dim) for make, stage in zip(pool_makers, stages, strict=True)]
        each = zip(mixes, stages, pools, self.reads, strict=True)
        self.set_branches([Branch([mix], stage, pool, [name]) for mix, stage, pool, name in each])


def one_each(own: Sequence[MakerT], common: MakerT, count: int, what: str) -> Sequence[MakerT]:
    """``own`` if there are as many as streams, ``count`` times ``common`` if there are none.

    Raises:
        RecipeError: there are some, but not ``count``.
    """
    if own and len(own) != count:
        raise RecipeError(f"{what} lists {len(own)}, but there are {count} upstreams. Give one for each, or none.")
    return own or [common] * count


def make_layer_mixes(shapes: Sequence[StreamShape], makers: Sequence[LayerMixMaker]) -> list[LayerMix]:
    """Make the layer mix of each stream."""
    return [make(shape.num_layers, shape.feature_dim) for make, shape in zip(makers, shapes, strict=True)]
