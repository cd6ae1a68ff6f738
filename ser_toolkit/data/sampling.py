"""Which utterances make up a batch, and in what order: by (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Piece(NamedTuple):
    """What one row of a batch is made of: an utterance, and a window of it in seconds (None: all of it)."""

    row: int
    start: float | None = None
    end: float | None = None


class PlannedBatch(NamedTuple):
    """One batch as the sampler plans it: pieces, and the epoch that random crops depend on."""

    pieces: tuple[Piece, ...]
    epoch: int


class BatchSampler(Sampler[PlannedBatch]):
    """Batches of similar length within a budget, shuffled by (seed, epoch) alone, shared out over processes.

    Utterances are shuffled, cut into chunks of eight batches, sorted by length inside each chunk, and the batches
    shuffled again: little padding, and still another grouping in every epoch.

    Args:
        pieces: what to draw from.
        seconds: length of each piece.
        batch_size: pieces in a batch, at most.
        max_batch_seconds: padded seconds in a batch, at most.
        shuffle: for training; otherwise every piece once, longest first.
        seed: of the shuffling.
        rank: of this process.
        world_size: number of processes. In training all get equally many batches (the first ones are repeated);
            in evaluation each piece belongs to exactly one process.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        seconds: Sequence[float],
        batch_size: int,
        max_batch_seconds: float | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._pieces = list(pieces)
        self._seconds = np.asarray(seconds, dtype=float)
        self._batch_size = batch_size
        self._max_batch_seconds = max_batch_seconds
        self._shuffle = shuffle
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._epoch = 0
        self._cached: tuple[int, list[list[int]]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Lightning tells the epoch, also after a resume: the order depends on it and on the seed alone."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Batches of this process in this epoch."""
        return len(self._mine())

    def __iter__(self) -> Iterator[PlannedBatch]:
        for indices in self._mine():
            yield PlannedBatch(tuple(self._pieces[i] for i in indices), self._epoch)

    def _mine(self) -> list[list[int]]:
        if self._cached is None or self._cached[0] != self._epoch:
            self._cached = (self._epoch, self._plan())
        batches = self._cached[1]
        if self._shuffle and len(batches) % self._world_size:
            batches = batches + batches[: self._world_size - len(batches) % self._world_size]
        return batches[self._rank :: self._world_size]

    def _plan(self) -> list[list[int]]:
        if not self._shuffle:
            return self._cut(np.argsort(-self._seconds, kind="stable"))
        rng = np.random.default_rng((self._seed, self._epoch))
        order = rng.permutation(len(self._pieces))
        chunk = 8 * self._batch_size
        batches = []
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            batches += self._cut(part[np.argsort(-self._seconds[part], kind="stable")])
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut(self, order: np.ndarray) -> list[list[int]]:
        batches: list[list[int]] = []
        for index in order.tolist():
            batch = batches[-1] if batches else []
            longest = self._seconds[batch[0]] if batch else 0.0
            full = len(batch) >= self._batch_size or (
                self._max_batch_seconds is not None and longest * (len(batch) + 1) > self._max_batch_seconds
            )
            if not batches or full:
                batches.append([])
            batches[-1].append(index)
        return batches
