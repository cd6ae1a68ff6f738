"""Sample rates of a corpus's recordings, and a note on resampling them for an upstream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ser_toolkit.errors import counted

if TYPE_CHECKING:
    from ser_toolkit.data.audio.index import AudioEntry


def sampling_rates(entries: Iterable[AudioEntry]) -> dict[str, int]:
    """Files by sampling rate in hertz, the commonest first; rates are text, as JSON has them."""
    return {str(rate): count for rate, count in Counter(entry.sampling_rate for entry in entries).most_common()}


def resampling_note(rates: Mapping[str, int], sampling_rate: int) -> str | None:
    """One sentence on the recordings that an upstream does not get at their own rate; None where it gets all so.

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
