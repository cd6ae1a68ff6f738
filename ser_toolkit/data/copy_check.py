"""Check of a copy's audio against what is published: sampling rates and durations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ser_toolkit.corpora.expected import Expected
from ser_toolkit.data.audio.index import AudioEntry
from ser_toolkit.terms import listed

_MINUTES_TOLERANCE = 0.02
#: Of a copy that lacks utterances, whose mean need not be that of all.
_INCOMPLETE_TOLERANCE = 0.10
_SPEAKER_TOLERANCE = 0.005
#: Published durations are rounded, and lossy formats add a frame: seconds.
_SECONDS_TOLERANCE = 0.05
#: From this share of the utterances on, one common duration is worth naming; several corpora are cut to tenths.
_COMMON = 0.25


def audio_deviations(table: pd.DataFrame, entries: Mapping[str, AudioEntry], expected: Expected) -> list[str]:
    """Sentences on audio that is not as published.

    Args:
        table: a manifest's table with durations in seconds.
        entries: of the files that the table names.
        expected: what is published; what it does not state is not checked.

    Returns:
        One sentence for the sampling rates, one for the total duration, some for single speakers and utterances.
    """
    rates = _sampling_rates(table, entries, expected)
    total, single = _minutes(table, expected), [*_speakers(table, expected), *_bounds(table, expected)]
    common = _common_duration(table) if total or single else []
    return [*rates, *total, *common, *single]


def _sampling_rates(table: pd.DataFrame, entries: Mapping[str, AudioEntry], expected: Expected) -> list[str]:
    if not expected.sampling_rates:
        return []
    paths = table["path"].drop_duplicates().tolist()
    rates = [(path, entries[path].sampling_rate) for path in paths]
    wanted = " or ".join(f"{rate} Hz" for rate in expected.sampling_rates)
    other: dict[int, list[str]] = {}
    for path, rate in rates:
        if rate not in expected.sampling_rates:
            other.setdefault(rate, []).append(path)
    return [
        f"{len(files)} of {len(rates)} files are sampled at {rate} Hz, expected {wanted} (resampled)"
        f"{f': {listed(files)}' if len(files) < len(rates) else ''}"
        for rate, files in sorted(other.items(), key=lambda pair: -len(pair[1]))
    ]


def _minutes(table: pd.DataFrame, expected: Expected) -> list[str]:
    """A sentence on the total duration; where utterances are missing, against the share of those that are there."""
    if expected.minutes is None:
        return []
    minutes, wanted, tolerance = float(table["duration"].sum()) / 60, expected.minutes, _MINUTES_TOLERANCE
    if expected.utterances is not None and len(table) != expected.utterances:
        wanted, tolerance = wanted * len(table) / expected.utterances, _INCOMPLETE_TOLERANCE
    if abs(minutes - wanted) <= tolerance * wanted:
        return []
    return [f"{minutes:.1f} minutes of audio, expected {wanted:.1f} (cut, resampled at a wrong rate, or incomplete)"]


def _speakers(table: pd.DataFrame, expected: Expected) -> list[str]:
    """A sentence on speakers who have all their utterances, but not all their seconds."""
    by_speaker = table.groupby("speaker")["duration"]
    seconds, counts = by_speaker.sum(), by_speaker.count()
    wrong = [
        f"{name} {seconds[name]:.1f} s of {wanted:.1f}"
        for name, wanted in expected.speaker_seconds.items()
        if counts.get(name) == expected.speakers.get(name)
        and abs(seconds[name] - wanted) > max(_SPEAKER_TOLERANCE * wanted, _SECONDS_TOLERANCE)
    ]
    who = "1 speaker has" if len(wrong) == 1 else f"{len(wrong)} speakers have"
    return [f"{who} all utterances, but not all seconds (cut or lengthened): {listed(wrong)}"] if wrong else []


def _bounds(table: pd.DataFrame, expected: Expected) -> list[str]:
    """Sentences on utterances outside the published durations, and on a longest one that is too short."""
    if expected.seconds is None:
        return []
    shortest, longest = expected.seconds
    seconds = table["duration"].to_numpy()
    found = []
    for outside, what in (
        (seconds < shortest - _SECONDS_TOLERANCE, f"less than {shortest:.2f} s, the shortest published"),
        (seconds > longest + _SECONDS_TOLERANCE, f"more than {longest:.2f} s, the longest published"),
    ):
        if outside.any():
            names = [f"{row} ({s:.2f} s)" for row, s in zip(table["id"][outside], seconds[outside], strict=True)]
            found.append(f"{len(names)} of {len(table)} utterances last {what}: {listed(names)}")
    complete = expected.utterances in (None, len(table))
    if complete and not found and len(seconds) and seconds.max() < longest - _SECONDS_TOLERANCE:
        found.append(f"the longest utterance lasts {seconds.max():.2f} s, expected {longest:.2f} s")
    return found


def _common_duration(table: pd.DataFrame) -> list[str]:
    """A sentence on many utterances of one length: cut or padded to it."""
    counts = Counter(np.round(table["duration"].to_numpy(), 3).tolist())
    seconds, count = counts.most_common(1)[0]
    if count < max(2, _COMMON * len(table)):
        return []
    return [f"{count} of {len(table)} utterances last exactly {seconds:.2f} s (cut or padded to it)"]
