from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from corpus_replicas import esd, touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.esd import ESD
from ser_toolkit.errors import CorpusError, RecipeError

# Number of the recording, its folder, its class, and the text that it shares with the same number in other emotions.
TABLE = [
    (1, "Neutral", "neutral", 1),
    (350, "Neutral", "neutral", 350),
    (351, "Angry", "angry", 1),
    (1050, "Happy", "happy", 350),
    (1051, "Sad", "sad", 1),
    (1402, "Surprise", "surprised", 2),
]


def test_rows_say_what_folder_and_number_say(tmp_path: Path) -> None:
    touch(tmp_path, [f"ESD/0012/{folder}/0012_{number:06d}.wav" for number, folder, *_ in TABLE])
    rows = {row.id: row for row in ESD().utterances(tmp_path)}
    for number, folder, label, text in TABLE:
        row = rows[f"0012_{number:06d}"]
        assert (row.speaker, row.label, row.raw_label, row.sentence) == ("0012", label, folder, f"en{text:03d}")
        assert (row.language, row.fold) == ("en", "2")


def test_languages_and_published_folds(tmp_path: Path) -> None:
    root = esd().write(tmp_path)
    rows = ESD().utterances(root)
    folds = {row.speaker: row.fold for row in rows}
    assert folds == {"0001": "5", "0003": "3", "0005": "1", "0007": "4", "0011": "1", "0012": "2"}
    assert {row.speaker for row in ESD("en").utterances(root)} == {"0011", "0012"}
    assert Counter(row.language for row in rows) == {"zh": 20, "en": 10}
    assert {row.sentence for row in rows} == {"zh001", "en001"}


def test_expected_counts() -> None:
    assert (ESD().expected.utterances, ESD("zh").expected.utterances) == (35000, 17500)
    assert set(ESD().expected.speakers.values()) == {1750}
    assert ESD("en").expected.classes == dict.fromkeys(("neutral", "angry", "happy", "sad", "surprised"), 3500)
    assert list(ESD("zh").expected.speakers) == [f"{k:04d}" for k in range(1, 11)]


def test_an_edition_with_parts_is_read_and_a_missing_speaker_named(tmp_path: Path) -> None:
    touch(tmp_path, ["0001/Angry/train/0001_000400.wav", "0001/Angry/test/0001_000371.wav"])
    rows = ESD().utterances(tmp_path)
    assert [row.path for row in rows] == ["0001/Angry/test/0001_000371.wav", "0001/Angry/train/0001_000400.wav"]
    assert "speaker 0020: 0 utterances, expected 1750" in deviations(rows, ESD().expected)


@pytest.mark.parametrize(
    "name", ["0001/Angry/0001_000001", "0021/Angry/0021_000400", "0001/Sad/0001_001751", "0001_000001"]
)
def test_a_recording_that_does_not_fit_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        ESD().utterances(touch(tmp_path, [f"{name}.wav"]))
    with pytest.raises(RecipeError, match="both, en, zh"):
        ESD("fr")  # type: ignore[arg-type]
