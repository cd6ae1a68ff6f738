"""Fixtures shared by all tests: where real corpora lie, and small deterministic audio."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from mini_recipe import MINI_RECIPE

REPOSITORY = Path(__file__).resolve().parent.parent
# Tests call librosa themselves: of two workers that store the same compiled function at once, the next one crashes.
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(REPOSITORY / ".pytest_cache" / "numba" / os.environ.get("PYTEST_XDIST_WORKER", "main"))
)


def _first_existing(variable: str, fallback: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, fallback))
    if not folder.is_dir():
        pytest.skip(f"no {what} at {folder} (set {variable})")
    return folder


@pytest.fixture(scope="session")
def corpora_root() -> Path:
    """The folder of real corpora, or a skip."""
    return _first_existing("SER_CORPORA", REPOSITORY.parent / "shared" / "corpora", "real corpora")


@pytest.fixture(scope="session")
def weights_root() -> Path:
    """The folder of real encoder weights, or a skip."""
    return _first_existing("SER_WEIGHTS", REPOSITORY.parent / "shared" / "weights", "encoder weights")


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """One second of a voice-like signal at 16 kHz: harmonics with a slow formant-like envelope, float32 in [-1, 1]."""
    from ser_toolkit.contracts.upstreams import voice

    return voice(16000)


@pytest.fixture(scope="session")
def mini_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the session, so that the mini corpus is rendered once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini_cache: Path) -> Path:
    """An empty working directory with ``mini.yaml`` in it; derived data go to the session's cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_CACHE", str(mini_cache))
    (tmp_path / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their plots, which take most of the time and have tests of their own."""
    nothing = {"forest": [], "dimensions": [], "scatters": [], "speakers": None, "folds": None, "confusions": []}
    monkeypatch.setattr("ser_toolkit.evaluation.reporting.pictures.pictures", lambda data, results: nothing)
