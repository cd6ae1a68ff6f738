"""Choose: the best of several candidates on dev, inside the fold."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import torch

from ser_toolkit.errors import RecipeError
from ser_toolkit.stages.fit import Fit
from ser_toolkit.stages.unit import Stage, Unit, write_json
from ser_toolkit.weights import WEIGHTS_FILE


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
        if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
            self._keep(unit, trials[best], dict(zip(selection.candidates, scores, strict=True)))
        if torch.distributed.is_initialized():
            torch.distributed.barrier()

    def _keep(self, unit: Unit, best: Unit, scores: dict[str, float]) -> None:
        """Take over the best candidate's weights and record; the others go."""
        chosen = list(scores)[int(best.folder.name)]
        unit.checkpoints.mkdir(parents=True, exist_ok=True)
        shutil.copy2(best.checkpoints / WEIGHTS_FILE, unit.checkpoints / WEIGHTS_FILE)
        shutil.copy2(best.folder / "fit.json", unit.folder / "fit.json")
        write_json(unit.folder / "chosen.json", {"chosen": chosen, unit.recipe.selection.monitor: scores})
        shutil.rmtree(unit.folder / "candidates")
