"""The report of one evaluation on another corpus, as Markdown: what was counted out stands above the figures."""

from __future__ import annotations

from ser_toolkit.evaluation.reporting.tables import Cell, Table, figure_name, interval_cell, number
from ser_toolkit.evaluation.transfer import dimensions as of_dimensions
from ser_toolkit.evaluation.uncertainty import CLUSTERS
from ser_toolkit.terms import Json, counted


def markdown(data: Json) -> str:
    """Report of a run on another corpus, as Markdown.

    Args:
        data: content of ``report.json``.
    """
    scores, dimensions = data["scores"], data.get("dimensions")
    lines = [f"# {data['title']}", ""]
    for banner in data["banners"]:
        lines += [f"> **Warning:** {banner}", ""]
    lines += [f"- {sentence}" for sentence in [*data["facts"], *(scored_utterances(scores) if scores else [])]]
    if scores:
        lines += ["", "## Results", "", headline(scores).markdown(), "", *(f"- {line}" for line in definitions(scores))]
    if dimensions:
        lines += ["", "## Valence, arousal, dominance", "", of_dimensions.headline(dimensions).markdown(), ""]
        lines += [f"- {line}" for line in of_dimensions.definitions(dimensions)]
    if scores:
        lines += ["", "## By class", "", per_class(scores).markdown()]
        lines += ["", "## Confusion", "", confusion(scores).markdown(), "", "Truth in rows, prediction in columns."]
    lines += ["", "## Audit of the two corpora", ""]
    return "\n".join([*lines, *(f"- {sentence}" for sentence in data["audit"])]) + "\n"


def text(data: Json) -> str:
    """The short summary for a terminal."""
    scores, dimensions = data["scores"], data.get("dimensions")
    lines = [data["title"], *(f"! {banner}" for banner in data["banners"]), *data["facts"]]
    lines += [*(scored_utterances(scores) if scores else []), *data["audit"]]
    if scores:
        lines += ["", headline(scores).text(), "", per_class(scores).text(), "", *short_definitions(scores)]
    if dimensions:
        lines += ["", of_dimensions.headline(dimensions).text(), "", *of_dimensions.definitions(dimensions)]
    return "\n".join(lines)


def short_definitions(scores: Json) -> list[str]:
    """Definitions that a terminal shows: UA with its chance level, and the intervals."""
    return [line for line in definitions(scores) if not line.startswith("WA")]


def scored_utterances(scores: Json) -> list[str]:
    """Utterances and classes that are scored and those that are not, in sentences."""
    classes = scores["classes"]
    found = [
        f"Scored: {scores['scored']} of {counted(scores['utterances'], 'utterance')} of "
        f"{counted(scores['speakers'], 'speaker')}, "
        f"on the {len(classes)} common classes {', '.join(classes)}"
    ]
    unknown = scores["unknown_class"]
    if unknown:
        listed = ", ".join(f"{name} {count}" for name, count in unknown.items())
        found.append(
            f"Not scored: {counted(sum(unknown.values()), 'utterance')} of classes that are not common ({listed})"
        )
    if scores["unlabelled"]:
        found.append(f"Not scored: {counted(scores['unlabelled'], 'utterance')} to which the label rule gives no class")
    if scores["model_only"]:
        found.append(
            f"Classes of the model that are left out: {', '.join(scores['model_only'])}; the probabilities of the "
            "others are scaled to sum to 1"
        )
    if scores["without_probability"]:
        found.append(
            f"{scores['without_probability']} utterances have no probability above 0 for any common class: all common "
            "classes are taken as equal there, and the first is predicted"
        )
    if scores["map"]:
        found.append(f"Classes under another name: {', '.join(f'{a} as {b}' for a, b in scores['map'].items())}")
    if scores["adapted_prior"]:
        prior = scores["adapted_prior"]
        both = ", ".join(f"{name} {prior['training'][name]:.2f} -> {prior['estimated'][name]:.2f}" for name in classes)
        found.append(
            "Transductive: class priors were estimated on the scored utterances, without their labels, and corrected "
            f"for (Saerens et al. 2002): {both}"
        )
    return found


def headline(scores: Json) -> Table:
    """UA, WA and macro-F1 with their intervals."""
    metrics = scores["metrics"]
    return Table(
        [figure_name(key) for key in metrics], [[interval_cell(key, metrics[key]) for key in metrics]], words=0
    )


def per_class(scores: Json) -> Table:
    """Recall of each common class."""
    rows = [
        [Cell(name), Cell(str(support)), Cell(number("", recall))]
        for name, support, recall in zip(scores["classes"], scores["support"], scores["recall"], strict=True)
    ]
    return Table(["Class", "Support", "Recall"], rows)


def confusion(scores: Json) -> Table:
    """Confusion matrix as counts, truth in rows."""
    rows = [
        [Cell(name), *(Cell(str(count)) for count in counts)]
        for name, counts in zip(scores["classes"], scores["confusion"], strict=True)
    ]
    return Table(["", *scores["classes"]], rows)


def definitions(scores: Json) -> list[str]:
    """Definitions of the figures, in sentences."""
    uar = scores["metrics"]["uar"]
    found = [
        f"UA: mean recall over the common classes, in %; chance is {100 * scores['chance']:.1f}.",
        "WA: share of the scored utterances whose class is right, in %. macro-F1: mean F1 over the common classes.",
    ]
    if uar["low"] is None:
        return [*found, f"No intervals: {uar['reason']}."]
    return [
        *found,
        f"In brackets: {100 * uar['level']:.0f} % interval over {uar['clusters']} {CLUSTERS[scores['cluster_by']]} "
        f"({scores['intervals']}).",
    ]
