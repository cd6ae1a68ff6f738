from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import touch, turev_db

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.turev_db import TurEVDB
from ser_toolkit.errors import CorpusError

TABLE = [
    ("Sound Source/Sad/7895_hl_ogul1.wav", "7895_hl_ogul1", "7895", "sad", "ogul"),
    ("Sound Source/Angry/1157_kz_beste.wav", "1157_kz_beste", "1157", "angry", "beste"),
    ("Sound Source/Happy/1984_mt_dil.wav", "1984_mt_dil", "1984", "happy", "dil"),
    ("Sound Source/Calm/1984_sk_eger.wav", "1984_sk_eger", "1984", "calm", "eger"),
]


def test_rows_say_what_folder_and_name_say_and_filtered_copies_are_not_read(tmp_path: Path) -> None:
    copy = "Model Output for Test Data/testEmotions500HighPass/sound/Angry/1157_kz_beste.wav"
    rows = TurEVDB().utterances(touch(tmp_path, [copy, *(path for path, *_ in TABLE)]))
    assert {(row.path, row.id, row.speaker, row.label, row.sentence) for row in rows} == set(TABLE)
    assert {(row.language, row.sex) for row in rows} == {("tr", None)}


def test_expected_counts(tmp_path: Path) -> None:
    expected = TurEVDB().expected
    assert expected.utterances == 1735 == sum(expected.speakers.values()) == sum(expected.classes.values())
    found = deviations(TurEVDB().utterances(turev_db().write(tmp_path)), expected)
    assert "speaker 6783: 0 utterances, expected 328" in found


@pytest.mark.parametrize("name", ["Angry/1157_sk_beste", "1157_kz_beste", "Angry/11_kz_beste", "Fear/1157_kz_beste"])
def test_a_recording_that_does_not_fit_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        TurEVDB().utterances(touch(tmp_path, [f"{name}.wav"]))
