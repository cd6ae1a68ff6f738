"""Choice of the utterances of each batch and their order, by (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count, cycle, islice
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from ser_toolkit.data.audio.decode import windows
from ser_toolkit.data.balance import draw
from ser_toolkit.errors import RecipeError
from ser_toolkit.system.processes import together

#: Batches that are cut from one stretch of utterances: large enough to mix, small enough to pad little.
_BATCHES_A_STRETCH = 8


class Piece(NamedTuple):
    """Source of one row of a batch: an utterance, and a window of it in seconds (None: all of it)."""

    row: int
    start: float | None = None
    end: float | None = None


class PlannedBatch(NamedTuple):
    """One batch as the sampler plans it: pieces, and the pass over them (the epoch) that random crops depend on."""

    pieces: tuple[Piece, ...]
    epoch: int


class BatchSampler(Sampler[PlannedBatch]):
    """Batches of similar length within a budget, shuffled by (seed, epoch) alone, shared out over processes.

    Without a budget of seconds, utterances are shuffled, cut into stretches of eight batches, sorted by length inside
    each stretch, and the batches shuffled again: little padding, and still another grouping in every epoch. With a
    budget, they are sorted by length, cut into stretches of eight batches of the size that the longest allows, and
    shuffled inside each stretch: every epoch then has equally many batches, which a trainer takes for granted.

    One shuffle is one pass over the pieces, and an epoch is one pass unless ``steps`` is given: then passes
    follow each other without gaps, and an epoch is the next so many batches of every process.

    With ``shares``, a pass draws as many pieces as there are, each as often as its share demands (``balance.draw``).

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
        steps: batches of each process in an epoch of training; None makes an epoch of one pass.
        shares: (pieces,) of the draws in training; None takes every piece once.

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
        steps: int | None = None,
        shares: np.ndarray | None = None,
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
        self._steps = steps if shuffle else None
        self._shares = shares
        self._epoch = 0
        self._cached: tuple[int, list[PlannedBatch]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, as Lightning does, also after a resume: the order depends on it and on the seed alone."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Batches of this process in this epoch."""
        return len(self._own_batches())

    def __iter__(self) -> Iterator[PlannedBatch]:
        # Not before the first batch is asked for: a resumed trainer makes the iterator before it sets the epoch.
        yield from self._own_batches()

    def _own_batches(self) -> list[PlannedBatch]:
        if self._cached is None or self._cached[0] != self._epoch:
            batches = self._one_pass() if self._steps is None else self._stretch_of_passes(self._steps)
            self._cached = (self._epoch, batches)
        return self._cached[1]

    def _one_pass(self) -> list[PlannedBatch]:
        batches = self._planned(self._epoch)
        if self._shuffle and batches:
            repeated = -len(batches) % self._world_size
            batches = [*batches, *islice(cycle(batches), repeated)]
        return batches[self._rank :: self._world_size]

    def _stretch_of_passes(self, steps: int) -> list[PlannedBatch]:
        # every pass has equally many batches, so that where an epoch begins needs no pass before it
        size = len(self._plan(0))
        if not size:
            return []
        start = self._epoch * steps * self._world_size
        number, skipped = divmod(start, size)
        passes = chain.from_iterable(self._planned(later) for later in count(number))
        return list(islice(passes, skipped + self._rank, skipped + steps * self._world_size, self._world_size))

    def _planned(self, number: int) -> list[PlannedBatch]:
        """The batches of a pass; random crops depend on its number, which is the epoch's where an epoch is a pass."""
        return [PlannedBatch(tuple(self._pieces[i] for i in batch), number) for batch in self._plan(number)]

    def _plan(self, number: int) -> list[list[int]]:
        if not self._shuffle:
            # A process without a batch would not take part in gathering the outputs: then smaller batches are cut.
            most = min(self._batch_size, max(1, len(self._pieces) // self._world_size))
            return self._cut(self._longest_first(np.arange(len(self._pieces))), most)
        rng = np.random.default_rng((self._seed, number))
        if self._shares is None or self._max_batch_seconds is None:
            return self._shuffled(rng)
        # Other draws have other lengths, and so another number of batches: that of the first pass holds for all.
        wanted = len(self._shuffled(np.random.default_rng((self._seed, 0)))) if self._pieces else 0
        batches: list[list[int]] = []
        while len(batches) < wanted:
            batches += self._shuffled(rng)
        return batches[:wanted]

    def _shuffled(self, rng: np.random.Generator) -> list[list[int]]:
        drawn = None if self._shares is None else draw(self._shares, rng)
        if self._max_batch_seconds is None:
            batches = self._mixed(rng, drawn)
        else:
            batches = self._bucketed(rng, drawn, self._max_batch_seconds)
        return [batches[i] for i in rng.permutation(len(batches))]

    def _mixed(self, rng: np.random.Generator, drawn: np.ndarray | None) -> list[list[int]]:
        order = rng.permutation(len(self._pieces)) if drawn is None else drawn
        stretch = _BATCHES_A_STRETCH * self._batch_size
        parts = [order[start : start + stretch] for start in range(0, len(order), stretch)]
        return [batch for part in parts for batch in self._cut(self._longest_first(part), self._batch_size)]

    def _bucketed(self, rng: np.random.Generator, drawn: np.ndarray | None, budget: float) -> list[list[int]]:
        order = self._longest_first(np.arange(len(self._pieces)) if drawn is None else drawn)
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
        if self._max_batch_seconds is None:
            return [order[start : start + most].tolist() for start in range(0, len(order), most)]
        batches: list[list[int]] = []
        for index in order.tolist():
            batch = batches[-1] if batches else []
            longest = self._seconds[batch[0]] if batch else 0.0
            full = len(batch) >= most or longest * (len(batch) + 1) > self._max_batch_seconds
            if not batches or full:
                batches.append([])
            batches[-1].append(index)
        return batches


def pieces_of(
    rows: Sequence[int], durations: Sequence[float], window: float | None, rate: int
) -> tuple[list[Piece], list[float]]:
    """Utterances as pieces with their lengths in seconds; those longer than a window as several.

    Args:
        rows: of the manifest.
        durations: of each row, in seconds.
        window: longest piece in seconds; None keeps utterances whole.
        rate: samples a second: windows begin and end at samples.
    """
    pieces, seconds = [], []
    for row, duration in zip(rows, durations, strict=True):
        if window is None or duration <= window:
            pieces.append(Piece(row))
            seconds.append(duration)
            continue
        for start, end in windows(round(duration * rate), round(window * rate), round(window * rate)):
            pieces.append(Piece(row, start / rate, end / rate))
            seconds.append((end - start) / rate)
    return pieces, seconds


def process() -> tuple[int, int]:
    """Rank of this process, and how many there are."""
    if together():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
