"""Texts of a large manifest: the same bytes whatever the pieces, and none read that nobody needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest

from ser_toolkit.corpora.base import Rating, Utterance
from ser_toolkit.data import manifest_cells, rater_answers
from ser_toolkit.data.label_rules.mapped import Mapped
from ser_toolkit.data.label_rules.per_rater import PerRater
from ser_toolkit.data.label_rules.recounted import Recounted
from ser_toolkit.data.labels import Plurality
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.manifest_cells import cells_of, json_pieces, ratings_text
from ser_toolkit.data.prepare import table_from_rows
from ser_toolkit.evaluation.agreement import raters
from ser_toolkit.evaluation.agreement.human import human_agreement

CLASSES = ("angry", "happy", "neutral", "sad")


def rated(*answers: tuple[str, ...], number: int = 0) -> Utterance:
    """An utterance with one rating for each answer."""
    ratings = tuple(Rating(f"w{k}", words, 1.0 + k, 2.0, 3.0) for k, words in enumerate(answers))
    votes = {"neutral": 2.0, "sad": 1.0}
    return Utterance(f"u{number}", "a.wav", speaker=f"s{number % 2}", label="neutral", votes=votes, ratings=ratings)


def manifest_of(*rows: Utterance, **columns: object) -> Manifest:
    return Manifest(table_from_rows(rows).assign(duration=1.0, **columns), "Test", CLASSES, Path("."))


@pytest.mark.parametrize("length", range(8))
def test_pieces_are_the_bytes_of_the_whole(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_cells, "_AT_ONCE", 3)
    cells = ["a, b", None, "ü", '"[]"', "", "e", None][:length]
    assert b"".join(json_pieces(cells)) == json.dumps(cells).encode()


def test_ratings_are_spelt_as_ever() -> None:
    ratings = (Rating("w1", ("angry", "sad"), 1.5), Rating("ü", (), None, 2.0, self_report=True))
    assert ratings_text(ratings) == json.dumps([asdict(one) for one in ratings], sort_keys=True)


def test_equal_texts_are_kept_once() -> None:
    column = pyarrow.chunked_array([["sad", None, "sa" + "d"], ["x", "sad"]])
    cells = cells_of(column)
    assert cells.tolist() == ["sad", None, "sad", "x", "sad"] and cells[0] is cells[2] is cells[4]
    assert cells_of(pyarrow.chunked_array([[1.5, None]])).tolist() == [1.5, None]
    assert cells_of(pyarrow.chunked_array([[None, None]], type=pyarrow.string())).tolist() == [None, None]


def test_rules_inside_a_mapping_read_renamed_answers() -> None:
    manifest = manifest_of(rated(("excited",), ("happy",), ("sad",)), rated(("sad",), ("sad",), number=1))
    merges = {"sad": "angry", "neutral": "happy"}
    one = Mapped(None, merges, PerRater(rater="w2")).targets(manifest)
    assert one.label.tolist() == [0, -1], "the third rater's sad counts as angry"
    counted = Mapped(None, merges, Recounted("each", Plurality())).targets(manifest)
    assert counted.label.tolist() == [-1, 0], "excited, happy and angry are tied; angry twice"


def test_a_rule_that_reads_votes_leaves_ratings_alone() -> None:
    table = manifest_of(rated(("sad",))).table.assign(ratings="no JSON at all")
    manifest = Manifest(table, "Test", CLASSES, Path("."))
    assert Mapped(None, {"sad": "angry"}, Plurality()).targets(manifest).label.tolist() == [2]


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[object]:
    """The first argument of every call."""
    calls: list[object] = []
    original: Callable = getattr(module, name)

    def noted(first: object, *rest: object) -> object:
        calls.append(first)
        return original(first, *rest)

    monkeypatch.setattr(module, name, noted)
    return calls


def test_only_texts_that_name_a_rater_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [rated(("sad",), ("happy",), number=0), *(rated(("sad",), number=n) for n in range(1, 9))]
    manifest = manifest_of(*rows)
    read = counted(monkeypatch, rater_answers.json, "loads")
    targets = PerRater(rater="w1").targets(manifest)
    assert targets.label.tolist() == [1, *[-1] * 8]
    assert len(read) == 2, "once for the words and once for the dimensions"


def test_ratings_of_three_dimensions_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = manifest_of(*(rated(("sad",), ("happy",), ("sad",), number=n) for n in range(6)))
    read = counted(monkeypatch, raters, "observers")
    found = human_agreement(manifest.table, CLASSES)
    assert found is not None and set(found["dimensions"]) == {"valence", "arousal", "dominance"}
    assert len(read) == 6


def test_halves_are_the_same_drawn_by_small_sorts_or_by_one() -> None:
    rng = np.random.default_rng(1)
    row = np.sort(rng.integers(0, 50, 300))
    row = np.concatenate([row, rng.integers(0, 50, 60)])  # single ratings stand behind votes, in another order
    few = raters.Answers(row, rng.random((360, 3)), np.ones(360), 50)
    whole = np.argsort(row + np.random.default_rng(3).random(360))
    assert raters._shuffled(row, np.bincount(row, minlength=50), np.random.default_rng(3)).tolist() == whole.tolist()
    lonely = np.concatenate([row, np.full(2000, 49)])  # one utterance with many raters: one sort of all
    whole = np.argsort(lonely + np.random.default_rng(3).random(len(lonely)))
    drawn = raters._shuffled(lonely, np.bincount(lonely, minlength=50), np.random.default_rng(3))
    assert drawn.tolist() == whole.tolist()
    a, b = raters.split_in_halves(few, np.random.default_rng(0))
    assert a.shape == b.shape == (50, 3) and not pd.isna(a).all()
