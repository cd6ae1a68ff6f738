"""What all corpora that are told by file names share."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import touch

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.corpora.layouts.named_files import relative_audio, require_audio
from ser_toolkit.corpora.savee import SAVEE
from ser_toolkit.errors import CorpusError


def test_hidden_files_and_what_archives_add_are_not_audio(tmp_path: Path) -> None:
    touch(tmp_path, ["b.WAV", "a/._c.wav", "a/c.wav", "__MACOSX/a/c.wav", ".cache/d.wav", "a/notes.txt"])
    assert relative_audio(tmp_path, "Test", "a.wav", (".wav",)) == ["b.WAV", "a/c.wav"]


def test_a_recording_in_two_places_is_read_once_and_the_upper_copy(tmp_path: Path) -> None:
    touch(tmp_path, ["AudioData/AudioData/DC/a01.wav", "AudioData/DC/a01.wav", "z/y/x/DC_a02.wav"])
    assert [row.path for row in SAVEE().utterances(tmp_path)] == ["AudioData/DC/a01.wav", "z/y/x/DC_a02.wav"]


def test_folders_that_are_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, ["disk/DC/a01.wav", "disk/JE/a01.wav"])
    root = tmp_path / "root"
    root.mkdir()
    (root / "AudioData").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "JE" / "back").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "DC" / "up").symlink_to(root)
    assert relative_audio(root, "X", "x.wav", [".wav"]) == ["AudioData/DC/a01.wav", "AudioData/JE/a01.wav"]
    assert [row.id for row in SAVEE().utterances(root)] == ["DC_a01", "JE_a01"]


def test_two_corpora_in_one_folder_are_named(tmp_path: Path) -> None:
    touch(tmp_path, ["DC_a01.wav", *(f"Actor_01/03-01-0{k}-01-01-01-01.wav" for k in range(2, 9))])
    with pytest.raises(
        CorpusError,
        match=r"7 of 8 audio files .* and 2 more \(named like RAVDESS\).*Move what belongs to no or another",
    ):
        SAVEE().utterances(tmp_path)


def test_names_in_another_encoding_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "Col\udc8are"  # a byte that is no UTF-8, as Python shows it
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes readable names only")
    (folder / "a.wav").touch()
    with pytest.raises(CorpusError, match=r"no readable text.*unzip -O cp850"):
        relative_audio(tmp_path, "Test", "a.wav", (".wav",))


def test_missing_audio_is_counted_and_the_first_are_named(tmp_path: Path) -> None:
    rows = [Utterance(f"{k}", f"audio/{k}.wav") for k in range(8)]
    touch(tmp_path, ["audio/0.wav"])
    message = "7 of 8 utterances have no audio under .*: audio/1.wav, .*audio/5.wav and 2 more. Copy it."
    with pytest.raises(CorpusError, match=message):
        require_audio("Test", tmp_path, rows, "Copy it.")
    require_audio("Test", tmp_path, rows[:1], "")
