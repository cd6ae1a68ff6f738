"""Disk space of stored features, before anything is computed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ser_toolkit.data.reduction import Reduction
from ser_toolkit.errors import StoreError
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.settings import TYPES, StoredType
from ser_toolkit.terms import counted
from ser_toolkit.upstreams.base import Upstream

#: Share of the free disk space that features may take: the run itself needs some too.
USABLE = 0.97
#: Bytes of a shard's header for each utterance, roughly.
OVERHEAD = 250


@dataclass(frozen=True)
class Storage:
    """Disk space of the features of some utterances.

    Args:
        utterances: how many, each sound once.
        seconds: of audio.
        size: bytes of the stored features.
        frames_size: bytes that frames of the same type would take.
    """

    utterances: int
    seconds: float
    size: float
    frames_size: float


def storage(upstream: Upstream, table: pd.DataFrame, reduction: Reduction, dtype: StoredType = "float32") -> Storage:
    """Disk space of the features of a manifest's rows.

    Args:
        upstream: one that fuses no others.
        table: rows with ``audio_hash`` and ``duration`` (seconds).
        reduction: of the frames.
        dtype: of stored frames.
    """
    rows = table.drop_duplicates("audio_hash")
    samples = torch.from_numpy(
        (rows["duration"].to_numpy(dtype=float) * upstream.sampling_rate).round().astype("int64")
    )
    frames = float(upstream.frame_lengths(samples.clamp(min=upstream.receptive_samples)).sum())
    return of_frames(upstream, len(rows), float(rows["duration"].sum()), frames, reduction, dtype)


def of_frames(
    upstream: Upstream, utterances: int, seconds: float, frames: float, reduction: Reduction, dtype: StoredType
) -> Storage:
    """``storage`` for so many utterances with so many frames altogether."""
    mean = frames / max(1, utterances)
    shape = upstream.num_layers, upstream.feature_dim
    width = TYPES[StoreKey("", reduction, dtype).stored_as].itemsize
    frame_width = TYPES[dtype].itemsize
    return Storage(
        utterances,
        seconds,
        utterances * (reduction.values(*shape, mean) * width + OVERHEAD),
        utterances * (Reduction("frames").values(*shape, mean) * frame_width + OVERHEAD),
    )


def plan_line(upstream: Upstream, reduction: Reduction, whole: Storage) -> str:
    """Reduction of the frames, its disk space and its reason, in one line for the user."""
    name = type(upstream).__name__
    reason = f"; {reduction.reason}" if reduction.reason else ""
    if upstream.hop_samples == 0:
        utterances = counted(whole.utterances, "utterance")
        return f"features of {name}: one vector an utterance, {readable(whole.size)} for {utterances}"
    instead = "" if reduction.what == "frames" else f" instead of {readable(whole.frames_size)} of frames"
    return (
        f"features of {name}: {reduction.words}, {readable(whole.size)}{instead} "
        f"for {counted(whole.utterances, 'utterance')}{reason}"
    )


def check_space(folder: Path, needed: float) -> None:
    """Refuse to begin an extraction for which the disk has no room.

    Raises:
        StoreError: the disk has less room than is needed.
    """
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if needed > USABLE * free:
        raise StoreError(
            f"Features need {readable(needed)} more in {folder}, but only {readable(free)} are free there. Set "
            "SER_CACHE to a larger disk, or keep less: features.dtype=float16 halves frames, "
            "model.upstream.layers=[...] keeps some layers, and a linear frame stage with MeanPooling needs means only."
        )


def readable(size: float) -> str:
    """Bytes in words, in powers of ten.

    >>> readable(20_700_000)
    '21 MB'
    >>> readable(2.949e9)
    '2.9 GB'
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            value = size / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size:.0f} bytes"
