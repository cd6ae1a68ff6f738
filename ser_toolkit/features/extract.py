"""Run a frozen upstream over a corpus, each sound once, into the store; any number of processes share the work."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ser_toolkit.data.audio.channels import channel_index
from ser_toolkit.data.audio.decode import read_audio
from ser_toolkit.data.batch import Kept, pad_sequences
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.errors import StoreError
from ser_toolkit.features.batches import Job, jobs
from ser_toolkit.features.claims import Claims
from ser_toolkit.features.derive import Derived
from ser_toolkit.features.estimate import Storage, check_space, plan_line, storage
from ser_toolkit.features.key import StoreKey, precision_label
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.shards import DamagedStoreError
from ser_toolkit.features.store import FeatureStore
from ser_toolkit.features.views import Features, ParallelFeatures
from ser_toolkit.parts.own_sources import source_identity
from ser_toolkit.system.interrupts import stop_if_interrupted
from ser_toolkit.upstreams.base import Upstream, check_frames

#: Batches that are decoded while the upstream is at work, and threads that do it.
READ_AHEAD, READERS = 2, 2
#: Seconds between looks at the store while other processes finish what is theirs.
PATIENCE = 0.5
#: Extractions that took so many seconds say how fast they were.
REPORTED = 5.0
#: Utterances on which the error of reduced precision is measured.
MEASURED = 8

Progress = Callable[[float, float], None]
Note = Callable[[str], None]


def extract_corpus(
    upstream: Upstream,
    manifest: Manifest,
    root: Path | None = None,
    device: torch.device | str = "cpu",
    allow_silent: bool = False,
    progress: Progress | None = None,
    reductions: Sequence[Reduction] | None = None,
    settings: FeatureSettings | None = None,
    note: Note | None = None,
) -> Features | ParallelFeatures:
    """What is kept of every utterance of a manifest, from the store or extracted into it now.

    Several upstreams that are fused are extracted one behind the other, each into its own store. Several processes that
    extract the same at the same time, on one machine or many with one disk, share out the batches. A batch consists of
    the same utterances whatever is stored already and however many processes there are.

    Args:
        upstream: frozen.
        manifest: what to extract.
        root: where stores lie; ``cache_root() / "features"`` when None.
        device: where the upstream runs.
        allow_silent: whether digitally silent recordings are used.
        progress: called with (audio seconds done, audio seconds to do).
        reductions: what is kept under each upstream, as ``EmotionNetwork.reductions`` says; frames when None.
        settings: precision, types and batches; the defaults when None.
        note: called with sentences for the user: what is kept and how much it is, the error of reduced precision, the
            speed.

    Returns:
        Utterance id -> frames (L, T, D) or moments, or a tuple of them where several upstreams are fused.

    Raises:
        AudioError: a recording cannot be read or is too short; what was computed before stays.
        StoreError: the features do not fit on the disk, or are not finite.
        RecipeError: the upstream has no such precision.
    """
    chosen = reductions or [Reduction()] * len(upstream.parts)
    options = settings or FeatureSettings()
    found = []
    for part, reduction in zip(upstream.parts, chosen, strict=True):
        work = Extraction(part, manifest, reduction, options, root, device, allow_silent, note or _silent)
        found.append(work.features(progress))
    return found[0] if len(found) == 1 else ParallelFeatures(found)


class Extraction:
    """One upstream over one manifest into one store.

    Args:
        upstream: frozen, fuses no others.
        manifest: what to extract.
        reduction: what is kept.
        settings: precision, types and batches.
        root: where stores lie.
        device: where the upstream runs.
        allow_silent: whether digitally silent recordings are used.
        note: takes sentences for the user.
    """

    def __init__(
        self,
        upstream: Upstream,
        manifest: Manifest,
        reduction: Reduction,
        settings: FeatureSettings,
        root: Path | None,
        device: torch.device | str,
        allow_silent: bool,
        note: Note,
    ) -> None:
        key = store_key(upstream, reduction, settings, device, root, channel_index(manifest.channel))
        self.store = FeatureStore(key, root)
        self._upstream, self._manifest, self._settings = upstream, manifest, settings
        self._device, self._allow_silent, self._note = device, allow_silent, note
        self._derived = Derived(key, root)
        self._padded = 0.0

    def features(self, progress: Progress | None = None) -> Features:
        """Everything, extracted where it is missing; a damaged shard is set aside by name and made anew."""
        table = self._manifest.table
        self._note(plan_line(self._upstream, self.store.key.reduction, self._storage(table)))
        keys = dict(zip(table["id"], table["audio_hash"], strict=True))
        while True:
            try:
                self.fill(progress)
                view = self.store.view(list(keys.values()))
            except DamagedStoreError:
                continue
            self.store.touch()
            return Features(view, keys, self.store.key.reduction, self.store.key.fingerprint)

    def fill(self, progress: Progress | None = None) -> None:
        """Extract what is missing."""
        todo = deque(job for job in jobs(self._manifest.table, self._settings.batch_seconds) if self._missing(job))
        if not todo:
            return
        check_space(self.store.folder, self._storage(self._rows_missing()).size)
        upstream = self._upstream.at(self._settings.precision, self._settings.compile).to(self._device)
        self._measure_error(upstream, todo[-1])
        started, total = time.perf_counter(), sum(job.seconds for job in todo)
        claims = Claims(self.store.folder / "claims")
        done, own = 0.0, 0.0
        try:
            with ThreadPoolExecutor(READERS) as readers:
                for job, waves in self._claimed(todo, claims, readers):
                    if waves is not None:
                        self.store.write(self._computed(upstream, job, waves))
                        claims.renew()
                        own += job.seconds
                    done += job.seconds
                    if progress is not None:
                        progress(done, total)
        finally:
            # Whatever ends the extraction, an unreadable recording say: what was computed before it stays.
            # Shards that cannot be put together, for want of space say, are as good as they are.
            with contextlib.suppress(StoreError):
                self.store.merge()
            claims.release_all()
        self._report(own, time.perf_counter() - started)

    def _claimed(
        self, todo: deque[Job], claims: Claims, readers: ThreadPoolExecutor
    ) -> Iterator[tuple[Job, Future | None]]:
        """Jobs that fall to this process with their recordings, and (with None) those that others have done."""
        waiting: deque[tuple[Job, Future]] = deque()
        of_others: list[Job] = []
        while todo or waiting or of_others:
            while todo and len(waiting) <= READ_AHEAD:
                job = todo.popleft()
                if not claims.take(job.name):
                    of_others.append(job)
                    continue
                self.store.refresh()
                if self._missing(job):
                    waiting.append((job, readers.submit(self._read, job)))
                else:
                    claims.release(job.name)
                    yield job, None
            if waiting:
                job, waves = waiting.popleft()
                yield job, waves
                claims.release(job.name)
            elif of_others:
                time.sleep(PATIENCE)
                self.store.refresh()
                yield from ((job, None) for job in of_others if not self._missing(job))
                todo.extend(job for job in of_others if self._missing(job))
                of_others.clear()

    def _missing(self, job: Job) -> list[str]:
        return self.store.missing(job.keys)

    def _rows_missing(self) -> pd.DataFrame:
        table = self._manifest.table
        return table[table["audio_hash"].isin(self.store.missing(table["audio_hash"].tolist()))]

    def _storage(self, table: pd.DataFrame) -> Storage:
        return storage(self._upstream, table, self.store.key.reduction, self._settings.dtype)

    def _read(self, job: Job) -> list[Tensor] | None:
        """The recordings of a job; None where everything can be made from a richer store."""
        if self._derived.covers(self._missing(job)):
            return None
        return [self._wave(row) for row in job.rows]

    def _wave(self, row: dict) -> Tensor:
        start, end = _seconds(row["start"]), _seconds(row["end"])
        path = self._manifest.root / row["path"]
        wav = read_audio(path, start, end, self._upstream.sampling_rate, self._allow_silent, self._manifest.channel)
        return torch.from_numpy(wav)

    def _computed(self, upstream: Upstream, job: Job, waves: Future) -> dict[str, Kept]:
        recordings = waves.result()
        missing = set(self._missing(job))
        if recordings is None:
            return self._derived.make(sorted(missing))
        kept = self._kept(upstream, recordings)
        self._padded += max(map(len, recordings)) * len(recordings) / self._upstream.sampling_rate
        return {key: value for key, value in zip(job.keys, kept, strict=True) if key in missing}

    @torch.inference_mode()
    def _kept(self, upstream: Upstream, recordings: Sequence[Tensor]) -> list[Kept]:
        wav, lengths = pad_sequences(list(recordings))
        with _whole_float32():
            frames, frame_lengths = upstream(wav.to(self._device), lengths.to(self._device))
        stop_if_interrupted()
        check_frames(upstream, frames, frame_lengths, lengths)
        reduction = self.store.key.reduction
        return [reduction.of(row[:, :length]) for row, length in zip(frames, frame_lengths.tolist(), strict=True)]

    def _measure_error(self, upstream: Upstream, job: Job) -> None:
        """Say what reduced precision costs, on the shortest utterances."""
        if upstream is self._upstream and self.store.key.stored_as == "float32":
            return
        recordings = [self._wave(row) for row in job.rows[-MEASURED:]]
        exact = self._kept(self._upstream.to(self._device), recordings)
        found = self._kept(upstream, recordings)
        error = self.store.relative_error(found, exact)
        words = f"{self.store.key.precision}, stored as {self.store.key.stored_as}"
        self._note(f"  {words}: relative error of the features {error:.1e} (on {len(recordings)} utterances)")

    def _report(self, seconds: float, took: float) -> None:
        if took < REPORTED:
            return
        rate, padding = seconds / max(took, 1e-9), self._padded / seconds - 1 if self._padded else 0.0
        self._note(
            f"  extracted {seconds / 60:.1f} minutes of audio in {took:.0f} s: {rate:.0f} s of audio/s, "
            f"{max(0.0, padding):.1%} padding"
        )


def store_key(
    upstream: Upstream,
    reduction: Reduction,
    settings: FeatureSettings,
    device: torch.device | str,
    root: Path | None = None,
    channel: int | None = None,
) -> StoreKey:
    """Key that an upstream's features are stored under."""
    precision, name = precision_label(settings.precision, device), type(upstream).__name__
    source = source_identity(type(upstream))
    return StoreKey(upstream.fingerprint(), reduction, settings.dtype, precision, name, source, channel)


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


def _silent(sentence: str) -> None:
    """Nobody listens."""
