"""The store under what happens to disks: writers at once, kills, truncation, no space."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ser_toolkit.errors import StoreError
from ser_toolkit.features import key as key_module
from ser_toolkit.features import shards as shards_module
from ser_toolkit.features import store as store_module
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.store import FeatureStore
from ser_toolkit.features.views import Features, MappedFeatures


def _frames(*keys: str, value: float = 1.0) -> dict[str, Tensor]:
    return {key: torch.full((2, 3 + number, 4), value + number) for number, key in enumerate(keys)}


def _assert_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0)


def test_what_is_written_is_read_back_by_another_process(tmp_path: Path) -> None:
    FeatureStore(StoreKey("f"), tmp_path).write(_frames("a", "b"))
    FeatureStore(StoreKey("f"), tmp_path).write(_frames("c"))
    again = FeatureStore(StoreKey("f"), tmp_path)
    assert len(again) == 3
    assert "a" in again and "x" not in again
    assert again.missing(["x", "a", "x", "y"]) == ["x", "y"]
    _assert_equal(again.load(["c", "a", "c"]), {"a": _frames("a")["a"], "c": _frames("c")["c"]})


def test_another_fingerprint_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FeatureStore(StoreKey("model A"), tmp_path)
    first.write(_frames("a"))
    assert "a" not in FeatureStore(StoreKey("model B"), tmp_path)
    assert json.loads((first.folder / "store.json").read_text(encoding="utf-8"))["fingerprint"] == "model A"
    monkeypatch.setattr(key_module, "FEATURE_VERSION", key_module.FEATURE_VERSION + 1)
    assert "a" not in FeatureStore(StoreKey("model A"), tmp_path)


def test_the_cache_folder_is_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    assert FeatureStore(StoreKey("f")).folder.is_relative_to(tmp_path / "cache" / "features")


def _write_many(root: Path, writer: int, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    store = FeatureStore(StoreKey("f"), root)
    for number in range(15):
        store.write(_frames(f"shared{number}", f"{writer}-{number}", value=number))


def test_two_writers_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    writers = [context.Process(target=_write_many, args=(tmp_path, writer, start)) for writer in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    store = FeatureStore(StoreKey("f"), tmp_path)
    assert len(store) == 15 + 30
    assert not store.damaged
    assert list(store.folder.glob("*.partial")) == []
    loaded = store.load([f"shared{number}" for number in range(15)])
    assert [float(loaded[f"shared{number}"][0, 0, 0]) for number in range(15)] == [*range(15)]


def test_what_a_killed_writer_left_is_not_read(tmp_path: Path) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a"))
    (shard,) = store.folder.glob("*.safetensors")
    (store.folder / "0123.safetensors.partial").write_bytes(shard.read_bytes()[:-7])
    again = FeatureStore(StoreKey("f"), tmp_path)
    assert len(again) == 1
    assert again.damaged == []


@pytest.mark.parametrize("keep", [0, 5, 60, -1], ids=["empty", "in the length", "in the header", "in the values"])
def test_a_truncated_shard_is_set_aside_and_the_others_stay(tmp_path: Path, keep: int) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a", "b"))
    (shard,) = store.folder.glob("*.safetensors")
    store.write(_frames("c"))
    shard.write_bytes(shard.read_bytes()[:keep])
    again = FeatureStore(StoreKey("f"), tmp_path)
    assert again.missing(["a", "b", "c"]) == ["a", "b"]
    assert [path.name for path in again.damaged] == [shard.with_suffix(".damaged").name]
    assert again.damaged[0].is_file() and not shard.exists()
    again.write(_frames("a", "b"))
    _assert_equal(FeatureStore(StoreKey("f"), tmp_path).load(["a", "b"]), _frames("a", "b"))


def test_a_shard_that_goes_bad_while_in_use_is_one_line(tmp_path: Path) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a"))
    (shard,) = store.folder.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(StoreError, match=r"Run the same command again"):
        store.load(["a"])
    assert not shard.exists() and store.damaged[0].is_file()
    with pytest.raises(StoreError, match=r"Run the same command again"):
        store.load(["a"])


def test_frames_that_were_never_stored_are_counted(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="2 utterances are not in the store"):
        FeatureStore(StoreKey("f"), tmp_path).load(["a", "b"])


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a"))

    def full(tensors: dict[str, Tensor], path: Path, notes: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "save_file", full)
        with pytest.raises(StoreError, match=r"No space left on device.*SER_CACHE") as caught:
            store.write(_frames("b"))
    assert "\n" not in str(caught.value)
    assert "b" not in store
    assert sorted(path.suffix for path in store.folder.iterdir()) == [".json", ".safetensors"]
    store.write(_frames("b"))
    assert len(FeatureStore(StoreKey("f"), tmp_path)) == 2


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="Cannot store features"):
        FeatureStore(StoreKey("f"), tmp_path / "file").write(_frames("a"))


def test_features_are_a_mapping_by_utterance() -> None:
    frames = _frames("hash1", "hash2")
    features = Features(frames, {"u1": "hash2", "u2": "hash1", "u3": "hash2"})
    assert list(features) == ["u1", "u2", "u3"]
    assert len(features) == 3
    assert features["u1"] is features["u3"] is frames["hash2"]


def test_a_large_store_stays_on_disk_and_gives_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = {f"hash{i}": torch.randn(2, 3 + i, 4) for i in range(4)}
    store = FeatureStore(StoreKey("mapped"), tmp_path)
    store.write({key: frames[key] for key in ("hash0", "hash1")})
    store.write({key: frames[key] for key in ("hash2", "hash3")})
    assert isinstance(store.view(list(frames)), dict)
    monkeypatch.setattr(store_module, "MEMORY_SHARE", 0)
    mapped = pickle.loads(pickle.dumps(store.view(list(frames))))
    assert isinstance(mapped, MappedFeatures)
    assert set(mapped) == set(frames)
    for key, value in frames.items():
        torch.testing.assert_close(mapped[key], value, rtol=0, atol=0)
    for shard in store.folder.glob("*.safetensors"):
        shard.unlink()
    with pytest.raises(StoreError, match="Run the same command again"):
        store.view(list(frames))["hash0"]
