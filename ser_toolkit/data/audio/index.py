"""Duration and hash of every audio file of a corpus: read once in threads, cached where it may always be deleted."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser_toolkit.data.audio.decode import file_hash, probe
from ser_toolkit.errors import AudioError
from ser_toolkit.system.audio_files import absent, shown
from ser_toolkit.system.files import whole
from ser_toolkit.system.places import cache_root
from ser_toolkit.system.progress import SILENT, Progress

_LAYOUT = "v3"
_COLUMNS = ["path", "size", "mtime_ns", "duration", "hash", "sampling_rate", "channels"]
_THREADS = 8


@dataclass(frozen=True)
class AudioEntry:
    """Facts about one audio file.

    Args:
        duration: of the whole file, in seconds; 0 when it cannot be used.
        hash: of the file's bytes, 16 hexadecimal digits.
        problem: why the file cannot be used, as one line; None when it can.
        sampling_rate: in hertz; 0 when it cannot be used.
        channels: how many there are; 0 when it cannot be used.
    """

    duration: float = 0.0
    hash: str = ""
    problem: str | None = None
    sampling_rate: int = 0
    channels: int = 0


def index_audio(root: Path, paths: Iterable[str], progress: Progress = SILENT) -> dict[str, AudioEntry]:
    """Look at the header and the bytes of every file once.

    Args:
        root: corpus folder.
        paths: relative to ``root``; repetitions (several utterances of one file) are read once.
        progress: files done and files in all, from the calling thread.

    Returns:
        An entry for every distinct path; that of a file that cannot be used has its ``problem``.
    """
    wanted = list(dict.fromkeys(paths))
    cache_path = cache_root() / f"audio-{_LAYOUT}-{_key(root)}.parquet"
    cached = _load(cache_path)
    entries: dict[str, AudioEntry] = {}
    found: _Cache = {}
    pool = ThreadPoolExecutor(max_workers=min(_THREADS, max(1, len(wanted))))
    try:
        looked = pool.map(lambda path: _look(root / path, path, cached), wanted)
        for done, (path, (entry, stamp)) in enumerate(zip(wanted, looked, strict=True), start=1):
            entries[path] = entry
            if entry.problem is None:
                found[(path, *stamp)] = entry
            progress.update(done, len(wanted))
    finally:
        # Also when interrupted: entries that were read are stored, and files that wait are not read any more.
        pool.shutdown(cancel_futures=True)
        if not found.keys() <= cached.keys():
            others = {key: entry for key, entry in cached.items() if key[0] not in entries}
            _store(cache_path, others | found)
    return entries


_Cache = dict[tuple[str, int, int], AudioEntry]


def _look(file: Path, path: str, cached: _Cache) -> tuple[AudioEntry, tuple[int, int]]:
    try:
        status = file.stat()
    except OSError:
        return AudioEntry(problem=f"{shown(file)}: {absent(file)}."), (0, 0)
    stamp = (status.st_size, status.st_mtime_ns)
    if (known := cached.get((path, *stamp))) is not None:
        return known, stamp
    try:
        info = probe(file)
        return AudioEntry(info.duration, file_hash(file), None, info.sampling_rate, info.num_channels), stamp
    except AudioError as error:
        return AudioEntry(problem=str(error)), stamp


def _key(root: Path) -> str:
    return hashlib.blake2b(os.fsencode(root.resolve()), digest_size=8).hexdigest()


def _load(cache_path: Path) -> _Cache:
    """Entries of the cache; none when it is absent, damaged or from another layout."""
    try:
        table = pd.read_parquet(cache_path, columns=_COLUMNS)
        columns = [table[name].tolist() for name in _COLUMNS]
        return {
            (path, int(size), int(time)): AudioEntry(float(duration), str(hash_), None, int(rate), int(channels))
            for path, size, time, duration, hash_, rate, channels in zip(*columns, strict=True)
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _store(cache_path: Path, known: _Cache) -> None:
    """Write the cache by an atomic rename; a folder that cannot be written only costs the time to read again."""
    rows = [(*key, entry.duration, entry.hash, entry.sampling_rate, entry.channels) for key, entry in known.items()]
    with contextlib.suppress(OSError), whole(cache_path, durable=False) as partial:
        pd.DataFrame(rows, columns=_COLUMNS).to_parquet(partial, index=False)
