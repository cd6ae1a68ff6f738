"""Files of a fit that is going on: weights of the best epochs, and the state that a killed fit resumes from."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import pickle
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.loggers import Logger
from torch import Tensor

from ser_toolkit.config.selection import Selection
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.system.files import PARTIAL, whole, write_bytes
from ser_toolkit.system.processes import is_first

_LOG = logging.getLogger(__name__)
#: Name of the state that a killed fit goes on from.
LAST = "last.ckpt"
#: Seconds of work that a killed fit may lose, where an epoch does not take longer.
PERIOD = 10.0
#: Weights of the best epochs up to this size wait in memory for the next writing, in bytes each.
HELD_BYTES = 64 * 2**20
#: Clock of the time between states, in seconds.
clock = time.monotonic


class BestWeights(Checkpoint):
    """Weights of the best epochs on dev, or of the last ones without a dev part; short epochs write no files.

    Small weights wait in memory. They are written before the state that a killed run goes on from, and files that this
    state names are dropped only when another state has replaced it: at any time the two lie there together. What is
    lost in memory is made again, because a run that goes on repeats the epochs since to the last bit.

    Args:
        folder: of the files.
        selection: what epochs are compared by, and how many are averaged.
        has_dev: whether there is a dev part.
    """

    def __init__(self, folder: Path, selection: Selection, has_dev: bool) -> None:
        # Without a dev part "best" means latest: the last epochs are averaged, nothing is chosen by looking at results.
        self.monitor, self.mode = (selection.monitor, selection.mode) if has_dev else ("epoch", "max")
        self.save_top_k = selection.average
        self._folder, self._has_dev = folder, has_dev
        self._scores: dict[int, float] = {}
        self._held: dict[int, dict[str, Tensor]] = {}
        self._replaced: set[int] = set()
        self._step = 0

    # --- what Lightning calls -------------------------------------------------------------------------------------

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Compare the epoch by its dev metric."""
        if self._has_dev:
            self._compare(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the epoch for the best so far where there is no dev part to compare on."""
        if not self._has_dev:
            self._compare(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Epochs (from 0) and their scores, in the order in which they became the best."""
        return {"scores": dict(self._scores)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the epochs of a state; their weights lie in the folder."""
        self._scores = dict(state_dict["scores"])

    # --- what loggers that store models ask for -------------------------------------------------------------------

    @property
    def best_k_models(self) -> dict[str, float]:
        """Scores of the best epochs by the path of their file."""
        return {str(self.path(epoch)): score for epoch, score in self._scores.items()}

    @property
    def best_model_path(self) -> str:
        """Path of the best epoch's file; empty before the first."""
        return str(self.path(self.epochs()[0])) if self._scores else ""

    @property
    def best_model_score(self) -> float | None:
        """The best value of what is monitored, None before the first epoch."""
        return self._scores[self.epochs()[0]] if self._scores else None

    # --- the best epochs ------------------------------------------------------------------------------------------

    def epochs(self) -> list[int]:
        """The epochs whose weights are averaged, best first.

        Raises:
            CheckpointError: there is none.
        """
        if not self._scores:
            raise CheckpointError(f"Training left no checkpoint in {self._folder}. Is trainer.max_epochs at least 1?")
        sign = -1 if self.mode == "max" else 1
        # equal ones by their file's name, as text: in this order weights are added up
        return sorted(self._scores, key=lambda epoch: (sign * self._scores[epoch], self.path(epoch).name))

    def path(self, epoch: int) -> Path:
        """Path of the file with the weights of an epoch."""
        return self._folder / f"epoch={epoch}.ckpt"

    def dev(self) -> dict[str, float] | None:
        """The best value of what is monitored by its name; None without a dev part."""
        return {self.monitor: self._scores[self.epochs()[0]]} if self._has_dev else None

    def state(self, epoch: int) -> dict[str, Tensor]:
        """The weights of one of the best epochs.

        Raises:
            CheckpointError: the file cannot be read.
        """
        if epoch in self._held:
            return self._held[epoch]
        path = self.path(epoch)
        try:
            state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"Cannot read {path}: {' '.join(str(error).split())[:120]}. Delete {path.parent} and run the same "
                "command again: this unit starts anew, the others are kept."
            ) from error
        return state

    def write(self) -> None:
        """Write the weights that wait in memory, each file in one step."""
        for epoch, state in self._held.items():
            path = self.path(epoch)
            content = io.BytesIO()
            torch.save({"state_dict": state}, content)
            write_bytes(path, content.getvalue())
        self._held.clear()

    def drop_replaced(self) -> None:
        """Drop the files that no state names any more."""
        for epoch in self._replaced - self._scores.keys():
            self.path(epoch).unlink(missing_ok=True)
        self._replaced.clear()

    def _compare(self, trainer: Any) -> None:
        """Keep the weights of the present epoch where it is among the best."""
        if trainer.fast_dev_run or trainer.global_step == self._step:
            return  # no step was taken since
        epoch = trainer.current_epoch
        measured = trainer.callback_metrics | {"epoch": epoch}
        if self.monitor not in measured:
            raise RecipeError(f"selection.monitor={self.monitor} was not measured on dev; {', '.join(measured)} were.")
        score = float(measured[self.monitor])
        worst = self._worst()
        if worst is not None:
            better = score > self._scores[worst] if self.mode == "max" else score < self._scores[worst]
            if not trainer.strategy.reduce_boolean_decision(better):
                return
            self._scores.pop(worst)
        if math.isnan(score):
            score = -math.inf if self.mode == "max" else math.inf
        self._scores[epoch] = score
        self._keep_weights(trainer, epoch)
        if worst is not None and worst != epoch and self._held.pop(worst, None) is None:
            self._replaced.add(worst)

    def _worst(self) -> int | None:
        """The epoch that a better one replaces; None while there is room."""
        if len(self._scores) < self.save_top_k:
            return None
        choose = min if self.mode == "max" else max
        return choose(self._scores, key=self._scores.__getitem__)

    def _keep_weights(self, trainer: Any, epoch: int) -> None:
        """Keep the weights in memory; in a file where they are large, or other processes or a logger take part."""
        self._step = trainer.global_step
        state = trainer.lightning_module.own_state()
        stores = [one for one in trainer.loggers if type(one).after_save_checkpoint is not Logger.after_save_checkpoint]
        if trainer.world_size == 1 and not stores and sum(value.nbytes for value in state.values()) <= HELD_BYTES:
            self._held[epoch] = {name: value.detach().to("cpu", copy=True) for name, value in state.items()}
            return
        trainer.save_checkpoint(self.path(epoch), weights_only=True)
        for logger in stores if is_first() else ():
            logger.after_save_checkpoint(self)


class EpochStart(Callback):
    """Writes the state in which an epoch starts, for a killed run to go on from.

    At the end of an epoch it would be too early: schedulers that look at dev have not stepped yet, and a run that goes
    on from there would leave this step out. Not every state is written: a run that goes on repeats the epochs since,
    which is ``PERIOD`` of work at most, or one epoch where that takes longer.

    Args:
        path: of the state.
        best: weights of the best epochs, whose files are written first.
    """

    def __init__(self, path: Path, best: BestWeights) -> None:
        self._path, self._best = path, best
        self._written = self._began = clock()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock of states; a state that lies there already was written by the run that goes on here."""
        self._written = self._began = clock()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the state where it is due, to another name first: a kill leaves the former state."""
        now = clock()
        took, self._began = now - self._began, now
        # with another epoch like the last one, too much would be lost; all processes do as the first one does
        due = trainer.strategy.broadcast(now + took - self._written > PERIOD)
        if trainer.current_epoch == 0 or not due:
            return
        if is_first():
            self._best.write()
        # every process takes part, the first one alone writes
        with whole(self._path) if is_first() else nullcontext(self._path) as partial:
            trainer.save_checkpoint(partial, weights_only=False)
        if is_first():
            self._best.drop_replaced()
        self._written = self._began = clock()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Count whole epochs: Lightning takes an epoch that is ready, but not started, for an interrupted one."""
        for count in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
            count["ready"] = count["started"]


def last_checkpoint(folder: Path) -> Path | None:
    """Path of the state that a killed fit goes on from; None where there is none, or a damaged one: it starts anew."""
    last = folder / LAST
    if not last.is_file():
        return None
    try:
        _ = torch.load(last, map_location="cpu", weights_only=True, mmap=True)["callbacks"][BestWeights.__name__]
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        _LOG.warning("%s is damaged (%s): this unit starts anew.", last, type(error).__name__)
    else:
        return last
    for path in folder.glob("*.ckpt"):
        path.unlink(missing_ok=True)  # another process of the same training drops them too
    return None


def own_state(best: BestWeights, epoch: int, model: EmotionModel) -> dict[str, Tensor]:
    """Weights that the model adds to its frozen upstream, as they were at one of the best epochs."""
    own = model.own_state()
    return {name: value for name, value in best.state(epoch).items() if name in own}


def drop_checkpoints(folder: Path) -> None:
    """Leave only the chosen weights, which lie in their own file."""
    # The chosen weights are kept as safetensors; optimiser states and runners-up would only fill the disk.
    for path in [*folder.glob("*.ckpt"), *folder.glob(f".*{PARTIAL}")]:
        with contextlib.suppress(OSError):
            path.unlink()
    if folder.name == "refit":
        shutil.rmtree(folder, ignore_errors=True)
