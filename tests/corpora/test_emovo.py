from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from corpus_replicas import touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.emovo import EMOVO
from ser_toolkit.errors import CorpusError

SENTENCES = ["b1", "b2", "b3", "d1", "d2", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5"]
LABELS = {
    "dis": "disgusted",
    "gio": "happy",
    "neu": "neutral",
    "pau": "fearful",
    "rab": "angry",
    "sor": "surprised",
    "tri": "sad",
}


def test_a_complete_copy_has_the_documented_counts(tmp_path: Path) -> None:
    everything = product(LABELS, ("f1", "f2", "f3", "m1", "m2", "m3"), SENTENCES)
    rows = EMOVO().utterances(touch(tmp_path, [f"EMOVO/{s}/{e}-{s}-{t}.wav" for e, s, t in everything]))
    assert len(rows) == 588
    assert deviations(rows, EMOVO().expected) == []
    assert {row.raw_label: row.label for row in rows} == LABELS


def test_rows_say_what_the_name_says(tmp_path: Path) -> None:
    first, second = EMOVO().utterances(touch(tmp_path, ["F1/GIO-F1-D1.wav", "m3/tri-m3-n2 .wav"]))  # odd names
    assert (first.id, first.speaker, first.sex, first.label, first.sentence) == (
        "gio-f1-d1",
        "f1",
        "female",
        "happy",
        "d1",
    )
    assert first.transcript == "Sabato sera cosa farà?"
    assert (second.id, second.path, second.sex, second.label) == ("tri-m3-n2", "m3/tri-m3-n2 .wav", "male", "sad")


@pytest.mark.parametrize("name", ["gio-f4-b1", "gio-f1-b4", "joy-f1-b1", "gio-f1"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        EMOVO().utterances(touch(tmp_path, [f"f1/{name}.wav"]))
