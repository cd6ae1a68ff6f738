"""Less from more: a richer store of the same upstream spares the upstream, and only where nothing is lost by it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_corpus import TinyUpstream, Tones
from torch import Tensor

from ser_toolkit.data.batch import Moments
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.data.reduction import ORDER, Reduction
from ser_toolkit.errors import StoreError
from ser_toolkit.features.derive import Derived
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.store import FeatureStore

SMALL = FeatureSettings(batch_seconds=0.8)


class Counting(TinyUpstream):
    """Notes how many recordings go through it."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.seen: list[int] = []

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += lengths.tolist()
        return super().extract(wav, lengths)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    root = tmp_path / "tones"
    return manifest_of(Tones.write(root, speakers=2), root)


def assert_close(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, other in expected.items():
        if isinstance(other, Tensor):
            torch.testing.assert_close(found[name], other)
            continue
        assert int(found[name].count) == int(other.count)
        for part in ("mean", "variance", "cross"):
            one, two = getattr(found[name], part), getattr(other, part)
            assert (one is None) == (two is None)
            assert one is None or float((one - two).norm()) <= 1e-5 * float(two.norm())


KEEPINGS = [Reduction(what, norm) for what in ORDER for norm in (False, True)]
ALL = [(one, other) for one in KEEPINGS for other in KEEPINGS if one != other]
COVERED = [pair for pair in ALL if pair[0].covers(pair[1])]
#: Whatever is covered, and some of the rest.
PAIRS = COVERED + [pair for pair in ALL if pair not in COVERED][::5]


@pytest.mark.parametrize(("there", "wanted"), PAIRS, ids=lambda one: f"{one.what}{one.layer_norm:d}")
def test_whatever_a_richer_store_covers_is_made_from_it(
    manifest: Manifest, tmp_path: Path, there: Reduction, wanted: Reduction
) -> None:
    extract_corpus(TinyUpstream(), manifest, tmp_path, reductions=[there])
    upstream = Counting()
    found = extract_corpus(upstream, manifest, tmp_path, reductions=[wanted])
    assert upstream.seen == [] if there.covers(wanted) else len(upstream.seen) == len(manifest)
    assert_close(found, extract_corpus(TinyUpstream(), manifest, tmp_path / "alone", reductions=[wanted]))
    again = Counting()
    extract_corpus(again, manifest, tmp_path, reductions=[wanted])
    assert again.seen == [], "what was made is stored"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_moments_are_never_made_from_rounded_frames(manifest: Manifest, tmp_path: Path, dtype: Any) -> None:
    rounded = FeatureSettings(dtype=dtype)
    extract_corpus(TinyUpstream(), manifest, tmp_path, settings=rounded)
    upstream = Counting()
    extract_corpus(upstream, manifest, tmp_path, reductions=[Reduction("means")], settings=rounded)
    assert len(upstream.seen) == len(manifest)


def test_frames_in_half_precision_are_rounded_from_whole_ones(manifest: Manifest, tmp_path: Path) -> None:
    whole = extract_corpus(TinyUpstream(), manifest, tmp_path)
    half = FeatureSettings(dtype="float16")
    found = extract_corpus(Counting(), manifest, tmp_path, settings=half)
    for name, frames in whole.items():
        assert torch.equal(found[name], frames.half())  # type: ignore[arg-type,union-attr]
    again = Counting()
    extract_corpus(again, manifest, tmp_path, settings=half)
    assert again.seen == []


def test_another_upstream_or_precision_is_no_source(manifest: Manifest, tmp_path: Path) -> None:
    extract_corpus(TinyUpstream(), manifest, tmp_path)
    other = Counting(seed=1)
    extract_corpus(other, manifest, tmp_path, reductions=[Reduction("means")])
    assert len(other.seen) == len(manifest)
    key = StoreKey(TinyUpstream().fingerprint(), Reduction("means"))
    hashes = manifest.table["audio_hash"].tolist()
    assert Derived(key, tmp_path).covers(hashes)
    assert not Derived(StoreKey(key.fingerprint, key.reduction, precision="bfloat16 on cpu"), tmp_path).covers(hashes)


def test_the_smallest_source_is_taken(manifest: Manifest, tmp_path: Path) -> None:
    for what in ("frames", "variances"):
        extract_corpus(TinyUpstream(), manifest, tmp_path, reductions=[Reduction(what)])  # type: ignore[arg-type]
    frames = FeatureStore(StoreKey(TinyUpstream().fingerprint()), tmp_path)
    for shard in frames.folder.glob("*.safetensors"):
        raw = bytearray(shard.read_bytes())
        raw[-1] ^= 1  # would be found if anything read it
        shard.write_bytes(raw)
    upstream = Counting()
    extract_corpus(upstream, manifest, tmp_path, reductions=[Reduction("means")])
    assert upstream.seen == []
    assert not list(frames.folder.glob("*.damaged")), "nothing has read it"


def test_batches_that_are_not_all_there_go_through_the_upstream(manifest: Manifest, tmp_path: Path) -> None:
    whole = extract_corpus(TinyUpstream(), manifest, tmp_path / "whole")
    keys = dict(zip(manifest.table["id"], manifest.table["audio_hash"], strict=True))
    there = dict(list(whole.items())[::3])
    FeatureStore(StoreKey(TinyUpstream().fingerprint()), tmp_path).write(
        {keys[name]: frames for name, frames in there.items()}
    )
    upstream = Counting()
    found = extract_corpus(upstream, manifest, tmp_path, reductions=[Reduction("means")], settings=SMALL)
    assert len(upstream.seen) >= len(manifest) - len(there)
    for name, frames in whole.items():
        kept = found[name]
        assert isinstance(kept, Moments)
        torch.testing.assert_close(kept.mean, frames.mean(dim=1))  # type: ignore[union-attr]


def test_a_damaged_source_is_left_for_the_upstream_by_the_same_call(manifest: Manifest, tmp_path: Path) -> None:
    extract_corpus(TinyUpstream(), manifest, tmp_path)
    frames = FeatureStore(StoreKey(TinyUpstream().fingerprint()), tmp_path)
    (shard,) = frames.folder.glob("*.safetensors")
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    upstream = Counting()
    found = extract_corpus(upstream, manifest, tmp_path, reductions=[Reduction("means")], settings=SMALL)
    assert upstream.seen, "the source is not trusted"
    assert shard.with_suffix(".damaged").exists()
    assert_close(found, extract_corpus(TinyUpstream(), manifest, tmp_path / "alone", reductions=[Reduction("means")]))


def test_a_source_that_goes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Run the same command again"):
        Derived(StoreKey("f", Reduction("means")), tmp_path).make(["a"])
