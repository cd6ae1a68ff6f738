"""Choose: the best of several candidates on dev, inside the fold."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_toolkit.config.selection import Selection, number_of_trials
from ser_toolkit.errors import RecipeError, TrainingError
from ser_toolkit.evaluation.run_folder import UnitFolder
from ser_toolkit.experiment.stages.fit import Fit
from ser_toolkit.experiment.stages.search import proposal
from ser_toolkit.experiment.unit import Stage, Unit
from ser_toolkit.protocols.folds import Fold, Protocol
from ser_toolkit.system.files import write_json, write_text
from ser_toolkit.system.processes import agreed, is_first, together, wait_for_all


def check_dev(selection: Selection, protocol: Protocol, folds: Sequence[Fold]) -> None:
    """Refuse to choose inside a fold that has nothing to choose on.

    Raises:
        RecipeError: something is searched, but one of the folds has no dev part.
    """
    without = [fold.name for fold in folds if not fold.dev]
    if not selection.searches or not without:
        return
    setting, none = ("selection.candidates", "[]") if selection.candidates else ("selection.space", "{}")
    options = (f"data.protocol.{name}=1" for name in ("dev_speakers", "dev_folds") if hasattr(protocol, name))
    trials = " selection.trials=null" if selection.space else ""
    raise RecipeError(
        f"{setting} is compared on dev, but protocol {type(protocol).__name__} has no dev part in {len(without)} of "
        f"{len(folds)} folds (first {without[0]}). Choose nothing, with ser-train {setting}={none}{trials}, or give it "
        f"a dev part ({next(options, 'another protocol, such as data.protocol=LeaveOneSpeakerOut')})."
    )


class Choose(Stage):
    """Fit every candidate on the training part and take the best on dev: the choice is nested in the fold.

    Leaves ``chosen.json`` and the best candidate's ``fit.json``, weights and training curves, so that the unit's own
    fit is done.
    """

    def done(self, unit: Unit) -> bool:
        """Whether the choice is written down."""
        return unit.files.chosen.is_file()

    def run(self, unit: Unit) -> None:
        """Fit every candidate, compare them, and write down the best; a tie goes to the candidate named first."""
        selection = unit.recipe.selection
        check_dev(selection, unit.data.protocol, [unit.fold])
        sign = 1 if selection.mode == "max" else -1
        done: list[tuple[str, float]] = []
        for number in range(number_of_trials(selection)):
            overrides = proposal(selection, done, unit.seed)
            record = self._record(unit, overrides, _place(unit, number))
            score = record["dev"][selection.monitor]
            done.append((overrides, -sign * math.inf if score is None else score))
        scores = [score for _, score in done]
        if not any(math.isfinite(score) for score in scores):
            raise TrainingError(f"None of {len(done)} settings can be trained. The last one: {record['failed']}")
        best = max(range(len(done)), key=lambda number: (sign * scores[number], -number))
        wait_for_all()  # the others still read the records that go with the candidates
        if is_first():
            self._take_over(unit, best, done)
        wait_for_all()

    def after(self, unit: Unit) -> Unit:
        """The unit under the overrides that were chosen."""
        return unit.under(json.loads(unit.files.chosen.read_text(encoding="utf-8"))["chosen"])

    def _record(self, unit: Unit, overrides: str, folder: Path) -> dict[str, Any]:
        """Content of a candidate's ``fit.json``, fitted where it is not yet; its features are freed on return."""
        trial = self._trial(unit, overrides, folder)
        if not agreed(Fit().done(trial)):
            self._fit(trial)
        record: dict[str, Any] = json.loads(UnitFolder(folder).fit.read_text(encoding="utf-8"))
        return record

    @staticmethod
    def _fit(trial: Unit) -> None:
        """Fit a candidate; one whose loss diverges is the worst of all and does not end the search."""
        try:
            Fit().run(trial)
        except TrainingError as error:
            if together():
                raise  # the other processes do not know of it
            monitor = trial.recipe.selection.monitor
            write_json(trial.files.fit, {"dev": {monitor: None}, "failed": str(error)})

    @staticmethod
    def _trial(unit: Unit, overrides: str, folder: Path) -> Unit:
        note = folder / "overrides.txt"
        if is_first() and folder.is_dir() and not (note.is_file() and note.read_text(encoding="utf-8") == overrides):
            shutil.rmtree(folder, ignore_errors=True)  # another Optuna draws otherwise: this fit is of other settings
        wait_for_all()  # the first process drops the folder while another would write into it
        folder.mkdir(parents=True, exist_ok=True)
        write_text(note, overrides)
        return replace(unit, folder=folder).under(overrides)

    def _take_over(self, unit: Unit, best: int, done: list[tuple[str, float]]) -> None:
        """Take over the best candidate's weights and record; the other candidates are removed."""
        trial, files = UnitFolder(_place(unit, best)), unit.files
        files.checkpoints.mkdir(parents=True, exist_ok=True)
        shutil.copy2(trial.weights, files.weights)
        shutil.copy2(trial.fit, files.fit)
        if trial.curves.is_dir():
            shutil.copytree(trial.curves, files.curves, dirs_exist_ok=True)
        monitor = unit.recipe.selection.monitor
        trials = [{"overrides": o, monitor: score if math.isfinite(score) else None} for o, score in done]
        write_json(files.chosen, {"chosen": done[best][0], "trials": trials})
        shutil.rmtree(files.candidates)


def _place(unit: Unit, number: int) -> Path:
    """Folder of a candidate while the search goes on."""
    return unit.files.candidates / str(number)
