"""Stored features as data modules take them: mappings by utterance, from memory or from mapped files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ser_toolkit.data.batch import StoredPart
from ser_toolkit.data.reduction import FRAMES, Reduction, What
from ser_toolkit.errors import StoreError
from ser_toolkit.features.shards import DamagedShardError, DamagedStoreError, MappedShard, set_aside


class MappedFeatures(Mapping[str, StoredPart]):
    """Features by audio hash, read from memory-mapped shards at each access: memory stays bounded.

    Args:
        shard_of: audio hash -> shard.
        what: stored of the frames.
        locate: audio hash -> shard, looked up again: another process may have merged small shards since.
    """

    def __init__(self, shard_of: Mapping[str, Path], what: What, locate: Callable[[str], Path]) -> None:
        self._shard_of = dict(shard_of)
        self._what: What = what
        self._locate = locate
        self._open: dict[Path, MappedShard] = {}

    def __getitem__(self, key: str) -> StoredPart:
        shard = self._shard_of[key]
        try:
            if shard not in self._open:
                if not shard.exists():
                    shard = self._shard_of[key] = self._locate(key)
                self._open[shard] = MappedShard(shard)
            return self._open[shard].read(key).unpacked(self._what)
        except DamagedShardError as error:
            set_aside(shard, error)
            raise DamagedStoreError(error) from error
        except FileNotFoundError as error:
            raise StoreError(f"Stored features are gone: {error}. Run the same command again.") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard_of)

    def __len__(self) -> int:
        return len(self._shard_of)

    def __getstate__(self) -> dict[str, object]:
        # a worker process maps the shards itself
        return self.__dict__ | {"_open": {}}


class Features(Mapping[str, StoredPart]):
    """Features under one upstream, by utterance id.

    Args:
        stored: audio hash -> frames (L, T, D) or moments.
        key_of: utterance id -> audio hash.
        reduction: of the frames.
        fingerprint: of the upstream.
    """

    def __init__(
        self,
        stored: Mapping[str, StoredPart],
        key_of: Mapping[str, str],
        reduction: Reduction = FRAMES,
        fingerprint: str = "",
    ) -> None:
        self._stored = stored
        self._key_of = key_of
        self.reductions: tuple[Reduction, ...] = (reduction,)
        self.fingerprint = fingerprint

    def __getitem__(self, utterance: str) -> StoredPart:
        return self._stored[self._key_of[utterance]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._key_of)

    def __len__(self) -> int:
        return len(self._key_of)


class ParallelFeatures(Mapping[str, tuple[StoredPart, ...]]):
    """Features under several upstreams, by utterance id.

    Args:
        parts: of each upstream, all with the same utterances.
    """

    def __init__(self, parts: Sequence[Features]) -> None:
        self._parts = parts
        self.reductions: tuple[Reduction, ...] = tuple(reduction for part in parts for reduction in part.reductions)
        self.fingerprint = " + ".join(part.fingerprint for part in parts)

    def __getitem__(self, utterance: str) -> tuple[StoredPart, ...]:
        return tuple(part[utterance] for part in self._parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])
