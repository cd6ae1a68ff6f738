"""Moments give what frames give: logits and every gradient, by way of the store, for whatever the parts declare."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_corpus import RATE, TinyUpstream, Tones, tiny_model, write_tone
from torch import Tensor

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.data.audio.decode import read_audio
from ser_toolkit.data.batch import STREAM, Batch, Frames, Moments, Stored, Targets, Waves, pad_sequences, stack_stored
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.data.reduction import FRAMES, Reduction, What
from ser_toolkit.downstream.frame_heads import FrameLevelHead
from ser_toolkit.downstream.frames import LinearProjection, LinearReLU, NoFrameStage
from ser_toolkit.downstream.fusion import EarlyFusion, LateFusion
from ser_toolkit.downstream.layers import ConcatenateLayers, LayerMix, SingleLayer, WeightedSum
from ser_toolkit.downstream.order import MomentPooling
from ser_toolkit.downstream.pooling import AttentiveStatisticsPooling, MeanPooling, StatisticsPooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.variants import Plain, Transductive, Variant
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.feature_plan import reductions
from ser_toolkit.upstreams.fused import FusedUpstreams

#: Samples of each utterance: blocks of 160 are frames, so the second has one frame alone, the fifth two.
SAMPLES = (2400, 200, 5100, 3999, 479, 1600)
TOLERANCE = 1e-5


class Speechlike(TinyUpstream):
    """Five layers that lie away from zero, about 10 times their spread, as those of speech encoders do."""

    def __init__(self, seed: int = 0, feature_dim: int = 6) -> None:
        super().__init__(feature_dim=feature_dim, seed=seed)
        self.num_layers = 5

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames, counts = super().extract(wav, lengths)
        valid = torch.arange(frames.shape[2])[None, None, :, None] < counts[:, None, None, None]
        layers = [frames[:, 0], frames[:, 1], frames[:, 0] * frames[:, 1], frames[:, 1].square(), frames[:, 0] - 3]
        offsets = torch.linspace(-3, 3, self.num_layers * self.feature_dim).view(self.num_layers, 1, -1)
        return (torch.stack(layers, dim=1) + offsets) * valid, counts

    def fingerprint(self) -> str:
        return f"speechlike {super().fingerprint()}"


@dataclass(frozen=True)
class Speech:
    """Six utterances of two speakers, and a folder in which every kind of store has a place of its own."""

    manifest: Manifest
    stores: Path

    def features(self, model: EmotionModel, kept: Sequence[Reduction]) -> Mapping[str, Stored]:
        """What the store holds for these reductions; made from recordings, never from another test's store."""
        name = "-".join(f"{one.what}{one.layer_norm:d}" for one in kept)
        return extract_corpus(model.upstream, self.manifest, self.stores / name, reductions=kept)

    def waves(self) -> Waves:
        rows = [read_audio(self.manifest.audio_path(row), sampling_rate=RATE) for row in range(len(SAMPLES))]
        return Waves(*pad_sequences([torch.from_numpy(wav) for wav in rows]))

    @property
    def ids(self) -> list[str]:
        return self.manifest.table["id"].tolist()


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    rows = []
    for number, count in enumerate(SAMPLES):
        write_tone(folder / f"{number}.wav", 200.0 * (number + 1), count, 0.2 + 0.05 * number, rng)
        rows.append(Utterance(str(number), f"{number}.wav", speaker=f"s{number % 2}", label="angry"))
    return Speech(manifest_of(Tones(rows), folder), folder / "stores")


#: Layer mix, frame stage, pooling -> what is enough. These must take moments.
COMPOSITIONS: dict[str, tuple[Callable, Callable, Callable, What]] = {
    "superb": (WeightedSum, partial(LinearProjection, dim=4), MeanPooling, "means"),
    "weighted, mean": (WeightedSum, NoFrameStage, MeanPooling, "means"),
    "weighted, order 1": (WeightedSum, NoFrameStage, partial(MomentPooling, order=1), "means"),
    "single, mean": (partial(SingleLayer, layer=1), NoFrameStage, MeanPooling, "means"),
    "single, projection, mean": (SingleLayer, partial(LinearProjection, dim=4), MeanPooling, "means"),
    "concatenated, mean": (ConcatenateLayers, NoFrameStage, MeanPooling, "means"),
    "some concatenated, mean": (partial(ConcatenateLayers, layers=[3, 0]), NoFrameStage, MeanPooling, "means"),
    "weighted, statistics": (WeightedSum, NoFrameStage, StatisticsPooling, "covariances"),
    "weighted, order 2": (WeightedSum, NoFrameStage, partial(MomentPooling, order=2), "covariances"),
    "single, statistics": (partial(SingleLayer, layer=-2), NoFrameStage, StatisticsPooling, "variances"),
    "single, order 2": (SingleLayer, NoFrameStage, partial(MomentPooling, order=2, eps=1e-3), "variances"),
    "concatenated, statistics": (ConcatenateLayers, NoFrameStage, StatisticsPooling, "variances"),
    "some concatenated, statistics": (
        partial(ConcatenateLayers, layers=[-1, 2]),
        NoFrameStage,
        partial(StatisticsPooling, eps=1e-2),
        "variances",
    ),
}
SPREAD = ("variances", "covariances", "frames")


def made(layer_mix: Callable, stage: Callable, pooling: Callable, upstream: Any = None, **options: Any) -> EmotionModel:
    """A model whose weights are away from their start."""
    model = tiny_model(upstream or Speechlike(), layer_mix=layer_mix, frames=stage, pooling=pooling, **options)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def answers(model: EmotionModel, streams: Mapping[str, Any], ids: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the gradient of a random direction in them with respect to every parameter."""
    targets = Targets(torch.zeros(len(ids), dtype=torch.long), torch.zeros(len(ids), 3), torch.zeros(len(ids), 3))
    model.zero_grad()
    logits = model(Batch(dict(streams), targets, list(ids))).logits
    assert logits is not None
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
    assert gradients.keys() == trained.keys()
    return logits.detach(), gradients


def assert_same_answers(model: EmotionModel, found: Any, other: EmotionModel, expected: Any, ids: list[str]) -> None:
    """Logits of each utterance and each gradient are equal to a relative 1e-5, compared in norm."""
    (logits, gradients), (own, own_gradients) = answers(model, found, ids), answers(other, expected, ids)
    for row, reference in zip(logits, own, strict=True):
        assert float((row - reference).norm()) <= TOLERANCE * float(reference.norm())
    for name, reference in own_gradients.items():
        assert float(reference.norm()) > 0, name
        assert float((gradients[name] - reference).norm()) <= TOLERANCE * float(reference.norm()), name


def upstream_frames(model: EmotionModel, speech: Speech) -> dict[str, Stored]:
    """Frames of every utterance as the model hears them from its recording, in double precision."""
    with torch.no_grad():
        parts = model.network.upstream_frames(speech.waves())
    found = {}
    for row, name in enumerate(speech.ids):
        frames = tuple(part.values[row, :, : int(part.lengths[row])].double() for part in parts)
        found[name] = frames if len(frames) > 1 else frames[0]
    return found


def by_speaker(frames: Mapping[str, Any]) -> dict[str, Tensor]:
    """Frames standardised over all frames of their speaker, by numpy."""
    found = {}
    for speaker in (0, 1):
        names = [name for name in frames if int(name) % 2 == speaker]
        together = np.concatenate([frames[name].numpy() for name in names], axis=1)
        mean, std = together.mean(axis=1, keepdims=True), together.std(axis=1, keepdims=True)
        found |= {name: torch.from_numpy((frames[name].numpy() - mean) / std) for name in names}
    return {name: found[name] for name in frames}


@pytest.mark.parametrize("normalisation", ["plain", "speaker", "global"])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["raw", "layer norm"])
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_logits_and_gradients_of_stored_moments_are_those_of_frames(
    speech: Speech, name: str, layer_norm: bool, normalisation: str
) -> None:
    mix, stage, pooling, what = COMPOSITIONS[name]
    scale = "global" if normalisation == "global" else "none"
    model = made(partial(mix, layer_norm=layer_norm), stage, pooling, normalisation=scale)
    variant: Variant = Transductive() if normalisation == "speaker" else Plain()
    (plan,) = reductions(model.network, [Plain(), variant], FeatureSettings())
    if normalisation != "plain" and what == "means":
        what = "variances"
    assert (plan.what, plan.layer_norm) == (what, layer_norm)
    assert plan.reason
    stored = speech.features(model, [plan])
    assert all(isinstance(stored[one], Moments) for one in speech.ids)
    frames: Any = upstream_frames(model, speech)
    if normalisation == "speaker":
        frames = by_speaker(frames)
    other = copy.deepcopy(model)
    if normalisation == "global":
        model.prepare(torch.ones(3), 0, [stored[one] for one in speech.ids[:4]])
        other.prepare(torch.ones(3), 0, [frames[one] for one in speech.ids[:4]])
    seen = variant.normalised_features(stored, speech.manifest.table)
    moments = stack_stored([seen[one] for one in speech.ids])
    reference = stack_stored([frames[one] for one in speech.ids])
    assert_same_answers(model, moments, other, reference, speech.ids)
    if normalisation == "plain":
        assert_same_answers(model, moments, other, {STREAM: speech.waves()}, speech.ids)


@pytest.mark.parametrize("layer_norm", [False, True], ids=["raw", "layer norm"])
def test_richer_moments_than_needed_change_nothing(speech: Speech, layer_norm: bool) -> None:
    for name in ("superb", "single, statistics", "concatenated, statistics"):
        mix, stage, pooling, what = COMPOSITIONS[name]
        model = made(partial(mix, layer_norm=layer_norm), stage, pooling)
        reference = stack_stored([upstream_frames(model, speech)[one] for one in speech.ids])
        for richer in SPREAD[SPREAD.index(what) + 1 if what in SPREAD else 0 :]:
            stored = speech.features(model, [Reduction(richer, layer_norm)])  # type: ignore[arg-type]
            streams = stack_stored([stored[one] for one in speech.ids])
            assert_same_answers(model, streams, model, reference, speech.ids)


FRAMES_NEEDED: dict[str, tuple[dict[str, Any], str]] = {
    "relu": ({"frames": partial(LinearReLU, dim=4)}, "LinearReLU is not linear in the frames"),
    "attention": (
        {"pooling": AttentiveStatisticsPooling},
        "AttentiveStatisticsPooling needs more than mean and variance over time",
    ),
    "order 3": (
        {"pooling": partial(MomentPooling, order=3)},
        "MomentPooling needs more than mean and variance over time",
    ),
    "unbiased": (
        {"pooling": partial(StatisticsPooling, unbiased=True)},
        "StatisticsPooling needs more than mean and variance over time",
    ),
    "projection, statistics": (
        {"frames": partial(LinearProjection, dim=4), "pooling": StatisticsPooling},
        "a variance behind LinearProjection needs the frames",
    ),
    "frame head": ({"head": FrameLevelHead}, "FrameLevelHead judges frames"),
}


@pytest.mark.parametrize("layer_norm", [False, True], ids=["raw", "layer norm"])
@pytest.mark.parametrize("name", FRAMES_NEEDED)
def test_what_needs_frames_says_why_and_gets_them(speech: Speech, name: str, layer_norm: bool) -> None:
    parts, reason = FRAMES_NEEDED[name]
    settings = {"layer_mix": WeightedSum, "frames": NoFrameStage, "pooling": MeanPooling} | parts
    mix, stage, pooling = (settings.pop(key) for key in ("layer_mix", "frames", "pooling"))
    model = made(partial(mix, layer_norm=layer_norm), stage, pooling, **settings)
    (plan,) = reductions(model.network, [Plain()], FeatureSettings())
    assert plan == Reduction("frames", layer_norm)
    assert plan.reason == reason
    stored = speech.features(model, [plan])
    streams = stack_stored([stored[one] for one in speech.ids])
    assert isinstance(streams[STREAM], Frames)
    assert_same_answers(model, streams, model, {STREAM: speech.waves()}, speech.ids)
    # moments are refused, never taken for frames
    moments = speech.features(model, [Reduction("covariances", layer_norm)])
    with pytest.raises(RecipeError, match=r"moments|frames"):
        answers(model, stack_stored([moments[one] for one in speech.ids]), speech.ids)


def test_moments_that_are_too_few_are_refused(speech: Speech) -> None:
    for name in ("weighted, statistics", "single, statistics"):
        model = made(*COMPOSITIONS[name][:3])
        means = speech.features(model, [Reduction("means")])
        with pytest.raises(RecipeError, match="needs the variance"):
            answers(model, stack_stored([means[one] for one in speech.ids]), speech.ids)


# --- several upstreams ----------------------------------------------------------------------------------------------


def fused() -> FusedUpstreams:
    return FusedUpstreams([Speechlike(), Speechlike(seed=3, feature_dim=4)])


@pytest.mark.parametrize("speaker", [False, True], ids=["plain", "speaker"])
def test_each_upstream_that_is_fused_late_keeps_what_its_own_parts_need(speech: Speech, speaker: bool) -> None:
    late = partial(
        LateFusion,
        layer_mixes=[partial(WeightedSum, layer_norm=True), WeightedSum],
        frame_stages=[partial(LinearProjection, dim=4), NoFrameStage],
        poolings=[MeanPooling, StatisticsPooling],
    )
    model = made(WeightedSum, NoFrameStage, MeanPooling, fused(), fusion=late)
    variant: Variant = Transductive() if speaker else Plain()
    plan = reductions(model.network, [Plain(), variant], FeatureSettings())
    assert plan == (Reduction("variances" if speaker else "means", True), Reduction("covariances", False))
    stored = speech.features(model, plan)
    frames: Any = upstream_frames(model, speech)
    if speaker:
        sides = [by_speaker({name: parts[side] for name, parts in frames.items()}) for side in (0, 1)]
        frames = {name: tuple(side[name] for side in sides) for name in frames}
    seen = variant.normalised_features(stored, speech.manifest.table)
    moments, reference = (stack_stored([source[one] for one in speech.ids]) for source in (seen, frames))
    assert_same_answers(model, moments, model, reference, speech.ids)


def test_frames_that_are_fused_early_are_kept(speech: Speech) -> None:
    model = made(partial(WeightedSum, layer_norm=True), NoFrameStage, MeanPooling, fused(), fusion=EarlyFusion)
    plan = reductions(model.network, [Plain()], FeatureSettings())
    assert plan == (Reduction("frames", True),) * 2
    assert {one.reason for one in plan} == {"EarlyFusion aligns frames in time"}
    stored = speech.features(model, plan)
    streams = stack_stored([stored[one] for one in speech.ids])
    assert_same_answers(model, streams, model, {STREAM: speech.waves()}, speech.ids)
    moments = speech.features(model, (Reduction("covariances", True),) * 2)
    with pytest.raises(RecipeError, match="EarlyFusion aligns frames in time"):
        answers(model, stack_stored([moments[one] for one in speech.ids]), speech.ids)


# --- types ------------------------------------------------------------------------------------------------------------


class Half(Speechlike):
    """Frames in half precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames, counts = super().extract(wav, lengths)
        return frames.to(self.dtype), counts

    def fingerprint(self) -> str:
        return f"{self.dtype} {super().fingerprint()}"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["raw", "layer norm"])
def test_moments_of_half_precision_frames_are_taken_in_float32(
    speech: Speech, dtype: torch.dtype, layer_norm: bool
) -> None:
    model = made(partial(WeightedSum, layer_norm=layer_norm), NoFrameStage, StatisticsPooling, Half(dtype))
    (plan,) = reductions(model.network, [Plain()], FeatureSettings(dtype="float16"))
    stored = speech.features(model, [plan])
    raw, lengths = model.upstream(*vars(speech.waves()).values())
    assert raw.dtype == dtype
    for row, name in enumerate(speech.ids):
        kept = stored[name]
        assert isinstance(kept, Moments)
        assert kept.mean.dtype == kept.variances.dtype == torch.float32
        frames = raw[row, :, : int(lengths[row])].double()
        if layer_norm:
            frames = torch.nn.functional.layer_norm(frames, frames.shape[-1:])
        for found, expected in ((kept.mean, frames.mean(dim=1)), (kept.variances, frames.var(dim=1, correction=0))):
            assert float((found - expected).norm()) <= TOLERANCE * float(expected.norm()) + 1e-12
    assert speech.features(model, [FRAMES])[speech.ids[0]].dtype == torch.float32  # type: ignore[union-attr]


class _Rectified(LinearProjection):
    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(frames, lengths)[0].relu(), lengths


class _Loudest(MeanPooling):
    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(frames.abs(), lengths)


class _Lowest(MeanPooling):
    linear = False  # which no pooling is asked for

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return -super().forward(frames.abs(), lengths)


class _Gated(WeightedSum):
    def forward(self, frames: Tensor) -> Tensor:
        return super().forward(frames).tanh()


class _Highest(LayerMix):
    def forward(self, frames: Tensor) -> Tensor:
        return frames.amax(dim=1)


@pytest.mark.parametrize(
    ("layer_mix", "stage", "pooling"),
    [
        (WeightedSum, _Rectified, MeanPooling),
        (WeightedSum, LinearProjection, _Loudest),
        (WeightedSum, LinearProjection, _Lowest),
        (_Gated, LinearProjection, MeanPooling),
        (_Highest, LinearProjection, MeanPooling),
    ],
)
def test_what_a_parent_declares_is_not_taken_for_another_forward(
    layer_mix: Callable, stage: Callable, pooling: Callable
) -> None:
    [kept] = made(layer_mix, stage, pooling).network.reductions
    assert kept.what == "frames"
    assert "forward of its own" in kept.reason
