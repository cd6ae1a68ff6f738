"""Several runs in one table: every model with its intervals, variant by variant, and the baselines that they share.

Rows stand side by side and are not compared: paired differences are ``ser_toolkit.evaluation.compare``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ser_toolkit.evaluation.distributions import VOTE_FIGURES
from ser_toolkit.evaluation.report import Report
from ser_toolkit.evaluation.tables import Cell, Table, figure_keys, figure_name, interval_cell, utterances

Json = dict[str, Any]


def joint_table(reports: Sequence[Report], leave_out: Sequence[str] = ()) -> Table:
    """A row for every run and variant, then one for every baseline that says the same in all runs that have it.

    Args:
        reports: of the runs, in the order of the rows.
        leave_out: figures that have no place.
    """
    systems = [system for report in reports for system in report.data["systems"]]
    keys = figure_keys({"systems": systems}, leave_out=["weighted_f1", *leave_out])
    rows = []
    for name, report in zip(_names(reports), reports, strict=True):
        models = [system for system in report.data["systems"] if system["baseline"] is None]
        rows += [_row(name, one, len(report.data["folds"]), keys) for one in models if _has(one, keys)]
    shared = [system for system in _shared(reports) if _has(system, keys)]
    rows += [_row(f"baseline: {system['name']}", system, len(system["folds"]), keys) for system in shared]
    title = f"{len(reports)} run{'s' * (len(reports) > 1)} on {', '.join(_corpora(reports))}"
    return Table(["Recipe", "Variant", "Utterances", *map(figure_name, keys)], rows, words=2, title=title)


def joint_text(reports: Sequence[Report]) -> str:
    """Tables for a terminal, of classes and of dimensions, without the figures of votes; with all warnings."""
    keys = figure_keys({"systems": [system for report in reports for system in report.data["systems"]]})
    parts = [[key for key in keys if key.startswith("ccc") == of_dimensions] for of_dimensions in (False, True)]
    shown = [joint_table(reports, leave_out=(*VOTE_FIGURES, *others)) for own, others in (parts, parts[::-1]) if own]
    banners = [f"! {banner}" for banner in _each(reports, "banners")]
    texts = [line for table in shown for line in ("", table.text(most=len(table.rows)))]
    return "\n".join([shown[0].title, *banners, *texts, "", *_notes(reports)])


def joint_markdown(reports: Sequence[Report]) -> str:
    """The same as Markdown."""
    table = joint_table(reports)
    banners = [f"> **Warning:** {banner}\n" for banner in _each(reports, "banners")]
    notes = [f"- {note}" for note in _notes(reports)]
    return "\n".join([f"# {table.title}", "", *banners, table.markdown(), "", *notes, ""])


def _has(system: Json, keys: Sequence[str]) -> bool:
    return any(key in system["metrics"] for key in keys)


def _row(name: str, system: Json, folds: int, keys: Sequence[str]) -> list[Cell]:
    done = len(system["folds"])
    part = f"({done} of {folds} folds)" if done < folds else ""
    figures = [interval_cell(key, system["metrics"].get(key)) for key in keys]
    return [Cell(name, part), Cell(system["variant"]), Cell(utterances(system)), *figures]


def _names(reports: Sequence[Report]) -> list[str]:
    """Recipes; those of one recipe are told apart by their hash."""
    recipes = [str(report.results.recorded("recipe", default=report.run_dir.parent.name)) for report in reports]
    count = Counter(recipes)
    return [
        f"{recipe}/{report.run_dir.name}" if count[recipe] > 1 else recipe
        for recipe, report in zip(recipes, reports, strict=True)
    ]


def _shared(reports: Sequence[Report]) -> list[Json]:
    """Baselines with one and the same figures wherever they stand: runs may be split or trained otherwise."""
    found: dict[tuple[str, str], list[Json]] = {}
    for report in reports:
        for system in report.data["systems"]:
            if system["baseline"] is not None:
                found.setdefault((system["variant"], system["name"]), []).append(system)
    return [alike[0] for alike in found.values() if all(one["metrics"] == alike[0]["metrics"] for one in alike)]


def _corpora(reports: Sequence[Report]) -> list[str]:
    names = [str(report.results.recorded("corpus", "name", default="a corpus")) for report in reports]
    return list(dict.fromkeys(names))


def _notes(reports: Sequence[Report]) -> list[str]:
    return [
        *dict.fromkeys(report.data["definitions"][-1] for report in reports),
        "All rows were scored on test: to choose by this table is to choose on test. ser-compare tests differences.",
    ]


def _each(reports: Sequence[Report], key: str) -> list[str]:
    """Sentences of all reports, each once."""
    return list(dict.fromkeys(sentence for report in reports for sentence in report.data[key]))
