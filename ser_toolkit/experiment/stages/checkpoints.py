"""Lightning's checkpoints while a fit goes on: which are kept, chosen, gone on from, and dropped."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from torch import Tensor

from ser_toolkit.config.recipe import Selection
from ser_toolkit.errors import CheckpointError
from ser_toolkit.model.emotion_model import EmotionModel

_LOG = logging.getLogger(__name__)
#: Name of the state that a killed fit goes on from.
LAST = "last.ckpt"


#: Seconds of work that a killed fit may lose, where an epoch does not take longer.
PERIOD = 10.0
#: States of the best epochs up to this size wait in memory for the next writing, in bytes each.
HELD_BYTES = 64 * 2**20
#: What time it is.
clock = time.monotonic


class Keeper(ModelCheckpoint):
    """Keeps the best epochs; small states wait in memory, so that short epochs write no files.

    They are written before the state that a killed run goes on from, and what that state names is dropped only when
    another has replaced it: at any time the two lie there together. What is lost in memory is made again, because a
    run that goes on repeats the epochs since to the last bit.
    """

    def __init__(self, folder: Path, monitor: str, mode: str, save_top_k: int, has_dev: bool) -> None:
        super().__init__(
            dirpath=folder,
            filename="{epoch}",
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            save_weights_only=True,
            enable_version_counter=False,
            save_on_train_epoch_end=not has_dev,
        )
        self._held: dict[str, dict[str, Tensor]] = {}
        self._replaced: list[Path] = []

    @property
    def state_key(self) -> str:
        """That of Lightning's own class, whose states of older runs are taken over."""
        return "ModelCheckpoint" + super().state_key.removeprefix(type(self).__qualname__)

    def _save_checkpoint(self, trainer: Any, filepath: str) -> None:
        state = trainer.lightning_module.own_state()
        wanted = any(type(one).after_save_checkpoint is not Logger.after_save_checkpoint for one in trainer.loggers)
        if trainer.world_size > 1 or wanted or sum(value.nbytes for value in state.values()) > HELD_BYTES:
            super()._save_checkpoint(trainer, filepath)
            return
        self._held[Path(filepath).name] = {n: value.detach().to("cpu", copy=True) for n, value in state.items()}
        self._last_global_step_saved = trainer.global_step
        self._last_checkpoint_saved = filepath

    def _remove_checkpoint(self, trainer: Any, filepath: str) -> None:
        if self._held.pop(Path(filepath).name, None) is not None:
            return
        if trainer.world_size > 1:
            super()._remove_checkpoint(trainer, filepath)
        else:
            self._replaced.append(Path(filepath))

    def write(self) -> None:
        """Write what waits in memory, each file in one step."""
        for name, state in self._held.items():
            path = Path(str(self.dirpath)) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            torch.save({"state_dict": state}, content)
            partial = path.with_suffix(".partial")
            partial.write_bytes(content.getvalue())
            partial.replace(path)
        self._held.clear()

    def drop_replaced(self) -> None:
        """Drop the files that no state names any more."""
        for path in self._replaced:
            path.unlink(missing_ok=True)
        self._replaced.clear()

    def state(self, path: Path) -> dict[str, Tensor]:
        """What the model was at one of the kept epochs.

        Raises:
            CheckpointError: the file cannot be read.
        """
        held = self._held.get(path.name)
        if held is not None:
            return held
        try:
            state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"Cannot read {path}: {' '.join(str(error).split())[:120]}. Delete {path.parent} and run the same "
                "command again: this unit starts anew, the others are kept."
            ) from error
        return state


class EpochStart(Callback):
    """Keeps the state in which an epoch starts, for a killed run to go on from.

    At the end of an epoch it would be too early: schedulers have not stepped and early stopping has not looked yet,
    and a run that goes on from there would do both without the metrics. Not every epoch is kept: a run that goes on
    repeats those since, which is ``PERIOD`` of work at most, or one epoch where that takes longer.

    Args:
        path: where.
        keeper: of the best epochs, whose files are written first.
    """

    def __init__(self, path: Path, keeper: Keeper) -> None:
        self._path, self._keeper = path, keeper
        self._written = self._began = clock()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """What is there already was written by the run that goes on here."""
        self._written = self._began = clock()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Write, then rename: a kill leaves the state before."""
        now = clock()
        took, self._began = now - self._began, now
        # with another epoch like the last one, too much would be lost; all processes do as the first one does
        due = trainer.strategy.broadcast(now + took - self._written > PERIOD)
        if trainer.current_epoch == 0 or not due:
            return
        if trainer.is_global_zero:
            self._keeper.write()
        partial = self._path.with_suffix(".partial")
        progress = trainer.fit_loop.epoch_progress
        # The state of n complete epochs: an epoch that is "ready" would be taken for one that was broken off.
        for count in (progress.total, progress.current):
            count.ready -= 1
        trainer.save_checkpoint(partial, weights_only=False)
        for count in (progress.total, progress.current):
            count.ready += 1
        if trainer.is_global_zero:
            partial.replace(self._path)
            self._keeper.drop_replaced()
        self._written = self._began = clock()


def keeper(folder: Path, selection: Selection, has_dev: bool) -> Keeper:
    """What keeps the best epochs on dev, or the last ones when there is no dev part."""
    # Without a dev part "best" means latest: the last epochs are averaged, nothing is chosen by looking at results.
    monitor, mode = (selection.monitor, selection.mode) if has_dev else ("epoch", "max")
    return Keeper(folder, monitor, mode, selection.average, has_dev)


def last_checkpoint(folder: Path) -> Path | None:
    """Where a killed fit goes on; None when it had not begun, or left a damaged file: then it starts anew."""
    last = folder / LAST
    if not last.is_file():
        return None
    try:
        callbacks = torch.load(last, map_location="cpu", weights_only=True, mmap=True)["callbacks"]
        # Lightning forgets which epochs were best when their folder has another path than before.
        places = {state["dirpath"] for name, state in callbacks.items() if name.startswith("ModelCheckpoint")}
        problem = "" if str(folder.resolve()) in places else "was moved"
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        problem = f"is damaged ({type(error).__name__})"
    if not problem:
        return last
    _LOG.warning("%s %s: this unit starts anew.", last, problem)
    for path in folder.glob("*.ckpt"):
        path.unlink(missing_ok=True)  # another process of the same training drops them too
    return None


def chosen(keeper: ModelCheckpoint, folder: Path) -> list[Path]:
    """The checkpoints whose weights are averaged, best first."""
    scores = {Path(path): float(score) for path, score in keeper.best_k_models.items()}
    paths = sorted(scores, key=lambda path: (-scores[path] if keeper.mode == "max" else scores[path], path.name))
    if not paths:
        raise CheckpointError(f"Training left no checkpoint in {folder}. Is trainer.max_epochs at least 1?")
    # A moved run directory: the names count, not where they once were.
    return [folder / path.name for path in paths]


def own_state(keeper: Keeper, path: Path, model: EmotionModel) -> dict[str, Tensor]:
    """What the model adds to its frozen upstream, as it was at one of the kept epochs."""
    own = model.own_state()
    return {name: value for name, value in keeper.state(path).items() if name in own}


def epoch(path: Path) -> int:
    """The epoch that a checkpoint was written in, from 0."""
    return int(path.stem.split("=")[1])


def best(keeper: ModelCheckpoint) -> dict[str, float] | None:
    """The best value of what is monitored, None when nothing was."""
    score = keeper.best_model_score
    return None if score is None or keeper.monitor == "epoch" else {str(keeper.monitor): float(score)}


def drop_checkpoints(folder: Path) -> None:
    """Leave only the chosen weights, which lie in their own file."""
    # The chosen weights are kept as safetensors; optimiser states and runners-up would only fill the disk.
    for path in folder.glob("*.ckpt"):
        with contextlib.suppress(OSError):
            path.unlink()
    if folder.name == "refit":
        shutil.rmtree(folder, ignore_errors=True)
