"""Several runs in one table: every model with its intervals, variant by variant, and the baselines that they share.

Rows stand side by side and are not compared: paired differences are ``ser_toolkit.evaluation.comparison.compare``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ser_toolkit.evaluation.distributions import VOTE_FIGURES
from ser_toolkit.evaluation.reporting.report import Report
from ser_toolkit.evaluation.reporting.tables import Cell, Table, figure_keys, figure_name, interval_cell, utterances
from ser_toolkit.terms import Json, counted


def joint_table(reports: Sequence[Report], leave_out: Sequence[str] = ()) -> Table:
    """A row for every run and variant, then one for every baseline with equal figures in all runs of its corpus.

    Args:
        reports: of the runs, in the order of the rows.
        leave_out: figures that have no place.
    """
    systems = [system for report in reports for system in report.data["systems"]]
    keys = figure_keys({"systems": systems}, leave_out=["weighted_f1", *leave_out])
    corpora = list(dict.fromkeys(_corpus(report) for report in reports))
    rows = []
    for name, report in zip(_names(reports), reports, strict=True):
        models = [system for system in report.data["systems"] if system["baseline"] is None]
        own = [_row(name, one, len(report.data["folds"]), keys) for one in models if _has(one, keys)]
        rows += [(_corpus(report), row) for row in own]
    for corpus, system in _shared(reports):
        if _has(system, keys):
            rows.append((corpus, _row(f"baseline: {system['name']}", system, len(system["folds"]), keys)))
    title = f"{counted(len(reports), 'run')} on {', '.join(corpora)}"
    figures = ["Utterances", *map(figure_name, keys)]
    if len(corpora) == 1:
        return Table(["Recipe", "Variant", *figures], [row for _, row in rows], words=2, title=title)
    with_corpus = [[row[0], Cell(corpus), *row[1:]] for corpus, row in rows]
    return Table(["Recipe", "Corpus", "Variant", *figures], with_corpus, words=3, title=title)


def joint_text(reports: Sequence[Report]) -> str:
    """Tables for a terminal, of classes and of dimensions, without the figures of votes; with all warnings."""
    keys = figure_keys({"systems": [system for report in reports for system in report.data["systems"]]})
    parts = [[key for key in keys if key.startswith("ccc") == of_dimensions] for of_dimensions in (False, True)]
    shown = [joint_table(reports, leave_out=(*VOTE_FIGURES, *others)) for own, others in (parts, parts[::-1]) if own]
    banners = [f"! {banner}" for banner in _each(reports, "banners")]
    texts = [line for table in shown for line in ("", table.text(most=len(table.rows)))]
    return "\n".join([shown[0].title, *banners, *texts, "", *_notes(reports)])


def joint_markdown(reports: Sequence[Report]) -> str:
    """Joint report of several runs as Markdown."""
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
    """Names of runs: their recipes, with the hash where two have the same recipe."""
    recipes = [report.results.record.recipe or report.run_dir.parent.name for report in reports]
    count = Counter(recipes)
    return [
        f"{recipe}/{report.run_dir.name}" if count[recipe] > 1 else recipe
        for recipe, report in zip(recipes, reports, strict=True)
    ]


def _shared(reports: Sequence[Report]) -> list[tuple[str, Json]]:
    """Corpus and figures of each baseline that is equal in all runs of the corpus: they may be split otherwise."""
    found: dict[tuple[str, str, str], list[Json]] = {}
    for report in reports:
        for system in report.data["systems"]:
            if system["baseline"] is not None:
                found.setdefault((_corpus(report), system["variant"], system["name"]), []).append(system)
    alike = {key: each[0] for key, each in found.items() if all(one["metrics"] == each[0]["metrics"] for one in each)}
    return [(corpus, system) for (corpus, _, _), system in alike.items()]


def _corpus(report: Report) -> str:
    return report.results.record.corpus.name or "a corpus"


def _notes(reports: Sequence[Report]) -> list[str]:
    return [
        *dict.fromkeys(report.data["definitions"][-1] for report in reports),
        "All rows were scored on test: to choose by this table is to choose on test. ser-compare tests differences.",
    ]


def _each(reports: Sequence[Report], key: str) -> list[str]:
    """Sentences of all reports, each once."""
    return list(dict.fromkeys(sentence for report in reports for sentence in report.data[key]))
