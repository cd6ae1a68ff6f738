"""The stages of one unit of an experiment (a variant, a fold, a seed): fit, select, refit, test. Each can be resumed.

A stage leaves a file when it is complete; an executor runs the stages that have left none. What a killed stage had
begun is taken up from its last complete checkpoint and replays what the uninterrupted run would have done.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from ser_toolkit.data.batch import DIMENSIONS, MISSING_LABEL
from ser_toolkit.data.datamodule import SerDataModule
from ser_toolkit.data.splits import Fold
from ser_toolkit.errors import CheckpointError, RecipeError, SerError
from ser_toolkit.evaluation.predictions import write_predictions
from ser_toolkit.features.variants import Variant
from ser_toolkit.model import EmotionModel
from ser_toolkit.recipe import Recipe
from ser_toolkit.scoring import GatheredOutputs
from ser_toolkit.weights import average_states, read_weights, write_weights

_LOG = logging.getLogger(__name__)
WEIGHTS = "model.safetensors"
#: Name of the state that a killed fit goes on from.
LAST = "last.ckpt"


@dataclass
class Unit:
    """One run of the experiment: everything its stages need.

    Args:
        recipe: the configuration.
        data: shared by all units of a process.
        variant: how features are normalised.
        fold: which fold.
        seed: of weights, order and dropout.
        folder: where its files go.
        features: stored frames, or None to train from waveforms.
        on_epoch: called with (epoch, epochs, dev metric) after every epoch.
        vectors: utterance vectors by (variant, draw, parts), shared by the units of a process.
        upstream_state: weights of the fine-tuned upstream that the features came from; not trained further.
    """

    recipe: Recipe
    data: SerDataModule
    variant: Variant
    fold: Fold
    seed: int
    folder: Path
    features: Mapping[str, Tensor] | None
    on_epoch: Callable[[int, int, float | None], None] | None = None
    upstream_state: dict[str, Tensor] | None = None
    vectors: dict[tuple[str, int, str], dict[str, Tensor]] = field(default_factory=dict)
    _draw: int = 0

    @property
    def complete(self) -> bool:
        """Whether the last stage has left its file."""
        return (self.folder / "metrics.json").is_file()

    @property
    def checkpoints(self) -> Path:
        """Where weights lie."""
        return self.folder / "checkpoints"

    def use(self, draw: int = 0, join_dev: bool = False) -> None:
        """Point the shared data module at this unit."""
        self._draw = draw
        view = None
        if self.features is not None:
            view = self.variant.view(self.features, self.data.manifest.table, draw)
        self.data.use(
            self.fold,
            self.seed,
            view,
            not_scored=frozenset(self.variant.excluded(self.data.manifest.table, draw)),
            join_dev=join_dev,
        )

    def model(self) -> EmotionModel:
        """A fresh model that knows its training part; the same every time it is asked for."""
        model = self.recipe.model(self.data.classes, self.seed)
        if self.variant.level == "utterance" and (not model.fixed_embedding or model.normalisation is not None):
            raise RecipeError(
                f"Variant {self.variant.name} with level=utterance standardises pooled vectors: layer mix, frame stage "
                "and pooling must have no parameters and model.normalisation must not be global. Use level=frames."
            )
        self.data.use_rate(model.upstream.sampling_rate)
        if self.upstream_state is not None:
            model.upstream.load_state_dict(self.upstream_state)
            model.upstream.requires_grad_(False)
        features = self.data.features
        model.prepare(
            torch.from_numpy(self.data.class_counts()),
            self.seed,
            None if features is None else [features[name] for name in self.data.training_ids],
            None if features is None else lambda: self._vectors(model, self.data.training_ids),
        )
        return model

    def keep_vectors(self, model: EmotionModel) -> None:
        """Where nothing before the head learns, train and test the head from one vector an utterance."""
        if self.data.features is not None and model.fixed_embedding:
            names = self.data.used_ids
            vectors = model.normalised(self._vectors(model, names))
            self.data.use_vectors(dict(zip(names, vectors, strict=True)))

    def _vectors(self, model: EmotionModel, names: Sequence[str]) -> Tensor:
        """(N, E): computed once for all folds, unless a normalisation of the frames was fitted on this one."""
        features = self.data.features or {}
        if model.normalisation is not None:
            return torch.stack([model.vector(features[name]) for name in names])
        parts = self.recipe.config.model
        key = (self.variant.name, self._draw, repr((parts.layer_mix, parts.frames, parts.pooling)))
        known = self.vectors.get(key)
        if known is None:
            known = {name: model.vector(frames) for name, frames in features.items()}
            known = dict(self.variant.view_vectors(known, self.data.manifest.table, self._draw))
            self.vectors[key] = known
        return torch.stack([known[name] for name in names])


class Stage(ABC):
    """One step of a unit."""

    @abstractmethod
    def done(self, unit: Unit) -> bool:
        """Whether the stage has left its file."""

    @abstractmethod
    def run(self, unit: Unit) -> None:
        """Do it."""


class Choose(Stage):
    """Fit every candidate on the training part and take the best on dev: the choice is nested in the fold.

    Leaves ``chosen.json`` and the best candidate's ``fit.json`` and weights, so that the unit's own fit is done.
    """

    def done(self, unit: Unit) -> bool:
        """Whether the choice is written down."""
        return (unit.folder / "chosen.json").is_file()

    def run(self, unit: Unit) -> None:
        """Fit, compare, keep the best; a tie goes to the candidate named first."""
        selection = unit.recipe.selection
        unit.use()
        if not unit.data.has_dev:
            raise RecipeError(
                "selection.candidates are compared on dev, but this protocol has none. Give it dev speakers "
                "(data.protocol.dev_speakers=2, data.protocol.dev_folds=1) or drop the candidates."
            )
        place = unit.folder / "candidates"
        trials = [
            replace(unit, recipe=unit.recipe.override(*overrides.split()), folder=place / str(number))
            for number, overrides in enumerate(selection.candidates)
        ]
        scores = []
        for trial in trials:
            trial.folder.mkdir(parents=True, exist_ok=True)
            if not Fit().done(trial):
                Fit().run(trial)
            record = json.loads((trial.folder / "fit.json").read_text(encoding="utf-8"))
            scores.append(record["dev"][selection.monitor])
        sign = 1 if selection.mode == "max" else -1
        best = max(range(len(trials)), key=lambda number: (sign * scores[number], -number))
        unit.checkpoints.mkdir(parents=True, exist_ok=True)
        shutil.copy2(trials[best].checkpoints / WEIGHTS, unit.checkpoints / WEIGHTS)
        shutil.copy2(trials[best].folder / "fit.json", unit.folder / "fit.json")
        compared = dict(zip(selection.candidates, scores, strict=True))
        _write_json(unit.folder / "chosen.json", {"chosen": selection.candidates[best], selection.monitor: compared})
        shutil.rmtree(unit.folder / "candidates")


class Fit(Stage):
    """Train, keep the best epochs on dev (or the last ones when there is no dev part), and choose the weights.

    Leaves ``checkpoints/model.safetensors`` and ``fit.json``.
    """

    def __init__(self, refit: bool = False) -> None:
        self._refit = refit

    def done(self, unit: Unit) -> bool:
        """Whether the chosen weights are there."""
        return (unit.folder / self._record).is_file()

    @property
    def _record(self) -> str:
        return "refit.json" if self._refit else "fit.json"

    def run(self, unit: Unit) -> None:
        """Train and choose."""
        selection = unit.recipe.selection
        unit.use(join_dev=self._refit)
        folder = unit.checkpoints / "refit" if self._refit else unit.checkpoints
        extra: dict[str, Any] = {}
        if self._refit:
            best = json.loads((unit.folder / "fit.json").read_text(encoding="utf-8"))
            extra["max_epochs"] = max(1, round(float(np.median(best["epochs"]))) + 1)
        if not unit.data.has_dev:
            extra["limit_val_batches"] = 0
        keeper = _keeper(folder, selection, unit.data.has_dev)
        callbacks: list[Callback] = [keeper, _EpochStart(folder / LAST), _Reporter(unit.on_epoch, selection.monitor)]
        if selection.patience is not None and unit.data.has_dev:
            callbacks.append(EarlyStopping(selection.monitor, mode=selection.mode, patience=selection.patience))
        model = unit.model()
        unit.keep_vectors(model)
        if unit.recipe.config.trainer.logger is None:
            # one table of the training curves beside the result; other loggers come by override
            extra["logger"] = CSVLogger(unit.folder, name="", version="refit_log" if self._refit else "log")
        trainer = unit.recipe.trainer(callbacks=callbacks, default_root_dir=str(unit.folder), **extra)
        started = time.perf_counter()
        _fit(trainer, model, unit.data, _last_checkpoint(folder))
        chosen = _chosen(keeper, folder)
        state = average_states([_own_state(path, model) for path in chosen])
        model.load_own_state(state)
        if trainer.is_global_zero:
            write_weights(unit.checkpoints / WEIGHTS, model)
            record = {
                "epochs": [_epoch(path) for path in chosen],
                "max_epochs": trainer.max_epochs,
                "averaged": len(chosen),
                "dev": _best(keeper),
                "training_utterances": len(unit.data.training_ids),
                "seconds": round(time.perf_counter() - started, 2),
            }
            _write_json(unit.folder / self._record, record)
            _drop_checkpoints(folder)
        trainer.strategy.barrier()


class Test(Stage):
    """Score the test part with the chosen weights, every draw of the variant; leaves predictions and metrics."""

    def done(self, unit: Unit) -> bool:
        """Whether the metrics are there."""
        return unit.complete

    def run(self, unit: Unit) -> None:
        """Predict and score."""
        unit.use()
        model = unit.model()
        read_weights(unit.checkpoints / WEIGHTS, model)
        tables, draws = [], []
        for draw in range(unit.variant.draws):
            unit.use(draw)
            unit.keep_vectors(model)
            trainer = unit.recipe.trainer(default_root_dir=str(unit.folder), logger=False, callbacks=[])
            trainer.test(model, unit.data, verbose=False)
            tables.append(prediction_table(unit, model.test_outputs, draw))
            draws.append(model.test_outputs.metrics())
        if trainer.is_global_zero:
            write_predictions(unit.folder / "predictions.parquet", pd.concat(tables), unit.data.classes)
            record = json.loads((unit.folder / "fit.json").read_text(encoding="utf-8"))
            metrics = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
            _write_json(
                unit.folder / "metrics.json",
                {"fold": unit.fold.name, "seed": unit.seed, "variant": unit.variant.name, "metrics": metrics}
                | {"fit": record, "parameters": _count_parameters(model)},
            )
        trainer.strategy.barrier()


def stages(recipe: Recipe) -> list[Stage]:
    """The stages of a unit of this recipe, in order."""
    choose: list[Stage] = [Choose()] if recipe.selection.candidates else []
    refit: list[Stage] = [Fit(refit=True)] if recipe.selection.refit else []
    return [*choose, Fit(), *refit, Test()]


def run_unit(unit: Unit) -> None:
    """Run the stages that are not done."""
    unit.folder.mkdir(parents=True, exist_ok=True)
    for stage in stages(unit.recipe):
        if not stage.done(unit):
            stage.run(unit)
        if isinstance(stage, Choose):
            chosen = json.loads((unit.folder / "chosen.json").read_text(encoding="utf-8"))["chosen"]
            unit.recipe = unit.recipe.override(*chosen.split())
        (unit.folder / "config.yaml").write_text(unit.recipe.yaml(), encoding="utf-8")


def prediction_table(unit: Unit, outputs: GatheredOutputs, draw: int = 0) -> pd.DataFrame:
    """The rows of ``predictions.parquet`` for one test part."""
    manifest, classes = unit.data.manifest, np.array([*unit.data.classes, None], dtype=object)
    rows = manifest.table.set_index("id").loc[outputs.ids]
    columns = ["speaker", "sex", "session", "dialogue", "language", "votes"]
    table = rows[columns].reset_index()
    table["label"] = classes[np.where(outputs.label == MISSING_LABEL, len(unit.data.classes), outputs.label)]
    if outputs.probabilities is not None:
        table["predicted"] = classes[outputs.probabilities.argmax(axis=1)]
        for index, name in enumerate(unit.data.classes):
            table[f"probability/{name}"] = outputs.probabilities[:, index].astype(np.float32)
    for index, name in enumerate(DIMENSIONS):
        table[name] = outputs.dimension_targets[:, index]
        if outputs.dimensions is not None:
            table[f"{name}_predicted"] = outputs.dimensions[:, index]
    return table.assign(fold=unit.fold.name, seed=unit.seed, draw=draw)


class _Reporter(Callback):
    """Tells the executor's progress bar how far a fit is."""

    def __init__(self, on_epoch: Callable[[int, int, float | None], None] | None, monitor: str) -> None:
        self._on_epoch, self._monitor = on_epoch, monitor

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report."""
        if self._on_epoch is not None:
            value = trainer.callback_metrics.get(self._monitor)
            self._on_epoch(trainer.current_epoch + 1, trainer.max_epochs, None if value is None else float(value))


class _EpochStart(Callback):
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


def _keeper(folder: Path, selection: Any, has_dev: bool) -> ModelCheckpoint:
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


def _fit(trainer: Any, model: EmotionModel, data: SerDataModule, last: Path | None) -> None:
    try:
        trainer.fit(model, datamodule=data, ckpt_path=last, weights_only=True)
    except SerError:
        raise
    except OSError as error:
        raise SerError(
            f"Writing to {trainer.default_root_dir} failed: {error}. Free some space and run the same command again: "
            "finished folds stay, the unfinished one goes on from its last epoch."
        ) from error


def _last_checkpoint(folder: Path) -> Path | None:
    """Where a killed fit goes on; None when it had not begun, or left a damaged file: then it starts anew."""
    last = folder / LAST
    if not last.is_file():
        return None
    try:
        torch.load(last, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        _LOG.warning("%s is damaged (%s): this unit starts anew.", last, str(error).split("\n")[0][:80])
        for path in folder.glob("*.ckpt"):
            path.unlink()
        return None
    return last


def _chosen(keeper: ModelCheckpoint, folder: Path) -> list[Path]:
    """The checkpoints whose weights are averaged, best first."""
    scores = {Path(path): float(score) for path, score in keeper.best_k_models.items()}
    paths = sorted(scores, key=lambda path: (-scores[path] if keeper.mode == "max" else scores[path], path.name))
    if not paths:
        raise CheckpointError(f"Training left no checkpoint in {folder}. Is trainer.max_epochs at least 1?")
    # A moved run directory: the names count, not where they once were.
    return [folder / path.name for path in paths]


def _own_state(path: Path, model: EmotionModel) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"Cannot read {path}: {str(error).splitlines()[0][:120]}. Delete {path.parent} and run the same command "
            "again: this unit starts anew, the others are kept."
        ) from error
    return {name: value for name, value in state.items() if name in model.own_state()}


def _epoch(path: Path) -> int:
    return int(path.stem.split("=")[1])


def _best(keeper: ModelCheckpoint) -> dict[str, float] | None:
    score = keeper.best_model_score
    return None if score is None or keeper.monitor == "epoch" else {str(keeper.monitor): float(score)}


def _drop_checkpoints(folder: Path) -> None:
    # The chosen weights are kept as safetensors; optimiser states and runners-up would only fill the disk.
    for path in folder.glob("*.ckpt"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    if folder.name == "refit":
        shutil.rmtree(folder, ignore_errors=True)


def _count_parameters(model: EmotionModel) -> dict[str, int]:
    return {
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "total": sum(p.numel() for p in model.parameters()),
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
