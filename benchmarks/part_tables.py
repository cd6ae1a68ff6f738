"""What docs/parts.md says of the parts of each kind: how one is built, which sizes are named, what is timed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ser_toolkit.config.listing import KINDS
from ser_toolkit.data.batch import Batch, Frames, Outputs, Targets
from ser_toolkit.downstream.frames import NoFrameStage
from ser_toolkit.downstream.fusion import StreamShape
from ser_toolkit.downstream.heads import FittedHead, FrameHead
from ser_toolkit.downstream.layers import WeightedSum
from ser_toolkit.downstream.pooling import MeanPooling
from ser_toolkit.parts.finding import by_name

DIM, LAYERS, FRAMES, BATCH, SECONDS, VECTORS = 768, 13, 150, 8, 3, 500
CLASSES = ("angry", "happy", "neutral", "sad")
BYOLS_WEIGHTS = "BYOL-S/SERAB/checkpoints/default512_BYOLAs64x96-2107281850-e100-bs256-lr0003-rs42.pth"
GE2E_WEIGHTS = "GE2E-speaker-encoder"
LIBROSA_QUICK = ["mfcc", "chroma", "contrast", "tonnetz", "zero_crossings", "rms"]

Run = Callable[[], object]
#: Name of an upstream, what it is built as, and how.
Case = tuple[str, str, Callable[[Any], Any]]
#: What is known without measuring, by heading, and what is timed, by heading.
Described = tuple[dict[str, str], dict[str, Run]]


@dataclass(frozen=True)
class Table:
    """The parts of a kind: how one is described, what the cost of all is divided by (by heading), what to know."""

    kind: str
    describe: Callable[[Any], Described]
    references: dict[str, str]
    note: str
    title: str = ""
    wanted: Callable[[type], bool] = lambda part: True

    @property
    def heading(self) -> str:
        """Of the table in the page."""
        return self.kind + self.title


def trained(module: nn.Module, call: Callable[..., Tensor], *values: Tensor) -> Run:
    """Forward and backward, with gradients of parameters and inputs."""
    inputs = [value.clone().requires_grad_() for value in values]

    def run() -> None:
        module.zero_grad(set_to_none=True)
        for value in inputs:
            value.grad = None
        call(*inputs).sum().backward()

    return run


def count(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters() if p.requires_grad):,}"


@functools.cache
def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def full(frames: int = FRAMES) -> Tensor:
    return torch.full((BATCH,), frames)


def layer_mix(part: Any) -> Described:
    mix = part(LAYERS, DIM)
    run = trained(mix, mix, noise(BATCH, LAYERS, FRAMES, DIM))
    return {"Parameters": count(mix), "Output": f"{mix.output_dim:,}"}, {"Cost": run}


def frame_stage(part: Any) -> Described:
    stage = part(DIM)
    with torch.no_grad():
        left = int(stage(noise(BATCH, FRAMES, DIM), full())[1][0])
    run = trained(stage, lambda x: stage(x, full())[0], noise(BATCH, FRAMES, DIM))
    return {"Parameters": count(stage), "Output": f"{stage.output_dim:,}", "Frames": str(left)}, {"Cost": run}


def pooling(part: Any) -> Described:
    pool = part(DIM)
    run = trained(pool, lambda x: pool(x, full()), noise(BATCH, FRAMES, DIM))
    return {"Parameters": count(pool), "Output": f"{pool.output_dim:,}"}, {"Cost": run}


def head(part: Any) -> Described:
    made = part(DIM, len(CLASSES))
    made.set_classes(CLASSES)

    def call(x: Tensor) -> Tensor:
        out = made.from_frames(x, full()) if isinstance(made, FrameHead) else made(x)
        values = [getattr(out, one.name) for one in fields(out)]
        return torch.stack([value.sum() for value in values if value is not None and value.requires_grad])

    inputs = noise(BATCH, FRAMES, DIM) if isinstance(made, FrameHead) else noise(BATCH, DIM)
    output = ", ".join(name.replace("_", " ") for name in made.outputs)
    return {"Parameters": count(made), "Output": output}, {"Cost": trained(made, call, inputs)}


def fitted_head(part: Any) -> Described:
    made = part(DIM, len(CLASSES))
    made.set_classes(CLASSES)
    label = torch.arange(VECTORS) % len(CLASSES)
    vectors = noise(VECTORS, DIM) + 0.3 * noise(len(CLASSES), DIM)[label]

    def judge() -> None:
        with torch.no_grad():
            made(vectors[:BATCH])

    return {"Parameters": count(made)}, {"Fit": lambda: made.fit(vectors, label), "Judge": judge}


def objective(part: Any) -> Described:
    made = part(len(CLASSES))
    made.set_class_counts(torch.tensor([10.0, 40.0, 25.0, 5.0]))
    classes = noise(BATCH, len(CLASSES))
    targets = Targets(classes.argmax(dim=1), classes.softmax(dim=1), noise(BATCH, 3).sigmoid())
    batch = Batch({}, targets, ids=[str(row) for row in range(BATCH)])

    def call(logits: Tensor, dimensions: Tensor, frames: Tensor, cosines: Tensor) -> Tensor:
        out = Outputs(logits, dimensions, frame_lengths=full(), frame_logits=frames, cosines=cosines.tanh())
        return made(out, batch)[0]

    values = (classes, noise(BATCH, 3), noise(BATCH, FRAMES, len(CLASSES)), classes)
    needs = ", ".join(name.replace("_", " ") for name in made.requires)
    return {"Parameters": count(made), "Needs": needs}, {"Cost": trained(made, call, *values)}


def fusion(part: Any) -> Described:
    shapes = [StreamShape(LAYERS, DIM, 0.02), StreamShape(1, 80, 0.01)]
    made = part(shapes, WeightedSum, NoFrameStage, MeanPooling)

    def call(slow: Tensor, quick: Tensor) -> Tensor:
        return made({"speech": Frames(slow, full()), "speech/1": Frames(quick, full(2 * FRAMES))}).embedding

    run = trained(made, call, noise(BATCH, LAYERS, FRAMES, DIM), noise(BATCH, 1, 2 * FRAMES, 80))
    return {"Parameters": count(made), "Output": f"{made.output_dim:,}"}, {"Cost": run}


def conditioning(part: Any) -> Described:
    made = part(DIM)
    told = torch.eye(2)[torch.arange(BATCH) % 2]
    run = trained(made, lambda x: made(x, told), noise(BATCH, DIM))
    return {"Parameters": count(made), "Output": f"{made.output_dim:,}"}, {"Cost": run}


def upstream(made: Any) -> Described:
    wav, lengths = 0.1 * noise(BATCH, SECONDS * 16000), full(SECONDS * 16000)

    def run() -> None:
        with torch.no_grad():
            made.eval()(wav, lengths)

    rate = f"{made.sampling_rate / made.hop_samples:g} Hz" if made.hop_samples else "1 vector"
    weights = f"{sum(p.numel() for p in made.parameters()):,}"
    layers = f"{made.num_layers} x {made.feature_dim:,}"
    return {"Parameters": weights, "Layers x size": layers, "Frames": rate}, {"Cost": run}


def upstream_cases(folder: Path, weightless: bool) -> list[Case]:
    """Upstreams bring their own sizes; weights are random unless the case says otherwise, or left out for sizes."""
    device = torch.device("meta" if weightless else "cpu")

    def wavlm(part: Any) -> Any:
        from transformers import WavLMConfig

        WavLMConfig().save_pretrained(folder)
        with device:
            return part(str(folder), random_init=True)

    def bundle(part: Any) -> Any:
        import torchaudio

        params = {**torchaudio.pipelines.WAV2VEC2_BASE._params, "aux_num_out": None}
        with device:
            torch.save(torchaudio.models.wav2vec2_model(**params).state_dict(), folder / "wav2vec2.pth")
            return part("WAV2VEC2_BASE", str(folder / "wav2vec2.pth"))

    def several(part: Any) -> Any:
        spectral: Any = by_name(KINDS["model.upstream"], "Spectral")
        return part([spectral("logmel"), spectral("mfcc")])

    return [
        ("Spectral", "log-mel, 80 bands", lambda part: part("logmel")),
        ("Spectral", "log-mel, MFCC, prosody", lambda part: part(["logmel", "mfcc", "prosody"])),
        ("OpenSmile", "eGeMAPSv02 functionals", lambda part: part()),
        ("LibrosaFeatures", "all but F0, functionals", lambda part: part(LIBROSA_QUICK)),
        ("LibrosaFeatures", "F0 by pYIN, functionals", lambda part: part("f0")),
        ("BYOLS", "512-d, published weights", lambda part: part(BYOLS_WEIGHTS)),
        ("GE2E", "published weights", lambda part: part(GE2E_WEIGHTS)),
        ("HuggingFaceUpstream", "WavLM base", wavlm),
        ("TorchaudioBundle", "WAV2VEC2_BASE", bundle),
        ("S3prlUpstream", "fbank_no_cmvn", lambda part: part("fbank_no_cmvn")),
        ("FusedUpstreams", "log-mel and MFCC", several),
    ]


POOLINGS = Table("model.pooling", pooling, {"Cost": "MeanPooling"}, "Input: 150 frames of 768.")
TABLES = [
    Table(
        "model.upstream",
        upstream,
        {"Cost": "Spectral"},
        "Cost: forward only, of 3 s at 16 kHz. Parameters: all, trained or not. "
        "Large encoders have random weights here.",
    ),
    Table("model.layer_mix", layer_mix, {"Cost": "WeightedSum"}, "Input: 13 layers of 768."),
    Table(
        "model.frames",
        frame_stage,
        {"Cost": "LinearProjection"},
        "Input: 150 frames of 768; MelCNN and TIMNet are meant for fewer (log-mel, MFCC), where they cost less.",
    ),
    POOLINGS,
    Table(
        "model.head",
        head,
        {"Cost": "LinearHead"},
        "Input: a vector of 768; FrameLevelHead judges 150 frames of 768. Output: 4 classes or 3 dimensions.",
        wanted=lambda part: not issubclass(part, FittedHead),
    ),
    Table(
        "model.head",
        fitted_head,
        {"Fit": "LinearSVM", "Judge": "LinearSVM"},
        "No parameter is trained by gradient. Fit: 500 vectors of 768 around 4 means. Judge: forward of 8 vectors.",
        title=", fitted at once",
        wanted=lambda part: issubclass(part, FittedHead),
    ),
    Table("model.objective", objective, {"Cost": "CrossEntropy"}, "Input: what heads give for 4 classes."),
    Table("model.fusion", fusion, {"Cost": "LateFusion"}, "Input: 13 layers of 768 at 50 Hz and 80 bands at 100 Hz."),
    Table("model.conditioning", conditioning, {"Cost": "ConcatenateCondition"}, "Input: a vector of 768 and the sex."),
]
