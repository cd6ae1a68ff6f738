"""Text tables are laid out in one place."""

from __future__ import annotations

from pathlib import Path

import ser_toolkit
from ser_toolkit.evaluation.reporting.columns import text_row
from ser_toolkit.evaluation.reporting.tables import Cell, Table

PACKAGE = Path(ser_toolkit.__file__).parent


def test_numbers_stand_to_the_right_where_a_table_says_so() -> None:
    rows = [[Cell("a"), Cell("1"), Cell("x")], [Cell("long"), Cell("100"), Cell("")]]
    assert Table(["name", "n", "remark"], rows, numbers=[1]).text().splitlines() == [
        "name    n  remark",
        "a       1  x",
        "long  100",
    ]
    assert Table(["name", "n", "remark"], rows).text().splitlines()[1] == "a     1    x"
    assert text_row(["longer", "b"], [2, 1]) == "longer  b"


def test_no_other_file_lays_out_columns() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if any(word in file.read_text() for word in (".ljust(", ".rjust("))]
    assert [file.name for file in files] == ["columns.py"]
