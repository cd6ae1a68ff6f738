"""Runs side by side: each with its interval, and its paired difference to the first.

Two intervals that overlap say little about a difference, because both systems stumble over the same speakers. Here both
lose the same speaker at a time, on the same utterances, seed by seed.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ser_toolkit.errors import ResultError, nearest
from ser_toolkit.evaluation import confound
from ser_toolkit.evaluation.comparison import protocol_effect
from ser_toolkit.evaluation.comparison.comparable import Run, differing_notes, load_run, refuse_unlike
from ser_toolkit.evaluation.comparison.costs import Cost, cost
from ser_toolkit.evaluation.comparison.relabelled import OtherLabels
from ser_toolkit.evaluation.comparison.row_names import with_distinct_names
from ser_toolkit.evaluation.distributions import VOTE_FIGURES, VOTE_STATISTICS
from ser_toolkit.evaluation.multiplicity import holm, p_value
from ser_toolkit.evaluation.reporting import tables, wording
from ser_toolkit.evaluation.reporting.tables import NONE, Cell, Table, figure_name, interval_cell
from ser_toolkit.evaluation.results import Results, System
from ser_toolkit.evaluation.scores import Scorer
from ser_toolkit.evaluation.uncertainty import CCC, CLASS_STATISTICS, CLUSTERS, Interval
from ser_toolkit.terms import DIMENSIONS, Json

COMPARISON_FORMAT = 1
#: Figures whose difference can be tested.
METRICS = (
    *(statistic.key for statistic in CLASS_STATISTICS),
    *(f"{CCC.key}_{name}" for name in DIMENSIONS),
    *VOTE_FIGURES,
)
#: How wide the range of a figure is, where that is not 1.
_WIDTHS = {f"{CCC.key}_{name}": 2.0 for name in DIMENSIONS}
_WIDTHS |= {key: statistic.high - statistic.low for key, statistic in zip(VOTE_FIGURES, VOTE_STATISTICS, strict=True)}
_DIGITS = 6
NOTHING_SELECTED = (
    "Nothing was selected: all rows were scored on test. To choose by this table would be to choose on test; choose on "
    "dev (selection.candidates) or on another corpus."
)


@dataclass(frozen=True)
class Comparison:
    """Figures of several runs and their paired differences.

    Args:
        data: everything, ready for JSON: ``metric``, ``variant``, ``level``, ``comparisons``, ``rows`` (each with
            ``name``, ``run``, ``seeds``, ``metrics``, ``parameters``, ``fit_seconds`` and, but for the first,
            ``difference``), ``banners`` and ``notes``.
    """

    data: Json

    def table(self, leave_out: Sequence[str] = ()) -> Table:
        """Rows and figures as a table of words."""
        metric, rows = self.data["metric"], self.data["rows"]
        keys = tables.figure_keys({"systems": rows}, leave_out=["weighted_f1", *leave_out])
        heads = [*map(figure_name, keys), "trained", "fit, s"]
        heads += [f"Δ {figure_name(metric)} to {rows[0]['name']}", "p (Holm)", "differs"]
        if self.data["across_protocols"]:
            columns = ["Run", "folds", "trained on", *heads, "declared leak"]
            return Table(
                columns, [protocol_effect.cells(self._cells(row, keys), row) for row in rows], title=self.data["title"]
            )
        return Table(["Run", *heads], [self._cells(row, keys) for row in rows], title=self.data["title"])

    def markdown(self) -> str:
        """Title, warnings, table and notes as Markdown."""
        lines = [f"# {self.data['title']}", ""]
        for banner in self.data["banners"]:
            lines += [f"> **Warning:** {banner}", ""]
        return "\n".join([*lines, self.table().markdown(), "", *(f"- {note}" for note in self.data["notes"]), ""])

    def text(self) -> str:
        """Rows and figures for a terminal."""
        banners = [f"! {banner}" for banner in self.data["banners"]]
        # A terminal has room for one kind of figures: those of the votes where their difference is asked for.
        rows, of_votes = self.data["rows"], self.data["metric"] in VOTE_FIGURES
        hidden = [key for row in rows for key in row["metrics"] if (key in VOTE_FIGURES) != of_votes]
        notes = [note for note in self.data["notes"] if of_votes or not note.startswith(wording.VOTE_FIGURES_BEGIN)]
        return "\n".join([self.data["title"], *banners, "", self.table(hidden).text(), "", *notes])

    def json(self) -> str:
        """Content of the comparison as JSON text."""
        return json.dumps(self.data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def csv(self) -> str:
        """One line a run, for spreadsheets; shares lie between 0 and 1."""
        keys = tables.figure_keys({"systems": self.data["rows"]})
        ends = ("estimate", "low", "high")
        head = ["name", "run", *(f"{key}_{end}" for key in keys for end in ends), "trained", "fit_seconds"]
        head += [*(f"difference_{end}" for end in ends), "clear_of_zero", "p", "p_holm", "differs"]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for row in self.data["rows"]:
            figures = [(row["metrics"].get(key) or {}).get(end) for key in keys for end in ends]
            against = row["difference"] or {}
            tail = [against.get(key) for key in (*ends, "clear_of_zero", "p", "p_holm", "differs")]
            writer.writerow([row["name"], row["run"], *figures, row["parameters"], row["fit_seconds"], *tail])
        return file.getvalue()

    def _cells(self, row: Json, keys: list[str]) -> list[Cell]:
        metric, difference = self.data["metric"], row["difference"]
        found = [Cell(row["name"]), *(interval_cell(key, row["metrics"].get(key)) for key in keys)]
        found.append(Cell(NONE if row["parameters"] is None else f"{row['parameters']:,}"))
        found.append(Cell(NONE if row["fit_seconds"] is None else f"{row['fit_seconds']:.0f}"))
        if difference is None:
            return [*found, Cell(NONE), Cell(NONE), Cell(NONE)]
        differs, p = difference["differs"], difference["p_holm"]
        found.append(replace(interval_cell(metric, difference, signed=True), strong=bool(differs)))
        return [*found, Cell(NONE if p is None else _p_text(p)), Cell({True: "yes", False: "no"}.get(differs, NONE))]


def compare_runs(
    paths: Sequence[Path | str],
    variant: str = "plain",
    metric: str | None = None,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    allow_protocols: bool = False,
    labels: OtherLabels | None = None,
) -> Comparison:
    """Compare run directories with the first of them.

    Args:
        paths: at least two run directories (``runs/<recipe>/<hash>``).
        variant: which variant's models.
        metric: whose difference is tested, one of ``METRICS``; None takes UA, or for runs without classes the first
            CCC.
        names: of the rows; None takes the recipes' names.
        level: nominal coverage of intervals.
        allow_protocols: the runs may be of different protocols (see ``protocol_effect.py``).
        labels: score all of them against these; None takes each run's own, which must be the same.

    Raises:
        ResultError: a run cannot be read, the runs were not tested alike, or the metric is not theirs.
    """
    runs = _runs(paths, variant, names)
    notes = [] if labels is None else [labels.note(runs)]
    runs = runs if labels is None else [labels.applied(run) for run in runs]
    across = allow_protocols and protocol_effect.differ(runs)
    runs = protocol_effect.named(runs) if across and names is None else runs
    for other in runs[1:]:
        refuse_unlike(runs[0], other, across)
    described: list[Json] = [{} for _ in runs]
    if across:
        for other in runs[1:]:
            protocol_effect.refuse_other_tests(runs[0], other)
        described = [protocol_effect.facts(run, runs[0]) for run in runs]
        runs = protocol_effect.alike(runs)
    scorer = Scorer(_together(runs), level)
    costs = [cost(run.results, variant) for run in runs]
    scored = [scorer.system(System(run.name, None, run.system.table)) for run in runs]
    metric = _metric(metric, scored)
    differences: list[Json | None] = [None, *(_difference(scorer, runs[0], run, metric) for run in runs[1:])]
    for difference, adjusted in zip(differences[1:], holm([d["p"] for d in differences[1:] if d]), strict=True):
        # the only verdict: an interval is of one difference, taken alone
        (difference or {}).update(p_holm=adjusted, differs=None if adjusted is None else adjusted < 1 - level)
    parts = zip(runs, scored, costs, differences, strict=True)
    rows = [_row(*part) | facts for part, facts in zip(parts, described, strict=True)]
    data = _data(runs, rows, metric, variant, level, scorer, across)
    return Comparison(_rounded({**data, "notes": [*notes, *data["notes"]]}))


def _runs(paths: Sequence[Path | str], variant: str, names: Sequence[str] | None) -> list[Run]:
    folders = [Path(path).expanduser().resolve() for path in paths]
    if len(folders) < 2:
        raise ResultError(f"A comparison needs at least two runs, found {len(folders)}.")
    if names is not None and len(names) != len(folders):
        raise ResultError(f"{len(names)} names ({', '.join(names)}) for {len(folders)} runs: give one for each.")
    repeated = [str(folder) for folder, count in Counter(folders).items() if count > 1]
    if repeated:
        raise ResultError(f"{repeated[0]} is given twice: a run does not differ from itself.")
    given: list[str | None] = [None] * len(folders) if names is None else [*names]
    runs = [load_run(folder, name, variant) for folder, name in zip(folders, given, strict=True)]
    if names is None:
        return with_distinct_names(runs)
    twice = sorted(name for name, count in Counter(run.name for run in runs).items() if count > 1)
    if twice:
        raise ResultError(f"The name {twice[0]} is given twice: rows need names of their own.")
    return runs


def _together(runs: list[Run]) -> Results:
    """All rows as systems of one run: they share classes, folds and clusters."""
    first = runs[0].results
    systems = tuple(System(run.name, None, run.system.table) for run in runs)
    return Results(first.run_dir, first.record, first.classes, systems, first.folds, ())


def _metric(metric: str | None, scored: list[Json]) -> str:
    known = [key for key in scored[0]["metrics"] if all(key in row["metrics"] for row in scored)]
    if not known:
        raise ResultError("The runs have no figure in common: some predict classes, others dimensions.")
    if metric is not None and metric not in known:
        raise ResultError(f"The metric {metric!r} is not known of these runs. {nearest(metric, known)}")
    return metric or known[0]


def _difference(scorer: Scorer, first: Run, other: Run, metric: str) -> Json:
    """Other minus first on the seeds that both have, with its p-value."""
    shared = first.seeds & other.seeds
    sides = [System(run.name, None, run.of_seeds(shared)) for run in (other, first)]
    found = scorer.difference(*sides)
    if found is None:
        raise ResultError(f"{first.name} and {other.name} share no prediction.")
    entry: Json = {"seeds": sorted(shared), **found["metrics"][metric]}
    low, high, estimate = entry["low"], entry["high"], entry["estimate"]
    entry["clear_of_zero"] = None if low is None or high is None else bool(low > 0 or high < 0)
    interval = Interval(float("nan") if estimate is None else estimate, low, high, entry["clusters"], entry["level"])
    entry["p"] = p_value(interval, _WIDTHS.get(metric, 1.0))
    return entry


def _row(run: Run, scored: Json, spent: Cost, difference: Json | None) -> Json:
    return {
        "name": run.name,
        "run": str(run.results.run_dir),
        "recipe": run.results.record.recipe,
        "hash": run.results.record.hash,
        "seeds": scored["seeds"],
        "utterances": scored["labelled"] or scored["utterances"],
        "metrics": scored["metrics"],
        "parameters": spent.trained,
        "fit_seconds": spent.seconds,
        "difference": difference,
    }


def _data(
    runs: list[Run], rows: list[Json], metric: str, variant: str, level: float, scorer: Scorer, across: bool
) -> Json:
    first = runs[0].results
    done = sum(1 for fold in first.folds if fold in set(runs[0].system.table["fold"]))
    corpus, protocol = first.record.corpus.name or "a corpus", first.record.protocol.name or "a protocol"
    count = f"{done}" if done == len(first.folds) else f"{done} of {len(first.folds)}"
    tested = f"{len(runs)} runs on {corpus}, {protocol}, {count} folds"
    banners = list(dict.fromkeys(banner for run in runs for banner in wording.banners(run.results)))
    banners = [
        *(protocol_effect.banners(runs) if across else banners),
        *confound.banners(runs[0].system.table, corpus, first.record, [variant]),
    ]
    data: Json = {
        "format": COMPARISON_FORMAT,
        "title": f"{f'{len(runs)} protocols on {corpus}' if across else tested}, variant {variant}",
        "across_protocols": across,
        "metric": metric,
        "variant": variant,
        "level": level,
        "cluster_by": scorer.cluster_by,
        "comparisons": len(runs) - 1,
        "rows": rows,
        "banners": banners,
    }
    last = protocol_effect.notes(rows) if across else [NOTHING_SELECTED]
    of_votes = any(key in row["metrics"] for row in rows for key in VOTE_FIGURES)
    notes = [wording.vote_figures(len(first.classes))] if of_votes else []
    return {**data, "notes": [*_notes(data), *notes, *last, *differing_notes(runs)]}


def _notes(data: Json) -> list[str]:
    rows, name = data["rows"], figure_name(data["metric"])
    percent = f"{100 * data['level']:.0f} %"
    # a protocol may test fewer speakers than another, and a difference has those of both
    found = [*(row["metrics"][data["metric"]] for row in rows), *(row["difference"] for row in rows[1:])]
    counts = sorted({figure["clusters"] for figure in found})
    ends = list(dict.fromkeys((counts[0], counts[-1])))
    clusters, freedom = (" to ".join(str(max(end - less, 0)) for end in ends) for less in (0, 1))
    missing = {row["difference"]["reason"] for row in rows[1:] if row["difference"]["reason"]}
    interval = (
        f"In brackets: {percent} interval over {clusters} {CLUSTERS[data['cluster_by']]} (jackknife, t with "
        f"{freedom} degrees of freedom), of figures pooled over folds and averaged over seeds."
    )
    return [
        *([interval] if counts[-1] > 1 else []),
        f"Δ: paired difference in {name} (row minus {rows[0]['name']}) on the same utterances, seed by seed; both lose "
        f"the same {data['cluster_by'].replace('_', ' ')} at a time. Its interval is of this difference alone.",
        f"{data['comparisons']} comparison{'s' * (data['comparisons'] > 1)} with {rows[0]['name']} made; p is "
        "Holm-adjusted for that number (two-sided, same jackknife and t). Differs (bold): whether that p is below "
        f"{1 - data['level']:.2g}.",
        *(f"No p-value or interval where {reason}." for reason in sorted(missing)),
    ]


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
