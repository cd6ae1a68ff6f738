"""From the parts of a recipe to a model: the signature is what a recipe's group ``model`` may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ser_toolkit.downstream.conditioning import Conditioning
from ser_toolkit.downstream.context import ContextStage, NoContext
from ser_toolkit.downstream.frames import NoFrameStage
from ser_toolkit.downstream.fusion import (
    EarlyFusion,
    FrameStageMaker,
    Fusion,
    LayerMixMaker,
    PoolingMaker,
    StreamShape,
)
from ser_toolkit.downstream.heads import Head, LinearHead
from ser_toolkit.downstream.layers import WeightedSum
from ser_toolkit.downstream.pooling import MeanPooling
from ser_toolkit.model.emotion_model import EmotionModel, Training
from ser_toolkit.model.network import Normalisation, build_network
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.upstreams.base import Upstream


def build_model(
    upstream: Upstream,
    layer_mix: LayerMixMaker = WeightedSum,
    frames: FrameStageMaker = NoFrameStage,
    pooling: PoolingMaker = MeanPooling,
    head: Callable[[int, int], Head] = LinearHead,
    objective: Callable[[int], Objective] = CrossEntropy,
    optimizer: Callable[[Iterable], Optimizer] = Adam,
    lr_scheduler: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None = None,
    lr_interval: Literal["epoch", "step"] = "epoch",
    upstream_lr: float | None = None,
    normalisation: Normalisation = "none",
    fusion: Callable[[Sequence[StreamShape], LayerMixMaker, FrameStageMaker, PoolingMaker], Fusion] = EarlyFusion,
    context: Callable[[int], ContextStage] = NoContext,
    conditioning: Callable[[int], Conditioning] | None = None,
    classes: Sequence[str] = (),
    monitor: str = "dev/uar",
) -> EmotionModel:
    """Upstream -> normalisation -> layer mix -> frame stage -> pooling -> context -> head, trained with an objective.

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
        fusion: where the upstream is FusedUpstreams, how its streams become one vector; otherwise without meaning.
        context: vectors -> vectors that know the other turns of their dialogues in the batch.
        conditioning: tells the head what is known besides the sound; null tells it nothing.
        classes: class order, injected from the data.
        monitor: what ReduceLROnPlateau looks at.

    Raises:
        RecipeError: the parts do not go together.
    """
    network = build_network(
        upstream, layer_mix, frames, pooling, head, normalisation, fusion, context, conditioning, classes
    )
    training = Training(optimizer, lr_scheduler, lr_interval, upstream_lr, monitor)
    return EmotionModel(network, objective(len(network.classes)), training)
