"""One file of a store: safetensors with a checksum for each utterance, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ser_toolkit.data.batch import Moments, StoredPart
from ser_toolkit.data.reduction import What
from ser_toolkit.errors import StoreError
from ser_toolkit.system.files import whole

_LOG = logging.getLogger(__name__)
SUFFIX = ".safetensors"


class DamagedShardError(Exception):
    """A shard that is truncated, or has changed since it was written."""


class DamagedStoreError(StoreError):
    """Stored features were damaged; the shard is set aside and counts as missing."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"Stored features are damaged: {error}. Damaged files are set aside. Run the same command again: what they "
            "held is extracted anew."
        )


@dataclass(frozen=True)
class ShardEntry:
    """Stored features of one utterance as one tensor, and the number of frames that they were made of."""

    values: Tensor
    count: int

    @classmethod
    def of(cls, part: StoredPart) -> ShardEntry:
        """Frames (L, T, D) as they are, moments (rows, D): means, then variances or second moments across layers."""
        if isinstance(part, Tensor):
            return cls(part, part.shape[1])
        rows = [value for value in (part.mean, part.variance, part.cross) if value is not None]
        return cls(torch.cat(rows), int(part.count))

    def unpacked(self, what: What) -> StoredPart:
        """Frames (L, T, D) or moments: the inverse of ``of``."""
        if what == "frames":
            return self.values
        count, rows = torch.tensor(self.count), len(self.values)
        if what == "means":
            return Moments(count, self.values)
        if what == "variances":
            return Moments(count, *self.values.chunk(2))
        # L + L (L + 1) / 2 rows
        layers = (math.isqrt(9 + 8 * rows) - 3) // 2
        return Moments(count, self.values[:layers], cross=self.values[layers:])

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return self.values.numel() * self.values.element_size()


def write_shard(folder: Path, content: Mapping[str, ShardEntry]) -> Path:
    """Write, then rename: the shard is there or not, whatever happens.

    Raises:
        OSError: the disk is full or the folder is not writable; nothing half-written stays behind.
    """
    path = folder / f"{uuid.uuid4().hex[:12]}{SUFFIX}"
    tensors = {key: packed.values.contiguous() for key, packed in content.items()}
    notes = {key: [packed.count, _checksum(tensors[key])] for key, packed in content.items()}
    try:
        with whole(path, durable=False) as partial:  # of a shard that did not reach the disk the checksums are wrong
            save_file(tensors, partial, {"utterances": json.dumps(notes)})
    except SafetensorError as error:
        raise OSError(str(error)) from error
    return path


def set_aside(path: Path, error: Exception) -> Path:
    """Rename a damaged shard, so that it is not read any more; returns its new path."""
    aside = path.with_suffix(".damaged")
    _LOG.warning("%s; set aside as %s, what it held is extracted anew.", error, aside.name)
    # Another process may have set it aside already; a folder that cannot be written keeps it.
    with contextlib.suppress(OSError):
        path.rename(aside)
    return aside


def shard_keys(path: Path) -> list[str]:
    """Keys of a shard, from its header.

    Raises:
        DamagedShardError: the file is not as long as its header states, or is no shard.
        FileNotFoundError: it is gone.
    """
    with _open(path) as content:
        return list(_notes(content, path))


def read_shard(path: Path, keys: Sequence[str] | None = None) -> dict[str, ShardEntry]:
    """Utterances of a shard, each verified by its checksum.

    Raises:
        DamagedShardError: an utterance has another checksum than when it was written.
        FileNotFoundError: the shard is gone.
    """
    with _open(path) as content:
        notes = _notes(content, path)
        return {key: _verified(content, key, notes, path) for key in (notes if keys is None else keys)}


class MappedShard:
    """A shard that stays open: utterances are read from the mapped file when asked for, verified the first time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _translated(path):
            self._content = safe_open(path, framework="pt").__enter__()
        self._notes = _notes(self._content, path)
        self._verified: set[str] = set()

    def read(self, key: str) -> ShardEntry:
        """Read the features of one utterance.

        Raises:
            DamagedShardError: it has another checksum than when it was written.
        """
        if key not in self._verified:
            packed = _verified(self._content, key, self._notes, self._path)
            self._verified.add(key)
            return packed
        return ShardEntry(self._content.get_tensor(key), self._notes[key][0])


def _verified(content: Any, key: str, notes: Mapping[str, list], path: Path) -> ShardEntry:
    values = content.get_tensor(key)
    if _checksum(values) != notes[key][1]:
        raise DamagedShardError(f"{path}: the features of {key} have changed since they were written")
    return ShardEntry(values, notes[key][0])


def _notes(content: Any, path: Path) -> dict[str, list]:
    try:
        return dict(json.loads((content.metadata() or {})["utterances"]))
    except (KeyError, ValueError) as error:
        raise DamagedShardError(f"{path} holds no list of utterances") from error


def _checksum(values: Tensor) -> str:
    """SHA-256 (16 hex digits) of the bytes."""
    raw = values.contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(raw.data).hexdigest()[:16]


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    with _translated(path), safe_open(path, framework="pt") as content:
        yield content


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Translate errors of safetensors: a damaged file gives one kind of error, a file that cannot be opened another."""
    try:
        yield
    except SafetensorError as error:
        raise DamagedShardError(f"{path}: {error}") from error
    except OSError as error:
        # safetensors calls whatever it cannot open not found
        if isinstance(error, FileNotFoundError) and not path.exists():
            raise
        raise StoreError(
            f"Stored features cannot be read: {path} ({error}). See who may read it, how many files may be open "
            "(ulimit -n) and how much memory is free."
        ) from error
