"""Stores as they lie on disk: what there is, whether it is whole, what may go, and what is never touched."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
import torch
from seen_progress import SeenProgress

from ser_toolkit.data.batch import StoredPart
from ser_toolkit.data.reduction import Reduction, What
from ser_toolkit.downstream.branch import reduction
from ser_toolkit.downstream.frames import LinearProjection, LinearReLU, NoFrameStage
from ser_toolkit.downstream.layers import ConcatenateLayers, LayerMix, SingleLayer, WeightedSum
from ser_toolkit.downstream.pooling import AttentivePooling, MaxPooling, MeanPooling, Pooling, StatisticsPooling
from ser_toolkit.errors import RecipeError, StoreError
from ser_toolkit.features import FEATURE_VERSION
from ser_toolkit.features.estimate import OVERHEAD
from ser_toolkit.features.forecast import ENOUGH_FOR, forecast, measured_rate
from ser_toolkit.features.inventory import find_stores, in_use, store_info, stores
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.store import FeatureStore
from ser_toolkit.features.upkeep import remove, verify
from ser_toolkit.upstreams.spectral import Spectral


def _store(root: Path, fingerprint: str = "f", what: What = "frames", utterances: int = 3) -> FeatureStore:
    reduction = Reduction(what, layer_norm=what == "means")
    store = FeatureStore(StoreKey(fingerprint, reduction, upstream="Tiny"), root)
    for number in range(utterances):
        frames = torch.full((5, 4 + number, 6), float(number))
        kept: StoredPart = reduction.of(frames)
        store.write({f"key{number}": kept})
    return store


def _of_version(store: FeatureStore, version: int) -> None:
    """Let a store say that another version of the features is in it."""
    found = json.loads((store.folder / "store.json").read_text()) | {"feature_version": version}
    (store.folder / "store.json").write_text(json.dumps(found))


def _flip(path: Path, byte: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)


def _claim(folder: Path, process: int) -> None:
    (folder / "claims").mkdir()
    (folder / "claims" / "batch.claim").write_text(json.dumps([socket.gethostname(), process, 0]))


def _aged(folder: Path, seconds: float) -> None:
    for path in folder.iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


@pytest.mark.parametrize("what", ["means", "variances", "covariances", "frames"])
def test_a_store_says_what_it_holds(tmp_path: Path, what: What) -> None:
    store = _store(tmp_path, what=what)
    (found,) = stores(tmp_path)
    assert (found.identity, found.upstream, found.version) == (store.key.identity, "Tiny", FEATURE_VERSION)
    assert (found.utterances, found.num_layers, found.feature_dim) == (3, 5, 6)
    assert (found.reduction, found.dtype, found.precision) == (
        Reduction(what, layer_norm=what == "means"),
        "float32",
        "float32",
    )
    assert found.size == sum(path.stat().st_size for path in store.folder.iterdir())
    assert not (found.old or found.in_use or found.leftovers or found.unreadable)


def test_hugging_face_models_are_told_apart(tmp_path: Path) -> None:
    FeatureStore(StoreKey("huggingface:wavlm:12:34", upstream="HuggingFaceUpstream"), tmp_path).write(
        {"a": torch.zeros(2, 3, 4)}
    )
    assert stores(tmp_path)[0].upstream == "HuggingFaceUpstream (wavlm)"


def test_the_one_last_used_comes_first(tmp_path: Path) -> None:
    first, second = _store(tmp_path, "a"), _store(tmp_path, "b")
    _aged(first.folder, 1000)
    assert [store.folder for store in stores(tmp_path)] == [second.folder, first.folder]
    assert stores(tmp_path)[1].last_used == pytest.approx(stores(tmp_path)[0].last_used - 1000, abs=60)
    first.touch()
    _aged(second.folder, 10)
    assert [store.folder for store in stores(tmp_path)] == [first.folder, second.folder]


def test_stores_of_earlier_versions_are_old(tmp_path: Path) -> None:
    store = _store(tmp_path)
    _of_version(store, FEATURE_VERSION - 1)
    (found,) = stores(tmp_path)
    assert (found.version, found.old, found.utterances) == (FEATURE_VERSION - 1, True, 3)
    assert remove(found) == found.size
    assert not store.folder.exists()
    _of_version(_store(tmp_path), FEATURE_VERSION + 1)
    assert not stores(tmp_path)[0].old, "a store of a later version is somebody's"


def test_what_is_no_store_is_left_out(tmp_path: Path) -> None:
    store = _store(tmp_path / "elsewhere")
    root = tmp_path / "features"
    for name, file in {"empty": None, "foreign": "data.safetensors", "list": "store.json"}.items():
        (root / name).mkdir(parents=True)
        if file:
            (root / name / file).write_text("[1]")
    (root / "linked").symlink_to(store.folder)
    (root / "file").write_text("")
    assert stores(root) == []
    for path in (root / "linked", root / "foreign", root / "gone"):
        with pytest.raises(StoreError):
            find_stores([str(path)], root)
    with pytest.raises(StoreError, match="no folder"):
        stores(root / "file")


def test_stores_are_found_by_the_beginning_of_their_names(tmp_path: Path) -> None:
    folders = [_store(tmp_path, name).folder for name in "ab"]
    for folder in folders:
        assert [store.folder for store in find_stores([folder.name[:6], folder.name], tmp_path)] == [folder] * 2
        assert find_stores([str(folder)], tmp_path)[0].folder == folder
    with pytest.raises(StoreError, match="unknown in"):
        find_stores([folders[0].name[:3]], tmp_path)
    with pytest.raises(StoreError, match="Did you mean " + folders[0].name):
        find_stores([folders[0].name[:-1] + "x"], tmp_path)
    twin = folders[0].with_name(folders[0].name[:8] + "00000000")
    folders[0].rename(twin)
    _store(tmp_path, "a")
    with pytest.raises(StoreError, match="not clear"):
        find_stores([twin.name[:8]], tmp_path)


def test_a_changed_byte_is_found_and_what_it_was_in_counts_as_missing(tmp_path: Path) -> None:
    store = _store(tmp_path)
    seen = SeenProgress()
    assert verify(store_info(store.folder), seen) == []
    size = sum(path.stat().st_size for path in store.folder.glob("*.safetensors"))
    assert seen.steps[-1] == (size, size)
    shard = sorted(store.folder.glob("*.safetensors"))[1]
    _flip(shard)
    assert store_info(store.folder).unreadable == (), "the header alone does not show it"
    assert verify(store_info(store.folder)) == [shard.with_suffix(".damaged")]
    found = store_info(store.folder)
    assert (found.utterances, found.leftovers) == (2, (shard.with_suffix(".damaged"),))
    assert len(FeatureStore(store.key, tmp_path).missing(["key0", "key1", "key2"])) == 1
    assert verify(found) == []


def test_a_truncated_shard_is_seen_without_being_touched(tmp_path: Path) -> None:
    store = _store(tmp_path)
    shard = sorted(store.folder.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    assert store_info(store.folder).unreadable == (shard,)
    assert shard.exists()
    assert verify(store_info(store.folder)) == [shard.with_suffix(".damaged")]


def test_removal_takes_what_belongs_to_the_store_alone(tmp_path: Path) -> None:
    other = tmp_path / "precious.safetensors"
    other.write_text("mine")
    store = _store(tmp_path / "features")
    (store.folder / "zz.safetensors").symlink_to(other)
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "sub").mkdir()
    (store.folder / "sub" / "x.safetensors").write_text("mine")
    remove(store_info(store.folder))
    assert {path.name for path in store.folder.rglob("*")} == {"notes.txt", "sub", "x.safetensors"}
    assert other.read_text() == "mine"
    assert stores(tmp_path / "features") == []
    second = _store(tmp_path / "features", "b")
    size = store_info(second.folder).size
    assert remove(store_info(second.folder)) == size
    assert not second.folder.exists()


def test_claims_beside_a_link_are_not_followed(tmp_path: Path) -> None:
    store = _store(tmp_path / "features")
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "mine.claim").write_text("mine")
    (store.folder / "claims").symlink_to(tmp_path / "claims")
    _aged(tmp_path / "claims", 10_000)
    remove(store_info(store.folder))
    assert (tmp_path / "claims" / "mine.claim").exists()


def test_only_files_of_no_use_go_when_asked_so(tmp_path: Path) -> None:
    store = _store(tmp_path)
    shard = sorted(store.folder.glob("*.safetensors"))[0]
    _flip(shard)
    verify(store_info(store.folder))
    (store.folder / "x.safetensors.partial").write_text("half")
    with pytest.raises(StoreError, match="in use"):
        remove(store_info(store.folder), leftovers_only=True)
    os.utime(store.folder / "x.safetensors.partial", (0, 0))
    found = store_info(store.folder)
    assert remove(found, leftovers_only=True) == found.leftover_size > 0
    assert store_info(store.folder).leftovers == ()
    assert store_info(store.folder).utterances == 2


def test_a_store_that_a_process_fills_stays(tmp_path: Path) -> None:
    store = _store(tmp_path)
    _claim(store.folder, os.getppid())
    assert in_use(store.folder) and store_info(store.folder).in_use
    with pytest.raises(StoreError, match="in use"):
        remove(store_info(store.folder))
    assert len(FeatureStore(store.key, tmp_path)) == 3


def test_the_claim_of_a_dead_process_keeps_nothing(tmp_path: Path) -> None:
    store = _store(tmp_path)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    _claim(store.folder, child)
    assert not in_use(store.folder)
    remove(store_info(store.folder))
    assert not store.folder.exists()


# --- forecast --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mix", "stage", "pooling", "what"),
    [
        (WeightedSum, LinearProjection, MeanPooling, "means"),
        (SingleLayer, NoFrameStage, MeanPooling, "means"),
        (ConcatenateLayers, NoFrameStage, MeanPooling, "means"),
        (SingleLayer, NoFrameStage, StatisticsPooling, "variances"),
        (ConcatenateLayers, NoFrameStage, StatisticsPooling, "variances"),
        (WeightedSum, NoFrameStage, StatisticsPooling, "covariances"),
        (WeightedSum, NoFrameStage, AttentivePooling, "frames"),
        (WeightedSum, NoFrameStage, MaxPooling, "frames"),
        (WeightedSum, LinearReLU, MeanPooling, "frames"),
    ],
)
def test_the_table_says_what_the_parts_declare(
    mix: type[LayerMix], stage: type, pooling: type[Pooling], what: What
) -> None:
    """Rows of ``ENOUGH_FOR``, one by one: a change of the parts has to be said there."""
    assert reduction(mix(3, 4), stage(mix(3, 4).output_dim), pooling(4)).what == what
    words = {WeightedSum: "weighted sum", SingleLayer: "one layer", ConcatenateLayers: "concatenation"}
    others = {
        MeanPooling: "mean",
        StatisticsPooling: "statistics",
        AttentivePooling: "attentive",
        MaxPooling: "maximum",
    }
    said = ENOUGH_FOR[what]
    assert others[pooling] in said if stage is not LinearReLU else "ReLU" in said
    assert what == "frames" or words[mix] in said


def test_a_forecast_is_what_is_written(tmp_path: Path) -> None:
    """Sizes of a forecast against files of 20 clips of half a second."""
    upstream = Spectral(num_mels=80)
    rows = {row.what: row for row in forecast(upstream, hours=20 * 0.5 / 3600, clip_seconds=0.5)}
    assert list(rows) == ["means", "variances", "covariances", "frames"]
    frames = int(upstream.frame_lengths(torch.tensor([8000])))
    for what, row in rows.items():
        store = FeatureStore(StoreKey("f", Reduction(what)), tmp_path)
        store.write({f"key{number:013d}": Reduction(what).of(torch.rand(1, frames, 80)) for number in range(20)})
        written = sum(path.stat().st_size for path in store.folder.glob("*.safetensors"))
        assert written <= row.float32 <= written + 20 * OVERHEAD
    assert rows["frames"].float16 == pytest.approx(rows["frames"].float32 / 2, rel=0.02)
    assert rows["means"].float16 == rows["means"].float32


@pytest.mark.parametrize(("hours", "clip"), [(0, 4), (float("nan"), 4), (1, 0), (1, -1), (1, 0.001)])
def test_a_forecast_of_nothing_is_refused(hours: float, clip: float) -> None:
    with pytest.raises(RecipeError):
        forecast(Spectral(), hours, clip)


def test_the_rate_is_that_of_the_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that runs by the audio heard: ten seconds a second, whatever the batches."""
    heard = [0.0]

    class Clocked(Spectral):
        def extract(self, wav: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            heard[0] += wav.shape[0] * wav.shape[1] / self.sampling_rate
            return super().extract(wav, lengths)

    monkeypatch.setattr("ser_toolkit.features.forecast.time.perf_counter", lambda: heard[0] / 10)
    assert measured_rate(Clocked(num_mels=8), clip_seconds=2.0, patience=4.0) == pytest.approx(10)
    assert heard[0] < 60
