"""Frames of a frozen upstream, kept once for every fold, seed and head.

A store is a folder of safetensors shards. A shard is written whole and renamed into place, so it is there or not:
a killed run loses the shard it was filling, several writers cannot disturb each other, and the index is what the
shards' own headers say. Keys are audio hashes (content and segment), never file names.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ser_toolkit.errors import StoreError
from ser_toolkit.features import FEATURE_VERSION
from ser_toolkit.places import cache_root

#: Stores up to this size are read into memory; larger ones stay on disk, memory-mapped.
IN_MEMORY_BYTES = 4 * 2**30


class FeatureStore:
    """Frames by audio hash: ``store[key]`` -> (L, T, D) float32.

    Args:
        fingerprint: what the features depend on, from ``Upstream.fingerprint()``: another fingerprint, another folder.
        root: where stores lie; ``cache_root() / "features"`` when None.
    """

    def __init__(self, fingerprint: str, root: Path | None = None) -> None:
        identity = hashlib.sha256(f"v{FEATURE_VERSION}|{fingerprint}".encode()).hexdigest()[:16]
        self.folder = (root or cache_root() / "features") / identity
        self.fingerprint = fingerprint
        self._shard_of: dict[str, Path] = {}
        self.damaged: list[Path] = []
        self.refresh()

    def refresh(self) -> None:
        """Read the shards' headers again; a damaged shard is set aside by name and will be extracted anew."""
        self._shard_of.clear()
        for shard in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(shard, framework="pt") as content:
                    self._shard_of.update(dict.fromkeys(content.keys(), shard))
            except (SafetensorError, OSError):
                aside = shard.with_suffix(".damaged")
                # Another process may have set it aside already; a folder that cannot be written keeps it.
                with contextlib.suppress(OSError):
                    shard.rename(aside)
                self.damaged.append(aside)

    def __contains__(self, key: str) -> bool:
        """Whether the frames of this audio are stored."""
        return key in self._shard_of

    def __len__(self) -> int:
        """Number of stored utterances."""
        return len(self._shard_of)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """The keys that are not stored, each once, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._shard_of]

    def write(self, frames: Mapping[str, Tensor]) -> None:
        """Add one shard: key -> (L, T, D).

        Raises:
            StoreError: the disk is full or the folder is not writable; nothing half-written stays behind.
        """
        name = f"{uuid.uuid4().hex[:12]}.safetensors"
        partial = self.folder / f"{name}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            readme = self.folder / "fingerprint.txt"
            if not readme.exists():
                readme.write_text(self.fingerprint + "\n", encoding="utf-8")
            save_file({key: value.contiguous() for key, value in frames.items()}, partial)
            partial.rename(self.folder / name)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise StoreError(
                f"Cannot store features in {self.folder}: {error}. Free some space there, or set SER_CACHE to "
                "another disk, and run the same command again: what is stored already stays."
            ) from error
        self._shard_of.update(dict.fromkeys(frames, self.folder / name))

    def load(self, keys: Sequence[str]) -> dict[str, Tensor]:
        """Frames of the given keys, read shard by shard.

        Raises:
            StoreError: a key is not stored, or its shard was damaged or removed since the headers were read.
        """
        absent = self.missing(keys)
        if absent:
            raise StoreError(f"{len(absent)} utterances are not in the store {self.folder}. Run the recipe again.")
        by_shard: dict[Path, list[str]] = {}
        for key in dict.fromkeys(keys):
            by_shard.setdefault(self._shard_of[key], []).append(key)
        found: dict[str, Tensor] = {}
        for shard, names in by_shard.items():
            try:
                with safe_open(shard, framework="pt") as content:
                    found.update({name: content.get_tensor(name) for name in names})
            except (OSError, SafetensorError) as error:
                raise StoreError(
                    f"Cannot read stored features from {shard}: {error}. Run the same command again: a damaged shard "
                    "is set aside and extracted anew."
                ) from error
        return found

    def view(self, keys: Sequence[str]) -> Mapping[str, Tensor]:
        """Frames of the given keys: in memory when they are small enough, else read from the mapped shards one by one.

        Raises:
            StoreError: a key is not stored.
        """
        shards = {self._shard_of[key] for key in keys if key in self}
        try:
            size = sum(shard.stat().st_size for shard in shards)
        except OSError as error:
            raise StoreError(f"Stored features are gone: {error}. Run the recipe again to extract them.") from error
        if self.missing(keys) or size <= IN_MEMORY_BYTES:
            return self.load(keys)
        return MappedFrames({key: self._shard_of[key] for key in keys})


class MappedFrames(Mapping[str, Tensor]):
    """Frames by audio hash, read from memory-mapped shards when asked for: memory stays bounded.

    Args:
        shard_of: audio hash -> shard.
    """

    def __init__(self, shard_of: Mapping[str, Path]) -> None:
        self._shard_of = shard_of
        self._open: dict[Path, Any] = {}

    def __getitem__(self, key: str) -> Tensor:
        shard = self._shard_of[key]
        if shard not in self._open:
            try:
                self._open[shard] = safe_open(shard, framework="pt").__enter__()
            except (OSError, SafetensorError) as error:
                raise StoreError(f"Cannot read stored features from {shard}: {error}. Run the recipe again.") from error
        return self._open[shard].get_tensor(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard_of)

    def __len__(self) -> int:
        return len(self._shard_of)

    def __getstate__(self) -> dict[str, Any]:
        # a worker process maps the shards itself
        return {"_shard_of": self._shard_of, "_open": {}}


class Features(Mapping[str, Tensor]):
    """Frames by utterance id: what a data module trains from.

    Args:
        frames: audio hash -> (L, T, D).
        key_of: utterance id -> audio hash.
    """

    def __init__(self, frames: Mapping[str, Tensor], key_of: Mapping[str, str]) -> None:
        self._frames = frames
        self._key_of = key_of

    def __getitem__(self, utterance: str) -> Tensor:
        return self._frames[self._key_of[utterance]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._key_of)

    def __len__(self) -> int:
        return len(self._key_of)


class ParallelFeatures(Mapping[str, tuple[Tensor, ...]]):
    """Frames by utterance id under several upstreams.

    Args:
        parts: of each upstream, all with the same utterances.
    """

    def __init__(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        self._parts = parts

    def __getitem__(self, utterance: str) -> tuple[Tensor, ...]:
        return tuple(part[utterance] for part in self._parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])


def shard_size_in_bytes(frames: Mapping[str, Tensor]) -> int:
    """Bytes that these tensors take."""
    return sum(value.numel() * value.element_size() for value in frames.values())


def to_store(frames: Tensor, length: int) -> Tensor:
    """The valid frames of one row of a batch, on the CPU: (L, T, D) -> (L, length, D) float32."""
    return frames[:, :length].to("cpu", torch.float32).clone()
