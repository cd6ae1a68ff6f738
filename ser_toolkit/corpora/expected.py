"""Published counts of a complete copy of a corpus, and how far the rows of a copy deviate from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ser_toolkit.corpora.utterance import Utterance
from ser_toolkit.terms import TIE, counted, listed

#: So many sessions, speakers or classes are given a sentence each; more of them share one.
_SINGLE = 4
#: Labels are made from votes where no larger share of them differs from the class with most.
_MOST_CONTRADICTED = 0.02


@dataclass(frozen=True)
class Expected:
    """Counts of a complete copy, as published; an empty mapping, tuple or None is not checked.

    Args:
        utterances: rows in all.
        speakers: rows per speaker.
        sessions: rows per session.
        classes: rows per class.
        minutes: total duration in minutes (a copy that was resampled or cut shows here), within 2 %.
        cells: rows per (speaker, class): edited labels show here where all sums are right.
        sampling_rates: in hertz; every file has one of them.
        seconds: the shortest and the longest utterance.
        speaker_seconds: total duration per speaker, within 0.5 %: names the speaker whose files were cut.
        versions: rows in all of other editions, by what they are called in a sentence.
    """

    utterances: int | None = None
    speakers: Mapping[str, int] = field(default_factory=dict)
    sessions: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    minutes: float | None = None
    cells: Mapping[tuple[str, str], int] = field(default_factory=dict)
    sampling_rates: tuple[int, ...] = ()
    seconds: tuple[float, float] | None = None
    speaker_seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Difference:
    """A session, speaker or class whose count is not the published one."""

    kind: str
    key: str
    found: int
    wanted: int

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {counted(self.found, 'utterance')}, expected {self.wanted}"


def deviations(rows: Iterable[Utterance], expected: Expected) -> list[str]:
    """Differences between a copy and the published counts, each as one sentence naming the session, speaker or class.

    >>> from ser_toolkit.corpora.utterance import Utterance
    >>> deviations([Utterance("a", "a.wav", speaker="03")], Expected(utterances=1, speakers={"03": 1, "08": 2}))
    ['speaker 08: 0 utterances, expected 2']
    """
    rows = list(rows)
    return [
        *(str(difference) for differences in _differences(rows, expected) for difference in differences),
        *_changed_labels(rows, expected),
        *_total(rows, expected),
    ]


def summarised(rows: Iterable[Utterance], expected: Expected) -> list[str]:
    """The ``deviations`` in few sentences: the total first, and one for all speakers where many deviate."""
    rows = list(rows)
    found = _total(rows, expected)
    sessions, speakers, classes = _differences(rows, expected)
    for differences in (sessions, speakers, _unexplained(classes, speakers, expected)):
        found += map(str, differences) if len(differences) <= _SINGLE else _together(differences)
    return [*found, *_changed_labels(rows, expected)]


def _differences(rows: list[Utterance], expected: Expected) -> list[list[_Difference]]:
    """Counts that differ from the published ones: a list for sessions, one for speakers, one for classes."""
    tables: tuple[tuple[str, Iterable[str | None], Mapping[str, int]], ...] = (
        ("session", (row.session for row in rows), expected.sessions),
        ("speaker", (row.speaker for row in rows), expected.speakers),
        ("class", (row.label for row in rows), expected.classes),
    )
    made = []
    for kind, values, wanted in tables:
        counts = Counter(value for value in values if value is not None)
        keys = sorted({*wanted, *counts} if wanted else ())
        pairs = ((key, counts.get(key, 0), wanted.get(key, 0)) for key in keys)
        made.append([_Difference(kind, *pair) for pair in pairs if pair[1] != pair[2]])
    return made


def _unexplained(classes: list[_Difference], speakers: list[_Difference], expected: Expected) -> list[_Difference]:
    """Classes that lack more utterances than the missing speakers would have had of them."""
    missing = {one.key for one in speakers if not one.found}
    lost: Counter[str] = Counter()
    for (speaker, label), count in expected.cells.items():
        lost[label] += count * (speaker in missing)
    return [one for one in classes if one.found + lost[one.key] != one.wanted]


def _together(differences: list[_Difference]) -> list[str]:
    """Sentences on keys without any utterance, on those with another count, and on those that are not published."""
    kind = {"class": "classes"}.get(differences[0].kind, f"{differences[0].kind}s")
    missing = [one.key for one in differences if not one.found]
    foreign = [f"{one.key} ({one.found})" for one in differences if not one.wanted]
    other = [f"{one.key} {one.found} of {one.wanted}" for one in differences if one.found and one.wanted]
    return [
        f"{len(names)} {kind} {what}: {listed(names)}"
        for names, what in (
            (missing, "have no utterance"),
            (other, "have other counts than published"),
            (foreign, "are not of the corpus"),
        )
        if names
    ]


def _changed_labels(rows: list[Utterance], expected: Expected) -> list[str]:
    """Speakers with as many utterances as published, but not of these classes."""
    cells = Counter((row.speaker, row.label) for row in rows if row.speaker is not None and row.label is not None)
    wanted = expected.cells
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for (speaker, _), count in wanted.items():
        total[speaker] += count
    for (speaker, _), count in cells.items():
        found[str(speaker)] += count
    sentences = []
    for speaker in sorted(total):
        names = sorted({str(label) for who, label in (*wanted, *cells) if who == speaker})
        changed = [
            f"{cells.get((speaker, name), 0)} {name} (expected {wanted.get((speaker, name), 0)})"
            for name in names
            if cells.get((speaker, name), 0) != wanted.get((speaker, name), 0)
        ]
        if changed and found[speaker] == total[speaker]:
            sentences.append(f"speaker {speaker}: labels were changed, {', '.join(changed)}")
    if len(sentences) <= _SINGLE:
        return sentences
    return [*sentences[:_SINGLE], f"labels of {len(sentences) - _SINGLE} more speakers were changed"]


def contradicted(rows: Iterable[Utterance]) -> list[str]:
    """A sentence on utterances whose label is not the class with most votes, where nearly all other labels are.

    Where many differ, labels were not made from these votes (an acted emotion, say), and nothing is contradicted.
    """
    against, decided = [], 0
    for row in rows:
        if row.label is None or not row.votes:
            continue
        most = max(row.votes.values())
        winners = [label for label, count in row.votes.items() if count > most - TIE]
        decided += len(winners) == 1
        if len(winners) == 1 and winners[0] != row.label:
            against.append(f"{row.id} ({row.label}, but {winners[0]} has {most:g} votes)")
    if not against or len(against) > _MOST_CONTRADICTED * decided:
        return []
    return [f"The label of {len(against)} of {decided} utterances is not the class with most votes: {listed(against)}."]


def _total(rows: list[Utterance], expected: Expected) -> list[str]:
    if expected.utterances is None or len(rows) == expected.utterances:
        return []
    like = [name for name, count in expected.versions.items() if count == len(rows)]
    known = f" ({len(rows)} is {like[0]})" if like else ""
    return [f"{counted(len(rows), 'utterance')} in all, expected {expected.utterances}{known}"]
