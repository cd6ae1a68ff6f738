"""The wiring of an emotion model, no maths: whichever stream a batch carries, there is one path to keep right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

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
from ser_toolkit.downstream.conditioning import Conditioning
from ser_toolkit.downstream.frames import FrameStage, NoFrameStage
from ser_toolkit.downstream.fusion import EarlyFusion, Fusion, LateFusion, StreamShape
from ser_toolkit.downstream.heads import FittedHead, FrameHead, Head, LinearHead
from ser_toolkit.downstream.layers import LayerMix, WeightedSum, normalised_layers
from ser_toolkit.downstream.path import Embedded, embed, reduction
from ser_toolkit.downstream.pooling import MeanPooling, Pooling
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.features.normalise import EmbeddingNormalisation, GlobalNormalisation
from ser_toolkit.parts.finding import check_size, full_name
from ser_toolkit.upstreams.base import Upstream

Normalisation = Literal["none", "global", "embedding"]


class EmotionNetwork(nn.Module):
    """Upstream -> normalisation -> layer mix -> frame stage -> pooling -> head, without anything that trains it.

    A batch carries waves, or what is stored of them: frames or moments as ``upstream_frames`` gives them, that is layer-normalised
    where the layer mix says so.

    Args:
        upstream: waveform -> frames of every layer.
        layer_mix: the layers -> one sequence.
        frames: frames -> frames.
        pooling: frames -> one vector.
        head: vector -> class logits and/or valence, arousal, dominance.
        normalisation: see EmotionModel.
        fusion: where the upstream is FusedUpstreams, how its streams become one vector; otherwise without meaning.
        conditioning: tells the head what is known besides the sound; None tells it nothing.
        classes: class order.

    Raises:
        RecipeError: the parts do not go together.
    """

    def __init__(
        self,
        upstream: Upstream,
        layer_mix: Callable[[int, int], LayerMix] = WeightedSum,
        frames: Callable[[int], FrameStage] = NoFrameStage,
        pooling: Callable[[int], Pooling] = MeanPooling,
        head: Callable[[int, int], Head] = LinearHead,
        normalisation: Normalisation = "none",
        fusion: Callable[[Any, Any, Any, Any], Fusion] = EarlyFusion,
        conditioning: Callable[[int], Conditioning] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.trained_dimensions: tuple[str, ...] = DIMENSIONS
        self.upstream = upstream
        if normalisation != "none" and not upstream.frozen:
            raise RecipeError(
                f"model.normalisation={normalisation} standardises features that stay as they are and needs a frozen "
                "upstream; set model.normalisation=none to fine-tune."
            )
        self.fusion: Fusion | None = None
        if len(upstream.parts) > 1:
            shapes = [StreamShape(p.num_layers, p.feature_dim, p.hop_samples / p.sampling_rate) for p in upstream.parts]
            self.fusion = fusion(shapes, layer_mix, frames, pooling)
        else:
            self.layer_mix = layer_mix(upstream.num_layers, upstream.feature_dim)
            self.frames = frames(self.layer_mix.output_dim)
            self.pooling = pooling(self.frames.output_dim)
        embedding_dim = self.pooling.output_dim if self.fusion is None else self.fusion.output_dim
        self.normalisation = _global_normalisation(upstream) if normalisation == "global" else None
        self.embedding_normalisation = EmbeddingNormalisation(embedding_dim) if normalisation == "embedding" else None
        self.conditioning = None if conditioning is None else conditioning(embedding_dim)
        self.head = head(
            embedding_dim if self.conditioning is None else self.conditioning.output_dim, len(self.classes)
        )
        self.head.set_classes(self.classes)
        self._check_parts()

    def trained_on(self, dimensions: Sequence[str]) -> None:
        """Note which dimensions had ratings in training: what the head gives for the others is no prediction."""
        self.trained_dimensions = tuple(dimensions)

    # --- forward -------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Outputs:
        """Outputs for a batch of waves, stored frames, stored moments or stored vectors."""
        stream = batch.streams[STREAM]
        if isinstance(stream, Vectors):
            pooled = Embedded(stream.values, None, None)
        else:
            pooled = self._embed(self.upstream_frames(stream) if isinstance(stream, Waves) else self._stored(batch))
            pooled = pooled._replace(embedding=self.normalised(pooled.embedding))
        embedding, frames, lengths = pooled
        if isinstance(self.head, FrameHead):
            outputs = self.head.from_frames(*_one_sequence(frames, lengths))
        else:
            known = batch.streams.get(CONDITION)
            outputs = self.head(embedding if self.conditioning is None else self._conditioned(embedding, known))
        self._check_outputs(outputs)
        outputs.embedding, outputs.frames, outputs.frame_lengths = embedding, frames, lengths
        return outputs

    def _check_outputs(self, outputs: Outputs) -> None:
        """Refuse what an own head returns instead of Outputs, and scores of another number of classes."""
        if not isinstance(outputs, Outputs):
            raise RecipeError(
                f"{full_name(type(self.head))} returned a {type(outputs).__name__}, expected Outputs: write "
                "`return Outputs(logits=...)` (from ser_toolkit.data.batch import Outputs)."
            )
        if outputs.logits is not None:
            check_size(self.head, "num_classes", self.head.num_classes, outputs.logits)

    def upstream_frames(self, waves: Waves) -> list[Frames]:
        """Frames of each upstream, layer-normalised where the layer mix says so: what is kept of a recording."""
        found = []
        for part, mix in zip(self.upstream.parts, self._mixes, strict=True):
            values, lengths = part(waves.values, waves.lengths)
            found.append(Frames(normalised_layers(values) if mix.layer_norm else values, lengths))
        return found

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the model wants to be told besides the sound."""
        return () if self.conditioning is None else self.conditioning.conditions

    @property
    def needs(self) -> Needs:
        """Sampling rate and conditions of the batches that the model takes."""
        return Needs(self.upstream.sampling_rate, self.conditions)

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """The least that has to be kept of the frames under each upstream, so that the outputs stay the same."""
        if self.fusion is not None:
            least = self.fusion.reductions
        else:
            least = (reduction(self.layer_mix, self.frames, self.pooling),)
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
        """Whether nothing before the head learns, so that an utterance's vector can be kept instead of its frames."""
        learns = any(True for part in self._path() for _ in part.parameters())
        # what depends on the padding of a batch is another vector in every batch
        poolings = [pooling for part in self._path() for pooling in part.modules() if isinstance(pooling, Pooling)]
        fixed = not learns and all(pooling.padding_exact for pooling in poolings)
        return self.upstream.frozen and fixed and not isinstance(self.head, FrameHead)

    def normalised(self, vectors: Tensor) -> Tensor:
        """Pooled vectors as the head sees them: (B, E) -> (B, E)."""
        return vectors if self.embedding_normalisation is None else self.embedding_normalisation(vectors)

    def vector(self, stored: Stored) -> Tensor:
        """The pooled vector of one utterance, before its normalisation: what is kept of it -> (E,)."""
        streams = [stream for stream in stack_stored([stored]).values() if isinstance(stream, Frames | Moments)]
        with torch.no_grad():
            return self._embed(streams).embedding[0]

    def _stored(self, batch: Batch) -> list[Frames | Moments]:
        """The stream of each upstream."""
        streams = [batch.streams[stream_name(index)] for index in range(len(self.upstream.parts))]
        return [stream for stream in streams if isinstance(stream, Frames | Moments)]

    def _embed(self, streams: Sequence[Frames | Moments]) -> Embedded:
        """Frames or moments of each upstream -> pooled vectors (B, E), and what was pooled."""
        if self.normalisation is not None:
            streams = [part(stream) for part, stream in zip(self._normalisers(), streams, strict=True)]
        if self.fusion is not None:
            return self.fusion(streams)
        return embed(self.layer_mix, self.frames, self.pooling, streams[0])

    def _conditioned(self, embedding: Tensor, known: Stream | None) -> Tensor:
        if not isinstance(known, Vectors) or self.conditioning is None:
            raise RecipeError("The model is conditioned, but the batch does not say on what: use needs=model.needs.")
        return self.conditioning(embedding, known.values)

    def _normalisers(self) -> list[GlobalNormalisation]:
        """One for each upstream."""
        found = self.normalisation
        return list(found) if isinstance(found, nn.ModuleList) else [found]  # type: ignore[arg-type,list-item]

    @property
    def _mixes(self) -> list[LayerMix]:
        return [self.layer_mix] if self.fusion is None else self.fusion.mixes

    def _path(self) -> tuple[Any, ...]:
        """What lies between the upstream and the head."""
        return (self.layer_mix, self.frames, self.pooling) if self.fusion is None else (self.fusion,)

    def _path_names(self) -> str:
        return ", ".join(type(part).__name__ for part in self._path())

    def _check_parts(self) -> None:
        """Refuse heads and normalisations that do not go with the other parts."""
        if self.embedding_normalisation is not None and not self.fixed_embedding:
            raise RecipeError(
                "model.normalisation=embedding needs a layer mix, frame stage and pooling without parameters "
                f"(SingleLayer or ConcatenateLayers, NoFrameStage, MeanPooling ...); found {self._path_names()}."
            )
        pooling: Any = self.pooling if self.fusion is None else self.fusion.pooling
        if isinstance(self.head, FrameHead) and (
            isinstance(self.fusion, LateFusion)
            or any(True for _ in pooling.parameters())
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

    # --- weights -------------------------------------------------------------------------------------------------

    def own_state(self) -> dict[str, Tensor]:
        """What this model adds to its frozen upstream (or everything, when the upstream is trained)."""
        return {name: value for name, value in self.state_dict().items() if not self.is_frozen_upstream(name)}

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Load what ``own_state`` gave; a fitted head takes the shapes of what was stored.

        Raises:
            CheckpointError: names or shapes are not those of this model.
        """
        if isinstance(self.head, FittedHead):
            self.head.match_shapes({n.removeprefix("head."): v for n, v in state.items() if n.startswith("head.")})
        expected = self.own_state()
        wrong = sorted(set(state) ^ set(expected)) or sorted(
            name for name, value in state.items() if value.shape != expected[name].shape
        )
        if wrong:
            raise CheckpointError(
                f"These weights belong to another model: {len(wrong)} entries differ, {', '.join(wrong[:4])}. "
                "Load them with the config.yaml that lies beside them."
            )
        self.load_state_dict(state, strict=False)

    def is_frozen_upstream(self, name: str) -> bool:
        """Whether an entry of the state belongs to a frozen upstream, which is not stored."""
        return self.upstream.frozen and name.startswith("upstream.")


def _global_normalisation(upstream: Upstream) -> GlobalNormalisation | nn.ModuleList:
    parts = [GlobalNormalisation(part.num_layers, part.feature_dim) for part in upstream.parts]
    return parts[0] if len(parts) == 1 else nn.ModuleList(parts)


def _one_sequence(frames: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    if frames is None or lengths is None:
        raise RecipeError("A head that judges frames needs frames, but the stream carries moments or vectors.")
    return frames, lengths
