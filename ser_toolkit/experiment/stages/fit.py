"""Fit: train, and choose the weights without looking at the test part."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback, EarlyStopping

from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.downstream.heads import FittedHead
from ser_toolkit.errors import SerError
from ser_toolkit.experiment.stages import checkpoints
from ser_toolkit.experiment.stages.curves import CurveLogger
from ser_toolkit.experiment.stages.fit_head import fit_at_once
from ser_toolkit.experiment.stages.start import load_start_weights
from ser_toolkit.experiment.stages.threads import suitable_threads
from ser_toolkit.experiment.unit import Stage, Unit
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.weights import average_states, write_weights
from ser_toolkit.system.files import write_json
from ser_toolkit.system.interrupts import stop_if_interrupted
from ser_toolkit.system.processes import is_first, wait_for_all


class Fit(Stage):
    """Train, keep the best epochs on dev (or the last ones when there is no dev part), and choose the weights.

    Leaves ``checkpoints/model.safetensors``, ``fit.json`` and, where a trainer trains, the curves in ``log``.
    """

    def __init__(self, refit: bool = False) -> None:
        self._refit = refit

    def done(self, unit: Unit) -> bool:
        """Whether the chosen weights are there."""
        return self._record(unit).is_file()

    def _record(self, unit: Unit) -> Path:
        return unit.files.refit if self._refit else unit.files.fit

    def run(self, unit: Unit) -> None:
        """Train a model on the fold, choose its weights, and write them with a record."""
        selection = unit.recipe.selection
        model, part = unit.prepared(join_dev=self._refit)
        if unit.recipe.settings.start_from is not None:
            load_start_weights(unit, model)
        part = unit.with_vectors(part, model)
        if isinstance(model.head, FittedHead):
            self._fit_at_once(unit, part, model, model.head)
            return
        folder = unit.files.refit_checkpoints if self._refit else unit.files.checkpoints
        extra: dict[str, Any] = {}
        if self._refit:
            selected = json.loads(unit.files.fit.read_text(encoding="utf-8"))
            extra["max_epochs"] = max(1, round(float(np.median(selected["epochs"]))) + 1)
        if not part.has_dev:
            extra["limit_val_batches"] = 0
        best = checkpoints.BestWeights(folder, selection, part.has_dev)
        callbacks: list[Callback] = [
            best,
            checkpoints.EpochStart(folder / checkpoints.LAST, best),
            Reporter(unit.on_epoch, selection.monitor),
        ]
        if selection.patience is not None and part.has_dev:
            callbacks.append(EarlyStopping(selection.monitor, mode=selection.mode, patience=selection.patience))
        curves = CurveLogger(unit.folder / ("refit_log" if self._refit else "log"))
        trainer = unit.recipe.trainer(
            f"{unit.files.label}{'/refit' if self._refit else ''}",
            [curves],
            callbacks=callbacks,
            default_root_dir=str(unit.folder),
            **extra,
        )
        started = time.perf_counter()
        with suitable_threads(part):
            _fit(trainer, model, part, checkpoints.last_checkpoint(folder))
        chosen = best.epochs()
        state = average_states([checkpoints.own_state(best, epoch, model) for epoch in chosen])
        model.load_own_state(state)
        trainer.strategy.barrier()  # the others still read the checkpoints that the first process drops
        if is_first():
            write_weights(unit.files.weights, model)
            record = {
                "epochs": chosen,
                "max_epochs": trainer.max_epochs,
                "averaged": len(chosen),
                "dev": best.dev(),
                "training_utterances": len(part.training_ids),
                "seconds": round(time.perf_counter() - started, 2),
            }
            write_json(self._record(unit), record)
            checkpoints.drop_checkpoints(folder)
        trainer.strategy.barrier()

    def _fit_at_once(self, unit: Unit, part: FoldData, model: EmotionModel, head: FittedHead) -> None:
        record = fit_at_once(unit, part, model, head)
        if record is not None:
            write_json(self._record(unit), record)
        wait_for_all()


class Reporter(Callback):
    """Tells the executor's progress bar how far a fit is."""

    def __init__(self, on_epoch: Callable[[int, int, float | None], None] | None, monitor: str) -> None:
        self._on_epoch, self._monitor = on_epoch, monitor

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the epoch; a Ctrl-C that a library has dropped is answered here at the latest."""
        stop_if_interrupted()
        if self._on_epoch is not None:
            value = trainer.callback_metrics.get(self._monitor)
            self._on_epoch(trainer.current_epoch + 1, trainer.max_epochs, None if value is None else float(value))


def _fit(trainer: Any, model: EmotionModel, part: FoldData, last: Path | None) -> None:
    try:
        trainer.fit(model, datamodule=part, ckpt_path=last, weights_only=True)
    except SerError:
        raise
    except OSError as error:
        raise SerError(
            f"Writing to {trainer.default_root_dir} failed: {error}. Free some space and run the same command again: "
            "finished folds stay, the unfinished one goes on from its last epoch."
        ) from error
