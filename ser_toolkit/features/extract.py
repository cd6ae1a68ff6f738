"""Run a frozen upstream over a corpus, each utterance once, into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ser_toolkit.data.audio import read_audio
from ser_toolkit.data.batch import Stored, pad_sequences
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.features.store import Features, FeatureStore, ParallelFeatures, shard_size_in_bytes, to_store
from ser_toolkit.upstreams.base import Upstream

#: Audio seconds that go through the upstream at once; padding never changes a result, so this is only speed.
BATCH_SECONDS = 60.0
#: A shard is written when it holds this much: what a killed run loses at most.
SHARD_BYTES = 64 * 2**20

Progress = Callable[[float, float], None]


def extract_corpus(
    upstream: Upstream,
    manifest: Manifest,
    root: Path | None = None,
    device: torch.device | str = "cpu",
    allow_silent: bool = False,
    progress: Progress | None = None,
) -> Mapping[str, Stored]:
    """Frames of every utterance of a manifest, from the store or extracted into it now.

    Several upstreams that are fused are extracted one behind the other, each into its own store.

    Args:
        upstream: frozen.
        manifest: what to extract.
        root: where stores lie.
        device: where the upstream runs.
        allow_silent: whether digitally silent recordings are used.
        progress: called with (audio seconds done, audio seconds to do).

    Returns:
        Utterance id -> frames (L, T, D), or a tuple of them where several upstreams are fused.
    """
    found = [_extract(part, manifest, root, device, allow_silent, progress) for part in upstream.parts]
    return found[0] if len(found) == 1 else ParallelFeatures(found)


def _extract(
    upstream: Upstream,
    manifest: Manifest,
    root: Path | None,
    device: torch.device | str,
    allow_silent: bool,
    progress: Progress | None,
) -> Features:
    store = FeatureStore(upstream.fingerprint(), root)
    table = manifest.table
    keys = dict(zip(table["id"], table["audio_hash"], strict=True))
    wanted = set(store.missing(list(keys.values())))
    if wanted:
        rows = table[table["audio_hash"].isin(wanted)].drop_duplicates("audio_hash").sort_values("duration")
        upstream.to(device)
        writer = _ShardWriter(store)
        done, to_do = 0.0, float(rows["duration"].sum())
        try:
            for batch in _by_length(rows.to_dict("records")):
                waves = [_read(row, manifest.root, upstream.sampling_rate, allow_silent) for row in batch]
                wav, lengths = pad_sequences(waves)
                frames, frame_lengths = upstream(wav.to(device), lengths.to(device))
                for row, values, length in zip(batch, frames, frame_lengths.tolist(), strict=True):
                    writer.add(row["audio_hash"], to_store(values, length))
                done += sum(row["duration"] for row in batch)
                if progress is not None:
                    progress(done, to_do)
        finally:
            # An unreadable recording ends the extraction; what was computed before it stays.
            writer.flush()
    return Features(store.view(list(keys.values())), keys)


class _ShardWriter:
    """Collects utterances and writes a shard whenever enough have come together."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._shard: dict[str, Tensor] = {}

    def add(self, key: str, frames: Tensor) -> None:
        """Keep the frames of one utterance: (L, T, D)."""
        self._shard[key] = frames
        if shard_size_in_bytes(self._shard) >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected."""
        if self._shard:
            self._store.write(self._shard)
            self._shard = {}


def _read(row: dict, root: Path, sampling_rate: int, allow_silent: bool) -> Tensor:
    wav = read_audio(
        root / row["path"], _seconds(row["start"]), _seconds(row["end"]), sampling_rate, allow_silent=allow_silent
    )
    return torch.from_numpy(wav)


def _seconds(value: object) -> float | None:
    return None if value is None or value != value else float(value)  # type: ignore[arg-type]


def _by_length(rows: list[dict]) -> Iterator[list[dict]]:
    """Batches of similar length, at most BATCH_SECONDS of padded audio each; rows come sorted by duration."""
    batch: list[dict] = []
    for row in rows:
        if batch and row["duration"] * (len(batch) + 1) > BATCH_SECONDS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
