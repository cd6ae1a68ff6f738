"""Lightning's checkpoints while a fit goes on: which are kept, chosen, gone on from, and dropped."""

from __future__ import annotations

import contextlib
import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from ser_toolkit.errors import CheckpointError
from ser_toolkit.model import EmotionModel
from ser_toolkit.recipe import Selection

_LOG = logging.getLogger(__name__)
#: Name of the state that a killed fit goes on from.
LAST = "last.ckpt"


class EpochStart(Callback):
    """Keeps the state in which every epoch starts, for a killed run to go on from.

    At the end of an epoch it would be too early: schedulers have not stepped and early stopping has not looked yet,
    and a run that goes on from there would do both without the metrics.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Write, then rename: a kill leaves the state before."""
        if trainer.current_epoch == 0:
            return
        partial = self._path.with_suffix(".partial")
        progress = trainer.fit_loop.epoch_progress
        # The state of n complete epochs: an epoch that is "ready" would be taken for one that was broken off.
        for count in (progress.total, progress.current):
            count.ready -= 1
        trainer.save_checkpoint(partial)
        for count in (progress.total, progress.current):
            count.ready += 1
        if trainer.is_global_zero:
            partial.replace(self._path)


def keeper(folder: Path, selection: Selection, has_dev: bool) -> ModelCheckpoint:
    """What keeps the best epochs on dev, or the last ones when there is no dev part."""
    # Without a dev part "best" means latest: the last epochs are averaged, nothing is chosen by looking at results.
    monitor, mode = (selection.monitor, selection.mode) if has_dev else ("epoch", "max")
    return ModelCheckpoint(
        dirpath=folder,
        filename="{epoch}",
        monitor=monitor,
        mode=mode,
        save_top_k=selection.average,
        save_weights_only=True,
        enable_version_counter=False,
        save_on_train_epoch_end=not has_dev,
    )


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
        path.unlink()
    return None


def chosen(keeper: ModelCheckpoint, folder: Path) -> list[Path]:
    """The checkpoints whose weights are averaged, best first."""
    scores = {Path(path): float(score) for path, score in keeper.best_k_models.items()}
    paths = sorted(scores, key=lambda path: (-scores[path] if keeper.mode == "max" else scores[path], path.name))
    if not paths:
        raise CheckpointError(f"Training left no checkpoint in {folder}. Is trainer.max_epochs at least 1?")
    # A moved run directory: the names count, not where they once were.
    return [folder / path.name for path in paths]


def own_state(path: Path, model: EmotionModel) -> dict[str, Tensor]:
    """What the model adds to its frozen upstream, from one of Lightning's checkpoints."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"Cannot read {path}: {' '.join(str(error).split())[:120]}. Delete {path.parent} and run the same command "
            "again: this unit starts anew, the others are kept."
        ) from error
    return {name: value for name, value in state.items() if name in model.own_state()}


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
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    if folder.name == "refit":
        shutil.rmtree(folder, ignore_errors=True)
