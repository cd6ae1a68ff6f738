"""EmotionModel: the wiring, no maths. It takes whichever stream a batch carries, so there is one path to keep right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ser_toolkit.data.batch import (
    CONDITION,
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
from ser_toolkit.downstream.conditioning import Conditioning
from ser_toolkit.downstream.frames import FrameStage, NoFrameStage
from ser_toolkit.downstream.fusion import EarlyFusion, Fused, Fusion, LateFusion, StreamShape
from ser_toolkit.downstream.heads import FittedHead, FrameHead, Head, LinearHead
from ser_toolkit.downstream.layers import LayerMix, WeightedSum
from ser_toolkit.downstream.pooling import MeanPooling, Pooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.normalise import EmbeddingNormalisation, GlobalNormalisation, parallel_statistics
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.training import TrainedModel
from ser_toolkit.upstreams.base import Upstream

Given = TypeVar("Given")


class EmotionModel(TrainedModel):
    """Upstream -> normalisation -> layer mix -> frame stage -> pooling -> head, trained with an objective.

    Sizes are injected from part to part; none is written in a recipe.

    Args:
        upstream: waveform -> frames of every layer.
        layer_mix: the layers -> one sequence.
        frames: frames -> frames.
        pooling: frames -> one vector.
        head: vector -> class logits and/or valence, arousal, dominance.
        objective: what is minimised.
        optimizer: gets parameter groups "downstream" and, when the upstream is trained, "upstream".
        lr_scheduler: steps as lr_interval says.
        lr_interval: whether the scheduler steps once an epoch or once an optimiser step.
        upstream_lr: learning rate of the upstream's parameters; None uses the optimiser's.
        normalisation: with statistics of the training part, "global" standardises the frames of each layer, "embedding"
            the pooled vectors (whose pooling then has nothing to learn); both need a frozen upstream.
        classes: class order, injected from the data.
        fusion: where the upstream is FusedUpstreams, how its streams become one vector; otherwise without meaning.
        conditioning: tells the head what is known besides the sound; null tells it nothing.
        monitor: what ReduceLROnPlateau looks at.
    """

    def __init__(
        self,
        upstream: Upstream,
        layer_mix: Callable[[int, int], LayerMix] = WeightedSum,
        frames: Callable[[int], FrameStage] = NoFrameStage,
        pooling: Callable[[int], Pooling] = MeanPooling,
        head: Callable[[int, int], Head] = LinearHead,
        objective: Callable[[int], Objective] = CrossEntropy,
        optimizer: Callable[[Iterable], Optimizer] = Adam,
        lr_scheduler: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        upstream_lr: float | None = None,
        normalisation: Literal["none", "global", "embedding"] = "none",
        fusion: Callable[[Any, Any, Any, Any], Fusion] = EarlyFusion,
        conditioning: Callable[[int], Conditioning] | None = None,
        classes: Sequence[str] = (),
        monitor: str = "dev/uar",
    ) -> None:
        super().__init__(tuple(classes), upstream, optimizer, lr_scheduler, lr_interval, upstream_lr, monitor)
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
        self.head.name_classes(self.classes)
        self._check_parts()
        self.objective = objective(len(self.classes))
        missing = set(self.objective.requires) - set(self.head.outputs)
        if missing:
            raise RecipeError(
                f"Objective {type(self.objective).__name__} needs {', '.join(sorted(missing))}, but head "
                f"{type(self.head).__name__} gives {', '.join(self.head.outputs)}. Choose another head or objective."
            )

    # --- forward -------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Outputs:
        """Outputs for a batch of waves, stored frames, stored moments or stored vectors."""
        stream = batch.streams[STREAM]
        if isinstance(stream, Vectors):
            pooled = Fused(stream.values, None, None)
        else:
            pooled = self._embed(self._frames(batch))
            pooled = pooled._replace(embedding=self.normalised(pooled.embedding))
        embedding, frames, lengths = pooled
        if isinstance(self.head, FrameHead):
            outputs = self.head.from_frames(*_one_sequence(frames, lengths))
        else:
            known = batch.streams.get(CONDITION)
            outputs = self.head(embedding if self.conditioning is None else self._conditioned(embedding, known))
        outputs.embedding, outputs.frames, outputs.frame_lengths = embedding, frames, lengths
        return outputs

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the model wants to be told besides the sound."""
        return () if self.conditioning is None else self.conditioning.conditions

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

    def vector(self, frames: Stored) -> Tensor:
        """The pooled vector of one utterance, before its normalisation: (L, T, D), or one for each upstream -> (E,)."""
        streams = [stream for stream in stack_stored([frames]).values() if isinstance(stream, Frames)]
        with torch.no_grad():
            return self._embed(streams).embedding[0]

    def _frames(self, batch: Batch) -> list[Frames]:
        """The stream of each upstream as frames."""
        stream = batch.streams[STREAM]
        if isinstance(stream, Waves):
            return [Frames(*part(stream.values, stream.lengths)) for part in self.upstream.parts]
        streams = [batch.streams[stream_name(index)] for index in range(len(self.upstream.parts))]
        return [self._as_frames(stream) if isinstance(stream, Moments) else stream for stream in streams]  # type: ignore[misc]

    def _embed(self, streams: list[Frames]) -> Fused:
        """Frames of each upstream -> pooled vectors (B, E), and what was pooled."""
        if self.normalisation is not None:
            streams = [
                Frames(part(stream.values, stream.lengths), stream.lengths)
                for part, stream in zip(self._normalisers(), streams, strict=True)
            ]
        if self.fusion is not None:
            return self.fusion(streams)
        frames, lengths = self.frames(self.layer_mix(streams[0].values), streams[0].lengths)
        return Fused(self.pooling(frames, lengths), frames, lengths)

    def _conditioned(self, embedding: Tensor, known: Stream | None) -> Tensor:
        if not isinstance(known, Vectors) or self.conditioning is None:
            raise RecipeError("The model is conditioned, but the batch does not say on what: use data.use_conditions.")
        return self.conditioning(embedding, known.values)

    def _as_frames(self, stream: Moments) -> Frames:
        """A mean is a sequence of one frame: the same parts see it, so that nothing can differ."""
        path = self._path()
        if self.fusion is not None or not (path[0].linear and path[1].linear and path[2].moment_order == 1):
            raise RecipeError(
                "Stored means are enough for a linear layer mix and frame stage with mean pooling only; "
                f"found {self._path_names()}."
            )
        return Frames(stream.mean[:, :, None], torch.ones_like(stream.count, dtype=torch.long))

    def _normalisers(self) -> list[GlobalNormalisation]:
        """One for each upstream."""
        found = self.normalisation
        return list(found) if isinstance(found, nn.ModuleList) else [found]  # type: ignore[arg-type,list-item]

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

    def prepare(
        self,
        class_counts: Tensor,
        seed: int,
        training_features: Iterable[Stored] | None = None,
        training_vectors: Callable[[], Tensor] | None = None,
    ) -> None:
        """Take from the training part what has to be known before the first step.

        Args:
            class_counts: (C,) utterances per class.
            seed: of the random state of every step.
            training_features: stored frames, each (L, T, D), or one for each upstream; read only when frames are
                normalised.
            training_vectors: gives the (N, E) vectors of the training part, once the frames' normalisation is known;
                called only when vectors are normalised.
        """
        self.objective.set_class_counts(class_counts)
        self._seed = seed
        if self.normalisation is not None:
            statistics = parallel_statistics(_needed(training_features))
            for part, own in zip(self._normalisers(), statistics, strict=True):
                part.fit(own)
        if self.embedding_normalisation is not None:
            self.embedding_normalisation.fit(_needed(training_vectors)())

    def configure_optimizers(self) -> Any:
        """As for every model; None for a head that is fitted at once, where no gradient moves anything."""
        return None if isinstance(self.head, FittedHead) else super().configure_optimizers()

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Load what ``own_state`` gave; a fitted head takes the shapes of what was stored.

        Raises:
            CheckpointError: names or shapes are not those of this model.
        """
        if isinstance(self.head, FittedHead):
            self.head.adopt_shapes({n.removeprefix("head."): v for n, v in state.items() if n.startswith("head.")})
        super().load_own_state(state)


def _global_normalisation(upstream: Upstream) -> GlobalNormalisation | nn.ModuleList:
    parts = [GlobalNormalisation(part.num_layers, part.feature_dim) for part in upstream.parts]
    return parts[0] if len(parts) == 1 else nn.ModuleList(parts)


def _one_sequence(frames: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    if frames is None or lengths is None:
        raise RecipeError("A head that judges frames needs frames, but the stream carries one vector an utterance.")
    return frames, lengths


def _needed(given: Given | None) -> Given:
    if given is None:
        raise RecipeError("model.normalisation needs stored features: a frozen upstream and whole utterances.")
    return given
