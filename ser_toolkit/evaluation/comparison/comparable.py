"""Check that runs may be compared: the same corpus, label rule, protocol, folds, utterances, labels and clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_toolkit.errors import ResultError, nearest
from ser_toolkit.evaluation.results import Results, System, load_results
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.terms import DIMENSIONS, listed

#: Values that the records must agree on, and their names for people.
_SAME: tuple[tuple[str, Callable[[RunRecord], Any], str], ...] = (
    ("corpus", lambda record: record.corpus.name, "the corpus"),
    ("corpus", lambda record: record.corpus.label_rule, "the corpus's labels"),
    ("labels", lambda record: record.labels.rule, "the label rule"),
    ("protocol", lambda record: record.protocol.name, "the protocol"),
    ("protocol", lambda record: record.protocol.cluster_by, "the cluster of intervals"),
    ("classes", lambda record: record.classes, "the class order"),
)
#: Settings that may differ, with a note.
_NOTED: tuple[tuple[Callable[[RunRecord], Any], str], ...] = (
    (lambda record: record.protocol.dev_source, "Validation"),
    (lambda record: record.selection.metric, "Selection"),
    (lambda record: record.manifest_hash, "The manifest (rows or audio of the corpus copy)"),
)
#: Advice where runs differ in this part of the record.
_HINTS = {
    "protocol": ". To ask what a protocol is worth on the utterances that both tested, add --protocols",
    "labels": ". To score both against the labels of one rule, add --labels RULE",
}
_PREDICTION = ["seed", "draw", "id"]


@dataclass(frozen=True)
class Run:
    """One row of a comparison.

    Args:
        name: of the row.
        results: the run directory.
        system: its model under the variant that is compared.
    """

    name: str
    results: Results
    system: System

    @property
    def seeds(self) -> set[int]:
        """Seeds that have predictions."""
        return {int(seed) for seed in self.system.table["seed"].unique()}

    def of_seeds(self, seeds: set[int]) -> pd.DataFrame:
        """Predictions of these seeds alone."""
        table = self.system.table
        return table[table["seed"].isin(seeds)]


def load_run(folder: Path, name: str | None, variant: str) -> Run:
    """A run directory as a row.

    Args:
        folder: the run directory itself.
        name: of the row; None takes the recipe's.
        variant: for example ``plain``.

    Raises:
        ResultError: there are no predictions, or none of that variant.
    """
    results = load_results(folder)
    system = results.find(variant)
    if system is None:
        there = [one.variant for one in results.systems if one.baseline is None]
        advice = nearest(variant, there) if there else "No fold of its model is finished: run ser-train again."
        raise ResultError(f"{folder} has no predictions of variant {variant!r}. {advice}")
    return Run(name or results.record.recipe or Path(folder).name, results, system)


def refuse_unlike(first: Run, other: Run, protocols: bool = False) -> None:
    """Check that a paired difference of two runs means something.

    Args:
        first: one run.
        other: another.
        protocols: they are of different protocols on purpose: folds and clusters may be others, the truth may not, and
            what only one of them tested is left to ``protocol_effect.py``.

    Raises:
        ResultError: they were not tested alike; the message names the differences.
    """
    for part, value, what in _SAME:
        one, two = (value(run.results.record) for run in (first, other))
        if one is not None and two is not None and one != two and not (protocols and part == "protocol"):
            hint = _HINTS.get(part, "")
            raise _unlike(first, other, f"{what} is {_worded(one)} in the first and {_worded(two)} in the second{hint}")
    shared = first.seeds & other.seeds
    if not shared:
        raise _unlike(first, other, f"they have no seed in common ({_listed(first.seeds)}; {_listed(other.seeds)})")
    if protocols:
        one, two = (run.of_seeds(shared) for run in (first, other))
        _same_truth(first, other, one.merge(two, on=_PREDICTION, suffixes=("", "_other")), ("speaker",))
        return
    one, two = (_tested(run, shared) for run in (first, other))
    _same_folds(first, other, one, two)
    _same_rows(first, other, one, two)


def differing_notes(runs: list[Run]) -> list[str]:
    """Sentences on what is not the same in all runs, though they were tested alike."""
    found = []
    for value, what in _NOTED:
        values: dict[str, list[str]] = {}
        for run in runs:
            values.setdefault(value(run.results.record) or "not recorded", []).append(run.name)
        if len(values) > 1:
            found.append(f"{what} differs: {'; '.join(f'{one} ({_listed(who)})' for one, who in values.items())}.")
    uneven = [run for run in runs if run.seeds != runs[0].seeds]
    if uneven:
        found.append(
            f"Seeds differ: {'; '.join(f'{run.name} {_listed(run.seeds)}' for run in (runs[0], *uneven))}. "
            "A row's own figures are over all its seeds, a difference is over those that both have."
        )
    return found


def _unlike(first: Run, other: Run, what: str) -> ResultError:
    return ResultError(f"{first.name} and {other.name} cannot be compared: {what}.")


def _tested(run: Run, seeds: set[int]) -> pd.DataFrame:
    by = run.results.record.protocol.cluster_by
    columns = [*_PREDICTION, "fold", "label", by, *DIMENSIONS]
    return run.of_seeds(seeds)[columns].rename(columns={by: "cluster"})


def _same_folds(first: Run, other: Run, one: pd.DataFrame, two: pd.DataFrame) -> None:
    tested = [set(zip(table["seed"], table["fold"], strict=True)) for table in (one, two)]
    for run, has, against in ((first, tested[0], tested[1]), (other, tested[1], tested[0])):
        lacking = sorted(f"{fold} (seed {seed})" for seed, fold in against - has)
        if lacking:
            raise _unlike(
                first,
                other,
                f"{run.name} lacks fold {_listed(lacking)}, which the other was tested on; "
                "finish it with its ser-train command, or take runs of the same folds",
            )


def _same_rows(first: Run, other: Run, one: pd.DataFrame, two: pd.DataFrame) -> None:
    both = one.merge(two, on=_PREDICTION, how="outer", suffixes=("", "_other"), indicator=True)
    for run, side in ((first, "left_only"), (other, "right_only")):
        alone = both.loc[both["_merge"] == side, "id"].unique()
        if len(alone):
            raise _unlike(
                first, other, f"{len(alone)} utterances were tested in {run.name} alone, such as {_listed(alone)}"
            )
    _same_truth(first, other, both, ("fold", "cluster"))


def _same_truth(first: Run, other: Run, both: pd.DataFrame, besides: tuple[str, ...]) -> None:
    """Labels, dimensions and the columns ``besides`` of predictions side by side, the second's with ``_other``."""
    for column in ("label", *besides, *DIMENSIONS):
        a, b = both[column], both[f"{column}_other"]
        odd = both[(a != b) & ~(a.isna() & b.isna())]
        if len(odd):
            row = odd.iloc[0]
            raise _unlike(
                first,
                other,
                f"{odd['id'].nunique()} utterances have another {column}, first {row['id']} "
                f"({row[column]} and {row[f'{column}_other']})",
            )


def _worded(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value!r}"


def _listed(names: Iterable[object]) -> str:
    return listed(sorted(names, key=str) if isinstance(names, set) else names, 4)
