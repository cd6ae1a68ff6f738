"""Fixtures shared by all tests: where real corpora lie, and small deterministic audio."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

#: A corpus of 24 short synthetic utterances and a model of some hundred parameters: one run takes a few seconds.
MINI_RECIPE = """\
# Everything small: 4 speakers x 2 classes x 3 utterances.
data:
  corpus: {class_path: Synthetic, init_args: {num_speakers: 4, classes: [angry, sad], utterances_per_class: 3}}
  protocol: LeaveOneSpeakerOut
  batch_size: 4
model:
  upstream: {class_path: Spectral, init_args: {num_mels: 8, num_mfcc: 8}}
  layer_mix: SingleLayer
  pooling: AttentivePooling
  head: {class_path: MLPHead, init_args: {hidden_dim: 8, dropout: 0.3}}
  objective: CrossEntropy
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer: {max_epochs: 2}
baselines: [majority]
"""


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
    rng = np.random.default_rng(0)
    time = np.arange(16000) / 16000
    f0 = 120 * (1 + 0.1 * np.sin(2 * np.pi * 3 * time))
    phase = 2 * np.pi * np.cumsum(f0) / 16000
    signal = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    signal = signal + 0.01 * rng.standard_normal(16000)
    return (0.5 * signal / np.abs(signal).max()).astype(np.float32)


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
