"""The store under what happens to disks: writers at once, kills, truncation, no space."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ser_toolkit.data.batch import Moments
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.errors import StoreError
from ser_toolkit.features import key as key_module
from ser_toolkit.features import shards as shards_module
from ser_toolkit.features import store as store_module
from ser_toolkit.features.key import StoreKey, precision_label
from ser_toolkit.features.shards import DamagedStoreError
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
    assert isinstance(store.features(list(frames)), dict)
    monkeypatch.setattr(store_module, "MEMORY_SHARE", 0)
    mapped = pickle.loads(pickle.dumps(store.features(list(frames))))
    assert isinstance(mapped, MappedFeatures)
    assert set(mapped) == set(frames)
    for key, value in frames.items():
        torch.testing.assert_close(mapped[key], value, rtol=0, atol=0)
    for shard in store.folder.glob("*.safetensors"):
        shard.unlink()
    with pytest.raises(StoreError, match="Run the same command again"):
        store.features(list(frames))["hash0"]


# --- what a store is named by -----------------------------------------------------------------------------------------

KEY = StoreKey("upstream", Reduction("frames", reason="why"), upstream="Name")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fingerprint", "another"),
        ("reduction", Reduction("covariances")),
        ("reduction", Reduction("frames", layer_norm=True)),
        ("dtype", "float16"),
        ("dtype", "bfloat16"),
        ("precision", "bfloat16 on cuda"),
        ("source", "another"),
        ("channel", 0),
        ("channel", 1),
    ],
)
def test_whatever_changes_features_changes_the_folder(field: str, value: Any) -> None:
    changed = replace(KEY, **{field: value})
    assert changed.identity != KEY.identity
    assert changed.description() != KEY.description()


def test_every_setting_of_a_key_is_named_above_or_is_for_people() -> None:
    named = {"fingerprint", "reduction", "dtype", "precision", "source", "channel"}
    assert {f.name for f in fields(StoreKey) if f.compare} == named
    assert {f.name for f in fields(Reduction) if f.compare} == {"what", "layer_norm"}


def test_words_for_people_do_not_change_the_folder() -> None:
    assert replace(KEY, upstream="Renamed").identity == KEY.identity
    assert replace(KEY, reduction=Reduction("frames", reason="because")).identity == KEY.identity


def test_moments_are_float32_whatever_frames_are_stored_as() -> None:
    keys = [StoreKey("f", Reduction("means"), dtype) for dtype in ("float32", "float16", "bfloat16")]
    assert len({key.identity for key in keys}) == 1
    assert {key.stored_as for key in keys} == {"float32"}


def test_reduced_precision_is_another_number_on_another_device() -> None:
    assert precision_label("float32", "cpu") == precision_label("float32", "cuda:1")
    assert precision_label("bfloat16", "cuda:0") == precision_label("bfloat16", "cuda:1")
    assert precision_label("bfloat16", "cpu") != precision_label("bfloat16", "cuda")


def test_a_store_says_what_it_holds(tmp_path: Path) -> None:
    store = FeatureStore(
        StoreKey("f", Reduction("means", True, "r"), precision="bfloat16 on cpu", upstream="U"), tmp_path
    )
    store.write({"a": Reduction("means").of(torch.randn(2, 3, 4))})
    said = json.loads((store.folder / "store.json").read_text(encoding="utf-8"))
    expected = {
        "what": "means",
        "layer_norm": True,
        "dtype": "float32",
        "precision": "bfloat16 on cpu",
        "upstream": "U",
    }
    assert expected.items() <= said.items()


# --- kinds and types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("what", ["means", "variances", "covariances"])
def test_moments_come_back_as_they_were(
    tmp_path: Path, what: Any, mapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mapped:
        monkeypatch.setattr(store_module, "MEMORY_SHARE", 0)
    reduction = Reduction(what)
    kept = {f"k{n}": reduction.of(torch.randn(3, n + 1, 4)) for n in range(4)}
    store = FeatureStore(StoreKey("f", reduction), tmp_path)
    store.write(kept)
    view = FeatureStore(StoreKey("f", reduction), tmp_path).features(list(kept))
    assert isinstance(view, MappedFeatures) is mapped
    for key, expected in kept.items():
        found = view[key]
        assert isinstance(found, Moments) and isinstance(expected, Moments)
        for name, value in vars(expected).items():
            assert (value is None and getattr(found, name) is None) or torch.equal(getattr(found, name), value)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_frames_are_stored_in_half_precision_on_request(tmp_path: Path, dtype: Any) -> None:
    frames = {"a": torch.randn(2, 50, 4)}
    store = FeatureStore(StoreKey("f", dtype=dtype), tmp_path)
    store.write(frames)
    found = store.load(["a"])["a"]
    assert isinstance(found, Tensor) and found.dtype == getattr(torch, dtype)
    torch.testing.assert_close(found, frames["a"].to(found.dtype), rtol=0, atol=0)
    error = (found.float() - frames["a"]).norm() / frames["a"].norm()
    assert store.relative_error([frames["a"]], [frames["a"]]) == pytest.approx(float(error), rel=1e-3)


def test_what_is_too_large_for_half_precision_is_said(tmp_path: Path) -> None:
    frames = {"loud": torch.full((1, 2, 2), 7e4)}
    with pytest.raises(StoreError, match=r"too large for float16.*loud.*bfloat16 or float32"):
        FeatureStore(StoreKey("f", dtype="float16"), tmp_path).write(frames)
    for dtype in ("bfloat16", "float32"):
        FeatureStore(StoreKey("f", dtype=dtype), tmp_path).write(frames)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("what", ["frames", "covariances"])
def test_numbers_that_are_not_finite_are_never_stored(tmp_path: Path, value: float, dtype: Any, what: Any) -> None:
    frames = torch.zeros(1, 2, 2)
    frames[0, 1, 1] = value
    store = FeatureStore(StoreKey("f", Reduction(what), dtype, upstream="Shouting"), tmp_path)
    with pytest.raises(StoreError, match=r"Shouting gives features that are not finite.*hash silent.*float32"):
        store.write({"good": Reduction(what).of(torch.ones(1, 2, 2)), "silent": Reduction(what).of(frames)})
    assert len(FeatureStore(store.key, tmp_path)) == 0


# --- damage -----------------------------------------------------------------------------------------------------------


def _flip(shard: Path, key: str) -> None:
    """Change one bit of what a shard holds of an utterance."""
    raw = bytearray(shard.read_bytes())
    header = int.from_bytes(raw[:8], "little")
    raw[8 + header + json.loads(raw[8 : 8 + header])[key]["data_offsets"][0]] ^= 1
    shard.write_bytes(raw)


def test_a_changed_bit_sets_the_shard_aside_when_it_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a", "b"))
    (shard,) = store.folder.glob("*.safetensors")
    store.write(_frames("c"))
    _flip(shard, "b")
    store = FeatureStore(StoreKey("f"), tmp_path)
    assert store.missing(["a", "b", "c"]) == [], "nothing but reading tells"
    with pytest.raises(DamagedStoreError, match=rf"{shard.name}: the features of b have changed"):
        store.load(["c", "b"])
    assert shard.name in caplog.text
    assert (
        store.missing(["a", "b", "c"]) == FeatureStore(StoreKey("f"), tmp_path).missing(["a", "b", "c"]) == ["a", "b"]
    )
    assert shard.with_suffix(".damaged").exists() and not shard.exists()


def test_a_changed_bit_sets_the_shard_aside_when_it_is_read_from_the_mapped_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_module, "MEMORY_SHARE", 0)
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a", "b"))
    (shard,) = store.folder.glob("*.safetensors")
    _flip(shard, "b")
    view = FeatureStore(StoreKey("f"), tmp_path).features(["a", "b"])
    _assert_equal({"a": view["a"]}, _frames("a"))
    with pytest.raises(DamagedStoreError, match=r"features of b have changed.*Run the same command again"):
        view["b"]
    assert shard.name in caplog.text
    assert FeatureStore(StoreKey("f"), tmp_path).missing(["a", "b"]) == ["a", "b"], "the same command makes it anew"


def test_a_damaged_shard_that_cannot_be_renamed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a"))
    (shard,) = store.folder.glob("*.safetensors")
    _flip(shard, "a")

    def refuses(source: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(DamagedStoreError):
        store.load(["a"])
    store.refresh()
    assert shard.exists() and "a" not in store


# --- several processes ------------------------------------------------------------------------------------------------


def test_small_shards_become_one_of_the_size_that_shards_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = {f"k{n}": torch.randn(2, 5, 4) for n in range(10)}
    size = 4 * frames["k0"].numel()
    monkeypatch.setattr(store_module, "SHARD_BYTES", 3 * size)
    store = FeatureStore(StoreKey("f"), tmp_path)
    for key, value in frames.items():
        store.write({key: value})
    shards = sorted(store.folder.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    assert len(shards) == 10 // 3 + 1, "every third write puts three together, the last is left"
    store.merge()
    assert len(list(store.folder.glob("*.safetensors"))) == 4, "one alone stays as it is"
    _assert_equal(store.load(list(frames)), frames)
    _assert_equal(FeatureStore(StoreKey("f"), tmp_path).load(list(frames)), frames)


@pytest.mark.parametrize("mapped", [False, True])
def test_what_another_process_merges_is_found_again(
    tmp_path: Path, mapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mapped:
        monkeypatch.setattr(store_module, "MEMORY_SHARE", 0)
    writer = FeatureStore(StoreKey("f"), tmp_path)
    writer.write(_frames("a"))
    writer.write({"b": _frames("a", "b")["b"]})
    reader = FeatureStore(StoreKey("f"), tmp_path)
    lazy = reader.features(["a", "b"])
    writer.merge()
    assert len(list(writer.folder.glob("*.safetensors"))) == 1
    for view in (lazy, reader.features(["a", "b"])):
        _assert_equal({key: view[key] for key in view}, _frames("a", "b"))
    reader.refresh()
    assert reader.missing(["a", "b"]) == []


def test_a_kill_between_a_merge_and_its_tidying_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a"))
    store.write({"b": _frames("a", "b")["b"]})

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            store.merge()
    again = FeatureStore(StoreKey("f"), tmp_path)
    assert len(again) == 2
    _assert_equal(again.load(["a", "b"]), _frames("a", "b"))


def test_shards_that_go_are_noticed(tmp_path: Path) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a"))
    (shard,) = store.folder.glob("*.safetensors")
    store.write(_frames("b"))
    shard.unlink()
    with pytest.raises(DamagedStoreError, match="Run the same command again"):
        store.load(["a", "b"])
    assert store.missing(["a", "b"]) == ["a"]


def test_processes_of_one_machine_share_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a", "b"))
    (shard,) = store.folder.glob("*.safetensors")
    monkeypatch.setattr(
        "ser_toolkit.system.memory.available", lambda: 3 * shard.stat().st_size / store_module.MEMORY_SHARE
    )
    for told, in_memory in (("", True), ("3", True), ("4", False)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", told)
        assert isinstance(store.features(["a", "b"]), dict) is in_memory


def test_a_link_to_nowhere_is_no_shard(tmp_path: Path) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a"))
    (store.folder / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    assert len(FeatureStore(StoreKey("f"), tmp_path)) == 1


def test_use_is_noted(tmp_path: Path) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.touch()  # nothing there, nothing said
    store.write(_frames("a"))
    note = store.folder / "store.json"
    os.utime(note, (0, 0))
    store.touch()
    assert note.stat().st_mtime > 0


def test_a_store_that_never_rests_is_looked_at_a_few_times_and_keeps_what_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    for key in "abc":
        store.write(_frames(key))
    listed, looked = sorted(store.folder.glob("*.safetensors")), []

    def gone(shard: Path) -> list[str]:
        if shard == listed[0]:
            looked.append(shard)
            raise FileNotFoundError(shard)
        return shards_module.shard_keys(shard)

    monkeypatch.setattr(store_module, "shard_keys", gone)
    monkeypatch.setattr(store_module, "LOOK_SECONDS", 0)
    again = FeatureStore(StoreKey("f"), tmp_path)
    assert len(looked) == store_module.LOOKS
    assert len(again) == 2
    monkeypatch.undo()
    again.refresh()
    assert len(again) == 3, "the next look finds it"


def test_a_shard_that_is_listed_but_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.write(_frames("a"))

    def gone(shard: Path, *_: object) -> Any:
        raise FileNotFoundError(shard)

    monkeypatch.setattr(store_module, "LOOK_SECONDS", 0)
    for name in ("shard_keys", "read_shard"):
        monkeypatch.setattr(store_module, name, gone)
    with pytest.raises(DamagedStoreError, match="Run the same command again"):
        store.load(["a"])


@pytest.mark.parametrize("mode", [0o750, 0o770, 0o755])
def test_every_file_of_a_store_takes_the_permissions_of_its_folder(tmp_path: Path, mode: int) -> None:
    store = FeatureStore(StoreKey("f"), tmp_path)
    store.folder.mkdir()
    store.folder.chmod(mode)
    before = os.umask(0o077)
    try:
        store.write(_frames("a"))
    finally:
        os.umask(before)
    assert {path.suffix: oct(path.stat().st_mode & 0o777) for path in store.folder.iterdir()} == {
        ".json": oct(mode & 0o666),
        ".safetensors": oct(mode & 0o666),
    }
