"""One thread for small work: several would wait for each other longer than they compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ser_toolkit.data.batch import Moments, parts_of
from ser_toolkit.data.fold_data import FoldData

#: Batches of moments or vectors up to this size, in bytes, are computed by one thread.
SMALL_BATCH = 8 * 2**20


@contextmanager
def suitable_threads(part: FoldData) -> Iterator[None]:
    """One thread while batches of stored moments or vectors are small, as many as before otherwise.

    A step of a head on stored means takes a millisecond or two. On idle cores a second thread makes it a fifth shorter,
    on cores that others use too, fifty times longer; and with one thread the result does not depend on how many cores
    there are. Folds side by side (``jobs=2``) use the cores better.
    """
    before = torch.get_num_threads()
    if not _small(part):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _small(part: FoldData) -> bool:
    if part.features is None:
        return False
    size = 0
    for stored in parts_of(part.features[part.training_ids[0]]):
        if isinstance(stored, Moments):
            size += sum(value.nbytes for value in (stored.mean, stored.variance, stored.cross) if value is not None)
        elif isinstance(stored, Tensor) and stored.ndim == 1:
            size += stored.nbytes
        else:
            return False
    return size * min(part.source.batch_size, len(part.training_ids)) <= SMALL_BATCH
