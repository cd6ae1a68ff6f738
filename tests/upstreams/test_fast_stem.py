"""The convolutional encoder as matrix products against transformers' own modules, each utterance by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import VARIANTS, save_tiny
from torch import Tensor

from ser_toolkit.upstreams.encoders import fast_stem as _fast_stem
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

WAVEFORM = [(family, style) for family, style in VARIANTS if family not in ("whisper", "wav2vec2-bert")]
LENGTHS = torch.tensor([15999, 7001, 400])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("stem")
    settings: dict[str, dict] = {family: {"conv_dim": [24, 32, 40, 32, 32, 32, 32]} for family, _ in WAVEFORM}
    settings["wavlm"]["conv_bias"] = True
    settings["sew"] |= {"conv_kernel": [10, 3, 1, 3, 1, 2, 2], "conv_stride": [5, 2, 1, 2, 1, 2, 2]}
    return {(f, s): save_tiny(f, root / f"{f}-{s}", s, **settings[f]) for f, s in WAVEFORM}


def speech() -> Tensor:
    """Noise with an offset, and rubbish behind the ends."""
    noise = torch.randn(len(LENGTHS), 16008, generator=torch.Generator().manual_seed(0))
    wav = 0.3 * noise.unfold(1, 8, 1).mean(-1)[:, :15999] + 0.1
    for row, length in zip(wav, LENGTHS.tolist(), strict=True):
        row[length:] = 0.7
    return wav


def alone(model: torch.nn.Module, wav: Tensor) -> list[Tensor]:
    """What transformers' feature encoder makes of each utterance: (T, C) each."""
    with torch.no_grad():
        return [model.feature_extractor(row[None, :n])[0].T for row, n in zip(wav, LENGTHS.tolist(), strict=True)]


def stem(upstream: HuggingFaceUpstream, wav: Tensor) -> Tensor:
    layers = list(upstream.model.feature_extractor.conv_layers)
    assert _fast_stem.applies(layers, wav)
    frames = int(upstream._family.embedded(wav.shape[1]))
    return _fast_stem.fast_stem(layers, wav, LENGTHS, frames)


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize(("family", "style"), WAVEFORM)
@pytest.mark.parametrize("frames", [5, 200])
def test_equals_transformers_on_each_utterance(
    folders: dict, family: str, style: str, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fast_stem, "FRAMES", frames)
    upstream, wav = HuggingFaceUpstream(str(folders[family, style])), speech()
    for row, reference in zip(stem(upstream, wav), alone(upstream.model.double(), wav.double()), strict=True):
        assert relative(row[: len(reference)], reference) < 1e-6
        assert not row[len(reference) :].any()


def test_autocast_sets_the_precision(folders: dict) -> None:
    """Weights are cast once a batch, and nothing is left to autocast's own casts."""
    upstream, wav = HuggingFaceUpstream(str(folders["wavlm", "group"])), speech()
    exact = stem(upstream, wav)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = stem(upstream, wav)
    assert rounded.dtype == torch.bfloat16
    assert 1e-4 < relative(rounded, exact) < 3e-2
    assert torch.equal(rounded, stem(upstream.at("bfloat16"), wav))  # type: ignore[arg-type]


def test_a_learning_encoder_keeps_its_gradients(folders: dict) -> None:
    name, wav = str(folders["hubert", "group"]), speech()
    learning = HuggingFaceUpstream(name, frozen=False, freeze_encoder=False)
    layers = list(learning.model.feature_extractor.conv_layers)
    assert not _fast_stem.applies(layers, wav)
    with torch.no_grad():
        assert _fast_stem.applies(layers, wav)
    learning(wav, LENGTHS)[0].square().sum().backward()
    assert all(parameter.grad is not None for layer in layers for parameter in layer.parameters())
    fixed = HuggingFaceUpstream(name, frozen=False)
    assert _fast_stem.applies(list(fixed.model.feature_extractor.conv_layers), wav)
    fixed(wav, LENGTHS)[0].square().sum().backward()
    pairs = zip(fixed.named_parameters(), learning.parameters(), strict=True)
    compared = [(own.grad, other.grad) for (_, own), other in pairs if own.requires_grad and own.grad is not None]
    assert len(compared) > 20
    largest = max(float(own.abs().max()) for own, _ in compared)
    for own, other in compared:
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5 * largest)


def test_only_plain_convolutions_are_taken_over(folders: dict) -> None:
    """A wrapper around a convolution (an adapter, a parametrised weight) must be called, not looked through."""
    upstream = HuggingFaceUpstream(str(folders["wav2vec2", "layer"]))
    layers = list(upstream.model.feature_extractor.conv_layers)
    assert _fast_stem.applies(layers, speech())
    torch.nn.utils.parametrizations.weight_norm(layers[2].conv)
    assert not _fast_stem.applies(layers, speech())
