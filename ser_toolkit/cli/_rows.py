"""Runs the rows of a comparison, each as ``ser-train`` would: complete ones are kept, under hashes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_toolkit.cli._command import quiet_libraries
from ser_toolkit.cli._grid import GridRow, rows_of
from ser_toolkit.config.identity import NEUTRAL
from ser_toolkit.config.recipe import parse
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.errors import RecipeError, SerError, nearest
from ser_toolkit.evaluation.comparison.protocol_effect import LEAST_SHARED
from ser_toolkit.evaluation.reporting.report import Report
from ser_toolkit.evaluation.uncertainty import with_clusters
from ser_toolkit.experiment.console import Console
from ser_toolkit.experiment.dry_run import describe
from ser_toolkit.experiment.experiment import Experiment

#: Settings that rows of different protocols need not have in common.
_OF_PROTOCOLS = ("protocols", "clusters of intervals", "test parts")


class RowConsole(Console):
    """The terminal of one row of several: corpus, protocol and audit are printed for the first row alone.

    Args:
        name: of the row.
        number: of the row, from 1.
        rows: in all.
    """

    def __init__(self, name: str, number: int, rows: int) -> None:
        super().__init__()
        self._title = f"row {number} of {rows}: {name}"
        self._first = number == 1

    def heading(self, name: str, data: CorpusData, plan: Any, sentences: list[str], folder: Path) -> None:
        """Print which row begins, and its run directory."""
        self.line(self._title)
        if self._first:
            super().heading(name, data, plan, sentences, folder)
        else:
            self.line(f"run directory: {folder}")

    def report(self, report: Report) -> None:
        """Print no report: one table follows when all rows are complete."""


def run_rows(
    arguments: Sequence[str], named: Sequence[str], variant: str, names: Sequence[str] | None = None
) -> tuple[list[str], list[Path]]:
    """Run every row that is not complete.

    Args:
        arguments: of the command; values separated by commas make rows.
        named: further rows, as ``"NAME: key=value"``.
        variant: that is going to be compared.
        names: of the rows; None takes their values.

    Returns:
        Names and run directories in order; no directories after a dry run.

    Raises:
        SerError: a row cannot be read or run, or rows would not be tested alike: said before anything is trained.
    """
    quiet_libraries()
    rows = _renamed(rows_of(arguments, named, NEUTRAL), names)
    experiments = [_experiment(row, number, len(rows)) for number, row in enumerate(rows, start=1)]
    _check_rows(rows, experiments, variant)
    chosen = [row.name for row in rows]
    if any(experiment.recipe.settings.dry_run for experiment in experiments):
        for row, experiment in zip(rows, experiments, strict=True):
            for line in (f"{row.name}:", *(f"  {line}" for line in describe(experiment))):
                experiment.console.line(line)
        return chosen, []
    # taken out of the list: what a finished row trained from leaves the memory
    return chosen, [_run(row, experiments.pop(0)) for row in rows]


def _renamed(rows: list[GridRow], names: Sequence[str] | None) -> list[GridRow]:
    if names is None:
        return rows
    if len(names) != len(rows) or len(set(names)) != len(names):
        found = ", ".join(row.name for row in rows)
        raise RecipeError(f"--names: {len(set(names))} different names for {len(rows)} rows ({found}).")
    return [GridRow(name, row.arguments) for name, row in zip(names, rows, strict=True)]


def _experiment(row: GridRow, number: int, rows: int) -> Experiment:
    try:
        return Experiment(parse(list(row.arguments)), RowConsole(row.name, number, rows))
    except SerError as error:
        raise RecipeError(f"row {row.name!r}: {error}") from error


def _run(row: GridRow, experiment: Experiment) -> Path:
    try:
        return experiment.run()
    except SerError as error:
        raise SerError(f"row {row.name!r}: {error} Complete rows are kept.") from error


def _check_rows(rows: Sequence[GridRow], experiments: Sequence[Experiment], variant: str) -> None:
    """Refuse in seconds what would be refused after hours: rows that are the same run, or are tested otherwise."""
    identities: dict[str, str] = {}
    tested = None
    for row, experiment in zip(rows, experiments, strict=True):
        identity = repr(experiment.recipe.identity())
        if identity in identities:
            raise RecipeError(f"rows {identities[identity]!r} and {row.name!r} are the same experiment.")
        identities[identity] = row.name
        variants = [one.name for one in experiment.plan().variants]
        if variant not in variants:
            raise RecipeError(f"row {row.name!r}: the variant {variant!r} is not run. {nearest(variant, variants)}")
        now = _tested(experiment)
        tested = tested or now
        # a protocol of its own is asked for on purpose: the comparison names the part of it that is compared
        excused = _OF_PROTOCOLS if _protocol(experiment) != _protocol(experiments[0]) else ()
        for what, value in now.items():
            if what not in excused and value != tested[what]:
                raise RecipeError(
                    f"rows {rows[0].name!r} and {row.name!r} are not tested alike: {what} differ. Compare only what "
                    "leaves the test parts as they are."
                )
        if excused:
            _check_shared(rows[0], row, *(_ids(one) for one in (experiments[0], experiment)))


def _check_shared(first: GridRow, other: GridRow, one: set[str], two: set[str]) -> None:
    shared = len(one & two)
    if shared < LEAST_SHARED * min(len(one), len(two)):
        raise RecipeError(
            f"rows {first.name!r} and {other.name!r} test {shared} utterances both, of {len(one)} and {len(two)}. The "
            "worth of a protocol needs at least half of the smaller test set: run all folds (fold=all)."
        )


def _protocol(experiment: Experiment) -> object:
    return experiment.recipe.identity()["data"]["protocol"]


def _ids(experiment: Experiment) -> set[str]:
    return {one for fold in experiment.plan().folds for one in fold.test}


def _tested(experiment: Experiment) -> dict[str, object]:
    """Properties of an experiment that must be equal in two rows whose difference is paired."""
    data, plan = experiment.data, experiment.plan()
    by = data.protocol.cluster_by
    table = with_clusters(data.split_table, by)
    return {
        "classes": data.classes,
        "protocols": type(data.protocol).__name__,
        "clusters of intervals": dict(zip(table["id"], table[by], strict=True)),
        "labels": dict(zip(table["id"], table["label"], strict=True)),
        "test parts": {fold.name: sorted(fold.test) for fold in plan.folds},
        "seeds": plan.seeds,
    }
