"""Predictions as a table: CSV, JSON, JSON lines or Parquet, written whole or not at all, and as text."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_toolkit.errors import ResultError
from ser_toolkit.system.audio_files import shown

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
    """Find out before the work whether its result can be written.

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
    """Where the predictions of an interrupted command go: ``predictions.partial.csv`` for ``predictions.csv``."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def write_rows(path: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Write rows in the format that the suffix says; cells that are missing stay empty (null, NaN).

    Raises:
        ResultError: the file cannot be written.
    """
    import pandas as pd

    # a nullable integer: beside a failed recording the number of windows of the others is still one
    content = pd.DataFrame(list(rows), columns=list(names)).astype({"windows": "Int64"})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _WRITERS[path.suffix.lower()](content, temporary)
        temporary.replace(path)
    except OSError as error:
        raise ResultError(f"{path} cannot be written: {error}. Free some space or choose another --output.") from error
    finally:
        temporary.unlink(missing_ok=True)


def text_line(cells: Row, classes: Sequence[str], dimensions: Sequence[str], width: int) -> str:
    """A row as text, under ``text_heading``; ``width`` is that of the longest path."""
    values = [f"{cells['path']:<{width}}"]
    if "error" in cells:
        return f"{values[0]}  error: {cells['error']}"
    if classes:
        values.append(f"{cells['label']:<{_label_width(classes)}}")
    values.append(f"{cells['duration']:7.2f} s")
    values += [f"{cells[f'probability/{name}']:{_number_width(name)}.3f}" for name in classes]
    values += [f"{cells[name]:{_number_width(name)}.3f}" for name in dimensions]
    return "  ".join(values)


def text_heading(classes: Sequence[str], dimensions: Sequence[str], width: int) -> str:
    """The names over ``text_line``."""
    values = [f"{'path':<{width}}", *([f"{'label':<{_label_width(classes)}}"] if classes else []), f"{'length':>9}"]
    return "  ".join([*values, *(f"{name:>{_number_width(name)}}" for name in [*classes, *dimensions])])


def _label_width(classes: Sequence[str]) -> int:
    return max(len(name) for name in [*classes, "label"])


def _number_width(name: str) -> int:
    return max(5, len(name))


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
