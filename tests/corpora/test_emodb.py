from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.emodb import EmoDB
from ser_toolkit.errors import CorpusError


def replica(root: Path, *names: str) -> Path:
    (root / "wav").mkdir(parents=True)
    for name in names:
        (root / "wav" / name).touch()
    return root


def test_rows_follow_the_file_names(tmp_path):
    first, second = EmoDB().utterances(replica(tmp_path, "16b10Lb.wav", "03a01Fa.wav"))
    assert (first.id, first.path) == ("03a01Fa", "wav/03a01Fa.wav")
    assert (first.speaker, first.sex, first.label, first.raw_label) == ("03", "male", "happy", "F")
    assert (first.sentence, first.transcript) == ("a01", "Der Lappen liegt auf dem Eisschrank.")
    assert (first.language, first.style, first.votes) == ("de", "acted", None)
    assert (second.speaker, second.sex, second.label) == ("16", "female", "bored")


@pytest.mark.parametrize(
    ("letter", "label"),
    [
        ("W", "angry"),
        ("L", "bored"),
        ("E", "disgusted"),
        ("A", "fearful"),
        ("F", "happy"),
        ("T", "sad"),
        ("N", "neutral"),
    ],
)
def test_letters_are_german_words(tmp_path, letter, label):
    (row,) = EmoDB().utterances(replica(tmp_path, f"08a02{letter}a.wav"))
    assert row.label == label
    assert label in EmoDB().classes


def test_classes_are_alphabetical():
    assert EmoDB().classes == ("angry", "bored", "disgusted", "fearful", "happy", "neutral", "sad")


def test_hidden_and_other_files_are_ignored(tmp_path):
    rows = EmoDB().utterances(replica(tmp_path, "03a01Fa.wav", "._03a01Fa.wav", ".DS_Store", "03a01Fa.txt"))
    assert [row.id for row in rows] == ["03a01Fa"]


@pytest.mark.parametrize("name", ["03a01Xa.wav", "04a01Fa.wav", "03a03Fa.wav", "notes.wav"])
def test_a_foreign_file_is_named(tmp_path, name):
    with pytest.raises(CorpusError, match=name):
        EmoDB().utterances(replica(tmp_path, "03a01Fa.wav", name))


def test_wrong_folders_say_what_to_do(tmp_path):
    with pytest.raises(CorpusError, match="no folder at"):
        EmoDB().utterances(tmp_path / "absent")
    with pytest.raises(CorpusError, match="no WAV file"):
        EmoDB().utterances(replica(tmp_path / "empty"))


def test_a_copy_is_read_wherever_it_lies_and_each_recording_once(tmp_path):
    replica(tmp_path / "EmoDB", "03a01Fa.wav", "08a01Fa.wav")
    replica(tmp_path / "Copy", "03a01Fa.wav")
    assert [row.path for row in EmoDB().utterances(tmp_path)] == ["Copy/wav/03a01Fa.wav", "EmoDB/wav/08a01Fa.wav"]
    assert [row.path for row in EmoDB().utterances(tmp_path / "EmoDB" / "wav")] == ["03a01Fa.wav", "08a01Fa.wav"]


def test_published_counts_are_consistent():
    expected = EmoDB().expected
    assert sum(expected.speakers.values()) == sum(expected.classes.values()) == expected.utterances == 535


@pytest.mark.corpus
def test_real_copy_has_the_published_counts(corpora_root):
    rows = EmoDB().utterances(corpora_root / "EmoDB")
    assert deviations(rows, EmoDB().expected) == []
    assert Counter(row.raw_label for row in rows) == {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}
    assert len({row.sentence for row in rows}) == 10
    assert {row.sex: row.speaker for row in rows}.keys() == {"female", "male"}


@pytest.mark.corpus
def test_a_missing_file_names_its_speaker(corpora_root, tmp_path):
    shutil.copytree(corpora_root / "EmoDB" / "wav", tmp_path / "wav", copy_function=lambda _, to: Path(to).touch())
    (tmp_path / "wav" / "10a01Wa.wav").unlink()
    found = deviations(EmoDB().utterances(tmp_path), EmoDB().expected)
    assert found == [
        "speaker 10: 37 utterances, expected 38",
        "class angry: 126 utterances, expected 127",
        "534 utterances in all, expected 535",
    ]
