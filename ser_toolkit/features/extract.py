"""Run a frozen upstream over a corpus, each sound once, into the store; any number of processes share the work."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from ser_toolkit.data.audio.decode import read_audio
from ser_toolkit.data.batch import StoredPart, pad_sequences
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.errors import StoreError
from ser_toolkit.features.batches import ExtractionBatch, extraction_batches
from ser_toolkit.features.claims import Claims
from ser_toolkit.features.derive import Derived
from ser_toolkit.features.estimate import check_space
from ser_toolkit.features.plan import StoreSpec, store_specs
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.shards import DamagedStoreError
from ser_toolkit.features.views import Features, ParallelFeatures
from ser_toolkit.system.interrupts import stop_if_interrupted
from ser_toolkit.system.progress import SILENT, Progress
from ser_toolkit.upstreams.base import Upstream, check_frames

#: Batches that are decoded while the upstream is at work, and threads that do it.
READ_AHEAD, READERS = 2, 2
#: Seconds between looks at the store while other processes finish their batches.
PATIENCE = 0.5
#: Seconds from which on the speed of an extraction is reported.
REPORTED = 5.0
#: Utterances on which the error of reduced precision is measured.
MEASURED = 8


def extract(specs: Sequence[StoreSpec], progress: Progress = SILENT) -> Features | ParallelFeatures:
    """Stored features of every utterance of a manifest, extracted where they are missing.

    Several upstreams that are fused are extracted one behind the other, each into its own store. Several processes that
    extract the same at the same time, on one machine or many with one disk, share out the batches. A batch consists of
    the same utterances whatever is stored already and however many processes there are.

    Args:
        specs: one store for each upstream, as from ``features.plan.store_specs``.
        progress: audio seconds done and to do; sentences on what is stored and how much it is, on the error of reduced
            precision and on the speed.

    Returns:
        Utterance id -> frames (L, T, D) or moments, or a tuple of them where several upstreams are fused.

    Raises:
        AudioError: a recording cannot be read or is too short; what was computed before stays.
        StoreError: the features do not fit on the disk, or are not finite.
        RecipeError: the upstream has no such precision.
    """
    found = [_Extraction(spec, progress).features() for spec in specs]
    return found[0] if len(found) == 1 else ParallelFeatures(found)


def fill(spec: StoreSpec, progress: Progress = SILENT) -> None:
    """Extract what is missing in one store, sharing the work with other processes that do the same.

    Raises:
        AudioError: a recording cannot be read or is too short; what was computed before stays.
        StoreError: the features do not fit on the disk, or are not finite.
    """
    work = _Extraction(spec, progress)
    while True:
        try:
            work.fill()
        except DamagedStoreError:
            continue  # a shard that features were derived from was damaged, and is set aside now
        spec.store.touch()
        return


def extract_corpus(
    upstream: Upstream,
    manifest: Manifest,
    root: Path | None = None,
    device: torch.device | str = "cpu",
    allow_silent: bool = False,
    progress: Progress = SILENT,
    reductions: Sequence[Reduction] | None = None,
    settings: FeatureSettings | None = None,
) -> Features | ParallelFeatures:
    """``extract`` for an upstream and a manifest, without a recipe: for scripts and notebooks."""
    return extract(store_specs(upstream, manifest, reductions, settings, device, allow_silent, root), progress)


class _Extraction:
    """One upstream over one manifest into one store.

    Args:
        spec: the store.
        progress: audio seconds done and to do, and sentences for the user.
    """

    def __init__(self, spec: StoreSpec, progress: Progress) -> None:
        self._spec, self._progress = spec, progress
        self._store, self._upstream = spec.store, spec.upstream
        self._derived = Derived(spec.store.key, spec.root)
        self._padded = 0.0

    def features(self) -> Features:
        """Features of every utterance, extracted where they are missing; a damaged shard is set aside and made anew."""
        self._progress.note(self._spec.line)
        table = self._spec.manifest.table
        keys = dict(zip(table["id"], table["audio_hash"], strict=True))
        while True:
            try:
                self.fill()
                stored = self._store.features(list(keys.values()))
            except DamagedStoreError:
                continue
            self._store.touch()
            return Features(stored, keys, self._store.key.reduction, self._store.key.fingerprint)

    def fill(self) -> None:
        """Extract what is missing.

        Raises:
            DamagedStoreError: a shard that features were to be derived from is damaged, and is set aside now.
        """
        settings = self._spec.settings
        batches = extraction_batches(self._spec.manifest.table, settings.batch_seconds)
        todo = deque(batch for batch in batches if self._missing(batch))
        if not todo:
            return
        check_space(self._store.folder, self._spec.storage(self._spec.missing).size)
        upstream = self._upstream.at(settings.precision, settings.compile).to(self._spec.device)
        self._measure_error(upstream, todo[-1])
        started, total = time.perf_counter(), sum(batch.seconds for batch in todo)
        claims = Claims(self._store.folder / "claims")
        done, own = 0.0, 0.0
        try:
            with ThreadPoolExecutor(READERS) as readers:
                for batch, waves in self._claimed(todo, claims, readers):
                    if waves is not None:
                        self._store.write(self._computed(upstream, batch, waves))
                        claims.renew()
                        own += batch.seconds
                    done += batch.seconds
                    self._progress.update(done, total)
        finally:
            # Whatever ends the extraction, such as an unreadable recording: what was computed before it stays.
            # Where shards cannot be merged, for want of disk space for example, the small ones serve as well.
            with contextlib.suppress(StoreError):
                self._store.merge()
            claims.release_all()
        self._report(own, time.perf_counter() - started)

    def _claimed(
        self, todo: deque[ExtractionBatch], claims: Claims, readers: ThreadPoolExecutor
    ) -> Iterator[tuple[ExtractionBatch, Future | None]]:
        """Batches of this process, each with its recordings, and batches that other processes have done, with None."""
        waiting: deque[tuple[ExtractionBatch, Future]] = deque()
        of_others: list[ExtractionBatch] = []
        while todo or waiting or of_others:
            while todo and len(waiting) <= READ_AHEAD:
                batch = todo.popleft()
                if not claims.take(batch.name):
                    of_others.append(batch)
                    continue
                self._store.refresh()
                if self._missing(batch):
                    waiting.append((batch, readers.submit(self._read, batch)))
                else:
                    claims.release(batch.name)
                    yield batch, None
            if waiting:
                batch, waves = waiting.popleft()
                yield batch, waves
                claims.release(batch.name)
            elif of_others:
                time.sleep(PATIENCE)
                self._store.refresh()
                yield from ((batch, None) for batch in of_others if not self._missing(batch))
                todo.extend(batch for batch in of_others if self._missing(batch))
                of_others.clear()

    def _missing(self, batch: ExtractionBatch) -> list[str]:
        return self._store.missing(batch.keys)

    def _read(self, batch: ExtractionBatch) -> list[Tensor] | None:
        """Recordings of a batch, each (N,) samples; None where its features can be derived from a richer store."""
        if self._derived.covers(self._missing(batch)):
            return None
        return [self._wave(row) for row in batch.rows]

    def _wave(self, row: dict) -> Tensor:
        start, end = _seconds(row["start"]), _seconds(row["end"])
        manifest, rate = self._spec.manifest, self._upstream.sampling_rate
        path = manifest.root / row["path"]
        wav = read_audio(path, start, end, rate, self._spec.allow_silent, manifest.channel)
        return torch.from_numpy(wav)

    def _computed(self, upstream: Upstream, batch: ExtractionBatch, waves: Future) -> dict[str, StoredPart]:
        recordings = waves.result()
        missing = set(self._missing(batch))
        if recordings is None:
            return self._derived.make(sorted(missing))
        features = self._features(upstream, recordings)
        self._padded += max(map(len, recordings)) * len(recordings) / self._upstream.sampling_rate
        return {key: value for key, value in zip(batch.keys, features, strict=True) if key in missing}

    @torch.inference_mode()
    def _features(self, upstream: Upstream, recordings: Sequence[Tensor]) -> list[StoredPart]:
        wav, lengths = pad_sequences(list(recordings))
        with _whole_float32():
            frames, frame_lengths = upstream(wav.to(self._spec.device), lengths.to(self._spec.device))
        stop_if_interrupted()
        check_frames(upstream, frames, frame_lengths, lengths)
        reduction = self._store.key.reduction
        return [reduction.of(row[:, :length]) for row, length in zip(frames, frame_lengths.tolist(), strict=True)]

    def _measure_error(self, upstream: Upstream, batch: ExtractionBatch) -> None:
        """Report the error of reduced precision, measured on the shortest utterances."""
        if upstream is self._upstream and self._store.key.stored_as == "float32":
            return
        recordings = [self._wave(row) for row in batch.rows[-MEASURED:]]
        exact = self._features(self._upstream.to(self._spec.device), recordings)
        found = self._features(upstream, recordings)
        error = self._store.relative_error(found, exact)
        words = f"{self._store.key.precision}, stored as {self._store.key.stored_as}"
        self._progress.note(f"  {words}: relative error of the features {error:.1e} (on {len(recordings)} utterances)")

    def _report(self, seconds: float, took: float) -> None:
        if took < REPORTED:
            return
        rate, padding = seconds / max(took, 1e-9), self._padded / seconds - 1 if self._padded else 0.0
        self._progress.note(
            f"  extracted {seconds / 60:.1f} minutes of audio in {took:.0f} s: {rate:.0f} s of audio/s, "
            f"{max(0.0, padding):.1%} padding"
        )


@contextlib.contextmanager
def _whole_float32() -> Iterator[None]:
    """No TF32 in convolutions, which torch allows on GPUs by default: float32 features are the same everywhere."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def _seconds(value: object) -> float | None:
    return None if value is None or value != value else float(value)  # type: ignore[arg-type]
