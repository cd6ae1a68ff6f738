"""EmotionModel: the network, its objective, and what has to be known before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ser_toolkit.data.batch import DIMENSIONS, Stored
from ser_toolkit.downstream.conditioning import Conditioning
from ser_toolkit.downstream.frames import FrameStage, NoFrameStage
from ser_toolkit.downstream.fusion import EarlyFusion, Fusion
from ser_toolkit.downstream.heads import FittedHead, Head, LinearHead, trained_outputs
from ser_toolkit.downstream.layers import LayerMix, WeightedSum
from ser_toolkit.downstream.pooling import MeanPooling, Pooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.normalise import parallel_statistics
from ser_toolkit.model.epoch_outputs import EpochOutputs
from ser_toolkit.model.network import EmotionNetwork, Normalisation
from ser_toolkit.model.training import TrainedModel
from ser_toolkit.model.training_figures import TrainingFigures
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.upstreams.base import Upstream

Given = TypeVar("Given")


class EmotionModel(EmotionNetwork, TrainedModel):
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
        normalisation: Normalisation = "none",
        fusion: Callable[[Any, Any, Any, Any], Fusion] = EarlyFusion,
        conditioning: Callable[[int], Conditioning] | None = None,
        classes: Sequence[str] = (),
        monitor: str = "dev/uar",
    ) -> None:
        super().__init__(upstream, layer_mix, frames, pooling, head, normalisation, fusion, conditioning, classes)
        self.train_with(optimizer, lr_scheduler, lr_interval, upstream_lr, monitor)
        self.objective = objective(len(self.classes))
        self._dev, self._test = EpochOutputs(self.trained_outputs), EpochOutputs(self.trained_outputs)
        self._figures = TrainingFigures(self.trained_outputs)
        missing = set(self.objective.requires) - set(self.head.outputs)
        if missing:
            raise RecipeError(
                f"Objective {type(self.objective).__name__} needs {', '.join(sorted(missing))}, but head "
                f"{type(self.head).__name__} gives {', '.join(self.head.outputs)}. Choose another head or objective."
            )

    @property
    def trained_outputs(self) -> tuple[str, ...]:
        """Outputs of the head that the objective trains; the others are random numbers."""
        return trained_outputs(self.head.outputs, self.objective.requires)

    def trained_on(self, dimensions: Sequence[str]) -> None:
        """Set the trained dimensions, also of the outputs gathered on dev and test."""
        super().trained_on(dimensions)
        for gathered in (self._dev, self._test):
            gathered.trained_dimensions = self.trained_dimensions

    def prepare(
        self,
        class_counts: Tensor,
        seed: int,
        training_features: Iterable[Stored] | None = None,
        training_vectors: Callable[[], Tensor] | None = None,
        dimensions: Sequence[str] = DIMENSIONS,
    ) -> None:
        """Take from the training part what has to be known before the first step.

        Args:
            class_counts: (C,) utterances per class.
            seed: of the random state of every step.
            training_features: what is kept of each training utterance; read only when frames are normalised.
            training_vectors: gives the (N, E) vectors of the training part, once the frames' normalisation is known;
                called only when vectors are normalised.
            dimensions: those of which training utterances have ratings.
        """
        self.trained_on(dimensions)
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


def _needed(given: Given | None) -> Given:
    if given is None:
        raise RecipeError("model.normalisation needs stored features: a frozen upstream and whole utterances.")
    return given
