"""A run directory as ser-train leaves it, made in a moment and without training; its corpus does not exist."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ser_toolkit.config.recipe import parse
from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs, Stream, Targets, Waves, pad_sequences
from ser_toolkit.evaluation.run_folder import UnitFolder
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.weights import open_weights, write_weights
from ser_toolkit.parts.own_sources import keep_copy

CLASSES = ("sad", "angry")  # not in alphabetical order: nothing may sort them
FOLDS = ("03", "08")
RECIPE = """
data:
  corpus: EmoDB
  protocol: LeaveOneSpeakerOut
  root: /nowhere/EmoDB
model:
  upstream: {class_path: Spectral, init_args: {num_mels: 6, num_mfcc: 4}}
  pooling: MeanStdMaxPooling
  head: {class_path: MultiTaskHead, init_args: {hidden_dim: 5}}
  objective: CrossEntropyConcordance
  normalisation: global
variants: [Plain, Transductive]
"""


@dataclass
class TinyRun:
    """A run directory, and the models whose weights lie in it, by (variant, fold)."""

    path: Path
    models: dict[tuple[str, str], EmotionModel]


def make_run(folder: Path, *overrides: str, recipe: str = RECIPE, variants: tuple[str, ...] = ("plain",)) -> TinyRun:
    """Write a run of two folds with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "tiny.yaml"
    source.write_text(recipe, encoding="utf-8")
    parsed = parse([f"recipe={source}", *overrides])
    run, models = folder / "tiny" / "0123456789", {}
    for variant in variants:
        for number, fold in enumerate(FOLDS):
            model = parsed.model(CLASSES, seed=100 * len(models) + number).eval()
            _fill_buffers(model)
            unit = run / variant / f"fold={fold}" / "seed=0"
            write_weights(UnitFolder(unit).weights, model)
            (unit / "config.yaml").write_text(parsed.yaml(), encoding="utf-8")
            tested = {"weights": open_weights(UnitFolder(unit).weights).checksum}
            (unit / "metrics.json").write_text(json.dumps(tested), encoding="utf-8")
            models[variant, fold] = model
    record = {
        "recipe": "tiny",
        "hash": run.name,
        "classes": list(CLASSES),
        "folds": list(FOLDS),
        "corpus": {"name": "EmoDB", "licence": "research"},
        "banners": ["A warning."],
    }
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    keep_copy(run / "own_parts", parsed.own_sources)
    return TinyRun(run, models)


def _fill_buffers(model: EmotionModel) -> None:
    """Statistics of a training part that another model does not have."""
    with torch.no_grad():
        for module in (*(model.network.normalisation or ()), model.network.embedding_normalisation):
            if module is not None:
                module.mean.copy_(torch.randn_like(module.mean) - 8.0)
                module.std.copy_(torch.rand_like(module.std) + 1.0)


def voices(count: int, seconds: float = 0.4, seed: int = 0) -> list[np.ndarray]:
    """Noises of growing length with a speaker-like offset of level: each (N,) float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    lengths = [round(16000 * seconds * (1 + 0.37 * number)) for number in range(count)]
    return [(0.1 * rng.standard_normal(length)).astype(np.float32) for length in lengths]


def by_hand(model: EmotionModel, wav: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities (C,) and dimensions (3,) of one waveform (N,), through the model's own forward."""
    return answer(model, Waves(*pad_sequences([torch.from_numpy(wav)])))


def answer(model: EmotionModel, stream: Stream) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities (C,) and dimensions (3,) of a stream with one row."""
    targets = Targets(torch.tensor([MISSING_LABEL]), torch.full((1, 2), torch.nan), torch.full((1, 3), torch.nan))
    with torch.no_grad():
        outputs: Outputs = model(Batch({"speech": stream}, targets, ["one"]))
    assert outputs.logits is not None
    dimensions = None if outputs.dimensions is None else outputs.dimensions[0].numpy()
    return outputs.logits.softmax(dim=1)[0].numpy(), dimensions
