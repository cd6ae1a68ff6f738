"""Balanced sampling: the shares of groups, and draws that keep to them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_corpus import NEEDS, Tones

from ser_toolkit.data.balance import balanced_weights, draw
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.sampling import BatchSampler, Piece
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.stages.fit_head import fit_at_once
from ser_toolkit.protocols.splits import GroupedKFold

ROWS = st.lists(
    st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(["angry", "sad", None]), st.sampled_from("xyz")),
    min_size=1,
    max_size=60,
)
SHARES = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=60).map(lambda x: np.array(x) / np.sum(x))


def _table(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["corpus", "label", "speaker"], dtype=object)


@given(ROWS)
def test_every_group_gets_the_same_share_inside_the_group_above(rows: list[tuple]) -> None:
    table = _table([*rows, ("A", "angry", "x")])
    shares = balanced_weights(table, ["corpus", "label", "speaker"])
    assert shares.sum() == pytest.approx(1)
    table = table.assign(share=shares, label=table["label"].fillna("none"))
    outer = table.groupby("corpus")["share"].sum()
    assert np.allclose(outer, 1 / len(outer))
    for _, part in table.groupby("corpus"):
        inner = part.groupby("label")["share"].sum()
        assert np.allclose(inner, inner.sum() / len(inner))
        for _, one in part.groupby("label"):
            speakers = one.groupby("speaker")["share"].sum()
            assert np.allclose(speakers, speakers.sum() / len(speakers))
            assert all(np.allclose(group["share"], group["share"].mean()) for _, group in one.groupby("speaker"))


def test_a_worked_example() -> None:
    table = _table([("A", "angry", "x"), ("A", "angry", "y"), ("A", "sad", "x"), ("B", "sad", "z")])
    assert balanced_weights(table, ["corpus", "label"]).tolist() == [0.125, 0.125, 0.25, 0.5]
    assert balanced_weights(table, ["label"]).tolist() == [0.25, 0.25, 0.25, 0.25]


@given(SHARES, st.integers(0, 99))
def test_a_draw_is_the_expected_count_rounded_up_or_down(shares: np.ndarray, seed: int) -> None:
    drawn = draw(shares, np.random.default_rng(seed))
    assert len(drawn) == len(shares)
    times = np.bincount(drawn, minlength=len(shares))
    assert np.all(np.abs(times - shares * len(shares)) < 1 + 1e-9)


def test_draws_are_shuffled_and_every_rounding_happens() -> None:
    shares = np.array([0.55, 0.15, 0.15, 0.15])
    drawn = [draw(shares, np.random.default_rng(seed)) for seed in range(200)]
    counts = np.stack([np.bincount(one, minlength=4) for one in drawn])
    assert np.allclose(counts.mean(axis=0), shares * 4, atol=0.12)
    assert {tuple(row) for row in counts} == {(3, 1, 0, 0), (3, 0, 1, 0), (3, 0, 0, 1), *_two()}
    assert len({int(one[0]) for one in drawn}) == 4


def _two() -> set[tuple[int, ...]]:
    return {(2, 1, 1, 0), (2, 1, 0, 1), (2, 0, 1, 1)}


@given(SHARES, st.integers(1, 9), st.none() | st.floats(0.5, 60.0), st.integers(1, 4), st.integers(0, 20))
def test_balanced_training_has_equally_many_batches_in_every_epoch_and_process(
    shares: np.ndarray, size: int, budget: float | None, processes: int, epoch: int
) -> None:
    seconds = np.random.default_rng(len(shares)).uniform(0.1, 9.0, len(shares)).tolist()
    pieces = [Piece(row) for row in range(len(shares))]

    def sampler(rank: int) -> BatchSampler:
        return BatchSampler(pieces, seconds, size, budget, True, 0, rank, processes, shares=shares)

    lengths = {len(sampler(rank)) for rank in range(processes)}
    later = [sampler(rank) for rank in range(processes)]
    for one in later:
        one.set_epoch(epoch)
    assert {len(list(one)) for one in later} == lengths
    assert len(lengths) == 1


def test_a_pass_draws_by_share_and_epochs_differ() -> None:
    shares = np.array([0.7, 0.1, 0.1, 0.1])
    pieces = [Piece(row) for row in range(4)]
    sampler = BatchSampler(pieces, [1.0] * 4, 2, None, True, shares=shares)
    seen: Counter[int] = Counter()
    passes = []
    for epoch in range(60):
        sampler.set_epoch(epoch)
        rows = [piece.row for batch in sampler for piece in batch.pieces]
        assert len(rows) == 4
        seen.update(rows)
        passes.append(tuple(rows))
    assert seen[0] / 240 == pytest.approx(0.7, abs=0.01)
    assert len(set(passes)) > 10
    evaluation = BatchSampler(pieces, [1.0] * 4, 2, None, False, shares=shares)
    assert sorted(piece.row for batch in evaluation for piece in batch.pieces) == [0, 1, 2, 3]


def _module(root: Path, balance: list[str] | None) -> FoldData:
    corpus = Tones.write(root)
    # angry is said three times as often as the others
    rows = [row for row in corpus._rows if row.label == "angry" or row.id.endswith("_0")]
    data = CorpusData(Tones(rows), GroupedKFold(4), str(root), batch_size=4, balance=balance)
    return FoldData(data, 1, needs=NEEDS)


def test_a_data_module_draws_classes_alike_and_scores_everything_once(tmp_path: Path) -> None:
    data = _module(tmp_path, ["label"])
    loader, seen = data.train_dataloader(), Counter[int]()
    for epoch in range(12):
        loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for batch in loader:
            seen.update(batch.targets.label.tolist())
    total = sum(seen.values())
    assert total == 12 * len(data.fold.train)
    assert all(seen[label] / total == pytest.approx(1 / 3, abs=0.03) for label in range(3))
    assert data.class_counts() == pytest.approx([len(data.fold.train) / 3] * 3)
    assert sorted(name for batch in data.test_dataloader() for name in batch.ids) == sorted(data.fold.test)
    plain = _module(tmp_path / "plain", None)
    assert plain.class_counts().tolist() == [4, 2, 2]


@pytest.mark.parametrize(
    ("balance", "said"),
    [
        (["lable"], "Did you mean label"),
        (["label", "label"], "each name counts once"),
        (["corpus"], "This is a single corpus"),
        (["session"], "nothing is known"),
    ],
)
def test_what_cannot_be_balanced_is_said(tmp_path: Path, balance: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        _ = _module(tmp_path, balance).shares


def test_a_head_that_is_fitted_at_once_gets_one_balanced_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_toolkit.experiment.stages.fit_head.is_first", lambda: False)

    class Head:
        def fit(self, vectors: torch.Tensor, labels: torch.Tensor) -> None:
            self.vectors, self.labels = vectors, labels

    trainer = SimpleNamespace(validate=lambda *_, **__: [{}])
    for balance, counts in ((["label"], {0: {2, 3}, 1: {2, 3}, 2: {2, 3}}), (None, {0: {4}, 1: {2}, 2: {2}})):
        data, head = _module(tmp_path / str(balance), balance), Head()
        data = data.with_vectors({name: torch.tensor([float(row)]) for row, name in enumerate(data.fold.train)})
        unit = SimpleNamespace(fold=data.fold, folder=tmp_path)
        unit.recipe = SimpleNamespace(trainer=lambda **_: trainer)
        fit_at_once(unit, data, None, head)  # type: ignore[arg-type]
        found = torch.bincount(head.labels).tolist()
        assert all(found[label] in allowed for label, allowed in counts.items()), found
        # vectors and labels belong together
        of = data.labels_of(data.fold.train)
        assert [of[int(row)] for row in head.vectors[:, 0]] == head.labels.tolist()
