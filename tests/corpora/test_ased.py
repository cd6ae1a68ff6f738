from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import ased, touch

from ser_toolkit.corpora.ased import ASED
from ser_toolkit.corpora.base import deviations
from ser_toolkit.errors import CorpusError

TABLE = [
    ("01Neutral/n1-04-01-02-06.wav", "n1-04-01-02-06", "06", "male", "neutral", "n04"),
    ("02Fearful/f2-01-02-01-01.wav", "f2-01-02-01-01", "01", "female", "fearful", "f01"),
    ("03Happy/h3-07-01-02-21.wav", "h3-07-01-02-21", "21", "female", "happy", "h07"),  # the one male file of a woman
    ("04Sad/S4-04-02-01-29.wav", "s4-04-02-01-29", "29", "female", "sad", "s04"),  # the one name in upper case
    ("05Angry/a5-02-01-01-33.wav", "a5-02-01-01-33", "33", "female", "angry", "a02"),
]


def test_rows_say_what_the_name_says(tmp_path: Path) -> None:
    rows = ASED().utterances(touch(tmp_path, [path for path, *_ in TABLE]))
    assert {(row.path, row.id, row.speaker, row.sex, row.label, row.sentence) for row in rows} == set(TABLE)
    assert {(row.language, row.style) for row in rows} == {("am", "acted")}


def test_expected_counts(tmp_path: Path) -> None:
    expected = ASED().expected
    assert expected.utterances == 2474 == sum(expected.speakers.values()) == sum(expected.classes.values())
    assert len(expected.speakers) == 65
    found = deviations(ASED().utterances(ased().write(tmp_path)), expected)
    assert "speaker 65: 0 utterances, expected 50" in found


@pytest.mark.parametrize("name", ["n2-04-01-02-06", "x1-04-01-02-06", "n1-08-01-02-06", "n1-04-01-02-66"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        ASED().utterances(touch(tmp_path, [f"{name}.wav"]))
