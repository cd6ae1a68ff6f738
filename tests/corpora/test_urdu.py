from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.urdu import URDU
from ser_toolkit.errors import CorpusError

NAMES = ["Angry/SM1_F10_A010", "Happy/SF6_F4_H028", "Neutral/SM5_F72_N0100", "Sad/SM25_F4_S054"]
TABLE = [
    ("SF6_F4_H028", "SF6", "female", "happy", "H"),
    ("SM1_F10_A010", "SM1", "male", "angry", "A"),
    ("SM25_F4_S054", "SM25", "male", "sad", "S"),
    ("SM5_F72_N0100", "SM5", "male", "neutral", "N"),
]


def test_rows_say_what_the_name_says(tmp_path: Path) -> None:
    rows = URDU().utterances(touch(tmp_path, [f"{name}.wav" for name in NAMES]))
    assert [(row.id, row.speaker, row.sex, row.label, row.raw_label) for row in rows] == TABLE
    assert {(row.language, row.style, row.sentence) for row in rows} == {("ur", "natural", None)}


def test_expected_counts() -> None:
    expected = URDU().expected
    assert expected.utterances == 400 == sum(expected.speakers.values())
    assert expected.classes == dict.fromkeys(("angry", "happy", "neutral", "sad"), 100)
    assert (len(expected.speakers), expected.speakers["SM5"], expected.speakers["SF11"]) == (29, 80, 4)


def test_a_missing_emotion_is_named(tmp_path: Path) -> None:
    rows = URDU().utterances(touch(tmp_path, [f"{name}.wav" for name in NAMES[:3]]))
    assert "class sad: 0 utterances, expected 100" in deviations(rows, URDU().expected)


@pytest.mark.parametrize("name", ["Angry/SM1_F10_S010", "SM1_F10_A010", "Angry/XM1_F10_A010", "Fear/SM1_F10_F010"])
def test_a_recording_that_does_not_fit_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        URDU().utterances(touch(tmp_path, [f"{name}.wav"]))
