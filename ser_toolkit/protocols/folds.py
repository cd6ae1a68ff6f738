"""Folds of a split, and the checks that every split must pass before anything is trained on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import pandas as pd

from ser_toolkit.errors import SplitError
from ser_toolkit.terms import listed

_SHOWN = 6
_PAIRS = (("train", "test"), ("dev", "test"), ("train", "dev"))


@dataclass(frozen=True)
class Fold:
    """One training and its test.

    Args:
        name: short, such as the test speaker's name.
        train: ids of the utterances that are fitted.
        dev: ids that select (epoch, hyper-parameters); may be empty.
        test: ids that are only scored.
    """

    name: str
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]


class Protocol(ABC):
    """How a corpus is split into folds."""

    #: Leak that the protocol accepts knowingly, in one sentence; None means that no leak is tolerated.
    declared_leak: str | None = None
    #: Where the utterances that select come from, in one sentence.
    dev_source: str = ""
    #: Column that confidence intervals resample.
    cluster_by: str = "speaker"
    #: Whether every utterance is tested exactly once (otherwise: at most once).
    tests_everything: bool = True

    @abstractmethod
    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Propose folds for a manifest's table; they must not depend on the order of its rows."""

    def remarks(self, table: pd.DataFrame) -> list[str]:
        """Further sentences on these folds for the audit; none for a protocol of one's own."""
        return []

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """The folds for a manifest's table, checked.

        Args:
            table: at least the columns ``id``, ``speaker`` and ``label``, and those that the protocol reads. The label
                column should be the one that is trained on, because every class must occur in training.

        Raises:
            SplitError: the protocol does not fit the table, or would leak.
        """
        folds = [replace(fold, name=folder_name(fold.name)) for fold in self.split(table)]
        check_folds(table, folds, self)
        return folds


def folder_name(name: str) -> str:
    """The name of a fold as part of a path: speaker EmoDB/03 of several corpora is tested in fold EmoDB-03."""
    return name.replace("/", "-")


def check_folds(table: pd.DataFrame, folds: Sequence[Fold], protocol: Protocol) -> None:
    """Refuse folds that leak, lose utterances or cannot be trained.

    Raises:
        SplitError: a part is empty, parts overlap in utterances or undeclared in speakers, speakers are unknown, an
            utterance is tested twice (or never, where all should be), a class is missing from training, or two folds
            have the same name.
    """
    who = type(protocol).__name__
    if not folds:
        raise SplitError(f"{who}: no folds. Check the columns that it reads.")
    names = [fold.name for fold in folds]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SplitError(f"{who}: several folds are called {listed(twice, _SHOWN)}. Rename what they are called after.")
    checker = _Checker(who, table, leak_declared=protocol.declared_leak is not None)
    for fold in folds:
        checker.check(fold)
    checker.check_coverage(protocol.tests_everything)


class _Checker:
    """Checks on row numbers, because a table of 100,000 utterances times 100 folds is too much for sets of ids."""

    def __init__(self, who: str, table: pd.DataFrame, leak_declared: bool) -> None:
        self.who = who
        self.leak_declared = leak_declared
        self.ids = table["id"].to_numpy(dtype=object)
        self.row = {name: row for row, name in enumerate(self.ids)}
        if len(self.row) != len(self.ids):
            raise SplitError(f"{who}: ids occur twice in the table. Validate the manifest first.")
        self.speaker, self.speakers = pd.factorize(table["speaker"])
        self.label, self.classes = pd.factorize(table["label"])
        self.tested = np.zeros(len(table), int)

    def check(self, fold: Fold) -> None:
        """Check all rules on a single fold."""
        where = f"{self.who}, fold {fold.name}"
        parts = {name: self._rows(where, name, getattr(fold, name)) for name in ("train", "dev", "test")}
        for name in ("train", "test"):
            if not len(parts[name]):
                raise SplitError(f"{where}: the {name} part is empty. Use fewer folds, or another protocol.")
        self._check_disjoint(where, parts)
        if not self.leak_declared:
            self._check_speakers(where, parts)
        seen = _occurring(self.label[parts["train"]], len(self.classes))
        missing = [str(name) for name, is_there in zip(self.classes, seen, strict=True) if not is_there]
        if missing:
            raise SplitError(
                f"{where}: class {', '.join(missing)} has no training utterance. "
                "Use fewer or larger folds, or leave the class out."
            )
        self.tested[parts["test"]] += 1

    def check_coverage(self, tests_everything: bool) -> None:
        """Check how often each utterance is tested in all folds together."""
        for wrong, what in ((self.tested > 1, "in more than one fold"), (self.tested < 1, "in no fold")):
            if wrong.any() and (tests_everything or what != "in no fold"):
                raise SplitError(
                    f"{self.who}: tested {what}: {listed(self.ids[wrong], _SHOWN)}. Each belongs to one test part."
                )

    def _rows(self, where: str, part: str, ids: tuple[str, ...]) -> np.ndarray:
        rows = rows_of(ids, self.row)
        if (rows < 0).any():
            unknown = [name for name in ids if name not in self.row]
            raise SplitError(f"{where}: the {part} part names unknown utterances: {listed(unknown, _SHOWN)}.")
        return rows

    def _check_disjoint(self, where: str, parts: dict[str, np.ndarray]) -> None:
        counts = {part: np.bincount(rows, minlength=len(self.ids)) for part, rows in parts.items()}
        for part, count in counts.items():
            if (count > 1).any():
                raise SplitError(
                    f"{where}: the {part} part names utterances twice: {listed(self.ids[count > 1], _SHOWN)}."
                )
        for one, other in _PAIRS:
            shared = (counts[one] > 0) & (counts[other] > 0)
            if shared.any():
                raise SplitError(f"{where}: {one} and {other} share utterances: {listed(self.ids[shared], _SHOWN)}.")

    def _check_speakers(self, where: str, parts: dict[str, np.ndarray]) -> None:
        used = np.concatenate(list(parts.values()))
        unknown = used[self.speaker[used] < 0]
        if len(unknown):
            raise SplitError(
                f"{where}: the speaker of {len(unknown)} utterances is unknown "
                f"({listed(self.ids[unknown], _SHOWN)}), so that train and test may share voices. Fill the speaker "
                "column, or use RandomKFold, which declares the leak."
            )
        there = {part: _occurring(self.speaker[rows], len(self.speakers)) for part, rows in parts.items()}
        for one, other in _PAIRS:
            shared = there[one] & there[other]
            if shared.any():
                raise SplitError(
                    f"{where}: {one} and {other} share speakers: {listed(self.speakers[shared], _SHOWN)}. "
                    "Split by speaker, or use a protocol that declares the leak."
                )


def rows_of(ids: Sequence[str], row: Mapping[str, int]) -> np.ndarray:
    """Row numbers (N,) of ids, -1 for an unknown one; ten million look-ups where a large table has 100 folds."""
    return np.fromiter(map(row.get, ids, repeat(-1)), np.intp, count=len(ids))


def _occurring(codes: np.ndarray, size: int) -> np.ndarray:
    """Which of the codes 0..size-1 occur; -1 stands for nothing."""
    return np.bincount(codes + 1, minlength=size + 1)[1:] > 0
