from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from corpus_replicas import touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.jl_corpus import JLCorpus
from ser_toolkit.errors import CorpusError, RecipeError

PRIMARY = ("angry", "excited", "happy", "neutral", "sad")
SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")
FOLDER = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [
        f"{FOLDER}/{speaker}_{emotion}_{sentence}{session}_{take}.wav"
        for speaker, emotion, sentence, session, take in product(
            ("female1", "female2", "male1", "male2"), PRIMARY + SECONDARY, range(1, 16), "ab", (1, 2)
        )
    ]
    return touch(tmp_path_factory.mktemp("jl"), [*names, f"{FOLDER}/male1_sad_1a_1.txt"])


def test_a_complete_copy_has_the_documented_counts(complete: Path) -> None:
    rows = JLCorpus().utterances(complete)
    assert len(rows) == 2400
    assert deviations(rows, JLCorpus().expected) == []
    row = next(row for row in rows if row.id == "female1_angry_10a_1")
    assert (row.speaker, row.sex, row.label, row.sentence) == ("female1", "female", "angry", "10")
    assert row.path == f"{FOLDER}/female1_angry_10a_1.wav"
    assert {row.sex for row in rows if row.speaker == "male2"} == {"male"}


def test_class_sets(complete: Path) -> None:
    primary = JLCorpus("primary").utterances(complete)
    assert Counter(row.label for row in primary) == dict.fromkeys(PRIMARY, 240)
    assert deviations(primary, JLCorpus("primary").expected) == []
    secondary = JLCorpus("secondary")
    assert deviations(secondary.utterances(complete), secondary.expected) == []
    assert not set(secondary.classes) & set(JLCorpus("primary").classes)
    with pytest.raises(RecipeError, match="Did you mean primary"):
        JLCorpus("primry")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["male1_calm_1a_1", "male1_sad_16a_1", "male3_sad_1a_1", "male1_sad_1c_1"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        JLCorpus().utterances(touch(tmp_path, [f"{name}.wav"]))
