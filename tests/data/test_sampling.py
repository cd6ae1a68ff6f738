"""The sampler: every piece where it belongs, within its budget, in an order of seed and epoch alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_toolkit.data.sampling import BatchSampler, Piece
from ser_toolkit.errors import RecipeError

SECONDS = st.lists(st.floats(0.05, 20.0), min_size=1, max_size=90)
BUDGET = st.none() | st.floats(0.5, 60.0)


def _samplers(seconds: list[float], size: int, budget: float | None, shuffle: bool, processes: int, seed: int = 0):
    pieces = [Piece(row) for row in range(len(seconds))]
    return [BatchSampler(pieces, seconds, size, budget, shuffle, seed, rank, processes) for rank in range(processes)]


def _rows(sampler: BatchSampler) -> list[list[int]]:
    return [[piece.row for piece in batch.pieces] for batch in sampler]


def _check_budget(batches: list[list[int]], seconds: list[float], size: int, budget: float | None) -> None:
    for batch in batches:
        assert 1 <= len(batch) <= size
        if budget is not None and len(batch) > 1:
            assert max(seconds[row] for row in batch) * len(batch) <= budget * (1 + 1e-9)


@given(SECONDS, st.integers(1, 9), BUDGET, st.integers(1, 5))
def test_evaluation_gives_each_piece_to_one_process_once(
    seconds: list[float], size: int, budget: float | None, processes: int
) -> None:
    if len(seconds) < processes:
        return
    per_process = [_rows(sampler) for sampler in _samplers(seconds, size, budget, False, processes)]
    assert Counter(row for batches in per_process for batch in batches for row in batch) == Counter(range(len(seconds)))
    # A process without a batch would leave the others waiting for its outputs.
    assert all(per_process)
    for batches in per_process:
        _check_budget(batches, seconds, size, budget)


@given(SECONDS, st.integers(1, 9), BUDGET, st.integers(1, 5), st.integers(0, 50), st.integers(0, 50))
def test_training_gives_all_processes_equally_many_batches_in_every_epoch(
    seconds: list[float], size: int, budget: float | None, processes: int, seed: int, epoch: int
) -> None:
    samplers = _samplers(seconds, size, budget, True, processes, seed)
    lengths = {len(sampler) for sampler in samplers}
    for sampler in samplers:
        sampler.set_epoch(epoch)
    per_process = [_rows(sampler) for sampler in samplers]
    # The trainer asks for the number of batches once: validation is due behind the last of them.
    assert {len(batches) for batches in per_process} == {len(s) for s in samplers} == lengths
    assert len(lengths) == 1
    everything = [batch for batches in per_process for batch in batches]
    assert {row for batch in everything for row in batch} == set(range(len(seconds)))
    _check_budget(everything, seconds, size, budget)
    if processes == 1:
        assert sum(map(len, everything)) == len(seconds)


@given(SECONDS, st.integers(1, 9), BUDGET, st.integers(1, 3), st.integers(1, 40))
def test_epochs_of_so_many_steps_follow_each_other_through_whole_passes(
    seconds: list[float], size: int, budget: float | None, processes: int, steps: int
) -> None:
    pieces = [Piece(row) for row in range(len(seconds))]
    samplers = [
        BatchSampler(pieces, seconds, size, budget, True, 5, rank, processes, steps) for rank in range(processes)
    ]
    (passes,) = _samplers(seconds, size, budget, True, 1, 5)
    found = []
    for epoch in range(3):
        for sampler in samplers:
            sampler.set_epoch(epoch)
            assert len(sampler) == steps
        found += [batch for together in zip(*samplers, strict=True) for batch in together]
    expected = []
    for number in range(len(found)):  # every pass has at least one batch
        passes.set_epoch(number)
        expected += list(passes)
        if len(expected) >= len(found):
            break
    # the same batches, and the same number of the pass for the crops
    assert found == expected[: len(found)]


def test_an_epoch_of_so_many_steps_needs_no_epoch_before_it() -> None:
    def rows(*epochs: int) -> list[list[int]]:
        sampler = BatchSampler([Piece(row) for row in range(10)], [1.0] * 10, 3, shuffle=True, steps=7)
        for epoch in epochs:
            sampler.set_epoch(epoch)
            found = _rows(sampler)
        return found

    assert rows(4) == rows(0, 1, 4)
    assert rows(4) != rows(3)
    assert list(BatchSampler([], [], 3, shuffle=True, steps=7)) == []


def test_the_epoch_may_be_told_after_the_iterator_was_made() -> None:
    (sampler,) = _samplers([1.0] * 40, 4, None, True, 1)
    iterator = iter(sampler)
    sampler.set_epoch(3)
    assert list(iterator) == list(sampler)


@pytest.mark.parametrize("budget", [None, 8.0])
def test_the_order_depends_on_seed_and_epoch_alone(budget: float | None) -> None:
    seconds = [1 + row % 7 for row in range(60)]

    def order(seed: int, *epochs: int) -> list[list[int]]:
        (sampler,) = _samplers(seconds, 4, budget, True, 1, seed)
        for epoch in epochs:
            sampler.set_epoch(epoch)
            _rows(sampler)
        return _rows(sampler)

    # Epoch 2 is the same whether epochs 0 and 1 were drawn before it or not: a resumed run replays it.
    assert order(3, 2) == order(3, 0, 1, 2)
    assert order(3, 2) != order(3, 1)
    assert order(3, 2) != order(4, 2)
    # Batches differ in what they hold, not only in their order.
    assert {frozenset(batch) for batch in order(3, 2)} != {frozenset(batch) for batch in order(3, 1)}


@pytest.mark.parametrize("budget", [None, 40.0])
def test_batches_hold_utterances_of_similar_length(budget: float | None) -> None:
    seconds = [0.5 + (7 * row % 100) / 10 for row in range(100)]
    (sampler,) = _samplers(seconds, 4, budget, True, 1)
    padding = sum(
        max(seconds[row] for row in batch) * len(batch) - sum(seconds[row] for row in batch) for batch in _rows(sampler)
    )
    assert padding < 0.25 * sum(seconds)


def test_one_batch_is_repeated_for_any_number_of_processes() -> None:
    per_process = [_rows(sampler) for sampler in _samplers([1.0, 1.0], 8, None, True, 5)]
    assert per_process == [per_process[0]] * 5
    assert [sorted(batch) for batch in per_process[0]] == [[0, 1]]


def test_a_piece_beyond_the_budget_is_a_batch_of_its_own() -> None:
    (sampler,) = _samplers([9.0, 1.0, 1.0], 8, 2.0, False, 1)
    assert _rows(sampler) == [[0], [1, 2]]


def test_too_many_processes_for_the_utterances_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"2 utterances .* 3 processes.*trainer.devices"):
        _samplers([1.0, 1.0], 8, None, False, 3)


def test_nothing_to_draw_from_is_no_batch() -> None:
    for shuffle in (False, True):
        assert [_rows(sampler) for sampler in _samplers([], 4, None, shuffle, 2)] == [[], []]


def test_every_batch_carries_the_epoch_for_the_crops() -> None:
    (sampler,) = _samplers([1.0] * 6, 2, None, True, 1)
    sampler.set_epoch(7)
    assert {batch.epoch for batch in sampler} == {7}
