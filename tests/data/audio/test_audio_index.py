"""What the audio index keeps: nothing is read twice, whether a run was broken off or asked for other files."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_toolkit.data.audio import index as audio_index
from ser_toolkit.data.audio.index import index_audio
from ser_toolkit.system.progress import Progress


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the files whose header was read, in order."""
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    names: list[str] = []
    probe = audio_index.probe

    def noted(path: Path) -> object:
        names.append(path.name)
        return probe(path)

    monkeypatch.setattr(audio_index, "probe", noted)
    return names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    for number in range(40):
        soundfile.write(tmp_path / "audio" / f"{number:02d}.wav", np.full(80 + number, 0.1), 8000)
    return tmp_path / "audio"


def names(first: int, last: int) -> list[str]:
    return [f"{number:02d}.wav" for number in range(first, last)]


def test_an_interrupted_index_goes_on_where_it_was(root: Path, read: list[str]) -> None:
    class Interrupt(Progress):
        def update(self, done: float, total: float, figure: float | None = None) -> None:
            if done == 25:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_audio(root, names(0, 40), Interrupt())
    read.clear()
    entries = index_audio(root, names(0, 40))
    assert sorted(read) == names(25, 40), "the 25 that were done are kept"
    assert [entries[name].duration for name in names(0, 3)] == [0.01, 0.010125, 0.01025]


def test_nothing_waits_for_files_that_nobody_wants_any_more(
    root: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted, probe = threading.Event(), audio_index.probe

    def slow(path: Path) -> object:
        if path.name != "00.wav":
            interrupted.wait(timeout=5)
            time.sleep(0.01)
        return probe(path)

    class Interrupt(Progress):
        def update(self, done: float, total: float, figure: float | None = None) -> None:
            interrupted.set()
            raise KeyboardInterrupt

    monkeypatch.setattr(audio_index, "probe", slow)
    with pytest.raises(KeyboardInterrupt):
        index_audio(root, names(0, 40), Interrupt())
    assert len(read) < 40


def test_another_selection_of_files_forgets_none(root: Path, read: list[str]) -> None:
    index_audio(root, names(0, 30))
    index_audio(root, names(20, 40))
    assert sorted(read) == names(0, 40)
    read.clear()
    entries = index_audio(root, [*names(0, 40), *names(0, 40)])
    assert read == [] and list(entries) == names(0, 40)
    assert {entry.sampling_rate for entry in entries.values()} == {8000}


def test_a_changed_file_is_read_again_and_a_lost_one_is_forgotten(root: Path, read: list[str]) -> None:
    first = index_audio(root, names(0, 3))
    soundfile.write(root / "01.wav", np.full(400, 0.1), 16000)
    (root / "02.wav").unlink()
    read.clear()
    again = index_audio(root, names(0, 3))
    assert read == ["01.wav"] and again["00.wav"] == first["00.wav"]
    assert (again["01.wav"].duration, again["01.wav"].sampling_rate) == (0.025, 16000)
    assert again["02.wav"].problem is not None and again["02.wav"].problem.endswith("02.wav: not found.")
