"""The wiring of an emotion model, no maths: whichever stream a batch carries, there is one path to keep right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import (
    CONDITION,
    DIMENSIONS,
    STREAM,
    Batch,
    Frames,
    Moments,
    Outputs,
    Stored,
    Stream,
    Vectors,
    Waves,
    stack_stored,
    stream_name,
)
from ser_toolkit.data.conditions import Condition
from ser_toolkit.data.needs import Needs
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.downstream.branch import Embedded, module_list
from ser_toolkit.downstream.conditioning import Conditioning
from ser_toolkit.downstream.context import ContextStage, NoContext
from ser_toolkit.downstream.frames import NoFrameStage
from ser_toolkit.downstream.fusion import (
    EarlyFusion,
    FrameStageMaker,
    Fusion,
    LateFusion,
    LayerMixMaker,
    PoolingMaker,
    StreamShape,
)
from ser_toolkit.downstream.heads import FittedHead, FrameHead, Head, LinearHead
from ser_toolkit.downstream.layers import LayerMix, WeightedSum, normalised_layers
from ser_toolkit.downstream.pooling import MeanPooling, Pooling
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.features.normalise import EmbeddingNormalisation, GlobalNormalisation
from ser_toolkit.model.state import different, entries_of, without
from ser_toolkit.parts.finding import check_size, full_name
from ser_toolkit.upstreams.base import Upstream

Normalisation = Literal["none", "global", "embedding"]


class EmotionNetwork(nn.Module):
    """Upstream -> normalisation -> branches and their fusion -> context stage -> conditioning -> head.

    Training is not decided here. A batch carries waves, or stored features of them: frames or moments as
    ``upstream_frames`` gives them, that is layer-normalised where the layer mix has ``layer_norm``, or vectors where
    nothing before them learns.

    Args:
        upstream: waveform -> frames of every layer; of ``FusedUpstreams`` each part has a stream of its own.
        fusion: the streams -> one vector, by one branch or more.
        head: vector -> class logits and/or valence, arousal, dominance.
        context: vectors -> vectors that know the other turns of their dialogues; None: NoContext.
        conditioning: tells the head what is known besides the sound; None tells it nothing.
        normalisation: "global" of the frames of each layer, "embedding" of the pooled vectors, or "none".
        classes: class order.

    Raises:
        RecipeError: the parts do not go together.
    """

    def __init__(
        self,
        upstream: Upstream,
        fusion: Fusion,
        head: Head,
        context: ContextStage | None = None,
        conditioning: Conditioning | None = None,
        normalisation: Normalisation = "none",
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if normalisation != "none" and not upstream.frozen:
            raise RecipeError(
                f"model.normalisation={normalisation} standardises features that stay as they are and needs a frozen "
                "upstream; set model.normalisation=none to fine-tune."
            )
        self.classes = tuple(classes)
        self.trained_dimensions: tuple[str, ...] = DIMENSIONS
        self.upstream = upstream
        self.fusion = fusion
        self.normalisation: Sequence[GlobalNormalisation] | None = None
        if normalisation == "global":
            self.normalisation = module_list(
                GlobalNormalisation(part.num_layers, part.feature_dim) for part in upstream.parts
            )
        self.embedding_normalisation = (
            EmbeddingNormalisation(fusion.output_dim) if normalisation == "embedding" else None
        )
        self.context = NoContext(fusion.output_dim) if context is None else context
        self.conditioning = conditioning
        self.head = head
        self.head.set_classes(self.classes)
        self._check_parts()

    def trained_on(self, dimensions: Sequence[str]) -> None:
        """Note which dimensions had ratings in training: what the head gives for the others is no prediction."""
        self.trained_dimensions = tuple(dimensions)

    # --- forward -------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Outputs:
        """Outputs for a batch of waves, stored frames, stored moments or stored vectors."""
        stream = batch.streams.get(STREAM)
        if isinstance(stream, Vectors):
            pooled = Embedded(stream.values, None, None)
        else:
            pooled = self._embed(self._streams(batch))
            pooled = pooled._replace(embedding=self.normalised(pooled.embedding))
        embedding, frames, lengths = pooled
        if isinstance(self.head, FrameHead):
            outputs = self.head.from_frames(*_one_sequence(frames, lengths))
        else:
            outputs = self.head(self._in_context(embedding, batch))
        self._check_outputs(outputs)
        outputs.embedding, outputs.frames, outputs.frame_lengths = embedding, frames, lengths
        return outputs

    def _check_outputs(self, outputs: Outputs) -> None:
        """Refuse anything that an own head returns instead of Outputs, and scores of another number of classes."""
        if not isinstance(outputs, Outputs):
            raise RecipeError(
                f"{full_name(type(self.head))} returned a {type(outputs).__name__}, expected Outputs: write "
                "`return Outputs(logits=...)` (from ser_toolkit.data.batch import Outputs)."
            )
        if outputs.logits is not None:
            check_size(self.head, "num_classes", self.head.num_classes, outputs.logits)

    def upstream_frames(self, waves: Waves) -> list[Frames]:
        """Frames of each upstream, layer-normalised where its layer mix has ``layer_norm``: as they are stored."""
        mixes = self.fusion.layer_mixes
        parts = enumerate(self.upstream.parts)
        return [_frames(part, mixes[stream_name(number)], waves) for number, part in parts]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Facts that the model takes besides the sound."""
        return () if self.conditioning is None else self.conditioning.conditions

    @property
    def needs(self) -> Needs:
        """Sampling rate and conditions of the batches that the model takes."""
        return Needs(self.upstream.sampling_rate, self.conditions)

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """The least that has to be stored of the frames of each upstream, so that the outputs stay the same."""
        found = self.fusion.reductions
        least = tuple(found[stream_name(number)] for number in range(len(self.upstream.parts)))
        if isinstance(self.head, FrameHead):
            name = type(self.head).__name__
            return tuple(Reduction("frames", one.layer_norm, f"{name} judges frames") for one in least)
        if self.normalisation is not None:
            # its statistics are those of frames: mean and variance
            return tuple(
                one.joined(Reduction("variances", one.layer_norm, "model.normalisation=global needs variances"))
                for one in least
            )
        return least

    @property
    def fixed_embedding(self) -> bool:
        """Whether nothing up to the pooled vector learns, so that it can be stored instead of frames."""
        learns = any(True for _ in self.fusion.parameters())
        # what depends on the padding of a batch is another vector in every batch
        exact = all(part.padding_exact for part in self.fusion.modules() if isinstance(part, Pooling))
        return self.upstream.frozen and not learns and exact and not isinstance(self.head, FrameHead)

    def normalised(self, vectors: Tensor) -> Tensor:
        """Pooled vectors as context stage and head take them: (B, E) -> (B, E)."""
        return vectors if self.embedding_normalisation is None else self.embedding_normalisation(vectors)

    def vector(self, stored: Stored) -> Tensor:
        """The pooled vector of one utterance, before its normalisation: stored features -> (E,)."""
        streams = {
            name: stream for name, stream in stack_stored([stored]).items() if isinstance(stream, Frames | Moments)
        }
        with torch.no_grad():
            return self._embed(streams).embedding[0]

    def _streams(self, batch: Batch) -> dict[str, Frames | Moments]:
        """The stream of each upstream by name: as it is stored, or computed from the stream that the upstream reads.

        Raises:
            RecipeError: the batch has neither.
        """
        found: dict[str, Frames | Moments] = {}
        for number, part in enumerate(self.upstream.parts):
            name = stream_name(number)
            stored, raw = batch.streams.get(name), batch.streams.get(part.reads)
            if isinstance(stored, Frames | Moments):
                found[name] = stored
            elif isinstance(raw, Waves):
                found[name] = _frames(part, self.fusion.layer_mixes[name], raw)
            else:
                raise RecipeError(
                    f"{type(part).__name__} reads the stream {part.reads!r}, or what is stored of it as {name!r}; the "
                    f"batch has {', '.join(batch.streams) or 'no stream'}."
                )
        return found

    def _embed(self, streams: Mapping[str, Frames | Moments]) -> Embedded:
        """Frames or moments of each upstream -> pooled vectors (B, E), and what was pooled."""
        if self.normalisation is not None:
            pairs = zip(self.normalisation, streams.items(), strict=True)
            streams = {name: normalisation(stream) for normalisation, (name, stream) in pairs}
        pooled: Embedded = self.fusion(streams)
        return pooled

    def _in_context(self, embedding: Tensor, batch: Batch) -> Tensor:
        """Vectors (B, E) as the head takes them: with their dialogues, and facts known besides the sound."""
        vectors: Tensor = self.context(embedding, batch.dialogue, batch.turn)
        check_size(self.context, "output_dim", self.context.output_dim, vectors)
        return vectors if self.conditioning is None else self._conditioned(vectors, batch.streams.get(CONDITION))

    def _conditioned(self, embedding: Tensor, known: Stream | None) -> Tensor:
        if not isinstance(known, Vectors) or self.conditioning is None:
            raise RecipeError("The model is conditioned, but the batch does not say on what: use needs=model.needs.")
        return self.conditioning(embedding, known.values)

    # --- what goes together ---------------------------------------------------------------------------------------

    def _path_names(self) -> str:
        """Parts between the upstream and the pooled vector, for messages."""
        if len(self.upstream.parts) > 1:
            return type(self.fusion).__name__
        return ", ".join(type(part).__name__ for branch in self.fusion.branches for part in branch.parts)

    def _check_parts(self) -> None:
        """Refuse heads and normalisations that do not go with the other parts."""
        if self.embedding_normalisation is not None and not self.fixed_embedding:
            raise RecipeError(
                "model.normalisation=embedding needs a layer mix, frame stage and pooling without parameters "
                f"(SingleLayer or ConcatenateLayers, NoFrameStage, MeanPooling ...); found {self._path_names()}."
            )
        branches = self.fusion.branches
        if isinstance(self.head, FrameHead) and (
            len(branches) > 1
            or any(True for branch in branches for _ in branch.pooling.parameters())
            or self.conditioning is not None
        ):
            raise RecipeError(
                f"{type(self.head).__name__} judges frames, so nothing can be learnt in a pooling, fused late or "
                "conditioned behind it. Use model.pooling=MeanPooling, EarlyFusion and no conditioning."
            )
        if isinstance(self.head, FittedHead) and not (self.fixed_embedding and self.conditioning is None):
            raise RecipeError(
                f"{type(self.head).__name__} is fitted at once, so nothing before it may learn: a frozen upstream and "
                f"a layer mix, frame stage and pooling without parameters; found {self._path_names()}. "
                "Use SingleLayer or ConcatenateLayers with MeanPooling or StatisticsPooling."
            )
        if isinstance(self.head, FrameHead | FittedHead) and not isinstance(self.context, NoContext):
            why = "judges frames" if isinstance(self.head, FrameHead) else "is fitted at once"
            raise RecipeError(
                f"{type(self.head).__name__} {why}, so {type(self.context).__name__} cannot stand before it. Use "
                "model.context=NoContext, or a head that is trained in steps on vectors, such as LinearHead."
            )

    # --- weights -------------------------------------------------------------------------------------------------

    def own_state(self) -> dict[str, Tensor]:
        """Entries of the network without those of a frozen upstream (all of them, when the upstream is trained)."""
        state = self.state_dict()
        return without("upstream", state) if self.upstream.frozen else state

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        """Load entries as ``own_state`` gives them; a fitted head takes the shapes of the stored ones.

        Raises:
            CheckpointError: names or shapes are not those of this network.
        """
        if isinstance(self.head, FittedHead):
            self.head.match_shapes(entries_of("head", state))
        check_entries(state, self.own_state())
        self.load_state_dict(state, strict=False)


def check_entries(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare names and shapes of stored entries with those of a model.

    Raises:
        CheckpointError: some differ; the first are named.
    """
    wrong = different(state, expected)
    if wrong:
        raise CheckpointError(
            f"These weights belong to another model: {len(wrong)} entries differ, {', '.join(wrong[:4])}. "
            "Load them with the config.yaml that lies beside them."
        )


def build_network(
    upstream: Upstream,
    layer_mix: LayerMixMaker = WeightedSum,
    frames: FrameStageMaker = NoFrameStage,
    pooling: PoolingMaker = MeanPooling,
    head: Callable[[int, int], Head] = LinearHead,
    normalisation: Normalisation = "none",
    fusion: Callable[[Sequence[StreamShape], LayerMixMaker, FrameStageMaker, PoolingMaker], Fusion] = EarlyFusion,
    context: Callable[[int], ContextStage] = NoContext,
    conditioning: Callable[[int], Conditioning] | None = None,
    classes: Sequence[str] = (),
) -> EmotionNetwork:
    """Put the parts of a recipe together. Sizes are injected from part to part; none is written in a recipe.

    Args:
        upstream: waveform -> frames of every layer.
        layer_mix: the layers -> one sequence.
        frames: frames -> frames.
        pooling: frames -> one vector.
        head: vector -> class logits and/or valence, arousal, dominance.
        normalisation: with statistics of the training part, "global" standardises the frames of each layer, "embedding"
            the pooled vectors (whose pooling then has nothing to learn); both need a frozen upstream.
        fusion: where the upstream is FusedUpstreams, how its streams become one vector; otherwise without meaning.
        context: vectors -> vectors that know the other turns of their dialogues in the batch.
        conditioning: tells the head what is known besides the sound; null tells it nothing.
        classes: class order, injected from the data.

    Raises:
        RecipeError: the parts do not go together.
    """
    shapes = [StreamShape(p.num_layers, p.feature_dim, p.hop_samples / p.sampling_rate) for p in upstream.parts]
    # one stream is a fusion of one, whose lists of options for several do not count
    fused = (fusion if len(shapes) > 1 else LateFusion)(shapes, layer_mix, frames, pooling)
    in_context = context(fused.output_dim)
    conditioned = None if conditioning is None else conditioning(in_context.output_dim)
    judged = head(in_context.output_dim if conditioned is None else conditioned.output_dim, len(classes))
    return EmotionNetwork(upstream, fused, judged, in_context, conditioned, normalisation, classes)


def _frames(upstream: Upstream, mix: LayerMix, waves: Waves) -> Frames:
    """Frames of one upstream, layer-normalised where its layer mix has ``layer_norm``."""
    values, lengths = upstream(waves.values, waves.lengths)
    return Frames(normalised_layers(values) if mix.layer_norm else values, lengths)


def _one_sequence(frames: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    if frames is None or lengths is None:
        raise RecipeError("A head that judges frames needs frames, but the stream carries moments or vectors.")
    return frames, lengths
