"""Answers of raters, and sums by speaker from which every figure of their agreement is made.

An answer is a distribution over words: one-hot for a rater who named one emotion, 1/k each for one who named k. Votes
without names are answers too: seven votes for angry are seven raters who said angry. Only votes in fractions cannot
be told apart again ({angry: 1.5, sad: 1.5} is two single answers and a double one, or two doubles and ...); those
utterances need the single ratings, or are left out.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_toolkit.evaluation.sums import FloatArray, IntArray, outer_sums
from ser_toolkit.terms import TIE, Json


@dataclass(frozen=True)
class Answers:
    """Answers of raters, equal ones of an utterance counted together.

    Args:
        row: (A,) utterance of each answer, from 0 to ``utterances`` - 1.
        value: (A, K) distribution over K words, or (A, 1) a rating.
        count: (A,) how many raters gave it.
        utterances: N.
    """

    row: IntArray
    value: FloatArray
    count: FloatArray
    utterances: int

    @property
    def raters(self) -> FloatArray:
        """(N,) how many raters each utterance has."""
        return np.asarray(np.bincount(self.row, weights=self.count, minlength=self.utterances), dtype=float)

    @property
    def totals(self) -> FloatArray:
        """(N, K) sum of the answers of each utterance: its votes."""
        weighted = self.value * self.count[:, None]
        columns = [np.bincount(self.row, weights=column, minlength=self.utterances) for column in weighted.T]
        return np.stack(columns, axis=-1)

    def of_several(self) -> Answers:
        """Answers of utterances that two raters or more answered: agreement is defined on these alone."""
        several = self.raters[self.row] > 1
        return Answers(self.row[several], self.value[several], self.count[several], self.utterances)


def words_of(votes: pd.Series, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes in their order, then whatever else was voted for by name."""
    voted = {word for text in votes.dropna().unique() for word, count in json.loads(text).items() if count > 0}
    return (*classes, *sorted(voted - set(classes)))


def answers_of(votes: pd.Series, words: Sequence[str], ratings: pd.Series | None = None) -> tuple[Answers, int]:
    """Single answers from votes, and from the single ratings where they add up to the votes.

    Args:
        votes: (N,) JSON texts of votes, None where there are none.
        words: (K,) every word that has votes.
        ratings: (N,) JSON texts of single ratings as in a manifest; None or missing where they are unknown.
            Self-reports of speakers are no votes. Ratings in other words than the votes (a corpus that counts excited
            as happy) do not add up to them and are not used.

    Returns:
        The answers, and how many utterances were left out because their votes are fractions.
    """
    place = {word: number for number, word in enumerate(words)}
    counts, codes = _counts(votes, place)
    fractions: npt.NDArray[np.bool_] = np.any(np.abs(counts - counts.round()) > TIE, axis=1)
    named: list[tuple[int, FloatArray]] = []
    left_out = 0
    for row in np.flatnonzero(fractions[codes]):  # the last code, -1, has no votes and no fractions
        found = _shares(None if ratings is None else ratings.iloc[row], place)
        if found is None or not np.allclose(np.sum(found, axis=0), counts[codes[row]], atol=TIE):
            left_out += 1
        else:
            named += [(int(row), share) for share in found]
    counts[fractions] = 0
    voted, word = np.nonzero(counts[codes])
    rows = np.concatenate([voted, np.array([number for number, _ in named], dtype=np.int64)])
    value = np.concatenate([np.eye(len(place))[word], np.reshape([share for _, share in named], (-1, len(place)))])
    count = np.concatenate([counts[codes][voted, word].round(), np.ones(len(named))])
    return Answers(rows.astype(np.int64), value, count, len(votes)), left_out


def ratings_of(given: Iterable[object], dimensions: Sequence[str]) -> dict[str, Answers]:
    """Single ratings of each dimension: N JSON texts of ratings, or None -> answers with K = 1.

    The texts are read once for all dimensions, and one at a time: as dictionaries 700,000 ratings take a gigabyte.
    """
    rows, values, number = array("q"), array("d"), 0
    for number, text in enumerate(given, start=1):
        for rating in observers(text):
            rows.append(number - 1)
            values.extend(math.nan if (value := rating.get(name)) is None else value for name in dimensions)
    row = np.array(rows, dtype=np.int64)
    value = np.array(values, dtype=float).reshape(-1, len(dimensions))
    found = {}
    for column, name in enumerate(dimensions):
        known = np.isfinite(value[:, column])
        found[name] = Answers(row[known], value[known, column, None], np.ones(int(known.sum())), number)
    return found


def observers(text: object) -> list[Json]:
    """Ratings of an utterance by others than its speaker, from the JSON text of a manifest; none where it is None."""
    return [r for r in json.loads(text) if not r.get("self_report")] if isinstance(text, str) else []


def _counts(votes: pd.Series, place: Mapping[str, int]) -> tuple[FloatArray, IntArray]:
    """Different votes as (V + 1, K) counts, the last row zero, and which of them each utterance has."""
    codes, distinct = votes.factorize()  # equal votes are parsed once; -1 means there are none
    counts = np.zeros((len(distinct) + 1, len(place)))
    for number, text in enumerate(distinct):
        for word, count in json.loads(text).items():
            if count > 0:
                counts[number, place[word]] = count
    return counts, np.asarray(codes, dtype=np.int64)


def _shares(text: object, place: Mapping[str, int]) -> list[FloatArray] | None:
    """One distribution a rater; None where a word is unknown or nobody answered."""
    found = []
    for rating in observers(text):
        words = rating.get("labels") or ()
        if any(word not in place for word in words):
            return None
        if words:
            share = np.zeros(len(place))
            np.add.at(share, [place[word] for word in words], 1 / len(words))
            found.append(share)
    return found or None


def plurality(totals: FloatArray) -> FloatArray:
    """The plurality: (..., K) votes -> (..., K) with 1 for the word with most votes, 1/t for t words in a tie.

    A tie spread evenly is what breaking it by lot gives on average. To leave ties out instead would bend the figure:
    with three raters of whom two agree, it drops the two who agree (the others are in a tie) and keeps the third.

    >>> plurality(np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0]])).tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """
    best = totals.max(axis=-1, keepdims=True)
    first = (totals >= best - TIE) & (best > TIE)
    return first / np.maximum(first.sum(axis=-1, keepdims=True), 1)


def plurality_of_others(answers: Answers) -> FloatArray:
    """Plurality of the other raters, for each answer (A, K); see ``plurality``."""
    return plurality(answers.totals[answers.row] - answers.value)


def weights(answers: Answers) -> FloatArray:
    """(A,) weight of each answer: every utterance weighs 1, shared by its raters."""
    return answers.count / answers.raters[answers.row]


def coincidences(answers: Answers, cluster: IntArray, groups: int) -> FloatArray:
    """Coincidence matrices of Krippendorff's alpha: every pair of raters of an utterance, weighed by 1 / (m - 1).

    Args:
        answers: of utterances with at least two raters (``of_several``).
        cluster: (N,) cluster of each utterance.
        groups: G.

    Returns:
        (G, K, K) pairs; a rater who named k emotions counts as one of them drawn at random.

    Source:
        Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C.
    """
    weight = 1 / np.maximum(answers.raters - 1, 1)
    together = outer_sums(answers.totals * weight[:, None], answers.totals, cluster, groups)
    own = answers.value * (answers.count * weight[answers.row])[:, None]
    return together - outer_sums(own, answers.value, cluster[answers.row], groups)


def split_in_halves(answers: Answers, generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Mean answers of two random halves of the raters of each utterance: twice (N, K).

    Both halves are equally large; where the number of raters is odd, one drawn at random is in neither. Rows of
    utterances without two raters are NaN.
    """
    repeat = answers.count.astype(np.int64)
    raters = np.bincount(answers.row, weights=answers.count, minlength=answers.utterances).astype(np.int64)
    order = _shuffled(np.repeat(answers.row, repeat), raters, generator)
    value = np.repeat(np.arange(len(repeat)), repeat)[order]
    start, half = np.cumsum(raters) - raters, raters // 2
    several = half > 0
    # Answers of an utterance now lie side by side: first half, second half, one left over or none.
    bounds = np.stack([start, start + half, start + 2 * half], axis=-1)[several].ravel()
    padded = np.concatenate([answers.value[value], np.zeros((1, answers.value.shape[1]))])
    sums = np.add.reduceat(padded, bounds) if len(bounds) else padded[:0]
    means = np.full((2, answers.utterances, answers.value.shape[1]), np.nan)
    for number in (0, 1):
        means[number, several] = sums[number::3] / half[several, None]
    return means[0], means[1]


def _shuffled(row: IntArray, raters: IntArray, generator: np.random.Generator) -> IntArray:
    """Places of the answers, by utterance and within an utterance in random order.

    Args:
        row: (A,) utterance of each answer.
        raters: (N,) answers of each utterance.
        generator: draws one number for each answer.
    """
    key = row + generator.random(len(row))
    largest = int(raters.max(initial=0))
    if len(raters) * largest > 4 * len(row):  # a few utterances with many raters: a matrix would be mostly empty
        return np.asarray(np.argsort(key), dtype=np.int64)
    # A hundred thousand sorts of nine numbers take a fifth of the time of one sort of all.
    by_utterance = np.argsort(row, kind="stable")
    column = np.arange(len(row)) - np.repeat(np.cumsum(raters) - raters, raters)
    matrix = np.full((len(raters), largest), np.inf)
    matrix[row[by_utterance], column] = key[by_utterance]
    places = np.argsort(matrix, axis=1)[np.arange(largest) < raters[:, None]]
    return by_utterance[np.repeat(np.cumsum(raters) - raters, raters) + places]
