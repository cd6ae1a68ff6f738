"""Checks of stored predictions against their run: its utterances, all of them, and the most probable class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import class_indices, predicted_column, probability_columns
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.evaluation.run_record import RunRecord, VariantRecord
from ser_toolkit.terms import DIMENSIONS, listed

#: Probabilities are stored as float32: a class that is less probable than another by less than this may be chosen.
_ROUNDING = 1e-5


def remarks(
    folder: RunFolder, record: RunRecord, tables: Iterable[tuple[str, str, pd.DataFrame]], classes: Sequence[str]
) -> list[str]:
    """Sentences on predictions that are missing or were not made as a run makes them.

    Args:
        folder: of the run.
        record: of the run; how many utterances are missing is known where it holds the sizes of the folds.
        tables: variant, name (``model``) and predictions of each system.
        classes: of the probabilities.

    Raises:
        ResultError: a prediction is of an utterance that the run's manifest does not have.
    """
    known, sentences = manifest_ids(folder.manifest), []
    silent: dict[str, list[str]] = {}
    for variant, system, table in tables:
        name = f"{variant}, {system}"
        if known is not None:
            _refuse_unknown(folder, name, table, known)
        of = record.variants.get(variant, VariantRecord())
        sentences += _missing(name, table, record.protocol.parts) if of.scores == "all" else []
        sentences += _other_choice(name, table, classes)
        for sentence in _unpredicted(table):
            silent.setdefault(sentence, []).append(name)
    return sentences + [f"{sentence} ({'; '.join(names)})." for sentence, names in silent.items()]


def manifest_ids(manifest: Path) -> set[str] | None:
    """Ids of the utterances of a run; None where it holds no manifest that can be read."""
    try:
        with pq.ParquetFile(manifest) as file:
            return set(file.read(columns=["id"]).column("id").to_pylist())
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None


def _refuse_unknown(folder: RunFolder, name: str, table: pd.DataFrame, known: set[str]) -> None:
    strange = sorted(set(table["id"]) - known)
    if strange:
        raise ResultError(
            f"{folder.path}: {len(strange)} predictions ({name}) are of utterances that {folder.manifest.name} does "
            f"not list: {listed(strange, 3)}. They are of another corpus or copy: remove them, or run ser-train again."
        )


def _missing(name: str, table: pd.DataFrame, parts: Mapping[str, Sequence[int]]) -> list[str]:
    """Folds with fewer test utterances than the protocol gave them."""
    found: list[str] = []
    lost = 0
    for (fold, _), rows in table.groupby(["fold", "seed"], sort=False):
        size = parts.get(str(fold), (0, 0, 0))[2]
        there = rows["id"].nunique()
        if there < size:
            found.append(f"fold {fold} {there} of {size}")
            lost += size - there
    return (
        [f"Predictions are missing ({name}): {lost} test utterances have none ({listed(found, 3)})."] if found else []
    )


def _other_choice(name: str, table: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """Predictions of a class that is not the most probable one."""
    if not classes or table["predicted"].isna().all():
        return []
    values = table[probability_columns(classes)].to_numpy(dtype=float)
    chosen = values[np.arange(len(table)), class_indices(table["predicted"], classes)]
    other = np.flatnonzero(chosen < np.nanmax(np.nan_to_num(values, nan=-1.0), axis=1) - _ROUNDING)
    if not len(other):
        return []
    shown = listed(table["id"].iloc[other].tolist(), 3)
    return [
        f"In {len(other)} of {len(table)} predictions ({name}) the predicted class is not the most probable one "
        f"({shown}): figures are of the predicted classes, and these were not chosen as the model chooses."
    ]


def _unpredicted(table: pd.DataFrame) -> list[str]:
    """Folds whose models predict no value of a dimension that those of other folds predict."""
    found = []
    for dimension in DIMENSIONS:
        predicts = table.groupby("fold", sort=False)[predicted_column(dimension)].count() > 0
        rated = table.groupby("fold", sort=False)[dimension].count() > 0
        without = predicts.index[~predicts & rated].tolist()
        if predicts.any() and without:
            found.append(
                f"{dimension.capitalize()} is not predicted in {len(without)} of {len(predicts)} folds "
                f"({listed(without, 3)}), whose training parts have no ratings of it: its CCC is of the other folds"
            )
    return found
