from __future__ import annotations

from pathlib import Path

import pytest

from ser_toolkit.corpora.folders import FolderCorpus
from ser_toolkit.errors import CorpusError, RecipeError

PATTERN = r"(?P<speaker>\d+)_.*"


def replica(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_folders_are_classes_and_names_hold_speakers(tmp_path):
    root = replica(
        tmp_path,
        "__MACOSX/sad/._02_x.FLAC",
        "sad/02_x.FLAC",
        "angry/01_a.wav",
        "angry/._01_a.wav",
        "angry/list.txt",
        ".cache/03_b.wav",
        "README.txt",
    )
    corpus = FolderCorpus(PATTERN)
    listing = corpus.read(root)
    rows = listing.rows
    assert [(row.id, row.path, row.speaker, row.label) for row in rows] == [
        ("angry/01_a", "angry/01_a.wav", "01", "angry"),
        ("sad/02_x", "sad/02_x.FLAC", "02", "sad"),
    ]
    assert listing.classes == ("angry", "sad")
    assert listing.notes(rows) == ["2 other files are not read: README.txt, angry/list.txt."]


def test_recordings_that_are_not_read_are_noted(tmp_path):
    root = replica(tmp_path, "sad/02_x.wav", "angry/01_a.wav", "angry/more/03_a.wav", "04_b.wav", "angry/more/x/5.au")
    corpus = FolderCorpus(PATTERN)
    listing = corpus.read(root)
    rows = listing.rows
    assert listing.notes(rows) == [
        "3 recordings lie in no class folder itself and are not read: 04_b.wav, angry/more/03_a.wav, angry/more/x/5.au."
    ]


def test_accents_are_spelt_in_one_way(tmp_path):
    """macOS takes them apart: the same speaker and class on every machine, and the file as it is called here."""
    apart, whole = "Jo\u0308rg", "J\u00f6rg"
    root = replica(tmp_path, f"sad/{apart}_1.wav", f"{apart}/{whole}_1.wav")
    corpus = FolderCorpus(r"(?P<speaker>[^_]+)_.*")
    listing = corpus.read(root)
    assert [(row.id, row.speaker, row.label) for row in listing.rows] == [
        (f"{whole}/{whole}_1", whole, whole),
        (f"sad/{whole}_1", whole, "sad"),
    ]
    assert listing.classes == (whole, "sad")
    assert all((root / row.path).is_file() for row in listing.rows)


def test_the_pattern_must_match_the_whole_name(tmp_path):
    root = replica(tmp_path, "sad/02_x.wav", "angry/anna_01_a.wav")
    with pytest.raises(CorpusError, match=r"anna_01_a\.wav"):
        FolderCorpus(PATTERN).utterances(root)


@pytest.mark.parametrize(
    ("pattern", "message"), [(r"(\d+)_.*", "no group called speaker"), ("(?P<speaker>", "regular")]
)
def test_a_useless_pattern_is_refused(pattern, message):
    with pytest.raises(RecipeError, match=message):
        FolderCorpus(pattern)


def test_classes_are_known_after_reading():
    with pytest.raises(CorpusError, match="They are the labels found"):
        _ = FolderCorpus(PATTERN).classes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["angry/1_a.wav", "sad/notes.txt"], "sad holds no audio"),
        (["angry/1_a.wav"], "has 1 class folder;"),
        (["angry/1_a.wav", "angry/1_a.flac", "sad/1_b.wav"], "have one name"),
        (["angry/anna/1_a.wav", "sad/anna/1_a.wav"], r"one level down, in anna: move it up, or write a table"),
        (["corpus/angry/1_a.wav", "corpus/sad/1_a.wav"], r"one level down, in angry, sad: give data.root=.*corpus"),
    ],
)
def test_wrong_folders_say_what_to_do(tmp_path, files, message):
    with pytest.raises(CorpusError, match=message):
        FolderCorpus(PATTERN).utterances(replica(tmp_path, *files))
