from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import emov_db, touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.emov_db import EmoVDB
from ser_toolkit.errors import CorpusError

TABLE = [
    ("bea_Amused/amused_1-15_0001.wav", "bea_amused_1-15_0001", "bea", "female", "amused", "0001"),
    ("bea_Neutral/Neutral_1-28_0014.wav", "bea_neutral_1-28_0014", "bea", "female", "neutral", "0014"),
    ("jenie_Angry/anger_1-28_0011.wav", "jenie_angry_1-28_0011", "jenie", "female", "angry", "0011"),
    ("josh_Sleepy/sleepiness_113_140_0113.wav", "josh_sleepy_113-140_0113", "josh", "male", "sleepy", "0113"),
    ("sam_Disgusted/Disgust_169_196_0183.wav", "sam_disgusted_169-196_0183", "sam", "male", "disgusted", "0183"),
]


@pytest.mark.parametrize("nested", [False, True])
def test_rows_say_what_folder_and_name_say(tmp_path: Path, nested: bool) -> None:
    paths = [path.replace("_", "/", 1) if nested else path for path, *_ in TABLE]
    rows = EmoVDB().utterances(touch(tmp_path, [f"EmoV-DB_sorted/{path}" for path in paths]))
    assert [(row.id, row.speaker, row.sex, row.label, row.sentence) for row in rows] == [tuple(r[1:]) for r in TABLE]
    assert rows[0].path == f"EmoV-DB_sorted/{paths[0]}"


def test_one_sentence_may_have_two_takes(tmp_path: Path) -> None:
    touch(tmp_path, ["bea_Neutral/neutral_1-28_0014.wav", "bea_Neutral/neutral_14-28_0014.wav"])
    assert [row.sentence for row in EmoVDB().utterances(tmp_path)] == ["0014", "0014"]


def test_expected_counts_and_missing_parts(tmp_path: Path) -> None:
    expected = EmoVDB().expected
    assert expected.utterances == 6893 == sum(expected.classes.values())
    assert expected.speakers == {"bea": 1787, "jenie": 1790, "josh": 863, "sam": 2453}
    assert expected.classes == {"amused": 1317, "angry": 1268, "disgusted": 1019, "neutral": 1568, "sleepy": 1721}
    found = deviations(EmoVDB().utterances(emov_db().write(tmp_path)), expected)
    assert "speaker josh: 3 utterances, expected 863" in found


@pytest.mark.parametrize("name", ["bea_Amused/anger_1-15_0001", "tom_Amused/amused_1-15_0001", "bea_Amused/amused_1"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        EmoVDB().utterances(touch(tmp_path, [f"{name}.wav"]))
