"""The audit must find what is planted, and be quiet about what is not there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_toolkit.protocols.audit import audit, audit_sentences, confounding, corpora_left_out
from ser_toolkit.protocols.splits import Fold, LeaveOneSpeakerOut

N = 24


@pytest.fixture
def table() -> pd.DataFrame:
    """Four speakers x six utterances, all different, two classes."""
    columns = {
        "id": [f"u{k:02d}" for k in range(N)],
        "speaker": [f"s{k // 6}" for k in range(N)],
        "dialogue": [None] * N,
        "sentence": [f"t{k}" for k in range(N)],
        "label": ["angry", "sad"] * (N // 2),
        "audio_hash": [f"{k:016x}" for k in range(N)],
    }
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def test_a_clean_split_is_called_clean(table: pd.DataFrame) -> None:
    folds = LeaveOneSpeakerOut().folds(table)
    assert audit_sentences(table, folds) == [
        "folds: 4, with 12 train, 6 dev, 6 test utterances",
        "speakers: none shared",
        "dialogues: not known",
        "sentences: none shared",
        "identical audio: none",
    ]
    counts = audit(table, folds)
    assert counts["fold"].tolist() == ["s0", "s1", "s2", "s3"]
    first = counts.iloc[0]
    assert (first["train"], first["speakers_train"], first["speakers_dev"], first["speakers_test"]) == (12, 2, 1, 1)
    assert (first["train:angry"], first["test:sad"], first["dialogues_test"], first["audio_test"]) == (6, 3, 0, 6)


def test_shared_speakers_dialogues_and_prompts_are_counted(table: pd.DataFrame) -> None:
    table["dialogue"] = ["d0"] * 7 + [f"d{k}" for k in range(7, N)]
    table["sentence"] = [f"t{k % 3}" for k in range(N)]
    ids = table["id"].tolist()
    folds = [Fold("x", tuple(ids[8:]), tuple(ids[5:8]), tuple(ids[:5]))]
    counts = audit(table, folds).iloc[0]
    # test: u00-u04 of s0; dev: u05 of s0, u06-u07 of s1; train: s1, s2, s3
    assert (counts["speakers_shared_test"], counts["speakers_shared_dev"]) == (1, 1)
    assert (counts["dialogues_shared_test"], counts["dialogues_shared_dev"]) == (1, 0)
    assert (counts["sentences_shared_test"], counts["sentences_shared_dev"]) == (3, 3)
    said = audit_sentences(table, folds)
    assert (
        "speakers: 1 of 1 test speakers also occur in training or dev; 1 of 2 dev speakers also occur in training"
        in said
    )
    assert "dialogues: 1 of 1 test dialogues also occur in training or dev" in said
    assert (
        "sentences: 3 of 3 test prompts also occur in training or dev; 3 of 3 dev prompts also occur in training "
        "(scripted speech)" in said
    )


def test_identical_audio_is_named_with_its_contradiction(table: pd.DataFrame) -> None:
    table.loc[[0, 1], "audio_hash"] = "same"  # one speaker, other label
    table.loc[[2, 8], "audio_hash"] = "also"  # two speakers, same label
    said = audit_sentences(table, LeaveOneSpeakerOut().folds(table))
    assert "identical audio: 2 recordings appear under several ids: u00 = u01; u02 = u08" in said
    assert "warning: 1 of them have different labels: u00 = u01" in said
    # s0 and s1 hold the pair: each is tested once against the other, s0 is once dev while s1 is trained on
    assert "warning: identical audio stands in test and in training or dev in 2 of 4 folds (up to 1 recording)" in said
    assert "warning: identical audio stands in dev and in training in 1 of 4 folds (up to 1 recording)" in said


def test_a_class_that_a_test_part_lacks_is_said(table: pd.DataFrame) -> None:
    table.loc[table["speaker"] == "s2", "label"] = "sad"
    said = audit_sentences(table, LeaveOneSpeakerOut().folds(table))
    assert "classes without a test utterance: angry in fold s2" in said


def test_confounding_of_extremes(table: pd.DataFrame) -> None:
    assert confounding(table) == 0.0  # every speaker says every class equally often
    table["label"] = table["speaker"]
    assert confounding(table) == pytest.approx(1.0)
    table["label"] = None
    assert confounding(table) == 0.0


def test_confounding_equals_the_formula_worked_by_hand() -> None:
    # [[8, 2], [3, 7]]: chi2 = 20 (56 - 6)^2 / (10 * 10 * 11 * 9) = 5.0505; phi2 = 0.252525
    # phi2+ = phi2 - 1/19 = 0.199894; r~ = c~ = 2 - 1/19; V~ = sqrt(0.199894 / 0.947368) = 0.459346
    table = pd.DataFrame({"speaker": ["a"] * 10 + ["b"] * 10, "label": list("x" * 8 + "y" * 2 + "x" * 3 + "y" * 7)})
    assert confounding(table) == pytest.approx(0.459346, abs=1e-5)


def test_confounding_is_not_fooled_by_many_small_speakers() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"speaker": [f"s{k % 60}" for k in range(300)], "label": rng.choice(list("abcd"), 300)})
    assert confounding(table) < 0.2  # without the correction: 0.45


def test_what_is_known_of_some_utterances_alone_is_said_so() -> None:
    table = pd.DataFrame({"id": ["a", "b", "c"], "speaker": ["x", "y", None], "label": ["sad", "sad", "sad"]})
    said = audit_sentences(table, [Fold("1", ("a", "c"), (), ("b",))])
    assert "speakers: none shared, 1 utterance without" in said


def test_a_corpus_without_any_part_is_named(table: pd.DataFrame) -> None:
    """The result bears the names of all corpora, whoever the label rule or the protocol left."""
    folds = LeaveOneSpeakerOut().folds(table[:18])
    assert corpora_left_out(table.assign(corpus=None), folds) == []
    assert corpora_left_out(table.assign(corpus=["A"] * 12 + ["B"] * 12), folds) == []
    (said,) = corpora_left_out(table.assign(corpus=["A"] * 18 + ["B"] * 6), folds)
    assert said.startswith("warning: no utterance of B takes part")
