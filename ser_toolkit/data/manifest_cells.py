"""Cells of a manifest as JSON texts, as hashed bytes, and as they come back from a file; quick at 100,000 rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow

from ser_toolkit.corpora.base import Rating

#: Made once: ``json.dumps`` makes a new encoder for every text.
_JSON = json.JSONEncoder(sort_keys=True)
_RATING_FIELDS = tuple(one.name for one in fields(Rating))
_AT_ONCE = 4096


def votes_text(votes: Mapping[str, float]) -> str:
    """JSON text of votes, equal for equal votes: sorted classes, float counts."""
    return _JSON.encode({name: float(count) for name, count in votes.items()})


def ratings_text(ratings: Sequence[Rating]) -> str:
    """JSON text of ratings, with every field; ``dataclasses.asdict`` would copy deeply and take ten times as long."""
    return _JSON.encode([{name: getattr(rating, name) for name in _RATING_FIELDS} for rating in ratings])


def json_pieces(cells: list[Any]) -> Iterator[bytes]:
    """The bytes of ``json.dumps(cells)``, a few thousand cells at a time: a column of ratings takes 100 MB.

    >>> b"".join(json_pieces(["a", None]))
    b'["a", null]'
    """
    yield b"["
    for first in range(0, len(cells), _AT_ONCE):
        comma = ", " if first else ""
        yield (comma + json.dumps(cells[first : first + _AT_ONCE])[1:-1]).encode()
    yield b"]"


def cells_of(column: pyarrow.ChunkedArray) -> np.ndarray:
    """A stored column as objects, equal texts as one and the same: a class name is kept once, not once a row."""
    if not pyarrow.types.is_string(column.type):
        return np.array([*column.to_pylist(), None], dtype=object)[:-1]
    coded = column.combine_chunks().dictionary_encode()
    distinct = np.array([*coded.dictionary.to_pylist(), None], dtype=object)  # the last stands for nothing
    return distinct[coded.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False)]
