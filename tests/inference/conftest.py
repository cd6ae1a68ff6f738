"""Fixtures of the inference tests: one tiny run, and recordings as files."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from tiny_run import TinyRun, make_run, voices

from ser_toolkit.inference.recognizer import Recognizer, load_model


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Two folds, plain and transductive."""
    return make_run(tmp_path_factory.mktemp("tiny"), variants=("plain", "transductive"))


@pytest.fixture(scope="session")
def one(run: TinyRun) -> Recognizer:
    """The first fold's model."""
    return load_model(run.path, fold=1)


@pytest.fixture(scope="session")
def ensemble(run: TinyRun) -> Recognizer:
    """Both folds."""
    return load_model(run.path)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files that hold ``voices(5)`` exactly."""
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / f"{number}.wav" for number in range(5)]
    for path, wav in zip(paths, voices(5), strict=True):
        soundfile.write(path, wav, 16000, subtype="FLOAT")
    return paths
