"""Upkeep of stores: every shard is read and compared with its checksums, or stores are removed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ser_toolkit.errors import StoreError
from ser_toolkit.features.inventory import StoreInfo, in_use, own_files, size_of
from ser_toolkit.features.shards import DamagedShardError, read_shard, set_aside
from ser_toolkit.features.store import DESCRIPTION
from ser_toolkit.system.progress import SILENT, Progress


def verify(store: StoreInfo, progress: Progress = SILENT) -> list[Path]:
    """Read every shard and compare the checksum of every utterance; damaged shards are set aside by name.

    Utterances of a damaged shard count as missing from then on: the next extraction computes them again.

    Args:
        store: to be verified.
        progress: bytes read and bytes to read.

    Returns:
        Where the damaged shards lie now, ``*.damaged``.
    """
    damaged = []
    done, total = 0, sum(size_of(shard) for shard in store.shards)
    for shard in store.shards:
        size = size_of(shard)
        try:
            read_shard(shard)
        except FileNotFoundError:
            pass  # merged by a process that is extracting
        except DamagedShardError as error:
            damaged.append(set_aside(shard, error))
        done += size
        progress.update(done, total)
    return damaged


def remove(store: StoreInfo, leftovers_only: bool = False) -> int:
    """Remove a store, or only its files that are no use any more.

    Only files that a store consists of are removed; a folder that holds others stays with them. Links are removed
    themselves, never their targets.

    Returns:
        Bytes that were freed.

    Raises:
        StoreError: a living process is extracting into the store, or a file cannot be removed.
    """
    if in_use(store.folder):
        raise StoreError(
            f"Store {store.identity} is in use: a process is extracting into it, or was until a few minutes ago."
        )
    freed = 0
    try:
        # the description last: an interrupted removal leaves a store of which something is missing
        for path in store.leftovers if leftovers_only else sorted(own_files(store.folder), key=_is_description):
            size = size_of(path)
            path.unlink(missing_ok=True)
            freed += size
    except OSError as error:
        raise StoreError(f"Cannot remove {error.filename}: {error.strerror}.") from error
    if not leftovers_only:
        for folder in (store.folder / "claims", store.folder):
            with contextlib.suppress(OSError):
                folder.rmdir()
    return freed


def _is_description(path: Path) -> bool:
    return path.name == DESCRIPTION
