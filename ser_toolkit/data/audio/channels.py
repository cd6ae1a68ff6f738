"""Choice of a recording's channel, and a warning where it matters: two microphones are not one stereo sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from ser_toolkit.errors import AudioError, RecipeError, counted

if TYPE_CHECKING:
    from ser_toolkit.data.audio.index import AudioEntry

#: All channels averaged.
MIX = "mix"
_NAMES = {"left": 0, "right": 1}
#: So many files are decoded to compare their channels, from the beginning up to so many seconds.
_SAMPLE, _SECONDS = 32, 10.0
#: Channels that correlate less than this are called different: equal ones differ by rounding and dither alone.
_SAME = 0.98


def channel_index(channel: str | int) -> int | None:
    """Number of the channel, from 0; None for the average of all.

    Raises:
        RecipeError: it is neither ``mix``, ``left``, ``right`` nor a number from 0 on.

    >>> channel_index("mix"), channel_index("right"), channel_index("0")
    (None, 1, 0)
    """
    if channel == MIX:
        return None
    if str(channel).isdecimal():
        return int(channel)
    if channel not in _NAMES:
        raise RecipeError(f"data.channel is {channel!r}, expected mix, left, right or a number from 0 on.")
    return _NAMES[str(channel)]


def one_channel(samples: np.ndarray, channel: str | int, name: str) -> np.ndarray:
    """Choose a channel, or average all: (N, C) -> (N,). A recording of one channel is taken as it is.

    Raises:
        AudioError: the recording has several channels, but not this one.
    """
    if samples.shape[1] == 1:
        return samples[:, 0]
    index = channel_index(channel)
    if index is None:
        return samples.mean(axis=1, dtype=np.float32)
    if index >= samples.shape[1]:
        raise AudioError(
            f"{name}: {samples.shape[1]} channels, numbered from 0: there is no channel {index} as data.channel says."
        )
    return samples[:, index]


def different_channels(root: Path, entries: Mapping[str, AudioEntry]) -> list[str]:
    """A sentence on recordings whose channels differ; none where there are none.

    Args:
        root: folder that paths are relative to.
        entries: of all files, by path. A sample of those with several channels is decoded, evenly spaced by name.
    """
    several = sorted(path for path, entry in entries.items() if entry.channels > 1)
    if not several:
        return []
    sample = [several[place] for place in np.unique(np.linspace(0, len(several) - 1, _SAMPLE).astype(int))]
    found = [_correlation(root / path) for path in sample]
    known = np.array([value for value in found if value is not None])
    if not (known < _SAME).any():
        return []
    have = f"{len(several)} of {counted(len(entries), 'file')} {'has' if len(several) == 1 else 'have'}"
    return [
        f"{have} several channels, which differ in {int((known < _SAME).sum())} of the {len(known)} looked at "
        f"(correlation of the first two: median {np.median(known):.2f}, {known.min():.2f} to {known.max():.2f}). "
        "data.channel takes one of them, left or right; mix averages them."
    ]


def _correlation(path: Path) -> float | None:
    """Pearson's r of the first two channels of a file's beginning; None where it is undefined or cannot be read."""
    try:
        with soundfile.SoundFile(str(path)) as file:
            samples = file.read(int(_SECONDS * file.samplerate), dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError):  # a video, or a header that only the full reader repairs
        return None
    if samples.shape[1] < 2:
        return None
    first, second = samples[:, 0].astype(float), samples[:, 1].astype(float)
    if np.array_equal(first, second):
        return 1.0
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0  # one of them is silent
    return float(np.corrcoef(first, second)[0, 1])
