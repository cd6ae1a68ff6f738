"""Predictions as a table: CSV, JSON, JSON lines or Parquet, written whole or not at all, and as text."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.reporting.columns import text_row
from ser_toolkit.system.audio_files import shown
from ser_toolkit.system.files import whole

if TYPE_CHECKING:
    import pandas as pd

    from ser_toolkit.inference.prediction import Prediction

Row = dict[str, Any]


def row(path: Path, prediction: Prediction) -> Row:
    """A prediction as one row: path, label, duration (s), windows, ``probability/<class>``, dimensions."""
    cells: Row = {"path": shown(path)}
    if prediction.probabilities is not None:
        cells["label"] = prediction.label
    cells |= {"duration": prediction.duration, "windows": prediction.windows}
    cells |= {f"probability/{name}": value for name, value in (prediction.probabilities or {}).items()}
    return cells | (prediction.dimensions or {})


def columns(classes: Sequence[str], dimensions: Sequence[str], errors: bool) -> list[str]:
    """The columns of a table, also of one whose every row failed.

    >>> columns(["angry", "sad"], [], errors=False)
    ['path', 'label', 'duration', 'windows', 'probability/angry', 'probability/sad']
    """
    names = ["path", *(["label"] if classes else []), "duration", "windows"]
    names += [*(f"probability/{name}" for name in classes), *dimensions]
    return [*names, "error"] if errors else names


def check_output(path: Path) -> None:
    """Check before the work that its result can be written.

    Raises:
        ResultError: the suffix is unknown, or the folder cannot be made or written to.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ResultError(f"Output {path} should end in {', '.join(_WRITERS)}; it says how predictions are written.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(f"The folder of {path} cannot be made: {error}. Choose another --output.") from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ResultError(f"{path} cannot be written: it is a folder, or lies in one without write permission.")


def partial_path(path: Path) -> Path:
    """Path of the predictions of an interrupted command: ``predictions.partial.csv`` for ``predictions.csv``."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def write_rows(path: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Write rows in the format that the suffix names; cells that are missing stay empty (null, NaN).

    Raises:
        ResultError: the file cannot be written.
    """
    import pandas as pd

    # a nullable integer: beside a failed recording the number of windows of the others is still one
    content = pd.DataFrame(list(rows), columns=list(names)).astype({"windows": "Int64"})
    try:
        with whole(path) as partial:
            _WRITERS[path.suffix.lower()](content, partial)
    except OSError as error:
        raise ResultError(f"{path} cannot be written: {error}. Free some space or choose another --output.") from error


class TextTable:
    """Rows as columns of text, each row as soon as it is there: widths follow from paths and names alone.

    Args:
        paths: of all recordings, as they are shown.
        classes: of the models; empty where they predict dimensions alone.
        dimensions: of the models.
    """

    def __init__(self, paths: Sequence[str], classes: Sequence[str], dimensions: Sequence[str]) -> None:
        self._classes, self._figures = classes, [*(f"probability/{name}" for name in classes), *dimensions]
        names = [*classes, *dimensions]
        self._names = ["path", *(["label"] if classes else []), "length", *names]
        label = [max(len(name) for name in [*classes, "label"])] if classes else []
        self._widths = [max(map(len, paths)), *label, 9, *(max(5, len(name)) for name in names)]

    def heading(self) -> str:
        """The names of the columns."""
        return self._row(self._names)

    def row(self, cells: Row) -> str:
        """Text of a prediction, or the reason why there is none."""
        if "error" in cells:
            return text_row([cells["path"], f"error: {cells['error']}"], [self._widths[0], 0])
        label = [cells["label"]] if self._classes else []
        return self._row(
            [cells["path"], *label, f"{cells['duration']:.2f} s", *(f"{cells[k]:.3f}" for k in self._figures)]
        )

    def _row(self, cells: Sequence[str]) -> str:
        return text_row(cells, self._widths, numbers=range(2 if self._classes else 1, len(cells)))


def _write_csv(content: pd.DataFrame, path: Path) -> None:
    content.to_csv(path, index=False)


def _write_parquet(content: pd.DataFrame, path: Path) -> None:
    content.to_parquet(path, index=False)


def _write_json(content: pd.DataFrame, path: Path) -> None:
    path.write_text(json.dumps(_records(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_json_lines(content: pd.DataFrame, path: Path) -> None:
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in _records(content)]
    path.write_text("".join(lines), encoding="utf-8")


def _records(content: pd.DataFrame) -> list[Row]:
    """Rows as plain data; JSON knows no NaN."""
    missing = content.isna()
    return [
        {str(name): None if missing.at[index, name] else value for name, value in record.items()}
        for index, record in zip(content.index, content.to_dict("records"), strict=True)
    ]


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}
