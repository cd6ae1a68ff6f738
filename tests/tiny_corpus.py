"""A corpus of short tones in a temporary folder, a two-layer upstream, and what is put together from them in tests."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from ser_toolkit.corpora.base import Corpus, Listing, Utterance
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.needs import Needs
from ser_toolkit.model.build import build_model
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.protocols.splits import LeaveOneSpeakerOut
from ser_toolkit.upstreams.base import Upstream, weights_hash

CLASSES = ("angry", "neutral", "sad")
RATE = 16000
#: What a model on the upstream below needs.
NEEDS = Needs(RATE)


class Tones(Corpus):
    """Every class is a tone, every speaker a loudness; ``write`` makes the files."""

    name = "tones"
    licence = "free"
    citation = "nobody, 2026"
    verified = "synthetic"
    label_rule = "the tone's height"

    def __init__(self, rows: Sequence[Utterance], classes: Sequence[str] = CLASSES) -> None:
        self._rows = list(rows)
        self._classes = tuple(classes)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._classes

    def read(self, root: Path) -> Listing:
        return Listing(list(self._rows))

    @classmethod
    def write(
        cls, root: Path, speakers: int = 4, takes: int = 2, classes: Sequence[str] = CLASSES, seed: int = 0
    ) -> Tones:
        """``speakers * len(classes) * takes`` files of 0.15 to 0.35 s, each with a duration of its own."""
        rng = np.random.default_rng(seed)
        root.mkdir(parents=True, exist_ok=True)
        rows = []
        for speaker in range(speakers):
            for number, label in enumerate(classes):
                for take in range(takes):
                    name = f"s{speaker}_{label}_{take}"
                    rows.append(Utterance(name, f"{name}.wav", speaker=f"s{speaker}", label=label, valence=None))
                    count = int(rng.integers(2400, 5600))
                    write_tone(root / f"{name}.wav", 300.0 * 2**number, count, 0.1 * (speaker + 1), rng)
        return cls(rows, classes)


def write_tone(path: Path, hertz: float, num_samples: int, loudness: float, rng: np.random.Generator) -> np.ndarray:
    """Write a tone in noise as 16-bit WAV at 16 kHz, unless it is there; returns what the file holds."""
    time = np.arange(num_samples) / RATE
    wav = loudness * np.sin(2 * np.pi * hertz * time) + 0.01 * rng.standard_normal(num_samples)
    if not path.exists():  # several processes may ask for the same corpus
        soundfile.write(path, wav, RATE, subtype="PCM_16")
    return soundfile.read(path, dtype="float32")[0]


class TinyUpstream(Upstream):
    """Two layers: blocks of 160 samples through a matrix, and a second matrix behind it. Exact under padding."""

    def __init__(self, frozen: bool = True, feature_dim: int = 6, seed: int = 0) -> None:
        super().__init__(frozen)
        self.feature_dim, self.num_layers, self.hop_samples, self.receptive_samples = feature_dim, 2, 160, 160
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(0.3 * torch.randn(160, feature_dim, generator=generator))
        self.second = nn.Parameter(torch.randn(feature_dim, feature_dim, generator=generator))
        if frozen:
            self.freeze()

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        counts = self.frame_lengths(lengths)
        blocks = wav[:, : int(counts.max()) * 160].unflatten(1, (-1, 160))
        first = (blocks @ self.first).square()
        frames = torch.stack([first, (first @ self.second).tanh()], dim=1)
        valid = torch.arange(frames.shape[2])[None, :] < counts[:, None]
        return frames * valid[:, None, :, None], counts

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return lengths // 160

    def fingerprint(self) -> str:
        return f"TinyUpstream|{weights_hash(self)}"


def tiny_source(root: Path, corpus: Corpus | None = None, **options: Any) -> CorpusData:
    """Tones under ``root`` with their splits."""
    chosen = corpus if corpus is not None else Tones.write(root)
    settings = {"batch_size": 4} | options
    return CorpusData(chosen, settings.pop("protocol", LeaveOneSpeakerOut()), root=str(root), **settings)


def tiny_data(root: Path, corpus: Corpus | None = None, **options: Any) -> FoldData:
    """The first fold of the tones under ``root``."""
    return FoldData(tiny_source(root, corpus, **options), 1, needs=NEEDS)


def another(data: FoldData, **changed: Any) -> FoldData:
    """The same fold of the same corpus with other options, or another fold of it."""
    return FoldData(data.source, changed.pop("fold", data.fold), needs=changed.pop("needs", NEEDS), **changed)


def tiny_model(upstream: Upstream | None = None, seed: int = 0, **options: Any) -> EmotionModel:
    """A model over the tones' classes whose fresh weights depend on the seed alone."""
    torch.manual_seed(seed)
    settings = {"classes": CLASSES, "optimizer": functools.partial(torch.optim.Adam, lr=0.01)} | options
    return build_model(upstream if upstream is not None else TinyUpstream(), **settings)


def quiet_trainer(folder: Path, **options: Any) -> pl.Trainer:
    """A trainer as recipes make it, without screen output."""
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "default_root_dir": str(folder),
        "max_epochs": 1,
    }
    return pl.Trainer(**(settings | options))
