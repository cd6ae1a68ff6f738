"""From a corpus's labels and rater votes to training targets; each rule notes the utterances that it had to discard."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ser_toolkit.data.manifest import Manifest
from ser_toolkit.errors import ManifestError
from ser_toolkit.terms import DIMENSIONS, MISSING_LABEL, TIE


@dataclass(frozen=True)
class LabelTargets:
    """Targets of all utterances, in the order of the manifest's rows.

    Args:
        label: (N,) int64 class index, ``MISSING_LABEL`` where there is none.
        soft: (N, C) float32 distribution over classes that sums to 1, NaN rows where there is none.
        dimensions: (N, 3) float32 valence, arousal, dominance scaled to [0, 1], NaN where there is none.
        notes: what was discarded and why, as sentences for the report.
    """

    label: np.ndarray
    soft: np.ndarray
    dimensions: np.ndarray
    notes: list[str] = field(default_factory=list)


class LabelRule(ABC):
    """How labels and votes become targets."""

    #: The rule in one sentence, for reports.
    description: str
    #: Whether the single raters' answers are read: a rule around this one has to rename them then.
    reads_ratings: bool = True
    #: Whether its classes are not those of the corpus, so that nobody voted for them.
    maps_classes: bool = False

    @abstractmethod
    def _categories(self, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Label (N,), soft (N, C) and notes."""

    @property
    def explanation(self) -> str:
        """The rule with its options, for reports."""
        return self.description

    def classes_of(self, manifest: Manifest) -> tuple[str, ...]:
        """The classes of the targets, in their order: those of the corpus, unless the rule maps them."""
        return manifest.classes

    def targets(self, manifest: Manifest) -> LabelTargets:
        """Targets of every utterance of a manifest.

        Raises:
            ManifestError: the manifest has nothing that this rule could use.
        """
        label, soft, notes = self._categories(manifest)
        dimensions, more = _dimensions(manifest)
        if more and (label == MISSING_LABEL).all() and np.isnan(soft).all() and np.isnan(dimensions).all():
            raise ManifestError(f"{manifest.corpus}: no utterance has a label, and {more[-1]}.")
        return LabelTargets(label.astype(np.int64), soft.astype(np.float32), dimensions, [*notes, *more])


class Intended(LabelRule):
    """The corpus's own label column; the distribution is one-hot."""

    description = "the label column of the corpus"
    reads_ratings = False

    def _categories(self, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, list[str]]:
        index = {name: position for position, name in enumerate(manifest.classes)}
        column = manifest.table["label"]
        label = column.map(index).fillna(MISSING_LABEL).to_numpy(dtype=np.int64)
        rated = manifest.table[list(DIMENSIONS)].notna().any(axis=None)
        if (label == MISSING_LABEL).all() and not rated:
            raise ManifestError(f"{manifest.corpus}: no utterance has a label. Use a rule that reads votes.")
        missing = (label == MISSING_LABEL) & bool(manifest.classes)  # a corpus without classes lacks no label
        return label, one_hot(label, len(manifest.classes)), note(missing, "without a label")


class _VoteRule(LabelRule):
    """A rule that reads votes."""

    reads_ratings = False

    def _categories(self, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, list[str]]:
        inside, outside = vote_counts(manifest)
        total = inside.sum(axis=1) + outside.sum(axis=1)
        unvoted = ~(total > 0)
        if unvoted.all():
            raise ManifestError(
                f"{manifest.corpus}: no utterance has votes, which {type(self).__name__} needs. Use Intended."
            )
        label, soft, notes = self._from_votes(inside, outside)
        label[unvoted], soft[unvoted] = MISSING_LABEL, np.nan
        lost = outside.sum()
        if lost > 0:
            notes.append(f"{lost:g} of {total.sum():g} votes went to emotions that are not among the classes")
        return label, soft, [*note(unvoted, "without votes"), *notes]

    @abstractmethod
    def _from_votes(self, inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Votes per class (N, C) and for each other emotion (N, K) -> label, soft, notes."""


class Plurality(_VoteRule):
    """The class with most votes; a tie is no label.

    Votes for emotions outside the class set count: an utterance that most raters call otherwise gets no label.
    Without a label, and without ratings of dimensions, an utterance leaves the splits, also their test part; ``Soft``
    has the same labels and keeps it.
    """

    description = "the class with most votes, ties are left out"

    def _from_votes(self, inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        label, notes = _plurality(inside, outside)
        return label, one_hot(label, inside.shape[1]), notes


class Majority(_VoteRule):
    """The class with more than half of all votes; without one, no label.

    Votes for emotions outside the class set count among all votes.
    """

    description = "the class with more than half of all votes, the rest is left out"

    def _from_votes(self, inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        total = inside.sum(axis=1) + outside.sum(axis=1)
        won = inside > (total / 2 + TIE)[:, None]
        label = np.where(won.any(axis=1), won.argmax(axis=1), MISSING_LABEL)
        lost = (label == MISSING_LABEL) & (total > 0)
        return label, one_hot(label, inside.shape[1]), note(lost, "in which no class has more than half of the votes")


class AllInclusive(_VoteRule):
    """Every utterance is kept with its vote distribution; classes with more than 1/C of the votes count as present.

    The label is the class with the largest share, and missing on ties. Votes outside the class set are dropped. Targets
    are the shares themselves: ``MultiLabelBinaryCrossEntropy`` and reports ask which classes are present.

    Source:
        H.-C. Chou et al., "Embracing Ambiguity And Subjectivity Using The All-Inclusive Aggregation Rule For
        Evaluating Multi-Label Speech Emotion Recognition Systems", IEEE SLT 2024.
    """

    description = "all utterances with their vote distribution; the label is the largest share, missing on ties"

    def _from_votes(self, inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        label, _ = _plurality(inside, outside[:, :0])
        tied = (label == MISSING_LABEL) & (inside.sum(axis=1) > 0)
        return label, shares_of(inside), note(tied, "with tied votes, which keep their distribution but have no label")

    @staticmethod
    def present(soft: np.ndarray) -> np.ndarray:
        """Which classes each utterance shows: (N, C) distribution -> (N, C) bool; NaN rows show none."""
        return np.asarray(soft > 1 / soft.shape[1] + TIE)


class Soft(_VoteRule):
    """The vote distribution as the target; the label is the class with most votes, missing on ties.

    The distribution is over the votes inside the class set. The label is that of ``Plurality``.

    Args:
        smoothing: share of the mass that is spread evenly, in [0, 1).
        spread: over what: ``all`` classes, (1 - s) p + s / C, or the ``others``, (1 - s) p + s (1 - p) / (C - 1), as in
            EMO-SUPERB's label files.
    """

    description = "the distribution of the votes; the label is the class with most votes"

    def __init__(self, smoothing: float = 0.0, spread: Literal["all", "others"] = "all") -> None:
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing is {smoothing}, expected a share in [0, 1)")
        self.smoothing = smoothing
        self.spread = spread

    @property
    def explanation(self) -> str:
        """The rule with its smoothing."""
        over = "all classes" if self.spread == "all" else "the other classes"
        return self.description + (f"; {self.smoothing:g} is spread over {over}" if self.smoothing else "")

    def _from_votes(self, inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        label, notes = _plurality(inside, outside)
        shares, others = shares_of(inside), max(inside.shape[1] - 1, 1)
        away = (1 - shares) / others if self.spread == "others" else 1 / inside.shape[1]
        return label, (1 - self.smoothing) * shares + self.smoothing * away, notes


def vote_counts(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Votes as numbers: for the classes (N, C), and for each emotion that is not one of them (N, K, in name order)."""
    texts = manifest.table["votes"]
    codes, distinct = texts.factorize()  # equal votes are parsed once; -1 means there are none
    parsed = [json.loads(text) for text in distinct]
    others = sorted({name for votes in parsed for name in votes} - set(manifest.classes))
    names = [*manifest.classes, *others]
    matrix = np.zeros((len(parsed) + 1, len(names)))
    for row, votes in enumerate(parsed):
        matrix[row] = [votes.get(name, 0.0) for name in names]
    counts = matrix[codes]  # the last row, which -1 points to, stays zero
    return counts[:, : len(manifest.classes)], counts[:, len(manifest.classes) :]


def _plurality(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The class with most votes per row, missing on ties and without votes; and notes on those rows."""
    counts = np.concatenate([inside, outside], axis=1)
    best = counts.max(axis=1)
    voted = best > 0
    tied = voted & ((counts >= (best - TIE)[:, None]).sum(axis=1) > 1)
    winner = counts.argmax(axis=1)
    other = voted & ~tied & (winner >= inside.shape[1])
    label = np.where(voted & ~tied & ~other, winner, MISSING_LABEL)
    notes = [*note(tied, "with tied votes"), *note(other, "in which another emotion than the classes has most votes")]
    return label, notes


def shares_of(counts: np.ndarray) -> np.ndarray:
    """Shares of the counts in their row (N, C); NaN for a row without votes."""
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), np.nan)


def one_hot(label: np.ndarray, num_classes: int) -> np.ndarray:
    """Distribution (N, C) with all mass on the label; NaN for a row without one."""
    soft = np.full((len(label), num_classes), np.nan)
    known = label != MISSING_LABEL
    soft[known] = np.eye(num_classes)[label[known]]
    return soft


def _dimensions(manifest: Manifest) -> tuple[np.ndarray, list[str]]:
    """Valence, arousal and dominance (N, 3) from the corpus's range to [0, 1]."""
    values = manifest.table[list(DIMENSIONS)].to_numpy(dtype=float)
    bounds = manifest.facts.get("dimension_range")
    if bounds is None:
        if np.isnan(values).all():
            return values.astype(np.float32), []
        return np.full(values.shape, np.nan, np.float32), [
            "ratings are not used: the corpus does not state their scale (data.corpus.dimension_range=[LOW,HIGH])"
        ]
    low, high = bounds
    missing = np.isnan(values).any(axis=1)
    notes = [] if missing.all() else note(missing, "lack valence, arousal or dominance")
    return ((values - low) / (high - low)).astype(np.float32), notes


def note(which: np.ndarray, what: str) -> list[str]:
    """One sentence with the count of the rows where ``which`` (N,) is set; none where no row is."""
    return [f"{int(which.sum())} of {len(which)} utterances {what}"] if which.any() else []
