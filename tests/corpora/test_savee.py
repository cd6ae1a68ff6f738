from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.savee import SAVEE
from ser_toolkit.errors import CorpusError

# From Info.txt of the release: fifteen sentences an emotion, thirty neutral ones.
CODES = [f"{letter}{k:02d}" for letter in ("a", "d", "f", "h", "sa", "su") for k in range(1, 16)]
CODES += [f"n{k:02d}" for k in range(1, 31)]
SPEAKERS = ("DC", "JE", "JK", "KL")
TABLE = [
    ("AudioData/DC/a01.wav", "DC_a01", "DC", "angry", "a01"),
    ("AudioData/JE/d03.wav", "JE_d03", "JE", "disgusted", "d03"),
    ("AudioData/JK/f15.wav", "JK_f15", "JK", "fearful", "f15"),
    ("AudioData/KL/h07.wav", "KL_h07", "KL", "happy", "h07"),
    ("AudioData/DC/n30.wav", "DC_n30", "DC", "neutral", "n30"),
    ("AudioData/JE/sa02.wav", "JE_sa02", "JE", "sad", "sa02"),
    ("AudioData/JK/su11.wav", "JK_su11", "JK", "surprised", "su11"),
]


def test_both_layouts_have_the_documented_counts(tmp_path: Path) -> None:
    folders = touch(tmp_path / "a", [f"AudioData/{s}/{code}.wav" for s in SPEAKERS for code in CODES])
    flat = touch(tmp_path / "b", [f"{s}_{code}.wav" for s in SPEAKERS for code in CODES])
    rows = SAVEE().utterances(folders)
    assert len(rows) == 480
    assert deviations(rows, SAVEE().expected) == []
    assert [row.id for row in SAVEE().utterances(flat)] == [row.id for row in rows]


def test_rows_say_what_the_name_says(tmp_path: Path) -> None:
    rows = SAVEE().utterances(touch(tmp_path, [path for path, *_ in TABLE]))
    found = {(row.path, row.id, row.speaker, row.label, row.sentence) for row in rows}
    assert found == set(TABLE)
    assert {(row.sex, row.language, row.style) for row in rows} == {("male", "en", "acted")}


@pytest.mark.parametrize("name", ["DC/x01.wav", "DC/a16.wav", "DC/n31.wav", "DC/a00.wav", "XX/a01.wav", "03a01Fa.wav"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path, ["DC/a01.wav", name])
    with pytest.raises(
        CorpusError, match=rf"SAVEE: 1 of 2 audio files .* is not named like .* it: {name}.*DC/a01\.wav"
    ):
        SAVEE().utterances(tmp_path)


def test_wrong_folders_say_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path / "videos", ["DC/a01.avi"])
    with pytest.raises(CorpusError, match=r"no WAV file under .*videos \(found: DC\)"):
        SAVEE().utterances(tmp_path / "videos")
    with pytest.raises(CorpusError, match="no folder at"):
        SAVEE().utterances(tmp_path / "nowhere")


def test_a_missing_speaker_is_named(tmp_path: Path) -> None:
    rows = SAVEE().utterances(touch(tmp_path, [f"{s}/{code}.wav" for s in SPEAKERS[:3] for code in CODES]))
    assert deviations(rows, SAVEE().expected)[0] == "speaker KL: 0 utterances, expected 120"
