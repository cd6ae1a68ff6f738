"""What every upstream promises. A new class fails here until ``CASES`` says how to build a small one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import ser_toolkit.upstreams
from ser_toolkit.contracts.run import Check
from ser_toolkit.contracts.upstreams import CHECKS, an_unfrozen_one_trains_and_evaluates_like_the_frozen
from ser_toolkit.parts.finding import subclasses
from ser_toolkit.upstreams.base import Upstream
from ser_toolkit.upstreams.librosa_features import FEATURES


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


def test_every_upstream_has_a_case() -> None:
    missing = set(shipped()) - {case.part for case in CASES}
    assert not missing, (
        f"no contract for {', '.join(sorted(missing))}: add Case(<class name>, build) to CASES in {__file__}, where "
        "build(folder, frozen) returns a small instance without network access (random weights saved under folder)."
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(case: Case, folder: Path, check: Check) -> None:
    if check is an_unfrozen_one_trains_and_evaluates_like_the_frozen and not case.trainable:
        return
    check(lambda frozen=True: case.build(folder, frozen))


def test_case_fingerprints_differ(folder: Path) -> None:
    prints = [case.build(folder, True).fingerprint() for case in CASES]
    assert len(set(prints)) == len(prints)
