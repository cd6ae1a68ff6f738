"""Frozen copies for extraction: bfloat16 weights, compiled layers, and an original that does not notice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import VARIANTS, save_tiny
from torch import Tensor

from ser_toolkit.errors import RecipeError
from ser_toolkit.upstreams.fused import FusedUpstreams
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream
from ser_toolkit.upstreams.spectral import Spectral

LENGTHS = torch.tensor([12000, 7001])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("precision")
    return {(f, s): save_tiny(f, root / f"{f}-{s}", s) for f, s in VARIANTS}


def speech(offset: float = 0.0) -> Tensor:
    noise = torch.randn(2, 12008, generator=torch.Generator().manual_seed(0))
    return 0.3 * noise.unfold(1, 8, 1).mean(-1)[:, :12000] + offset


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize(("family", "style"), VARIANTS)
def test_bfloat16_copy_is_close_and_leaves_the_original_alone(folders: dict, family: str, style: str) -> None:
    upstream = HuggingFaceUpstream(str(folders[family, style]), frozen=False)
    before, expected = upstream.fingerprint(), upstream.eval()(speech(), LENGTHS)[0].detach()
    copy = upstream.at("bfloat16")
    frames, counts = copy(speech(), LENGTHS)
    assert frames.dtype == torch.bfloat16 and not frames.requires_grad
    assert copy.frozen and not any(parameter.requires_grad for parameter in copy.parameters())
    assert copy.train().training is False
    for layer, reference in zip(frames.unbind(1), expected.unbind(1), strict=True):
        assert 1e-4 < relative(layer, reference) < 3e-2
    assert not frames[1, :, counts[1] :].any()
    assert upstream.fingerprint() == before != copy.fingerprint()
    assert torch.equal(upstream(speech(), LENGTHS)[0].detach(), expected)
    upstream.train()(speech(), LENGTHS)[0].sum().backward()
    assert any(parameter.grad is not None for parameter in upstream.parameters())


@pytest.mark.parametrize(("family", "style"), [("wav2vec2", "group"), ("hubert", "layer"), ("sew", "group")])
def test_bfloat16_does_not_round_the_waveform(folders: dict, family: str, style: str) -> None:
    """Soft speech on a large offset would drown in a bfloat16 waveform: one step is 0.03 there."""
    upstream = HuggingFaceUpstream(str(folders[family, style]), normalize_input=True)
    frames, _ = upstream.at("bfloat16")(0.01 * speech() + 5, LENGTHS)
    assert relative(frames, upstream(0.01 * speech() + 5, LENGTHS)[0]) < 3e-2


def test_float32_is_the_upstream_itself(folders: dict) -> None:
    upstream = HuggingFaceUpstream(str(folders["wavlm", "group"]))
    assert upstream.at("float32") is upstream
    assert Spectral().at("float32").batch_dependent is None


def test_what_has_no_copy_says_so(folders: dict) -> None:
    with pytest.raises(RecipeError, match=r"Spectral computes in float32 only; set features\.precision=float32"):
        Spectral().at("bfloat16")
    with pytest.raises(RecipeError, match="Spectral has no layers to compile"):
        Spectral().at("float32", compiled=True)
    with pytest.raises(RecipeError, match=r"features\.precision is 'half', expected float32 or bfloat16"):
        HuggingFaceUpstream(str(folders["wavlm", "group"])).at("half")  # type: ignore[arg-type]


def test_batch_dependence_is_stated(folders: dict) -> None:
    name = str(folders["wavlm", "group"])
    exact, peer = HuggingFaceUpstream(name), HuggingFaceUpstream(name, peer_padding=True)
    assert exact.batch_dependent is None and FusedUpstreams([exact, Spectral()]).batch_dependent is None
    assert peer.batch_dependent == "peer_padding reproduces transformers' own padding"
    assert FusedUpstreams([exact, peer]).batch_dependent == peer.batch_dependent
    with pytest.raises(RecipeError, match="computes in float32 only"):
        peer.at("bfloat16")


def test_compiling_needs_a_compiler(folders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"torch\.compile needs a C\+\+ compiler \(no-such-compiler\)"):
        HuggingFaceUpstream(str(folders["wavlm", "group"])).at("float32", compiled=True)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wavlm", "wav2vec2", "whisper"])
def test_compiled_layers_give_the_same_frames(folders: dict, family: str) -> None:
    upstream = HuggingFaceUpstream(str(folders[family, "layer"]))
    copy = upstream.at("float32", compiled=True)
    for rows, samples in ((2, 12000), (1, 7001), (2, 9000)):
        wav, lengths = speech()[:rows, :samples], LENGTHS[:rows].clamp(max=samples)
        assert relative(copy(wav, lengths)[0], upstream(wav, lengths)[0]) < 1e-5


def test_a_spectrogram_is_computed_under_autocast(tmp_path: Path) -> None:
    upstream = HuggingFaceUpstream(str(save_tiny("whisper", tmp_path / "whisper")))
    wav, lengths = torch.randn(1, 8000), torch.tensor([8000])
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = upstream(wav, lengths)
    torch.testing.assert_close(found.float(), upstream(wav, lengths)[0], rtol=0.1, atol=0.1)
