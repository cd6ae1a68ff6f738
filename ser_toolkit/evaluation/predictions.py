"""The file ``predictions.parquet``: predictions of a system for every test utterance, beside the truth.

One row an utterance, fold, seed and draw. Columns:

==========================  =========  ==============================================================================
``id``                      str        utterance id of the manifest
``speaker`` ``sex``         str, None  who spoke
``session`` ``dialogue``    str, None  where
``language``                str, None  ISO 639-1 code
``label``                   str, None  true class; None where the corpus gives none
``predicted``               str, None  class the system chose; None for a system without classes
``probability/<class>``     float32    one column a class, in class order; a row sums to 1; NaN in all rows, or in none
``votes``                   str, None  observers per class, as JSON (a mapping is written as such)
``valence`` ...             float32    true rating scaled to [0, 1], NaN where there is none (arousal, dominance)
``valence_predicted`` ...   float32    prediction on the same scale, NaN for a system without dimensions
``fold``                    str        name of the test fold
``seed``                    int64      random seed of the run
``draw``                    int64      which random draw of enrolment utterances; 0 where nothing is drawn
``corpus``                  str, None  which of several corpora; the file has this column only where there are several
==========================  =========  ==============================================================================

The class order stands in the file's own metadata, so that no reader has to guess it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ser_toolkit.errors import ResultError
from ser_toolkit.system.files import whole
from ser_toolkit.terms import DIMENSIONS

#: Together they name one prediction: no id may come twice within them.
RUN_KEY = ("fold", "seed", "draw")

_CLASSES_KEY = b"ser_toolkit.classes"
_VERSION_KEY = b"ser_toolkit.predictions"
_VERSION = 1
_REQUIRED = ("id", "fold", "seed")
_TEXT = ("id", "speaker", "sex", "session", "dialogue", "language", "label", "predicted")


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Names of the probability columns in class order.

    >>> probability_columns(["angry", "sad"])
    ['probability/angry', 'probability/sad']
    """
    return [f"probability/{name}" for name in classes]


def predicted_column(dimension: str) -> str:
    """Name of the column with the predictions of a dimension: ``valence_predicted``."""
    return f"{dimension}_predicted"


#: Predictions of a system; a table has at least one of them.
_PREDICTED = ("predicted", *map(predicted_column, DIMENSIONS))


def _schema(classes: Sequence[str], several_corpora: bool = False) -> pa.Schema:
    fields = [(name, pa.string()) for name in _TEXT]
    fields += [(name, pa.float32()) for name in probability_columns(classes)]
    fields += [("votes", pa.string())]
    fields += [(name, pa.float32()) for name in DIMENSIONS]
    fields += [(predicted_column(name), pa.float32()) for name in DIMENSIONS]
    fields += [("fold", pa.string()), ("seed", pa.int64()), ("draw", pa.int64())]
    fields += [("corpus", pa.string())] * several_corpora
    metadata = {_CLASSES_KEY: json.dumps(list(classes)).encode(), _VERSION_KEY: str(_VERSION).encode()}
    return pa.schema(fields, metadata=metadata)


def write_predictions(path: Path, table: pd.DataFrame, classes: Sequence[str]) -> None:
    """Write predictions so that the file is either whole or not there.

    Args:
        path: where; the folder is made.
        table: the columns of the module's table. ``id``, ``fold``, ``seed`` and what the system predicts are required
            (``predicted``, or a ``<dimension>_predicted``), any other column that is missing is filled with "unknown"
            (None, NaN, draw 0).
        classes: class order of labels and probabilities, also of a system that predicts dimensions only; empty where
            the corpus has no classes.

    Raises:
        ResultError: a column is missing or unknown, a class is not in ``classes``, probabilities do not sum to 1,
            or an id comes twice within a fold, seed and draw.
    """
    several = "corpus" in table.columns and bool(table["corpus"].notna().any())
    schema = _schema(classes, several)
    complete = _complete(table if several else table.drop(columns="corpus", errors="ignore"), schema, str(path))
    _validate(complete, classes, str(path))
    arrow = pa.Table.from_pandas(complete, schema=schema, preserve_index=False).replace_schema_metadata(schema.metadata)
    with whole(path) as partial:
        pq.write_table(arrow, partial, write_page_checksum=True)


def read_predictions(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read one file of predictions.

    Returns:
        The table (see the module) and the class order.

    Raises:
        ResultError: the file is missing, damaged, written in another format, or fails the checks of writing.
    """
    path = Path(path)
    if not path.is_file():
        raise ResultError(f"No predictions at {path}. Run the same ser-train command again to finish this fold.")
    try:
        # ParquetFile, because read_table takes the folder name fold=1 for a column.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            arrow = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ResultError(
            f"{path} is damaged ({reason}). Delete it and run the same ser-train command again."
        ) from None
    metadata = arrow.schema.metadata or {}
    if _CLASSES_KEY not in metadata or metadata.get(_VERSION_KEY) != str(_VERSION).encode():
        raise ResultError(f"{path} is a Parquet file, but not predictions of ser_toolkit (format {_VERSION}).")
    classes = tuple(json.loads(metadata[_CLASSES_KEY]))
    expected = _schema(classes, "corpus" in arrow.schema.names)
    if arrow.schema.names != expected.names:
        odd = sorted({*arrow.schema.names} ^ {*expected.names}) or ["the order of columns"]
        raise ResultError(f"{path}: columns differ from those of its classes {list(classes)}: {', '.join(odd)}.")
    table = arrow.to_pandas()
    if "corpus" not in table.columns:
        table["corpus"] = None
    _validate(table, classes, str(path))
    return table, classes


def gather_predictions(paths: Iterable[Path]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Put the files of several folds and seeds together.

    Returns:
        All rows in the order of ``paths``, and the class order they share.

    Raises:
        ResultError: there is no file, the files disagree on the class order, or an id comes twice within a fold,
            seed and draw.
    """
    tables: list[pd.DataFrame] = []
    order: tuple[str, ...] | None = None
    first = Path()
    for path in paths:
        table, classes = read_predictions(path)
        if order is not None and classes != order:
            raise ResultError(
                f"Class orders differ: {first} has {list(order)}, {path} has {list(classes)}. "
                "Predictions of different label sets cannot be put together; use another run directory."
            )
        first, order = (path, classes) if order is None else (first, order)
        tables.append(table)
    if order is None:
        raise ResultError("There are no predictions to gather. Run ser-train first.")
    together = pd.concat(tables, ignore_index=True)
    _refuse_duplicates(together, f"{len(tables)} files from {first} on")
    return together, order


def class_indices(names: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """Class names to (N,) int64 indices in class order; -1 where there is no name."""
    return np.asarray(pd.Categorical(names, categories=list(classes)).codes, dtype=np.int64)


def _complete(table: pd.DataFrame, schema: pa.Schema, where: str) -> pd.DataFrame:
    """All columns of the schema in its order and types, unknown ones filled."""
    missing = [name for name in _REQUIRED if name not in table.columns]
    missing += [] if any(name in table.columns for name in _PREDICTED) else ["predicted"]
    unknown = [str(name) for name in table.columns if name not in schema.names]
    if missing or unknown:
        lacks = f"lacks {', '.join(missing)}" if missing else ""
        extra = f"has the unknown {', '.join(unknown)}" if unknown else ""
        raise ResultError(
            f"{where}: the table {' and '.join(filter(None, (lacks, extra)))}; see evaluation/predictions.py."
        )
    columns: dict[str, pd.Series] = {}
    for field in schema:
        if field.name in table.columns:
            column = table[field.name].reset_index(drop=True)
        else:
            fill = 0 if field.name == "draw" else None if field.type == pa.string() else np.nan
            column = pd.Series([fill] * len(table), dtype=object if field.type == pa.string() else None)
        if pa.types.is_floating(field.type):
            column = column.astype("float32")
        elif field.name == "votes":
            column = column.astype(object).map(_as_json, na_action="ignore")
        elif field.type == pa.string():  # speakers and folds may be numbers in a table
            column = column.astype(object).map(str, na_action="ignore")
        columns[field.name] = column
    return pd.DataFrame(columns)


def _as_json(votes: object) -> str:
    """Votes as JSON, whether they come as a mapping or as JSON already."""
    return votes if isinstance(votes, str) else json.dumps(votes, sort_keys=True)


def _validate(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    for name in ("id", "fold", "seed", "draw"):
        if table[name].isna().any():
            raise ResultError(f"{where}: {int(table[name].isna().sum())} rows have no {name}.")
    for name in ("label", "predicted"):
        strange = sorted(set(table[name].dropna()) - set(classes))
        if strange:
            raise ResultError(f"{where}: {name} holds {strange}, expected the classes {list(classes)}.")
    nothing = table["predicted"].isna()
    others = table[probability_columns(classes)].isna().all(axis=None)
    # a system without classes predicts none throughout, no probability either, but dimensions
    without = nothing.all() and others and table[[*_PREDICTED[1:]]].notna().any(axis=None)
    if nothing.any() and not without:
        row = table.loc[nothing, "id"].iloc[0]
        raise ResultError(f"{where}: utterance {row} has no predicted class.")
    _check_probabilities(table, classes, where)
    _refuse_duplicates(table, where)


def _check_probabilities(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    if not classes:
        return
    values = table[probability_columns(classes)].to_numpy(dtype=np.float64)
    unknown = np.isnan(values).all(axis=1)
    proper = (values >= -1e-6).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-2)
    # a system without probabilities has none throughout; single rows without any are a mistake
    bad = ~proper if not unknown.all() else ~(unknown | proper)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ResultError(
            f"{where}: probabilities of utterance {table['id'].iloc[row]} are {values[row].round(4).tolist()}; "
            "expected values in [0, 1] that sum to 1."
        )


def _refuse_duplicates(table: pd.DataFrame, where: str) -> None:
    twice = table.duplicated(["id", *RUN_KEY], keep="first")
    if twice.any():
        row = table.loc[twice].iloc[0]
        raise ResultError(
            f"{where}: {int(twice.sum())} predictions come twice, first {row['id']} in fold {row['fold']}, seed "
            f"{row['seed']}, draw {row['draw']}; an utterance counts once."
        )
