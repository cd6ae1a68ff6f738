"""Stores of features of a frozen upstream, which are computed once for every fold, seed and head.

A store is a folder of safetensors shards, named by everything that its content depends on. A shard is written whole and
renamed into place, so it is there or not: a killed run loses the batch it was computing, several writers cannot disturb
each other, and the index is read from the headers of the shards. Keys are audio hashes (content and segment), never
file names. Every utterance has a checksum that is compared when it is read.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from ser_toolkit.data.batch import StoredPart
from ser_toolkit.errors import StoreError
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.settings import TYPES
from ser_toolkit.features.shards import (
    SUFFIX,
    DamagedShardError,
    DamagedStoreError,
    ShardEntry,
    read_shard,
    set_aside,
    shard_keys,
    write_shard,
)
from ser_toolkit.features.views import MappedFeatures
from ser_toolkit.system.files import write_json
from ser_toolkit.system.memory import free_memory
from ser_toolkit.system.places import cache_root

#: Small shards, written after every batch, are put together into shards of this size.
SHARD_BYTES = 64 * 2**20
#: Share of the free memory up to which features are read into it, by all processes of a machine together; larger ones
#: stay mapped files.
MEMORY_SHARE = 0.4
#: Looks at a store that others are changing, and seconds before the second (twice as long before the third, and so on).
LOOKS, LOOK_SECONDS = 5, 0.02
#: File with the key of a store.
DESCRIPTION = "store.json"


class FeatureStore:
    """Features of utterances, by audio hash.

    Args:
        key: what the features depend on: another key, another folder.
        root: where stores lie; ``cache_root() / "features"`` when None.
    """

    def __init__(self, key: StoreKey, root: Path | None = None) -> None:
        self.key = key
        self.folder = (root or stores_root()) / key.identity
        self._shard_of: dict[str, Path] = {}
        self._known: set[Path] = set()
        self._bad: set[Path] = set()
        self._small: list[tuple[Path, dict[str, ShardEntry]]] = []
        self.damaged: list[Path] = []
        self.refresh()

    def refresh(self) -> None:
        """Look at the disk for shards that have come or gone; a truncated one is renamed, so that it is not read.

        Utterances that cannot be read because other processes merge shards meanwhile, or because a network disk still
        lists removed files, count as missing until the next look: at worst they are computed twice, alike.
        """
        for look in range(LOOKS):
            if look:
                time.sleep(LOOK_SECONDS * look)
                self._forget()
            if self._looked_through():
                return

    def _looked_through(self) -> bool:
        """Look once; False when a shard went meanwhile: another process merged it, its content lies elsewhere now."""
        present = set(self.folder.glob(f"*{SUFFIX}")) - self._bad
        gone = self._known - present
        if gone:
            self._shard_of = {key: shard for key, shard in self._shard_of.items() if shard not in gone}
            # the keys of a merged shard may have been noted under the small ones before
            present_again, self._known = present, set()
        else:
            present_again = present - self._known
        whole = True
        for shard in sorted(present_again):
            try:
                self._shard_of.update(dict.fromkeys(shard_keys(shard), shard))
                self._known.add(shard)
            except FileNotFoundError:
                if shard.is_symlink():
                    self._bad.add(shard)  # a link to nowhere stays, however often one looks
                else:
                    whole = False
            except DamagedShardError as error:
                self.set_aside(shard, error)
        return whole

    def _forget(self) -> None:
        self._known, self._shard_of = set(), {}

    def __contains__(self, key: str) -> bool:
        """Whether this audio is stored."""
        return key in self._shard_of

    def __len__(self) -> int:
        """Number of stored utterances."""
        return len(self._shard_of)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """The keys that are not stored, each once, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._shard_of]

    def write(self, features: Mapping[str, StoredPart]) -> None:
        """Add utterances; they are safe when this returns.

        Raises:
            StoreError: the disk is full, the folder is not writable, or a number is not finite; nothing half-written
                stays behind.
        """
        packed = {key: self._entry(key, value) for key, value in features.items()}
        if not packed:
            return
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._describe()
            path = write_shard(self.folder, packed)
        self._note(path, packed)
        if _size(packed) < SHARD_BYTES:
            self._small.append((path, packed))
            if sum(_size(content) for _, content in self._small) >= SHARD_BYTES:
                self.merge()

    def merge(self) -> None:
        """Put the small shards that this object has written into one."""
        small, self._small = self._small, []
        if len(small) < 2:
            return
        together = {key: packed for _, content in small for key, packed in content.items()}
        with self._writing():
            path = write_shard(self.folder, together)
        self._note(path, together)
        for old, _ in small:
            self._known.discard(old)
            with contextlib.suppress(OSError):
                old.unlink()

    def load(self, keys: Sequence[str]) -> dict[str, StoredPart]:
        """Features of the given utterances, read shard by shard and verified.

        Raises:
            StoreError: a key is not stored, or its shard was damaged or removed since the headers were read.
        """
        absent = self.missing(keys)
        if absent:
            raise StoreError(
                f"{len(absent)} utterances are not in the store {self.folder}. Run the same command again."
            )
        by_shard: dict[Path, list[str]] = {}
        for key in dict.fromkeys(keys):
            by_shard.setdefault(self._shard_of[key], []).append(key)
        found: dict[str, StoredPart] = {}
        for shard, names in by_shard.items():
            try:
                content = read_shard(shard, names)
            except FileNotFoundError as error:
                self._forget()
                self.refresh()  # another process has merged it, or set it aside
                if self.missing(names):
                    raise DamagedStoreError(error) from error
                found |= self.load(names)
                continue
            except DamagedShardError as error:
                self.set_aside(shard, error)
                raise DamagedStoreError(error) from error
            found |= {name: packed.unpacked(self.key.reduction.what) for name, packed in content.items()}
        return found

    def features(self, keys: Sequence[str]) -> Mapping[str, StoredPart]:
        """Features of the given utterances: in memory when they fit, else read from the mapped shards one by one.

        Raises:
            StoreError: a key is not stored, or a shard is damaged or gone.
        """
        size = 0
        for shard in {self._shard_of[key] for key in keys if key in self}:
            with contextlib.suppress(FileNotFoundError):  # another process may just have merged it
                size += shard.stat().st_size
        if self.missing(keys) or size <= MEMORY_SHARE * free_memory():
            return self.load(keys)
        return MappedFeatures({key: self._shard_of[key] for key in keys}, self.key.reduction.what, self.locate)

    def locate(self, key: str) -> Path:
        """The shard that holds an utterance now.

        Raises:
            StoreError: none does.
        """
        self.refresh()
        if key not in self:
            raise StoreError(f"Stored features are gone from {self.folder}. Run the same command again.")
        return self._shard_of[key]

    def set_aside(self, shard: Path, error: Exception) -> None:
        """Rename a damaged shard, so that it is not read any more; its utterances count as missing."""
        self.damaged.append(set_aside(shard, error))
        self._known.discard(shard)
        self._bad.add(shard)  # where it cannot be renamed
        self._shard_of = {key: path for key, path in self._shard_of.items() if path != shard}

    def relative_error(self, found: Sequence[StoredPart], exact: Sequence[StoredPart]) -> float:
        """Relative error of features as they are stored: norm of the difference from exact ones over their norm."""
        pairs = [
            (ShardEntry.of(one).values.to(TYPES[self.key.stored_as]).double(), ShardEntry.of(other).values.double())
            for one, other in zip(found, exact, strict=True)
        ]
        difference = sum(float((one - other).square().sum()) for one, other in pairs)
        return (difference / max(sum(float(other.square().sum()) for _, other in pairs), 1e-30)) ** 0.5

    def touch(self) -> None:
        """Note that the store is in use."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / DESCRIPTION)

    def _note(self, path: Path, content: Mapping[str, ShardEntry]) -> None:
        self._known.add(path)
        self._shard_of.update(dict.fromkeys(content, path))

    def _entry(self, key: str, part: StoredPart) -> ShardEntry:
        """Features of one utterance in the type that is stored, on the CPU.

        Raises:
            StoreError: a number is not finite, or too large for the type.
        """
        packed = ShardEntry.of(part)
        values = packed.values.to("cpu", TYPES[self.key.stored_as], copy=True)
        if not bool(torch.isfinite(values).all()):
            if bool(torch.isfinite(packed.values).all()):
                raise StoreError(
                    f"Features are too large for {self.key.stored_as} (utterance with audio hash {key}). "
                    "Set features.dtype=bfloat16 or float32."
                )
            raise StoreError(
                f"{self.key.upstream or 'The upstream'} gives features that are not finite (utterance with audio hash "
                f"{key}, precision {self.key.precision}). Look at the recording; set features.precision=float32."
            )
        return ShardEntry(values, packed.count)

    def _describe(self) -> None:
        path = self.folder / DESCRIPTION
        if not path.exists():
            write_json(path, self.key.description())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"Cannot store features in {self.folder}: {error}. Free some space there, or set SER_CACHE to "
                "another disk, and run the same command again: what is stored already stays."
            ) from error


def stores_root() -> Path:
    """Where stores lie unless told otherwise."""
    return cache_root() / "features"


def _size(content: Mapping[str, ShardEntry]) -> int:
    return sum(packed.size for packed in content.values())
