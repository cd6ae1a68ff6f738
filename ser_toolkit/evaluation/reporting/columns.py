"""Rows of plain text in columns: the layout of every table in a terminal."""

from __future__ import annotations

from collections.abc import Container, Sequence


def text_row(cells: Sequence[str], widths: Sequence[int], numbers: Container[int] = ()) -> str:
    """One row of text, its columns two blanks apart.

    Args:
        cells: the text of each column.
        widths: characters of each column; a longer cell moves what is behind it.
        numbers: places of the columns of numbers, which are aligned right; others are aligned left.

    >>> text_row(["a", "2"], [3, 4], numbers=[1])
    'a       2'
    """
    aligned = [
        cell.rjust(width) if place in numbers else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
