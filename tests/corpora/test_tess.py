from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import tess, touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.tess import TESS
from ser_toolkit.errors import CorpusError

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
TABLE = {
    "OAF_back_angry": ("OAF", "angry", "back", "OAF_angry/OAF_back_angry.wav"),
    "OAF_bite_neutral": ("OAF", "neutral", "bite", "OAF_neutral/OA_bite_neutral.wav"),  # a letter is missing
    "OAF_back_ps": ("OAF", "surprised", "back", "OAF_Pleasant_surprise/OAF_back_ps.wav"),
    "OAF_food_fear": ("OAF", "fearful", "food", "OAF_Fear/OAF_food_fear.wav"),
    "YAF_back_ps": ("YAF", "surprised", "back", "YAF_pleasant_surprised/YAF_back_ps.wav"),
    "YAF_back_disgust": ("YAF", "disgusted", "back", "YAF_disgust/YAF_back_disgust.wav"),
    "YAF_back_sad": ("YAF", "sad", "back", "YAF_sad/YAF_back_sad.wav"),
}


def test_a_complete_copy_has_the_documented_counts(tmp_path: Path) -> None:
    words = [f"{chr(97 + k // 26)}{chr(97 + k % 26)}" for k in range(200)]
    names = [f"{s}_{e}/{s}_{word}_{e}.wav" for s in ("OAF", "YAF") for e in EMOTIONS for word in words]
    assert deviations(TESS().utterances(touch(tmp_path, names)), TESS().expected) == []


def test_rows_say_what_the_name_says(tmp_path: Path) -> None:
    rows = {row.id: row for row in TESS().utterances(tess().write(tmp_path))}
    assert len(rows) == 14
    for name, (speaker, label, word, path) in TABLE.items():
        row = rows[name]
        assert (row.speaker, row.label, row.sentence, row.path) == (speaker, label, word, path)
        assert (row.transcript, row.sex, row.language) == (f"Say the word {word}", "female", "en")


def test_a_copy_that_holds_the_set_twice_is_read_once(tmp_path: Path) -> None:
    inner = "TESS Toronto emotional speech set data"
    tess().write(tmp_path / inner)
    tess().write(tmp_path / inner / inner)
    assert len(TESS().utterances(tmp_path)) == 14


def test_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="OAF_back_calm"):
        TESS().utterances(touch(tmp_path, ["OAF_back_calm.wav"]))
