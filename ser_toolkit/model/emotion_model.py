"""EmotionModel: a network with an objective, trained, scored and checkpointed by Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ser_toolkit.data.batch import DIMENSIONS, Batch, Outputs, Stored
from ser_toolkit.data.conditions import Condition
from ser_toolkit.data.needs import Needs
from ser_toolkit.downstream.heads import FittedHead, Head, trained_outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.normalise import parallel_statistics
from ser_toolkit.model.epoch_outputs import CHECK_EVERY, EpochOutputs, GatheredOutputs, TrainingLosses
from ser_toolkit.model.identity import FINGERPRINT, check_identity
from ser_toolkit.model.network import EmotionNetwork, check_entries
from ser_toolkit.model.optimisers import check_plateau
from ser_toolkit.model.state import entries_of, is_of, named_as, without
from ser_toolkit.model.training_figures import TrainingFigures
from ser_toolkit.objectives.base import Objective
from ser_toolkit.parts.finding import full_name
from ser_toolkit.upstreams.base import Upstream

Given = TypeVar("Given")
#: Prefix in Lightning's checkpoints of the names of the network's entries.
_NETWORK = "network."


@dataclass(frozen=True)
class Training:
    """How the weights of a model are moved.

    Args:
        optimizer: gets parameter groups "downstream" and, when the upstream is trained, "upstream".
        lr_scheduler: makes the scheduler, or None.
        lr_interval: whether the scheduler steps once an epoch or once an optimiser step.
        upstream_lr: learning rate of the upstream's parameters; None uses the optimiser's.
        monitor: what ReduceLROnPlateau looks at.
    """

    optimizer: Callable[[Iterable], Optimizer] = Adam
    lr_scheduler: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None = None
    lr_interval: Literal["epoch", "step"] = "epoch"
    upstream_lr: float | None = None
    monitor: str = "dev/uar"


class EmotionModel(pl.LightningModule):
    """A network, the objective that it minimises, and how.

    Args:
        network: batch -> outputs.
        objective: outputs and batch -> what is minimised.
        training: optimiser and scheduler.

    Raises:
        RecipeError: the objective needs outputs that the head does not give.
    """

    test_outputs: GatheredOutputs

    def __init__(self, network: EmotionNetwork, objective: Objective, training: Training) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.training_settings = training
        missing = set(objective.requires) - set(network.head.outputs)
        if missing:
            raise RecipeError(
                f"Objective {type(objective).__name__} needs {', '.join(sorted(missing))}, but head "
                f"{type(network.head).__name__} gives {', '.join(network.head.outputs)}. Choose another head or "
                "objective."
            )
        self._seed = 0
        self._dev, self._test = EpochOutputs(self.trained_outputs), EpochOutputs(self.trained_outputs)
        self._losses, self._figures = TrainingLosses(), TrainingFigures(self.trained_outputs)

    @property
    def upstream(self) -> Upstream:
        """Upstream of the network."""
        return self.network.upstream

    @property
    def head(self) -> Head:
        """Head of the network."""
        return self.network.head

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in their order."""
        return self.network.classes

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Facts that the network takes besides the sound."""
        return self.network.conditions

    @property
    def needs(self) -> Needs:
        """Sampling rate and conditions of the batches that the network takes."""
        return self.network.needs

    @property
    def fitted_at_once(self) -> bool:
        """Whether a library fits the head, without an optimiser."""
        return isinstance(self.head, FittedHead)

    @property
    def trained_outputs(self) -> tuple[str, ...]:
        """Outputs of the head that the objective trains; the others are random numbers."""
        return trained_outputs(self.head.outputs, self.objective.requires)

    def forward(self, batch: Batch) -> Outputs:
        """Outputs of the network for a batch."""
        outputs: Outputs = self.network(batch)
        return outputs

    # --- training ------------------------------------------------------------------------------------------------

    def prepare(
        self,
        class_counts: Tensor,
        seed: int,
        training_features: Iterable[Stored] | None = None,
        training_vectors: Callable[[], Tensor] | None = None,
        dimensions: Sequence[str] = DIMENSIONS,
    ) -> None:
        """Take facts from the training part that the first step needs: counts, statistics, trained dimensions.

        Args:
            class_counts: (C,) utterances per class.
            seed: of the random state of every step.
            training_features: what is stored of each training utterance; read only when frames are normalised.
            training_vectors: gives the (N, E) vectors of the training part, once the frames' normalisation is known;
                called only when vectors are normalised.
            dimensions: those of which training utterances have ratings.
        """
        self.trained_on(dimensions)
        self.objective.set_class_counts(class_counts)
        self._seed = seed
        if self.network.normalisation is not None:
            statistics = parallel_statistics(_needed(training_features))
            for part, own in zip(self.network.normalisation, statistics, strict=True):
                part.fit(own)
        if self.network.embedding_normalisation is not None:
            self.network.embedding_normalisation.fit(_needed(training_vectors)())

    def trained_on(self, dimensions: Sequence[str]) -> None:
        """Set the trained dimensions of the network and of the outputs gathered on dev and test."""
        self.network.trained_on(dimensions)
        for gathered in (self._dev, self._test):
            gathered.trained_dimensions = self.network.trained_dimensions

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout and masks by (seed, step) alone, so that a resumed run replays the uninterrupted one."""
        seed = (self._seed * 1_000_003 + self.current_epoch * 10_007 + batch_idx) % 2**63
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would look for devices in every step
        else:
            torch.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch; stops with the utterances' names when it is not a number."""
        outputs = self(batch)
        loss, parts = self._loss(outputs, batch)
        self._figures.add(outputs, batch.targets)
        self._losses.add({"loss": loss, **parts}, batch.ids, batch_idx)
        if self._losses.waiting >= CHECK_EVERY.get(loss.device.type, CHECK_EVERY["cuda"]):
            self._losses.check(self.current_epoch)
        return loss

    def _loss(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch and its parts, as the objective gives them."""
        found = self.objective(outputs, batch)
        if not isinstance(found, tuple) or len(found) != 2:
            raise RecipeError(
                f"{full_name(type(self.objective))} returned a {type(found).__name__}, expected the loss and its named "
                'parts: write `return loss, {"name": loss.detach()}`.'
            )
        return found

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Log the epoch's losses, UA and CCC behind its last batch: to log every step costs more than a small step."""
        if self.trainer.is_last_batch:
            self._log_training()

    def on_train_epoch_end(self) -> None:
        """Log the losses of an epoch that was cut short (``max_steps``), too."""
        self._log_training()

    def _log_training(self) -> None:
        self._losses.check(self.current_epoch)
        for name, value in (self._losses.means() | self._figures.finish()).items():
            self.log(f"train/{name}", value, batch_size=1, on_step=False, on_epoch=True)

    # --- scoring -------------------------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Check that the losses so far are numbers, before weights behind them are scored and kept as the best."""
        self._losses.check(self.current_epoch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect outputs: metrics are of the whole dev part, never means over batches."""
        outputs = self(batch)
        loss, _ = self._loss(outputs, batch)
        self._dev.add(batch, outputs, loss)

    def on_validation_epoch_end(self) -> None:
        """Score the dev part as a whole."""
        # by the report's own formulas: windows of an utterance are joined first, which no metric of batches can do
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
        outputs: Outputs = self(batch)
        return outputs

    # --- optimisers ----------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Parameter groups "downstream" and "upstream"; the scheduler as asked for.

        None for a head that is fitted at once, where no gradient moves anything.
        """
        if self.fitted_at_once:
            return None
        training = self.training_settings
        upstream = [p for p in self.upstream.parameters() if p.requires_grad]
        own = {id(p) for p in self.upstream.parameters()}
        groups: list[dict[str, Any]] = [
            {"name": "downstream", "params": [p for p in self.parameters() if p.requires_grad and id(p) not in own]}
        ]
        if upstream:
            groups.append({"name": "upstream", "params": upstream})
            if training.upstream_lr is not None:
                groups[-1]["lr"] = training.upstream_lr
        optimizer = training.optimizer([group for group in groups if group["params"]])
        if training.lr_scheduler is None:
            return optimizer
        scheduler = training.lr_scheduler(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau):
            check_plateau(scheduler, training.monitor, self._measures_dev())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": training.lr_interval, "monitor": training.monitor},
        }

    def _measures_dev(self) -> bool:
        """Whether the trainer will score a dev part; supposed where no trainer is attached yet."""
        try:
            return bool(self.trainer.limit_val_batches != 0)
        except RuntimeError:
            return True

    # --- weights and checkpoints ---------------------------------------------------------------------------------

    def count_parameters(self) -> dict[str, int]:
        """Numbers of parameters: ``trained`` and ``total``."""
        every = list(self.parameters())
        return {"trained": sum(p.numel() for p in every if p.requires_grad), "total": sum(p.numel() for p in every)}

    def own_state(self) -> dict[str, Tensor]:
        """Entries of network and objective without a frozen upstream's, by the names of ``model.state``."""
        return self.network.own_state() | named_as("objective", self.objective.state_dict())

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        """Load entries as ``own_state`` gives them.

        Raises:
            CheckpointError: names or shapes are not those of this model.
        """
        self.network.load_own_state(without("objective", state))
        check_entries(entries_of("objective", state), self.objective.state_dict())
        self.load_entries(state)

    def load_entries(self, state: Mapping[str, Tensor]) -> None:
        """Load entries by the names of ``model.state``; the others stay."""
        self.network.load_state_dict(without("objective", state), strict=False)
        self.objective.load_state_dict(entries_of("objective", state), strict=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name entries as weights files do, leave a frozen upstream out, note upstream and class order."""
        entries = {name.removeprefix(_NETWORK): value for name, value in checkpoint["state_dict"].items()}
        checkpoint["state_dict"] = without("upstream", entries) if self.upstream.frozen else entries
        checkpoint["classes"] = list(self.classes)
        checkpoint[FINGERPRINT] = self.upstream.fingerprint() if self.upstream.frozen else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another class order or upstream; put the frozen upstream's weights back.

        Raises:
            CheckpointError: the checkpoint was made with other classes or another upstream.
        """
        check_identity(self.classes, self.upstream, checkpoint.get("classes"), checkpoint.get(FINGERPRINT))
        entries = dict(checkpoint["state_dict"])
        if self.upstream.frozen:
            entries |= named_as("upstream", self.upstream.state_dict())
        checkpoint["state_dict"] = {
            name if is_of("objective", name) else f"{_NETWORK}{name}": value for name, value in entries.items()
        }


def _needed(given: Given | None) -> Given:
    if given is None:
        raise RecipeError("model.normalisation needs stored features: a frozen upstream and whole utterances.")
    return given
