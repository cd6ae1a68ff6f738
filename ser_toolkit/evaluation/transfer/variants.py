"""Variants of one run on another corpus: their figures in one table, and paired differences to the first of them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ser_toolkit.evaluation.reporting.tables import Cell, Table, figure_name, interval_cell, number
from ser_toolkit.evaluation.rows import Scored
from ser_toolkit.evaluation.sums import FloatArray
from ser_toolkit.evaluation.transfer import dimensions as transfer_dimensions
from ser_toolkit.evaluation.transfer import report as transfer_report
from ser_toolkit.evaluation.transfer.classes import FIGURES, ClassMatch, clusters_of, scored_rows
from ser_toolkit.evaluation.uncertainty import paired_interval, with_clusters
from ser_toolkit.terms import Json, natural_key


def differences(
    tables: Mapping[str, pd.DataFrame],
    match: ClassMatch,
    priors: Mapping[str, FloatArray | None],
    level: float = 0.95,
) -> list[Json]:
    """Every other variant minus the first, on the utterances that both scored, draw by draw.

    Args:
        tables: predictions by variant.
        match: of the classes.
        priors: see ``score_transfer``; by variant.
        level: nominal coverage of the intervals.

    Returns:
        For each: ``of`` and ``against`` (variants), ``utterances``, and ``metrics`` with intervals; none where the
        speaker (or dialogue) of an utterance is unknown.
    """
    rows = {name: scored_rows(table, match, priors.get(name))[0] for name, table in tables.items()}
    first, *others = rows
    return [found for name in others if (found := _difference(name, first, rows, match, level)) is not None]


def _difference(
    of: str, against: str, rows: Mapping[str, pd.DataFrame], match: ClassMatch, level: float
) -> Json | None:
    left, right = _paired(rows[of], rows[against])
    if left.empty:
        return None
    by = clusters_of(left)
    left, right = with_clusters(left, by), with_clusters(right, by)
    known = bool(left[by].notna().all())
    groups = sorted(set(left[by]), key=natural_key) if known else ["all"]
    one, other = (Scored.of(side, match.common).sums("", groups, by if known else None) for side in (left, right))
    return {
        "of": of,
        "against": against,
        "utterances": int(left["id"].nunique()),
        "metrics": {figure.key: paired_interval(one, other, figure, level).to_json() for figure in FIGURES},
    }


def dimension_differences(tables: Mapping[str, pd.DataFrame], level: float = 0.95) -> list[Json]:
    """Every other variant minus the first in CCC, on the utterances that both scored, as ``differences``."""
    first, *others = tables
    found = []
    for name in others:
        left, right = _paired(tables[name], tables[first])
        if left.empty:
            continue
        by = clusters_of(left)
        one, two = (Scored.of(with_clusters(side, by), ()) for side in (left, right))
        known = bool(one.table[by].notna().all())
        groups, column = (sorted(set(one.table[by]), key=natural_key), by) if known else (["all"], None)
        metrics = {}
        for figure in (figure for figure in one.figures() if figure in two.figures()):
            sums = (side.sums(figure.target, groups, column) for side in (one, two))
            metrics[figure.key] = paired_interval(next(sums), next(sums), figure.statistic, level).to_json()
        # as in the table of the variants: of the dimension that most utterances have ratings of
        counted = max(one.rated().values(), default=0)
        found.append({"of": name, "against": first, "utterances": counted, "metrics": metrics})
    return found


def _paired(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of both on the same utterances, draw by draw; a variant without draws stands beside every draw."""
    alone = other["draw"].nunique() == 1
    sides: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    for draw, rows in one.groupby("draw", sort=True):
        beside = (other if alone else other[other["draw"] == draw]).assign(draw=draw)
        shared = rows[["id"]].merge(beside[["id"]], on="id")
        for side, table in zip(sides, (rows, beside), strict=True):
            side.append(shared.merge(table, on="id"))
    return pd.concat(sides[0], ignore_index=True), pd.concat(sides[1], ignore_index=True)


def headline(data: Json) -> Table:
    """UA, WA and macro-F1 of every variant with their intervals."""
    keys = list(data["scores"]["metrics"])
    rows = [
        [Cell(name), Cell(str(one["scored"])), *(interval_cell(key, one["metrics"][key]) for key in keys)]
        for name, one in data["variants"].items()
    ]
    return Table(["Variant", "Utterances", *map(figure_name, keys)], rows)


def dimension_headline(data: Json) -> Table:
    """CCC of every variant by dimension, with their intervals."""
    keys = list(data["dimensions"]["metrics"])
    rows = [
        [
            Cell(name),
            Cell(str(max(one["utterances"].values()))),
            *(interval_cell(key, one["metrics"].get(key)) for key in keys),
        ]
        for name, one in data["variant_dimensions"].items()
    ]
    return Table(["Variant", "Utterances", *map(figure_name, keys)], rows)


def difference_table(data: Json, kind: str = "differences") -> Table:
    """Paired differences between variants, in the classes' figures or (``dimension_differences``) in CCC."""
    keys = list(data["dimensions" if kind == "dimension_differences" else "scores"]["metrics"])
    rows = [
        [
            Cell(f"{one['of']} − {one['against']}"),
            Cell(str(one["utterances"])),
            *(interval_cell(key, one["metrics"].get(key), signed=True) for key in keys),
        ]
        for one in data[kind]
    ]
    return Table(["Difference", "Utterances", *(f"Δ {figure_name(key)}" for key in keys)], rows)


def per_class(data: Json) -> Table:
    """Recall of each common class, variant by variant."""
    first, variants = data["scores"], data["variants"]
    rows = [
        [Cell(name), Cell(str(first["support"][k])), *(Cell(number("", one["recall"][k])) for one in variants.values())]
        for k, name in enumerate(first["classes"])
    ]
    return Table(["Class", "Support", *(f"Recall, {name}" for name in variants)], rows)


def markdown(data: Json) -> str:
    """Report of all variants as Markdown.

    Args:
        data: content of ``report-variants.json``.
    """
    lines = [f"# {data['title']}", ""]
    for banner in data["banners"]:
        lines += [f"> **Warning:** {banner}", ""]
    counted = transfer_report.scored_utterances(data["scores"]) if data["scores"] else []
    lines += [f"- {sentence}" for sentence in [*data["facts"], *counted]]
    if data["scores"]:
        lines += ["", "## Results", "", headline(data).markdown(), ""]
        lines += [f"- {line}" for line in transfer_report.definitions(data["scores"])]
        lines += ["", "## Differences on the same utterances", "", difference_table(data).markdown(), ""]
        lines += ["In points; bold where the interval is clear of 0."]
    if data.get("variant_dimensions"):
        lines += ["", "## Valence, arousal, dominance", "", dimension_headline(data).markdown(), ""]
        lines += [f"- {line}" for line in transfer_dimensions.definitions(data["dimensions"])]
        changes = difference_table(data, "dimension_differences")
        lines += ["", "## Differences in CCC on the same utterances", "", changes.markdown()]
    if data["scores"]:
        lines += ["", "## By class", "", per_class(data).markdown()]
        for name, scores in data["variants"].items():
            lines += ["", f"## Confusion, {name}", "", transfer_report.confusion(scores).markdown()]
        lines += ["", "Truth in rows, prediction in columns."]
    lines += ["", "## Audit of the two corpora", ""]
    return "\n".join([*lines, *(f"- {sentence}" for sentence in data["audit"])]) + "\n"


def text(data: Json) -> str:
    """The short summary for a terminal."""
    scores = data["scores"]
    lines = [data["title"], *(f"! {banner}" for banner in data["banners"]), *data["facts"]]
    lines += [*(transfer_report.scored_utterances(scores) if scores else []), *data["audit"]]
    if scores:
        lines += ["", headline(data).text(), "", difference_table(data).text(), "", per_class(data).text(), ""]
        lines += transfer_report.short_definitions(scores)
    if data.get("variant_dimensions"):
        lines += ["", dimension_headline(data).text(), "", difference_table(data, "dimension_differences").text(), ""]
        lines += transfer_dimensions.definitions(data["dimensions"])
    return "\n".join(lines)
