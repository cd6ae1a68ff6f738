"""Files that are recordings: none is left out in silence, wherever folders are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ser_toolkit.cli.corpus import main as corpus_command
from ser_toolkit.corpora.base import Corpus, visible_files
from ser_toolkit.corpora.folders import FolderCorpus
from ser_toolkit.corpora.huggingface import HuggingFaceAudio
from ser_toolkit.corpora.table import TableCorpus
from ser_toolkit.errors import AudioError, CorpusError
from ser_toolkit.parts.finding import by_name
from ser_toolkit.system import audio_files
from ser_toolkit.system.audio_files import (
    AUDIO_SUFFIXES,
    absent,
    as_stored,
    files_below,
    files_with,
    is_audio,
    left_out,
    shown,
)

SPEAKER = r"(?P<speaker>[^_]+)_.*"


def made(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def names(root: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def refusing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder one that cannot be listed: tests may run as a user who can read everything."""
    real = os.listdir

    def listdir(place: Path) -> list[str]:
        if Path(place) == folder:
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    monkeypatch.setattr(audio_files.os, "listdir", listdir)


@pytest.mark.parametrize(
    "suffix", ["wav", "WAVE", "opus", "aif", "AIFF", "au", "caf", "m4a", "mp4", "flac", "mp3", "oga"]
)
def test_what_the_decoder_reads_is_a_recording_in_upper_and_lower_case(suffix: str) -> None:
    assert is_audio(f"a.{suffix}") and is_audio(Path(f"b.{suffix.swapcase()}"))
    assert not is_audio("wav") and not is_audio("a.txt")


def test_folders_are_walked_through_links_and_never_in_a_circle(tmp_path: Path) -> None:
    root = made(tmp_path / "root", "b.WAVE", "sub/a.opus", "sub/x.txt", ".hidden/c.wav", "__MACOSX/d.wav", "._b.WAVE")
    made(tmp_path, "elsewhere/e.au")
    (root / "linked").symlink_to("../elsewhere")
    (root / "again").symlink_to("sub")  # the same recordings under another name
    (root / "sub" / "up").symlink_to("..")
    (root / "file.caf").symlink_to("sub/a.opus")
    found = files_below(root)
    assert names(root, found.audio) == ["b.WAVE", "file.caf", "linked/e.au", "sub/a.opus"]
    assert names(root, found.other) == ["sub/x.txt"] and not found.broken
    found.require_whole()


def test_what_leads_nowhere_or_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path, "a.wav", "locked/b.wav")
    (root / "gone.wav").symlink_to("nowhere/k.wav")
    (root / "round").symlink_to("round")
    refusing(monkeypatch, root / "locked")
    found = files_below(root)
    assert names(root, found.audio) == ["a.wav"]
    assert names(root, sorted(found.broken)) == ["gone.wav", "locked", "round"]
    with pytest.raises(AudioError, match=r"gone\.wav: a link that leads nowhere .nowhere/k\.wav.; .*Permission denied"):
        found.require_whole()
    for read, error in (
        (lambda: files_with(root, (".wav",)), AudioError),
        (lambda: visible_files(root, ".wav"), CorpusError),
    ):
        with pytest.raises(error, match="leads nowhere"):
            read()
    assert files_with(root, (".txt",)) == []
    with pytest.raises(AudioError, match="locked: cannot be listed"):
        files_with(root / "locked", (".wav",))
    assert absent(root / "round").startswith("a link that leads in a circle")
    assert absent(root / ("n" * 300)) == "cannot be read (File name too long)"
    assert absent(root / "none") == "not found"


def test_a_class_folder_is_never_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        f"{label}/{name}" for label in ("angry", "sad") for name in ("m1_0.wav", "m2_0.opus", "f1_0.aif", "f2_0.AU")
    ]
    root = made(tmp_path, *files, "angry/list.txt")
    corpus = FolderCorpus(SPEAKER)
    rows = corpus.utterances(root)
    assert {row.speaker for row in rows} == {"m1", "m2", "f1", "f2"} and len(rows) == 8
    assert corpus.notes(rows) == ["1 other file is not read: angry/list.txt."]
    (root / "sad" / "m3_0.wav").symlink_to("nowhere.wav")
    with pytest.raises(CorpusError, match=r"sad/m3_0\.wav: a link that leads nowhere"):
        corpus.utterances(root)
    (root / "sad" / "m3_0.wav").unlink()
    refusing(monkeypatch, root / "sad")
    with pytest.raises(CorpusError, match=r"sad: cannot be listed .Permission denied"):
        corpus.utterances(root)


@pytest.mark.parametrize("place", ["", "angry"])
def test_inspecting_what_cannot_be_listed_is_one_line(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made(tmp_path, "angry/a_0.wav", "sad/a_1.wav")
    refusing(monkeypatch, root / place)
    assert corpus_command(["inspect", "FolderCorpus", str(root), f"speaker_pattern={SPEAKER}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Permission denied" in said and str(root / place) in said


def test_a_name_that_is_no_text_is_refused_and_shown(tmp_path: Path) -> None:
    root = made(tmp_path, "angry/a_0.wav", "sad/a_1.wav")
    strange = Path(os.fsdecode(bytes(root / "sad") + b"/latin_\xff.wav"))
    try:
        strange.touch()
    except OSError:
        pytest.skip("this file system has names of text alone")
    assert shown(strange).endswith(r"/latin_\xff.wav")
    with pytest.raises(CorpusError, match=r"latin_\\xff\.wav is no readable text"):
        FolderCorpus(SPEAKER).utterances(root)


def test_a_path_is_found_in_both_spellings_of_accents(tmp_path: Path) -> None:
    apart, whole = "jo\u0308rg/a\u0308.wav", "j\u00f6rg/\u00e4.wav"
    root = made(tmp_path, apart)
    assert as_stored(root, whole) == apart == as_stored(root, apart)
    assert as_stored(root, "\u00fc.wav") == "\u00fc.wav"


def test_tables_and_datasets_find_files_in_both_spellings(tmp_path: Path) -> None:
    apart, whole = "jo\u0308rg.opus", "j\u00f6rg.opus"
    for corpus, table, header in (
        (TableCorpus(table="t.csv"), "t.csv", "path,speaker,label"),
        (HuggingFaceAudio(), "metadata.csv", "file_name,speaker,label"),
    ):
        root = made(tmp_path / type(corpus).__name__, apart, "b.AU")
        (root / table).write_text(f"{header}\n{whole},j,sad\nb.AU,b,angry\n", encoding="utf-8")
        assert [row.path for row in corpus.utterances(root)] == [apart, "b.AU"]


def test_files_that_are_not_read_are_counted() -> None:
    assert left_out([f"{n}.txt" for n in range(6)]) == "6 other files are not read: 0.txt, 1.txt, 2.txt, 3.txt, ..."
    assert len(AUDIO_SUFFIXES) == len(set(AUDIO_SUFFIXES)) and all(s == s.lower() for s in AUDIO_SUFFIXES)


@pytest.mark.parametrize("name", ["EmoDB", "CREMAD", "RAVDESS", "SAVEE"])
def test_a_published_corpus_in_another_format_is_told_so(name: str, tmp_path: Path) -> None:
    corpus = by_name(Corpus, name)()  # type: ignore[type-abstract]
    folder = {"EmoDB": "wav", "CREMAD": "AudioWAV", "RAVDESS": "Actor_01", "SAVEE": "AudioData/DC"}[name]
    made(tmp_path, f"{folder}/a.flac", f"{folder}/b.flac", f"{folder}/c.mp3")
    with pytest.raises(
        CorpusError, match=r"no WAV file .*It holds 2 \.flac files, 1 \.mp3 file, but .*published as \.wav"
    ):
        corpus.utterances(tmp_path)


def test_a_folder_of_a_published_corpus_is_not_skipped_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "AudioData/DC/a01.wav")

    def walk(root: Path, onerror: Callable[[OSError], None], followlinks: bool) -> list:
        onerror(PermissionError(13, "Permission denied", str(root)))
        return []

    monkeypatch.setattr("ser_toolkit.corpora.layouts.named_files.os.walk", walk)
    with pytest.raises(CorpusError, match="cannot be listed"):
        by_name(Corpus, "SAVEE")().utterances(tmp_path)  # type: ignore[type-abstract]
