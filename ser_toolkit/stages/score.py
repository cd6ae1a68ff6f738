"""Test: predict the test part with the chosen weights, and score it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import write_predictions
from ser_toolkit.model import EmotionModel
from ser_toolkit.stages.threads import suitable_threads
from ser_toolkit.stages.unit import Stage, Unit, prediction_table, write_json
from ser_toolkit.weights import WEIGHTS_FILE, read_weights


class Score(Stage):
    """Score the test part with the chosen weights, every draw of the variant; leaves predictions and metrics."""

    def done(self, unit: Unit) -> bool:
        """Whether the metrics are there."""
        return unit.complete

    def run(self, unit: Unit) -> None:
        """Predict and score."""
        unit.use()
        model = unit.model()
        read_weights(unit.checkpoints / WEIGHTS_FILE, model)
        tables, draws = [], []
        for draw in range(unit.variant.draws):
            unit.use(draw)
            unit.keep_vectors(model)
            trainer = unit.recipe.trainer(default_root_dir=str(unit.folder), logger=False, callbacks=[])
            if not unit.data.scored_ids:
                raise ResultError(
                    f"Fold {unit.fold.name}: variant {unit.variant.name} leaves no test utterance to score. "
                    "Leave the variant out (variants=[Plain])."
                )
            with suitable_threads(unit.data):
                trainer.test(model, unit.data, verbose=False)
            tables.append(prediction_table(unit, model.test_outputs, draw))
            draws.append(model.test_outputs.metrics())
        if trainer.is_global_zero:
            write_predictions(unit.folder / "predictions.parquet", pd.concat(tables), unit.data.classes)
            record = json.loads((unit.folder / "fit.json").read_text(encoding="utf-8"))
            metrics = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
            write_json(
                unit.folder / "metrics.json",
                {"fold": unit.fold.name, "seed": unit.seed, "variant": unit.variant.name, "metrics": metrics}
                | {"fit": record, "parameters": _count_parameters(model)},
            )
        trainer.strategy.barrier()


def _count_parameters(model: EmotionModel) -> dict[str, int]:
    return {
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "total": sum(p.numel() for p in model.parameters()),
    }
