"""Training curves: one table a fit, one row an epoch, beside the result whatever other loggers there are."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

CURVES_FILE = "metrics.csv"
#: Columns that every table has.
_INDEX = ("epoch", "step")


class CurveLogger(Logger):
    """Writes ``metrics.csv``: epoch (from 0), last optimiser step (from 0), and the values logged in that epoch.

    A fit that was killed goes on from an epoch: the rows before it stay, the others are made again with the same
    values. The row of an epoch is written as soon as something is logged, twice an epoch where there is a dev part.

    Args:
        folder: of the table; made with the first row.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / CURVES_FILE
        self._columns: list[str] = []
        self._row: dict[str, Any] = {}
        self._offset = 0  # where that row begins in the file

    @property
    def name(self) -> str:
        """Name of the logger, which Lightning asks for."""
        return "curves"

    @property
    def version(self) -> str:
        """Version of the logger (none), which Lightning asks for."""
        return ""

    @property
    def save_dir(self) -> str:
        """The folder of the table."""
        return str(self._path.parent)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write nothing: ``config.yaml`` holds the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of their epoch; values without an epoch (of single steps) are left to other loggers."""
        if "epoch" not in metrics:
            return
        epoch, begins = int(metrics["epoch"]), not self._columns
        if self._row.get("epoch") != epoch:
            self._row, self._offset = {"epoch": epoch}, self._path.stat().st_size if self._row else 0
        self._row |= {"step": step} | {name: value for name, value in metrics.items() if name != "epoch"}
        if begins or not set(self._row) <= set(self._columns):
            # a fit that goes on after a kill keeps the rows before the epoch from which it goes on
            self._write_anew([row for row in read_curves(self._path) if int(row["epoch"]) < epoch])
        with self._path.open("r+", encoding="utf-8", newline="") as file:
            file.seek(self._offset)
            file.truncate()
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(self._row)

    def _write_anew(self, earlier: list[dict[str, str]]) -> None:
        """The head and the rows before the present one, with columns for everything that was ever logged."""
        known = [name for row in earlier for name in row]
        self._columns = list(dict.fromkeys([*_INDEX, *self._columns, *known, *self._row]))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(earlier)
            self._offset = file.tell()


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a table of curves without empty cells; a last one that a kill has cut short is left out."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if None not in row.values() and (row.get("epoch") or "").isdigit()]
    return [{name: value for name, value in row.items() if value != ""} for row in whole]
