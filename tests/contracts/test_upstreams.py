"""What every upstream promises. A new class fails here until ``CASES`` says how to build a small one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import ser_toolkit.upstreams
from ser_toolkit.errors import AudioError
from ser_toolkit.parts import subclasses
from ser_toolkit.upstreams.base import Upstream
from ser_toolkit.upstreams.librosa_features import FEATURES

LENGTHS = [16000, 9001, 5003]
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """How to build one small upstream: ``build(folder for its files, frozen)``; a fixed one ignores ``frozen``."""

    part: str
    build: Callable[[Path, bool], Upstream]
    trainable: bool = False
    name: str = ""


def sibling(folder: str, name: str) -> ModuleType:
    """A module of helpers that lies beside other tests."""
    path = Path(__file__).resolve().parent.parent / folder / f"{name}.py"
    key = f"tests_{folder}_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


def byols(layers: str) -> Callable[[Path, bool], Upstream]:
    def build(folder: Path, frozen: bool) -> Upstream:
        from ser_toolkit.upstreams.byols import BYOLS

        path = folder / "byols.pth"
        if not path.exists():
            torch.save(sibling("upstreams", "test_byols").random_state_dict(), path)
        return BYOLS(str(path), frozen=frozen, layers=layers)  # type: ignore[arg-type]

    return build


def open_smile(level: str) -> Callable[[Path, bool], Upstream]:
    def build(folder: Path, frozen: bool) -> Upstream:
        pytest.importorskip("opensmile")
        from ser_toolkit.upstreams.opensmile import OpenSmile

        return OpenSmile(level=level)  # type: ignore[arg-type]

    return build


def librosa_features(level: str) -> Callable[[Path, bool], Upstream]:
    def build(folder: Path, frozen: bool) -> Upstream:
        from ser_toolkit.upstreams.librosa_features import LibrosaFeatures

        # pYIN takes a hundred times as long as all others: its own tests compare it alone and in a batch
        quick = [name for name in FEATURES if name != "f0"]
        return LibrosaFeatures(quick, level=level, num_mfcc=5, deltas=1)  # type: ignore[arg-type]

    return build


def ge2e(folder: Path, frozen: bool) -> Upstream:
    from ser_toolkit.upstreams.ge2e import GE2E

    path = folder / "ge2e.safetensors"
    if not path.exists():
        save_file(sibling("upstreams", "test_ge2e").random_state_dict(), path)
    return GE2E(str(path), frozen=frozen)


def spectral(folder: Path, frozen: bool) -> Upstream:
    from ser_toolkit.upstreams.spectral import Spectral

    return Spectral(["logmel", "mfcc", "prosody"], num_mels=24, num_mfcc=8, deltas=1)


def hugging_face(family: str, style: str, **options: Any) -> Callable[[Path, bool], Upstream]:
    def build(folder: Path, frozen: bool) -> Upstream:
        from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

        path = folder / f"{family}-{style}"
        if not path.exists():
            sibling("upstreams", "tiny_models").save_tiny(family, path, style)
        return HuggingFaceUpstream(str(path), frozen=frozen, **options)

    return build


def s3prl(name: str) -> Callable[[Path, bool], Upstream]:
    def build(folder: Path, frozen: bool) -> Upstream:
        pytest.importorskip("s3prl", reason="s3prl is not installed")
        from ser_toolkit.upstreams.s3prl import S3prlUpstream

        if name == "fbank":
            return S3prlUpstream(name)
        path = folder / "wavlm-group.pt"
        if not path.exists():
            sibling("upstreams", "tiny_s3prl").save_wavlm(folder)
        return S3prlUpstream(name, str(path), frozen=frozen)

    return build


def torchaudio_bundle(family: str, style: str) -> Callable[[Path, bool], Upstream]:
    def build(folder: Path, frozen: bool) -> Upstream:
        pytest.importorskip("torchaudio", reason="torchaudio is not installed")
        from ser_toolkit.upstreams.torchaudio_bundle import TorchaudioBundle

        helpers = sibling("upstreams", "tiny_s3prl")
        _, weights, bundle = helpers.save_torchaudio(family, folder, style)
        with helpers.tiny_bundle("TINY", bundle):
            return TorchaudioBundle("TINY", str(weights), frozen=frozen)

    return build


def fused(*parts: Callable[[Path, bool], Upstream]) -> Callable[[Path, bool], Upstream]:
    def build(folder: Path, frozen: bool) -> Upstream:
        from ser_toolkit.upstreams.fused import FusedUpstreams

        return FusedUpstreams([part(folder, frozen) for part in parts])

    return build


CASES = [
    Case("BYOLS", byols("last"), trainable=True, name="last"),
    Case("BYOLS", byols("all"), trainable=True, name="all"),
    Case("OpenSmile", open_smile("functionals"), name="functionals"),
    Case("OpenSmile", open_smile("lld"), name="lld"),
    Case("Spectral", spectral),
    Case("LibrosaFeatures", librosa_features("functionals"), name="functionals"),
    Case("LibrosaFeatures", librosa_features("frames"), name="frames"),
    Case("GE2E", ge2e, trainable=True),
    # its own tests walk all families; here one of each layer-norm style keeps the seam honest
    Case("HuggingFaceUpstream", hugging_face("wav2vec2", "group"), trainable=True, name="wav2vec2-group"),
    Case("HuggingFaceUpstream", hugging_face("wavlm", "layer"), trainable=True, name="wavlm-layer"),
    Case("HuggingFaceUpstream", hugging_face("whisper", "layer", window="own"), trainable=True, name="whisper-own"),
    Case("S3prlUpstream", s3prl("fbank"), name="fbank"),
    Case("S3prlUpstream", s3prl("wavlm_local"), trainable=True, name="wavlm-group"),
    Case("TorchaudioBundle", torchaudio_bundle("wav2vec2", "group"), trainable=True, name="wav2vec2-group"),
    Case("TorchaudioBundle", torchaudio_bundle("wavlm", "layer"), trainable=True, name="wavlm-layer"),
    # frames 20 and 40 ms apart, then 20 and 10 ms
    Case(
        "FusedUpstreams", fused(hugging_face("wav2vec2", "group"), hugging_face("sew", "layer")), True, "wav2vec2-sew"
    ),
    Case("FusedUpstreams", fused(hugging_face("wavlm", "layer"), spectral), name="wavlm-spectral"),
]


def shipped() -> dict[str, type[Upstream]]:
    """Every upstream of the package, without those that tests define."""
    package = ser_toolkit.upstreams.__name__
    return {name: part for name, part in subclasses(Upstream).items() if part.__module__.startswith(package)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("upstreams")


@pytest.fixture(params=CASES, ids=lambda case: "-".join(filter(None, [case.part, case.name])))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    if found.part not in shipped():
        pytest.fail(f"CASES in {Path(__file__).name} builds {found.part}, which ser_toolkit.upstreams does not hold.")
    return found


@pytest.fixture
def upstream(case: Case, folder: Path) -> Upstream:
    return case.build(folder, True)


@pytest.fixture(scope="module")
def speech(voice: np.ndarray) -> tuple[Tensor, Tensor]:
    """Three utterances of different length that start at different places of the voice."""
    wav = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in enumerate(LENGTHS):
        wav[row, :length] = torch.from_numpy(np.roll(voice, 1000 * row)[:length])
    return wav, torch.tensor(LENGTHS)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((torch.linalg.norm(found - expected) / torch.linalg.norm(expected)).detach())


def test_every_upstream_has_a_case() -> None:
    missing = set(shipped()) - {case.part for case in CASES}
    assert not missing, (
        f"no contract for {', '.join(sorted(missing))}: add Case(<class name>, build) to CASES in {__file__}, where "
        "build(folder, frozen) returns a small instance without network access (random weights saved under folder)."
    )


def test_frames_have_the_shape_and_the_number_that_is_promised(
    upstream: Upstream, speech: tuple[Tensor, Tensor]
) -> None:
    wav, lengths = speech
    frames, counts = upstream(wav, lengths)
    assert frames.shape == (len(lengths), upstream.num_layers, int(counts.max()), upstream.feature_dim)
    assert frames.dtype == torch.float32
    assert frames.isfinite().all()
    assert counts.tolist() == upstream.frame_lengths(lengths).tolist()
    for row, count in enumerate(counts.tolist()):
        assert count >= 1
        assert not frames[row, :, count:].any()
        assert frames[row, :, :count].any()


def test_frame_lengths_hold_for_any_length_and_grow_by_the_hop(upstream: Upstream, voice: np.ndarray) -> None:
    hop = upstream.hop_samples
    for length in (upstream.receptive_samples, 3999, 4000, 4001, 4000 + max(hop - 1, 1)):
        frames, counts = upstream(torch.from_numpy(voice[:length])[None], torch.tensor([length]))
        assert frames.shape[2] == int(counts) == int(upstream.frame_lengths(torch.tensor([length])))
    if hop:
        shorter, longer = upstream.frame_lengths(torch.tensor([4000, 4000 + 10 * hop])).tolist()
        assert longer == shorter + 10
    else:
        assert upstream.frame_lengths(torch.tensor([4000, 160000])).tolist() == [1, 1]


def test_an_utterance_is_the_same_alone_batched_permuted_and_behind_more_padding(
    upstream: Upstream, speech: tuple[Tensor, Tensor]
) -> None:
    wav, lengths = speech
    batched, counts = upstream(wav, lengths)
    order = torch.tensor([2, 0, 1])
    permuted, _ = upstream(wav[order], lengths[order])
    wider, _ = upstream(torch.nn.functional.pad(wav, (0, 3000)), lengths)
    for row, (length, count) in enumerate(zip(lengths.tolist(), counts.tolist(), strict=True)):
        alone, _ = upstream(wav[row : row + 1, :length], lengths[row : row + 1])
        place = order.tolist().index(row)
        for frames in (batched[row], permuted[place], wider[row]):
            for layer in range(upstream.num_layers):
                assert relative_error(frames[layer, :count], alone[0, layer]) < TOLERANCE


def test_evaluation_is_deterministic_and_depends_on_the_speech(
    upstream: Upstream, speech: tuple[Tensor, Tensor]
) -> None:
    first, counts = upstream(*speech)
    again, _ = upstream(*speech)
    assert torch.equal(first, again)
    shortest = int(counts.min())
    assert relative_error(first[0, :, :shortest], first[1, :, :shortest]) > 1e-3


def test_input_is_left_as_it_was(upstream: Upstream, speech: tuple[Tensor, Tensor]) -> None:
    wav, lengths = speech[0].clone(), speech[1].clone()
    upstream(wav, lengths)
    assert torch.equal(wav, speech[0])
    assert torch.equal(lengths, speech[1])


def test_the_shortest_recording_passes_and_a_shorter_one_is_refused(upstream: Upstream, voice: np.ndarray) -> None:
    shortest = upstream.receptive_samples
    wav = torch.from_numpy(voice[:shortest])[None]
    frames, counts = upstream(wav, torch.tensor([shortest]))
    assert int(counts) >= 1
    assert frames.isfinite().all()
    with pytest.raises(AudioError, match=f"at least {shortest} samples"):
        upstream(wav[:, : shortest - 1], torch.tensor([shortest - 1]))


def test_frozen_has_no_gradient_and_stays_in_evaluation_mode(upstream: Upstream, speech: tuple[Tensor, Tensor]) -> None:
    before, _ = upstream(*speech)
    torch.nn.Sequential(upstream).train()
    assert upstream.frozen
    assert not any(module.training for module in upstream.modules())
    assert not any(parameter.requires_grad for parameter in upstream.parameters())
    after, _ = upstream(*speech)
    assert not after.requires_grad
    assert torch.equal(before, after)


def test_unfrozen_trains_what_it_lets_train_and_evaluates_like_the_frozen(
    case: Case, folder: Path, upstream: Upstream, speech: tuple[Tensor, Tensor]
) -> None:
    if not case.trainable:
        pytest.skip("nothing to train")
    tuned = case.build(folder, False)
    assert relative_error(tuned.eval()(*speech)[0], upstream(*speech)[0]) < TOLERANCE
    frames, _ = tuned.train()(*speech)
    (frames * torch.linspace(-1, 1, frames.shape[-1])).square().sum().backward()
    trained = {name: p.grad for name, p in tuned.named_parameters() if p.requires_grad}
    assert trained
    assert not [name for name, gradient in trained.items() if gradient is None]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in trained.values())
    assert any(gradient is not None and gradient.any() for gradient in trained.values())
    assert not [name for name, p in tuned.named_parameters() if not p.requires_grad and p.grad is not None]


def test_fingerprint_is_one_line_and_stable(
    case: Case, folder: Path, upstream: Upstream, speech: tuple[Tensor, Tensor]
) -> None:
    before = upstream.fingerprint()
    upstream(*speech)
    assert before
    assert "\n" not in before
    assert upstream.train().fingerprint() == before
    assert case.build(folder, True).fingerprint() == before


def test_weights_of_one_instance_make_another_equal(
    case: Case, folder: Path, upstream: Upstream, speech: tuple[Tensor, Tensor]
) -> None:
    other = case.build(folder, True)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(upstream.state_dict())
    assert torch.equal(other(*speech)[0], upstream(*speech)[0])


def test_case_fingerprints_differ(folder: Path) -> None:
    prints = [case.build(folder, True).fingerprint() for case in CASES]
    assert len(set(prints)) == len(prints)
