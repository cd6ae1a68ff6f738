"""Notes of a report on the recordings of a corpus: their sampling rates, and channels that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile

from ser_toolkit.data.audio.index import AudioEntry
from ser_toolkit.terms import counted

#: So many files are decoded to compare their channels, from the beginning up to so many seconds.
_SAMPLE, _SECONDS = 32, 10.0
#: Channels that correlate less than this are called different: equal ones differ by rounding and dither alone.
_SAME = 0.98


def sampling_rates(entries: Iterable[AudioEntry]) -> dict[str, int]:
    """Files by sampling rate in hertz, the commonest first; rates are text, as JSON has them."""
    return {str(rate): count for rate, count in Counter(entry.sampling_rate for entry in entries).most_common()}


def resampling_note(rates: Mapping[str, int], sampling_rate: int) -> str | None:
    """One sentence on the recordings whose rate is not the upstream's; None where all have it.

    Args:
        rates: files by sampling rate in hertz.
        sampling_rate: of the upstream, in hertz.

    >>> resampling_note({"44100": 588}, 16000)
    'Audio resampled from 44.1 kHz to 16 kHz.'
    >>> resampling_note({"16000": 358, "44100": 1}, 16000)
    'Audio of 1 of 359 files resampled from 44.1 kHz to 16 kHz.'
    """
    others = {int(rate): count for rate, count in rates.items() if int(rate) != sampling_rate}
    if not others:
        return None
    total, changed = sum(rates.values()), sum(others.values())
    which = "Audio" if changed == total else f"Audio of {changed} of {counted(total, 'file')}"
    return f"{which} resampled from {' or '.join(_kilohertz(rate) for rate in others)} to {_kilohertz(sampling_rate)}."


def _kilohertz(rate: int) -> str:
    return f"{rate / 1000:g} kHz"


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
