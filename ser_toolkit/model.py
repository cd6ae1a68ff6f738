"""EmotionModel: the wiring, no maths. It takes whichever stream a batch carries, so there is one path to keep right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ser_toolkit.data.batch import Batch, Frames, Moments, Outputs, Vectors, Waves, pad_sequences
from ser_toolkit.data.dataset import STREAM
from ser_toolkit.downstream.frames import FrameStage, NoFrameStage
from ser_toolkit.downstream.heads import Head, LinearHead
from ser_toolkit.downstream.layers import LayerMix, WeightedSum
from ser_toolkit.downstream.pooling import MeanPooling, Pooling
from ser_toolkit.errors import CheckpointError, RecipeError, TrainingError
from ser_toolkit.features.normalise import EmbeddingNormalisation, GlobalNormalisation
from ser_toolkit.identity import FINGERPRINT, check_identity
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.optimisation import check_plateau
from ser_toolkit.scoring import EpochOutputs
from ser_toolkit.upstreams.base import Upstream

Given = TypeVar("Given")


class EmotionModel(pl.LightningModule):
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
        classes: Sequence[str] = (),
        monitor: str = "dev/uar",
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.upstream = upstream
        if normalisation != "none" and not upstream.frozen:
            raise RecipeError(
                f"model.normalisation={normalisation} standardises features that stay as they are and needs a frozen "
                "upstream; set model.normalisation=none to fine-tune."
            )
        self.layer_mix = layer_mix(upstream.num_layers, upstream.feature_dim)
        self.frames = frames(self.layer_mix.output_dim)
        self.pooling = pooling(self.frames.output_dim)
        self.normalisation = (
            GlobalNormalisation(upstream.num_layers, upstream.feature_dim) if normalisation == "global" else None
        )
        self.embedding_normalisation = (
            EmbeddingNormalisation(self.pooling.output_dim) if normalisation == "embedding" else None
        )
        if self.embedding_normalisation is not None and not self.fixed_embedding:
            raise RecipeError(
                "model.normalisation=embedding needs a layer mix, frame stage and pooling without parameters "
                f"(SingleLayer or ConcatenateLayers, NoFrameStage, MeanPooling ...); found "
                f"{type(self.layer_mix).__name__}, {type(self.frames).__name__}, {type(self.pooling).__name__}."
            )
        self.head = head(self.pooling.output_dim, len(self.classes))
        self.objective = objective(len(self.classes))
        missing = set(self.objective.requires) - set(self.head.outputs)
        if missing:
            raise RecipeError(
                f"Objective {type(self.objective).__name__} needs {', '.join(sorted(missing))}, but head "
                f"{type(self.head).__name__} gives {', '.join(self.head.outputs)}. Choose another head or objective."
            )
        self._optimizer, self._lr_scheduler, self._lr_interval = optimizer, lr_scheduler, lr_interval
        self._upstream_lr = upstream_lr
        self._monitor = monitor
        self._seed = 0
        self._dev, self._test = EpochOutputs(), EpochOutputs()

    # --- forward -------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Outputs:
        """Outputs for a batch of waves, stored frames, stored moments or stored vectors."""
        stream = batch.streams[STREAM]
        if isinstance(stream, Moments):
            stream = self._as_frames(stream)
        if isinstance(stream, Waves):
            stream = Frames(*self.upstream(stream.values, stream.lengths))
        if isinstance(stream, Vectors):
            embedding, frames, lengths = stream.values, None, None
        else:
            embedding, frames, lengths = self._embed(stream)
            embedding = self.normalised(embedding)
        outputs = self.head(embedding)
        outputs.embedding, outputs.frames, outputs.frame_lengths = embedding, frames, lengths
        return outputs

    @property
    def fixed_embedding(self) -> bool:
        """Whether nothing before the head learns, so that an utterance's vector can be kept instead of its frames."""
        parts = (self.layer_mix, self.frames, self.pooling)
        return self.upstream.frozen and not any(True for part in parts for _ in part.parameters())

    def normalised(self, vectors: Tensor) -> Tensor:
        """Pooled vectors as the head sees them: (B, E) -> (B, E)."""
        return vectors if self.embedding_normalisation is None else self.embedding_normalisation(vectors)

    def vector(self, frames: Tensor) -> Tensor:
        """The pooled vector of one utterance, before its normalisation: (L, T, D) -> (E,)."""
        with torch.no_grad():
            return self._embed(Frames(*pad_sequences([frames], dim=1)))[0][0]

    def _embed(self, stream: Frames) -> tuple[Tensor, Tensor, Tensor]:
        """Frames -> (pooled vectors (B, E), frames before the pooling, their lengths)."""
        values, lengths = stream.values, stream.lengths
        if self.normalisation is not None:
            values = self.normalisation(values, lengths)
        frames, frame_lengths = self.frames(self.layer_mix(values), lengths)
        return self.pooling(frames, frame_lengths), frames, frame_lengths

    def _as_frames(self, stream: Moments) -> Frames:
        """A mean is a sequence of one frame: the same parts see it, so that nothing can differ."""
        if not (self.layer_mix.linear and self.frames.linear and self.pooling.moment_order == 1):
            raise RecipeError(
                "Stored means are enough for a linear layer mix and frame stage with mean pooling only; "
                f"found {type(self.layer_mix).__name__}, {type(self.frames).__name__}, {type(self.pooling).__name__}."
            )
        return Frames(stream.mean[:, :, None], torch.ones_like(stream.count, dtype=torch.long))

    # --- training ------------------------------------------------------------------------------------------------

    def prepare(
        self,
        class_counts: Tensor,
        seed: int,
        training_features: Iterable[Tensor] | None = None,
        training_vectors: Callable[[], Tensor] | None = None,
    ) -> None:
        """Take from the training part what has to be known before the first step.

        Args:
            class_counts: (C,) utterances per class.
            seed: of the random state of every step.
            training_features: stored frames, each (L, T, D); read only when frames are normalised.
            training_vectors: gives the (N, E) vectors of the training part, once the frames' normalisation is known;
                called only when vectors are normalised.
        """
        self.objective.set_class_counts(class_counts)
        self._seed = seed
        if self.normalisation is not None:
            self.normalisation.fit(_needed(training_features))
        if self.embedding_normalisation is not None:
            self.embedding_normalisation.fit(_needed(training_vectors)())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout and masks depend on (seed, step) alone, so that a resumed run replays the uninterrupted one."""
        torch.manual_seed((self._seed * 1_000_003 + self.current_epoch * 10_007 + batch_idx) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch; stops with the utterances' names when it is not a number."""
        loss, parts = self.objective(self(batch), batch)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss.item()} in epoch {self.current_epoch}, step {batch_idx} (utterances "
                f"{', '.join(batch.ids[:3])}, ...). Lower the learning rate, clip gradients with "
                "--trainer.gradient_clip_val=1, or use --trainer.precision=32."
            )
        self.log("train/loss", loss, batch_size=len(batch), on_step=False, on_epoch=True)
        for name, value in parts.items():
            self.log(f"train/{name}", value, batch_size=len(batch), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect outputs: metrics are of the whole dev part, never means over batches."""
        outputs = self(batch)
        loss, _ = self.objective(outputs, batch)
        self._dev.add(batch, outputs, loss)

    def on_validation_epoch_end(self) -> None:
        """Score the dev part as a whole."""
        for name, value in self._dev.finish(len(self.classes)).metrics().items():
            self.log(f"dev/{name}", value, rank_zero_only=False, sync_dist=False)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect outputs of the test part."""
        self._test.add(batch, self(batch))

    def on_test_epoch_end(self) -> None:
        """Keep the outputs of all processes, each utterance once, in ``test_outputs``."""
        self.test_outputs = self._test.finish(len(self.classes))
        for name, value in self.test_outputs.metrics().items():
            self.log(f"test/{name}", value)

    def predict_step(self, batch: Batch, batch_idx: int) -> Outputs:
        """Outputs of a batch."""
        return self(batch)

    def configure_optimizers(self) -> Any:
        """Parameter groups "downstream" and "upstream"; the scheduler as asked for."""
        upstream = [p for p in self.upstream.parameters() if p.requires_grad]
        own = {id(p) for p in self.upstream.parameters()}
        groups: list[dict[str, Any]] = [
            {"name": "downstream", "params": [p for p in self.parameters() if p.requires_grad and id(p) not in own]}
        ]
        if upstream:
            groups.append({"name": "upstream", "params": upstream})
            if self._upstream_lr is not None:
                groups[-1]["lr"] = self._upstream_lr
        optimizer = self._optimizer([group for group in groups if group["params"]])
        if self._lr_scheduler is None:
            return optimizer
        scheduler = self._lr_scheduler(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau):
            has_dev = self._trainer is None or self._trainer.limit_val_batches != 0
            check_plateau(scheduler, self._monitor, has_dev)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": self._lr_interval, "monitor": self._monitor},
        }

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def own_state(self) -> dict[str, Tensor]:
        """What this model adds to its frozen upstream (or everything, when the upstream is trained)."""
        return {name: value for name, value in self.state_dict().items() if not self._is_upstream(name)}

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Load what ``own_state`` gave.

        Raises:
            CheckpointError: names or shapes are not those of this model.
        """
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave a frozen upstream's weights out, note which upstream and which class order it was."""
        checkpoint["state_dict"] = {n: v for n, v in checkpoint["state_dict"].items() if not self._is_upstream(n)}
        checkpoint["classes"] = list(self.classes)
        checkpoint[FINGERPRINT] = self.upstream.fingerprint() if self.upstream.frozen else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another class order or upstream; put the frozen upstream's weights back.

        Raises:
            CheckpointError: the checkpoint was made with other classes or another upstream.
        """
        check_identity(self.classes, self.upstream, checkpoint.get("classes"), checkpoint.get(FINGERPRINT))
        for name, value in self.state_dict().items():
            if self._is_upstream(name):
                checkpoint["state_dict"][name] = value

    def _is_upstream(self, name: str) -> bool:
        return self.upstream.frozen and name.startswith("upstream.")


def _needed(given: Given | None) -> Given:
    if given is None:
        raise RecipeError("model.normalisation needs stored features: a frozen upstream and whole utterances.")
    return given
