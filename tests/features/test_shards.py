"""One file of a store: what goes in comes out, whatever kind it is, and damage has a name."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ser_toolkit.data.batch import Moments, StoredPart
from ser_toolkit.data.reduction import ORDER, Reduction, What
from ser_toolkit.errors import StoreError
from ser_toolkit.features import shards as shards_module
from ser_toolkit.features.shards import DamagedShardError, MappedShard, ShardEntry, read_shard, shard_keys, write_shard

TYPES = (torch.float32, torch.float16, torch.bfloat16)


def assert_identical(found: StoredPart, expected: StoredPart) -> None:
    if isinstance(expected, Tensor):
        assert isinstance(found, Tensor)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
        return
    assert isinstance(found, Moments)
    for name, value in vars(expected).items():
        other = getattr(found, name)
        assert (other is None) == (value is None), name
        assert value is None or torch.equal(other, value), name


@settings(deadline=None, max_examples=40)
@given(layers=st.integers(1, 30), count=st.integers(1, 12), dim=st.integers(1, 4), what=st.sampled_from(ORDER))
def test_packing_loses_nothing(layers: int, count: int, dim: int, what: What) -> None:
    kept = Reduction(what).of(torch.randn(layers, count, dim))
    packed = ShardEntry.of(kept)
    assert packed.count == count
    assert packed.size == 4 * Reduction(what).values(layers, dim, count)
    assert_identical(packed.unpacked(what), kept)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_file_gives_back_what_was_written(tmp_path: Path, dtype: torch.dtype) -> None:
    content = {f"k{n}": ShardEntry(torch.randn(2, n + 1, 3).to(dtype), n + 1) for n in range(5)}
    content["strided"] = ShardEntry(torch.randn(3, 4, 2).to(dtype).transpose(0, 1), 3)
    path = write_shard(tmp_path, content)
    assert sorted(shard_keys(path)) == sorted(content)
    mapped = MappedShard(path)
    for found in (
        read_shard(path),
        {key: mapped.read(key) for key in content},
        {key: mapped.read(key) for key in content},
    ):
        assert found.keys() == content.keys()
        for key, packed in content.items():
            assert found[key].count == packed.count
            assert found[key].values.dtype == dtype
            assert torch.equal(found[key].values, packed.values)
    assert list(read_shard(path, ["k3"])) == ["k3"]


def test_a_mapped_file_is_verified_the_first_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_shard(tmp_path, {key: ShardEntry(torch.randn(2, 3, 4), 3) for key in "ab"})
    checked: list[Tensor] = []
    real = shards_module._checksum
    monkeypatch.setattr(shards_module, "_checksum", lambda values: checked.append(values) or real(values))
    mapped = MappedShard(path)
    for key in "abab":
        mapped.read(key)
    assert len(checked) == 2


def changed_byte(path: Path, key: str) -> None:
    """Flip one bit of what is stored of an utterance."""
    raw = bytearray(path.read_bytes())
    header = struct.unpack("<Q", raw[:8])[0]
    start = shards_module.json.loads(raw[8 : 8 + header])[key]["data_offsets"][0]
    raw[8 + header + start] ^= 1
    path.write_bytes(raw)


READERS: dict[str, Callable[[Path, str], object]] = {
    "into memory": lambda path, key: read_shard(path, [key]),
    "mapped": lambda path, key: MappedShard(path).read(key),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("dtype", TYPES)
def test_one_changed_bit_is_found_and_named(tmp_path: Path, reader: str, dtype: torch.dtype) -> None:
    path = write_shard(tmp_path, {key: ShardEntry(torch.randn(2, 3, 4).to(dtype), 3) for key in "ab"})
    changed_byte(path, "b")
    READERS[reader](path, "a")
    with pytest.raises(DamagedShardError, match=rf"{path.name}: the features of b have changed"):
        READERS[reader](path, "b")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", ["truncated", "longer", "no shard", "no list"])
def test_a_file_that_is_not_what_was_written_is_named(tmp_path: Path, reader: str, damage: str) -> None:
    path = write_shard(tmp_path, {"a": ShardEntry(torch.randn(2, 3, 4), 3)})
    raw = path.read_bytes()
    if damage == "no list":
        shards_module.save_file({"a": torch.zeros(3)}, path)
    else:
        path.write_bytes({"truncated": raw[:-1], "longer": raw + b"0", "no shard": b"\x05" * 50}[damage])
    with pytest.raises(DamagedShardError, match=path.name):
        READERS[reader](path, "a")
    with pytest.raises(DamagedShardError, match=path.name):
        shard_keys(path)


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_has_gone_is_no_damage(tmp_path: Path, reader: str) -> None:
    with pytest.raises(FileNotFoundError):
        READERS[reader](tmp_path / "gone.safetensors", "a")


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_cannot_be_opened_is_no_damage_either(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_shard(tmp_path, {"a": ShardEntry(torch.randn(2, 3, 4), 3)})

    def refuses(name: Path, framework: str) -> None:
        raise FileNotFoundError(f"No such file or directory: {name}")  # what safetensors says for want of rights

    monkeypatch.setattr(shards_module, "safe_open", refuses)
    with pytest.raises(StoreError, match=r"cannot be read.*who may read it"):
        READERS[reader](path, "a")


def test_a_kill_while_writing_leaves_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, {"a": ShardEntry(torch.zeros(1, 1, 1), 1)})
    assert os.listdir(tmp_path) == []
