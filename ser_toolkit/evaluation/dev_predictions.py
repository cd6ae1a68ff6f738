"""Predictions of the dev parts: what calibration, thresholds, stacking and abstention may learn from.

Every unit of a run (variant, fold, seed) stores ``dev_predictions.parquet`` beside ``predictions.parquet``, in the form
of :mod:`ser_toolkit.evaluation.predictions`. What is learned from the rows of a fold may be applied to the test part of
the same fold and seed alone: the dev speakers of one fold are test speakers of another. No report counts these rows.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import gather_predictions
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.terms import PLAIN, natural_key


def load_dev_predictions(run_dir: Path, variant: str = PLAIN) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The dev predictions of every fold and seed of a variant.

    They come from the weights that dev has selected (the average of the best epochs where ``selection.average`` is
    above 1), never from weights that a refit has trained on dev: with ``selection.refit=true`` those of the test part
    are other weights. Baselines have none, because they train on train + dev.

    Args:
        run_dir: the folder with ``run.json``.
        variant: for example ``plain`` or ``transductive``.

    Returns:
        The rows (columns as in ``predictions.parquet``; ``fold``, ``seed`` and ``draw`` say where a row belongs) and
        the class order.

    Raises:
        ResultError: there are none: no such variant, or folds without a dev part.
    """
    units = RunFolder(Path(run_dir)).units(variant)
    there = [unit.dev_predictions for unit in units if unit.dev_predictions.is_file()]
    found = sorted(there, key=lambda path: natural_key(str(path)))
    if not found:
        raise ResultError(
            f"{run_dir} holds no dev_predictions.parquet of variant {variant}. Folds without a dev part have none: "
            "fit.json of each says why."
        )
    return gather_predictions(found)
