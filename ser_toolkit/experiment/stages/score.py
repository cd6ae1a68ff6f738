"""Score: predict the dev part and the test part with the chosen weights; test figures go into the metrics."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import write_predictions
from ser_toolkit.experiment.stages.threads import suitable_threads
from ser_toolkit.experiment.unit import Stage, Unit, prediction_table
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.weights import StoredWeights, read_weights
from ser_toolkit.system.files import write_json
from ser_toolkit.system.processes import agreed, is_first, wait_for_all

#: Key of ``fit.json`` with the weights that the dev predictions come from, or the reason why there are none.
_DEV = "dev_predictions"


class ScoreDev(Stage):
    """Predict the dev part with the weights that dev has selected, before a refit trains on it.

    Without a refit, ``Score`` calls it with the model that it has loaded already. Leaves ``dev_predictions.parquet``
    (the form of the test part's, every draw of the variant) and, in ``fit.json``, ``dev_predictions``: the weights, the
    utterances and their metrics, or why nothing is stored.
    """

    def done(self, unit: Unit) -> bool:
        """Whether ``fit.json`` has an entry on the dev part."""
        return _DEV in _fit_record(unit)

    def run(self, unit: Unit, model: EmotionModel | None = None) -> None:
        """Predict the dev part, then note it in ``fit.json``.

        Args:
            unit: whose fit is complete.
            model: with the selected weights; loaded when None.
        """
        reason = self._obstacle(unit)
        found: dict[str, Any] = {"stored": False, "reason": reason}
        if reason is None:
            refit = unit.recipe.selection.refit
            model = model or _chosen_model(unit)[0]
            tables, metrics = _predictions(replace(unit, fold=replace(unit.fold, test=unit.fold.dev)), model)
            found = {"stored": True, "weights": f"selected on dev{', before the refit' if refit else ''}"}
            found |= {"utterances": int(tables[0]["id"].nunique()), "metrics": metrics}
            if is_first():
                write_predictions(unit.files.dev_predictions, pd.concat(tables), unit.data.classes)
        if is_first():
            write_json(unit.files.fit, _fit_record(unit) | {_DEV: found})
        wait_for_all()

    @staticmethod
    def _obstacle(unit: Unit) -> str | None:
        table, variant = unit.data.manifest.table, unit.variant
        if not unit.fold.dev:
            return "the fold has no dev part"
        if any(set(unit.fold.dev) <= variant.excluded(table, draw) for draw in range(variant.draws)):
            return f"variant {variant.name} takes its statistics from every dev utterance of a draw"
        return None


class Score(Stage):
    """Score the test part with the chosen weights, every draw of the variant; leaves predictions and metrics."""

    def done(self, unit: Unit) -> bool:
        """Whether the metrics are there."""
        return unit.complete

    def run(self, unit: Unit) -> None:
        """Predict and score the test part, and write both."""
        (model, stored), dev = _chosen_model(unit), ScoreDev()
        if not agreed(dev.done(unit)):
            dev.run(unit, model)
        tables, metrics = _predictions(unit, model)
        if is_first():
            write_predictions(unit.files.predictions, pd.concat(tables), unit.data.classes)
            write_json(
                unit.files.metrics,
                {"fold": unit.fold.name, "seed": unit.seed, "variant": unit.variant.name, "metrics": metrics}
                | {"fit": _fit_record(unit), "parameters": model.count_parameters(), "weights": stored.checksum},
            )
        wait_for_all()


def _chosen_model(unit: Unit) -> tuple[EmotionModel, StoredWeights]:
    """Model of a unit with the weights of its folder, and the metadata of their file."""
    model, _ = unit.prepared()
    return model, read_weights(unit.files.weights, model)


def _predictions(unit: Unit, model: EmotionModel) -> tuple[list[pd.DataFrame], dict[str, float]]:
    """The rows of every draw for the test part of the unit's fold, and their metrics (means over draws).

    Raises:
        ResultError: the variant leaves no utterance to score.
    """
    tables, draws = [], []
    for draw in range(unit.variant.draws):
        part = unit.with_vectors(unit.part(model, draw), model, draw)
        trainer = unit.recipe.trainer(default_root_dir=str(unit.folder), logger=False, callbacks=[])
        if not part.scored_ids:
            raise ResultError(
                f"Fold {unit.fold.name}: variant {unit.variant.name} leaves no test utterance to score. "
                "Leave the variant out (variants=[Plain])."
            )
        with suitable_threads(part):
            trainer.test(model, part, verbose=False)
        tables.append(prediction_table(part, model.test_outputs, draw))
        draws.append(model.test_outputs.metrics())
    return tables, {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}


def _fit_record(unit: Unit) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(unit.files.fit.read_text(encoding="utf-8"))
    return record
