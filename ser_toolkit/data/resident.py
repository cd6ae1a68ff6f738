"""Features of one fixed shape, stacked once, so that a batch is a selection of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from ser_toolkit.data.batch import STREAM, Moments, Stored, StoredPart, Stream, Vectors, parts_of, stream_name
from ser_toolkit.system.memory import free_memory

#: Share of the memory at hand that the features of one loader may take.
SHARE = 0.25


class ResidentFeatures:
    """Vectors, or moments under each upstream, of N utterances as whole tensors.

    Moments of several layers lie with the layers innermost, (N, D, L), where a weighted sum of layers reads them
    fastest; a batch has them as (B, L, D).

    Args:
        names: of each upstream's tensors: fields of ``Moments``; None for vectors.
        tensors: of each upstream, with N rows.
    """

    def __init__(self, names: list[list[str]] | None, tensors: list[list[Tensor]]) -> None:
        self._names = names
        self._tensors = tensors

    def streams(self, index: Tensor) -> dict[str, Stream]:
        """The streams of a batch: rows (B,) -> by name."""
        if self._names is None:
            return {STREAM: Vectors(self._tensors[0][0].index_select(0, index))}
        streams: dict[str, Stream] = {}
        for part, (names, tensors) in enumerate(zip(self._names, self._tensors, strict=True)):
            rows = (_turned(tensor.index_select(0, index)) for tensor in tensors)
            streams[stream_name(part)] = Moments(**dict(zip(names, rows, strict=True)))
        return streams


def put_together(features: Mapping[str, Stored], ids: Sequence[str]) -> ResidentFeatures | None:
    """Stack the features of the given utterances, each read once, in the order of ``ids``.

    Returns:
        None where they cannot be stacked: frames, utterances that differ in shape, or more than ``SHARE``
        of the memory at hand.
    """
    if not ids:
        return None
    first = features[ids[0]]
    parts = _tensors(first)
    if parts is None or len(ids) * sum(t.nbytes for part in parts for t in part) > SHARE * free_memory():
        return None
    whole = [[tensor.new_empty(len(ids), *reversed(tensor.shape)) for tensor in part] for part in parts]
    for row, name in enumerate(ids):
        found = _tensors(first if row == 0 else features[name])
        if found is None or _shapes(found) != _shapes(parts):
            return None
        for into, part in zip(whole, found, strict=True):
            for target, tensor in zip(into, part, strict=True):
                target[row] = tensor.T if tensor.ndim == 2 else tensor
    names = None if isinstance(first, Tensor) else [_names(part) for part in parts_of(first)]
    return ResidentFeatures(names, whole)


def _tensors(stored: Stored) -> list[list[Tensor]] | None:
    """Tensors of an utterance under each upstream; None for frames."""
    if isinstance(stored, Tensor):
        return [[stored]] if stored.ndim == 1 else None
    found = []
    for part in parts_of(stored):
        if not isinstance(part, Moments):
            return None
        found.append([getattr(part, name) for name in _names(part)])
    return found


def _names(part: StoredPart) -> list[str]:
    return [f.name for f in fields(Moments) if getattr(part, f.name) is not None]


def _shapes(parts: list[list[Tensor]]) -> list[list[tuple[torch.Size, torch.dtype]]]:
    return [[(tensor.shape, tensor.dtype) for tensor in part] for part in parts]


def _turned(rows: Tensor) -> Tensor:
    """Swap the last two axes as a view: (B, D, L) -> (B, L, D); vectors (B, E) stay as they are."""
    return rows.transpose(1, 2) if rows.ndim == 3 else rows
