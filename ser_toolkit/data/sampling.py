"""Which utterances make up a batch, and in what order: by (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from ser_toolkit.errors import RecipeError

#: Batches that are cut from one stretch of utterances: large enough to mix, small enough to pad little.
_BATCHES_A_STRETCH = 8


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

    Without a budget of seconds, utterances are shuffled, cut into stretches of eight batches, sorted by length inside
    each stretch, and the batches shuffled again: little padding, and still another grouping in every epoch. With a
    budget, they are sorted by length, cut into stretches of eight batches of the size that the longest allows, and
    shuffled inside each stretch: every epoch then has equally many batches, which a trainer takes for granted.

    Args:
        pieces: what to draw from.
        seconds: length of each piece.
        batch_size: pieces in a batch, at most.
        max_batch_seconds: padded seconds in a batch, at most; a longer piece is a batch of its own.
        shuffle: for training; otherwise every piece once, longest first.
        seed: of the shuffling.
        rank: of this process.
        world_size: number of processes. In training all get equally many batches (the first ones are repeated);
            in evaluation each piece belongs to exactly one process, and each process has at least one batch.

    Raises:
        RecipeError: there are fewer pieces to evaluate than processes.
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
        if not shuffle and 0 < len(pieces) < world_size:
            raise RecipeError(
                f"{len(pieces)} utterances cannot be shared out over {world_size} processes. "
                f"Set trainer.devices to at most {len(pieces)}."
            )
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
        if self._shuffle and batches:
            repeated = -len(batches) % self._world_size
            batches = [*batches, *islice(cycle(batches), repeated)]
        return batches[self._rank :: self._world_size]

    def _plan(self) -> list[list[int]]:
        if not self._shuffle:
            # A process without a batch would not take part in gathering the outputs: then smaller batches are cut.
            most = min(self._batch_size, max(1, len(self._pieces) // self._world_size))
            return self._cut(self._longest_first(np.arange(len(self._pieces))), most)
        rng = np.random.default_rng((self._seed, self._epoch))
        batches = self._mixed(rng) if self._max_batch_seconds is None else self._bucketed(rng, self._max_batch_seconds)
        return [batches[i] for i in rng.permutation(len(batches))]

    def _mixed(self, rng: np.random.Generator) -> list[list[int]]:
        order = rng.permutation(len(self._pieces))
        stretch = _BATCHES_A_STRETCH * self._batch_size
        parts = [order[start : start + stretch] for start in range(0, len(order), stretch)]
        return [batch for part in parts for batch in self._cut(self._longest_first(part), self._batch_size)]

    def _bucketed(self, rng: np.random.Generator, budget: float) -> list[list[int]]:
        order = self._longest_first(np.arange(len(self._pieces)))
        batches: list[list[int]] = []
        start = 0
        while start < len(order):
            longest = float(self._seconds[order[start]])
            size = max(1, min(self._batch_size, int(budget / longest) if longest > 0 else self._batch_size))
            part = rng.permutation(order[start : start + _BATCHES_A_STRETCH * size])
            batches += [part[first : first + size].tolist() for first in range(0, len(part), size)]
            start += len(part)
        return batches

    def _longest_first(self, indices: np.ndarray) -> np.ndarray:
        return indices[np.argsort(-self._seconds[indices], kind="stable")]

    def _cut(self, order: np.ndarray, most: int) -> list[list[int]]:
        """Batches of at most ``most`` pieces within the budget; ``order`` is sorted, longest first."""
        batches: list[list[int]] = []
        for index in order.tolist():
            batch = batches[-1] if batches else []
            longest = self._seconds[batch[0]] if batch else 0.0
            full = len(batch) >= most or (
                self._max_batch_seconds is not None and longest * (len(batch) + 1) > self._max_batch_seconds
            )
            if not batches or full:
                batches.append([])
            batches[-1].append(index)
        return batches
