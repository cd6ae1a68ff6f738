"""Recordings that are longer than the upstream takes: windows that fit unless the user asks for others."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_run import TinyRun, make_run, voices
from tiny_upstream import LONGEST

from ser_toolkit.cli.predict import main
from ser_toolkit.errors import AudioError
from ser_toolkit.inference.recognizer import load_model

LIMITED = ("model.upstream=tiny_upstream.LimitedUpstream", "model.normalisation=none")


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return make_run(tmp_path_factory.mktemp("limited"), *LIMITED, variants=("plain", "transductive"))


def long(seconds: float) -> np.ndarray:
    return np.tile(voices(1, seconds=1.0)[0], 4)[: round(seconds * 16000)]


def test_by_default_no_window_is_longer_than_the_upstream_takes(limited: TinyRun) -> None:
    recognizer = load_model(limited.path)
    assert recognizer.predict(long(1.0), 16000).windows == 1
    found = recognizer.predict(long(2.5), 16000)
    assert found.windows == 3
    assert found == recognizer.predict(long(2.5), 16000, window_seconds=LONGEST / 16000)


def test_a_longer_window_is_refused_with_what_helps_here(limited: TinyRun, tmp_path: Path) -> None:
    recognizer = load_model(limited.path)
    for name, seconds in (("a", 0.9), ("b", 2.0)):
        soundfile.write(tmp_path / f"{name}.wav", long(seconds), 16000)
    for window, seconds in ((1.5, 1.5), (math.inf, 2.0)):
        with pytest.raises(
            AudioError, match=rf"{seconds:.1f} s at once.* takes 1 s at most.*--window 1, in Python"
        ) as error:
            recognizer.predict(tmp_path / "b.wav", window_seconds=window)
        assert "b.wav: " in str(error.value) and "data." not in str(error.value)
    kept = dict(recognizer.predict_many(sorted(tmp_path.glob("*.wav")), window_seconds=1.5, on_error="keep"))
    assert [isinstance(result, AudioError) for result in kept.values()] == [False, True]


def test_windows_of_the_run_are_shortened_too(tmp_path: Path) -> None:
    run = make_run(tmp_path, *LIMITED, "data.eval_window_seconds=5", "variants=[Plain]")
    assert load_model(run.path).predict(long(2.5), 16000).windows == 3


def test_a_speaker_is_enrolled_with_a_long_recording(limited: TinyRun, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", long(2.5), 16000, subtype="FLOAT")
    for start in (0, 16000, 24000):
        soundfile.write(tmp_path / f"{start}.wav", long(2.5)[start : start + 16000], 16000, subtype="FLOAT")
    recognizer = load_model(limited.path, variant="transductive")
    whole = recognizer.enrol([tmp_path / "long.wav"])
    pieces = recognizer.enrol([tmp_path / f"{start}.wav" for start in (0, 16000, 24000)])
    assert whole.predict(long(0.7), 16000) == pieces.predict(long(0.7), 16000)


def test_the_command_takes_it(limited: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "long.wav", long(2.5), 16000)
    assert main(["--model", str(limited.path), str(tmp_path / "long.wav")]) == 0
    assert main(["--model", str(limited.path), str(tmp_path / "long.wav"), "--window", "2"]) == 2
    assert "takes 1 s at most. Take windows of 1 s (--window 1," in capsys.readouterr().err
