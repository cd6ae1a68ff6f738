"""How a model is trained, scored and kept, whatever it consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ser_toolkit.data.batch import Batch, Outputs
from ser_toolkit.errors import RecipeError
from ser_toolkit.model.epoch_outputs import CHECK_EVERY, EpochOutputs, GatheredOutputs, TrainingLosses
from ser_toolkit.model.identity import FINGERPRINT, check_identity
from ser_toolkit.model.optimisers import check_plateau
from ser_toolkit.model.training_figures import TrainingFigures
from ser_toolkit.objectives.base import Objective
from ser_toolkit.parts.finding import full_name
from ser_toolkit.upstreams.base import Upstream


class TrainedModel(pl.LightningModule):
    """The steps, the optimiser and the checkpoints of a network (see EmotionNetwork) with an objective."""

    classes: tuple[str, ...]
    upstream: Upstream
    objective: Objective
    is_frozen_upstream: Callable[[str], bool]
    test_outputs: GatheredOutputs

    def __init__(self) -> None:
        super().__init__()
        self._seed = 0
        self._dev, self._test = EpochOutputs(), EpochOutputs()
        self._losses, self._figures = TrainingLosses(), TrainingFigures()

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the hook that it calls dozens of times a step; looking for parameters there takes its time
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def train_with(
        self,
        optimizer: Callable[[Iterable], Optimizer],
        lr_scheduler: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None,
        lr_interval: str,
        upstream_lr: float | None,
        monitor: str,
    ) -> None:
        """Say how the weights are moved.

        Args:
            optimizer: gets parameter groups "downstream" and, when the upstream is trained, "upstream".
            lr_scheduler: makes the scheduler, or None.
            lr_interval: "epoch" or "step".
            upstream_lr: learning rate of the upstream's parameters; None uses the optimiser's.
            monitor: what ReduceLROnPlateau looks at.
        """
        self._optimizer, self._lr_scheduler, self._lr_interval = optimizer, lr_scheduler, lr_interval
        self._upstream_lr = upstream_lr
        self._monitor = monitor

    # --- training ------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout and masks depend on (seed, step) alone, so that a resumed run replays the uninterrupted one."""
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
        """An epoch that was cut short (``max_steps``) has losses too."""
        self._log_training()

    def _log_training(self) -> None:
        self._losses.check(self.current_epoch)
        for name, value in (self._losses.means() | self._figures.finish()).items():
            self.log(f"train/{name}", value, batch_size=1, on_step=False, on_epoch=True)

    def on_validation_start(self) -> None:
        """Nothing is scored, and so nothing kept as best, before the losses behind it are known to be numbers."""
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave a frozen upstream's weights out, note which upstream and which class order it was."""
        checkpoint["state_dict"] = {n: v for n, v in checkpoint["state_dict"].items() if not self.is_frozen_upstream(n)}
        checkpoint["classes"] = list(self.classes)
        checkpoint[FINGERPRINT] = self.upstream.fingerprint() if self.upstream.frozen else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another class order or upstream; put the frozen upstream's weights back.

        Raises:
            CheckpointError: the checkpoint was made with other classes or another upstream.
        """
        check_identity(self.classes, self.upstream, checkpoint.get("classes"), checkpoint.get(FINGERPRINT))
        for name, value in self.state_dict().items():
            if self.is_frozen_upstream(name):
                checkpoint["state_dict"][name] = value
