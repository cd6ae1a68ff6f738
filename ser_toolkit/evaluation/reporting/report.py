"""The report of a run: ``report.json`` for programs, ``report.md`` and ``report.html`` for people.

All three are built from the record and the stored predictions alone, without a model, and the same input gives the
same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ser_toolkit.evaluation import confound
from ser_toolkit.evaluation.agreement.disagreement import against_the_votes
from ser_toolkit.evaluation.agreement.human import beside_the_models, panel_of
from ser_toolkit.evaluation.reporting import dimensional, tables, wording
from ser_toolkit.evaluation.reporting.tables import Table
from ser_toolkit.evaluation.reporting.training_facts import training_facts
from ser_toolkit.evaluation.results import Results, System, load_results
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.evaluation.scores import Scorer
from ser_toolkit.system.files import write_text
from ser_toolkit.terms import Json, counted

REPORT_FORMAT = 1
#: Warnings on a terminal; as many kinds as there are in all but rare runs.
_BANNERS = 6
#: Digits kept in report.json; more would only record the rounding of one machine.
_DIGITS = 6


@dataclass(frozen=True)
class Report:
    """Report of a run, as data and with its sources.

    Args:
        run_dir: where it belongs.
        data: the content of ``report.json``.
        results: what it was built from.
    """

    run_dir: Path
    data: Json
    results: Results

    @property
    def json_path(self) -> Path:
        """Path of report.json, every figure for programs."""
        return RunFolder(self.run_dir).report_json

    @property
    def markdown_path(self) -> Path:
        """Path of report.md, the report as Markdown."""
        return RunFolder(self.run_dir).report_markdown

    @property
    def html_path(self) -> Path:
        """The report as one page that needs nothing beside it."""
        return RunFolder(self.run_dir).report_html

    def write(self) -> None:
        """Write the three files, each in one step."""
        write_text(self.json_path, json.dumps(self.data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_text(self.markdown_path, markdown(self.results, self.data))
        write_text(self.html_path, html(self.results, self.data))

    def text(self) -> str:
        """The short summary for a terminal, at most 40 lines."""
        first = self.data["systems"][0]
        folds = f"{len(first['folds'])} of {counted(len(self.data['folds']), 'fold')}"
        lines = [
            self.data["title"],
            dict(wording.facts(self.results, self.data))["Protocol"],
            f"{folds}, {counted(first['utterances'], 'utterance')}, {counted(first['speakers'], 'speaker')}",
            *(f"! {banner}" for banner in self.data["banners"][:_BANNERS]),
            "",
        ]
        # classes and dimensions below each other: side by side they fit no terminal
        of_classes, of_dimensions = tables.differences(self.data), dimensional.differences(self.data)
        shown = [
            (tables.headline(self.data), of_classes and of_classes.first_columns(4)),
            (dimensional.headline(self.data), of_dimensions and of_dimensions.without_column(1)),
        ]
        for results, differences in shown:
            lines += [results.first_columns(6).text(most=10), ""] if results else []
            lines += [differences.text(most=5), ""] if differences else []
        return "\n".join([*lines, self.data["definitions"][-1]])


def make_report(run_dir: Path) -> Report:
    """The report of a run from what it has stored so far; nothing is written.

    Args:
        run_dir: the folder with ``run.json`` and the predictions.

    Raises:
        ResultError: see :func:`ser_toolkit.evaluation.results.load_results`.
    """
    results = load_results(Path(run_dir))
    return Report(Path(run_dir), build(results), results)


def write_report(run_dir: Path) -> Report:
    """Build the report of a run from what it has stored so far, and write its three files into the run.

    Args:
        run_dir: the folder with ``run.json`` and the predictions.

    Raises:
        ResultError: see :func:`ser_toolkit.evaluation.results.load_results`.
    """
    report = make_report(run_dir)
    report.write()
    return report


def build(results: Results) -> Json:
    """Contents of a report, ready for JSON."""
    scores = Scorer(results).scores()
    scores = {
        "format": REPORT_FORMAT,
        "title": wording.title(results),
        "banners": [*wording.banners(results), *confound.run_banners(results, scores["differences"])],
        "record": results.record.to_json(),
        "classes": list(results.classes),
        "folds": list(results.folds),
        "missing": list(results.missing),
        **scores,
    }
    panel = panel_of(results, scores["cluster_by"], scores["level"])
    if panel is not None:
        found = {"human": beside_the_models(results, panel), "votes": against_the_votes(results, scores, panel)}
        scores |= {name: one for name, one in found.items() if one is not None}
    scores["definitions"] = wording.definitions(results, scores)
    scores["notes"] = wording.notes(results, scores, absent_classes(results))
    scores["training"] = dict(training_facts(results))
    rounded: Json = _rounded(scores)
    return rounded


def absent_classes(results: Results) -> dict[str, list[str]]:
    """Per fold, the classes that its test part lacks though others have them; folds with all classes are left out."""
    model: System = results.systems[0]
    labelled = model.table[model.table["label"].notna()]
    everywhere = [name for name in results.classes if name in set(labelled["label"])]
    found: dict[str, list[str]] = {}
    for fold in results.folds:
        present = set(labelled.loc[labelled["fold"] == fold, "label"])
        lacking = [name for name in everywhere if name not in present]
        if present and lacking:
            found[fold] = lacking
    return found


def sections(results: Results, data: Json) -> dict[str, Table]:
    """The tables of a report by name, only those that have something to say."""
    found: dict[str, Table | None] = {
        "headline": tables.headline(data),
        "dimensions": dimensional.headline(data),
        "corpora": tables.corpora_table(data),
        "differences": tables.differences(data),
        "dimension_differences": dimensional.differences(data),
        "human": tables.human(data, wording.human(data)) if "rows" in data.get("human", {}) else None,
        "votes": tables.votes(data, wording.votes(data)) if "votes" in data else None,
        "classes": tables.per_class(data, results.classes),
        "spread": tables.spreads(data),
        **{f"{kind}s": tables.by_group(data, kind) for kind in ("speaker", "session", "fold")},
    }
    found |= {f"dimension_{kind}s": dimensional.by_group(data, kind) for kind in ("speaker", "session", "fold")}
    table = results.systems[0].table
    for name, column in (("sessions", "session"), ("folds", "fold")):
        same = _same_partition(table[column], table["speaker"])
        if same or table[column].nunique() < 2:
            found[name] = found[f"dimension_{name}"] = None
        for place in ("speakers", "dimension_speakers"):
            shown = found[place]
            if same and shown is not None:
                found[place] = replace(shown, note=f"Every {column} is one speaker.")
    if found["headline"] is None:  # dimensions alone: they are the results
        for name in ("headline", "differences", "speakers", "sessions", "folds"):
            other = "dimensions" if name == "headline" else f"dimension_{name}"
            found[name], found[other] = found[other], None
    return {name: one for name, one in found.items() if one is not None}


def _same_partition(a: Any, b: Any) -> bool:
    """Whether two columns group the rows alike (folds of leave-one-speaker-out are the speakers)."""
    pairs = len(set(zip(a, b, strict=True)))
    return bool(pairs == a.nunique() == b.nunique())


def markdown(results: Results, data: Json) -> str:
    """The report as Markdown."""
    lines = [f"# {data['title']}", ""]
    for banner in data["banners"]:
        lines += [f"> **Warning:** {banner}", ""]
    lines += [f"- **{name}:** {value}" for name, value in wording.facts(results, data)]
    for name, table in sections(results, data).items():
        lines += ["", f"## {table.title}", "", table.markdown()]
        if table.note:
            lines += ["", table.note]
        if name == "headline":
            lines += ["", *(f"- {line}" for line in data["definitions"])]
            lines += [f"- *{variant}*: {text}" for variant, text in _variants(results)]
    for heading, sentences in (("Notes", data["notes"]), ("Audit of the split", _audit(results))):
        if sentences:
            lines += ["", f"## {heading}", "", *(f"- {sentence}" for sentence in sentences)]
    if data["training"]:
        lines += ["", "## How it was trained", ""]
        lines += [f"- **{name}:** {value}" for name, value in data["training"].items()]
    lines += ["", "## How it was made", ""]
    lines += [f"- **{name}:** {value}" for name, value in wording.details(results)]
    return "\n".join(lines) + "\n"


def html(results: Results, data: Json) -> str:
    """The report as one self-contained page."""
    import jinja2

    from ser_toolkit.evaluation.reporting.pictures import pictures

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ser_toolkit.evaluation.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(
        data=data,
        facts=wording.facts(results, data),
        details=wording.details(results),
        variants=_variants(results),
        audit=_audit(results),
        tables=sections(results, data),
        pictures=pictures(data, results),
    )


def _variants(results: Results) -> list[tuple[str, str]]:
    """Explanations of the variants that have results."""
    recorded = results.record.variants
    explained = {name: recorded[name].explanation for name in results.variants() if name in recorded}
    return [(name, text) for name, text in explained.items() if text]


def _audit(results: Results) -> list[str]:
    return list(results.record.audit)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
