"""Figures as tables of words, made once and shown as text, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ser_toolkit.evaluation.distributions import VOTE_FIGURES
from ser_toolkit.evaluation.reporting.columns import text_row
from ser_toolkit.terms import Json

NONE = "–"
#: Heads of columns.
_NAMES = {"uar": "UA", "accuracy": "WA", "macro_f1": "macro-F1", "weighted_f1": "weighted-F1"}
_NAMES |= {"kl_votes": "KL (nats)", "js_votes": "JS (nats)"}
_NAMES |= {"macro_f1_votes": "multi-label macro-F1", "micro_f1_votes": "multi-label micro-F1"}
#: Figures without a place in the table of results: a second F1, and those with a table of their own.
_ELSEWHERE = ("weighted_f1", *VOTE_FIGURES)
_CORPORA_NOTE = (
    "UA of a corpus is over the classes that it has. The mean counts every corpus alike, whatever its size; its "
    "interval leaves out one {one} of any corpus at a time."
)


@dataclass(frozen=True)
class Cell:
    """One cell: a figure, and in small print its interval or spread.

    Args:
        text: the figure.
        detail: for example ``[49.2, 74.3]``.
        strong: whether it stands out.
    """

    text: str
    detail: str = ""
    strong: bool = False

    def __str__(self) -> str:
        return f"{self.text} {self.detail}".strip()


@dataclass(frozen=True)
class Table:
    """A table for text, Markdown and HTML.

    Args:
        columns: heads.
        rows: as many cells as columns each.
        words: how many of the first columns hold words (they are aligned left), the others hold figures.
        title: what it shows.
        note: a sentence below it.
        stacked: whether a page shows small print below the figures: beside them it would not fit.
        numbers: places of columns that plain text aligns right; figures with intervals stand at the left.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int = 1
    title: str = ""
    note: str = ""
    stacked: bool = False
    numbers: Sequence[int] = ()

    def first_columns(self, count: int) -> Table:
        """The same table with its first columns alone."""
        return replace(self, columns=self.columns[:count], rows=[row[:count] for row in self.rows])

    def without_column(self, place: int) -> Table:
        """The same table without one column."""
        rows = [[*row[:place], *row[place + 1 :]] for row in self.rows]
        return replace(self, columns=[*self.columns[:place], *self.columns[place + 1 :]], rows=rows)

    def markdown(self) -> str:
        """As a GitHub-flavoured Markdown table."""
        rule = ["---" if place < self.words else "---:" for place in range(len(self.columns))]
        lines = [[str(name) for name in self.columns], rule]
        for row in self.rows:
            lines.append([f"**{cell.text}** {cell.detail}".strip() if cell.strong else str(cell) for cell in row])
        return "\n".join("| " + " | ".join(part.replace("|", "\\|") for part in line) + " |" for line in lines)

    def text(self, most: int = 100) -> str:
        """In columns of plain text, at most ``most`` rows."""
        lines = [[str(name) for name in self.columns], *([str(cell) for cell in row] for row in self.rows[:most])]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        shown = [text_row(line, widths, self.numbers) for line in lines]
        if len(self.rows) > most:
            shown.append(f"... and {len(self.rows) - most} more in report.md")
        return "\n".join(shown)


def is_share(key: str) -> bool:
    """Whether a figure is shown in per cent (all but CCC, and divergences in nats)."""
    return not key.startswith(("ccc", "kl_", "js_"))


def number(key: str, value: float | None, signed: bool = False) -> str:
    """A figure for people: per cent with one decimal, CCC and divergences with three."""
    if value is None:
        return NONE
    sign = "+" if signed else ""
    text = f"{100 * value:{sign}.1f}" if is_share(key) else f"{value:{sign}.3f}"
    return text.replace("-", "−")


def interval_cell(key: str, entry: Json | None, signed: bool = False) -> Cell:
    """Estimate and interval; strong if a difference is clear of 0."""
    if entry is None or entry["estimate"] is None:
        return Cell(NONE)
    low, high = entry["low"], entry["high"]
    if low is None or low == high:
        return Cell(number(key, entry["estimate"], signed))
    detail = f"[{number(key, low, signed)}, {number(key, high, signed)}]"
    return Cell(number(key, entry["estimate"], signed), detail, strong=signed and (low > 0 or high < 0))


def spread_cell(key: str, entry: Json | None) -> Cell:
    """Mean and standard deviation."""
    if not entry or entry["mean"] is None:
        return Cell(NONE)
    return Cell(number(key, entry["mean"]), f"± {number(key, entry['sd'])}" if entry["sd"] is not None else "")


def figure_name(key: str) -> str:
    """Head of a column: ``uar`` is UA."""
    return _NAMES.get(key, key.replace("ccc_", "CCC "))


def figure_keys(scores: Json, leave_out: Sequence[str] = ()) -> list[str]:
    """All figures that any system has, in order."""
    keys = dict.fromkeys(key for system in scores["systems"] for key in system["metrics"])
    return [key for key in keys if key not in leave_out]


def headline(scores: Json) -> Table | None:
    """Systems by variant, pooled over folds, with intervals; None where dimensions alone are predicted."""
    keys = _of_classes(scores)
    if not keys and figure_keys(scores):
        return None
    rows = [
        [*system_cells(system, scores), *(interval_cell(key, system["metrics"].get(key)) for key in keys)]
        for system in scores["systems"]
        if not keys or any(key in system["metrics"] for key in keys)
    ]
    return Table(["Variant", "System", "Utterances", *map(figure_name, keys)], rows, words=2, title="Results")


def _of_classes(scores: Json) -> list[str]:
    """Figures of the classes; those of dimensions and votes have tables of their own."""
    return [key for key in figure_keys(scores, leave_out=_ELSEWHERE) if not key.startswith("ccc")]


def system_cells(system: Json, scores: Json) -> list[Cell]:
    """The first cells of a system's row: variant, name and how many utterances."""
    name = Cell(system["name"], _part(system, scores), strong=system["baseline"] is None)
    return [Cell(system["variant"]), name, Cell(utterances(system))]


def utterances(system: Json) -> str:
    """Number of tested utterances, and before it those with a class, where they are fewer and classes are scored."""
    labelled = system.get("labelled", 0)
    fewer = "uar" in system["metrics"] and 0 < labelled < system["utterances"]
    return f"{labelled} of {system['utterances']}" if fewer else str(system["utterances"])


def _part(system: Json, scores: Json) -> str:
    """Number of folds that stand behind a figure, where it is not all of them."""
    done, folds = len(system["folds"]), len(scores["folds"])
    return f"({done} of {folds} folds)" if done < folds else ""


def differences(scores: Json) -> Table | None:
    """Paired differences on the same utterances; None where no two systems predict classes."""
    keys = [key for key in _of_classes(scores) if any(key in d["metrics"] for d in scores["differences"])]
    return difference_table(scores, keys, "Differences on the same utterances") if keys else None


def difference_table(scores: Json, keys: Sequence[str], title: str) -> Table:
    """Paired differences in some figures, of the pairs of systems that have any of them."""
    systems = {system["key"]: system for system in scores["systems"]}
    rows = []
    for entry in (one for one in scores["differences"] if any(key in one["metrics"] for key in keys)):
        both = _difference_name(systems[entry["of"]], systems[entry["against"]])
        cells = [interval_cell(key, entry["metrics"].get(key), signed=True) for key in keys]
        rows.append([Cell(both), Cell(str(entry["utterances"])), *cells])
    unit = "In points; bold" if any(is_share(key) for key in keys) else "Bold"
    note = f"{unit} where the interval is clear of 0. Both systems are scored on the utterances that both have."
    columns = ["Difference", "Utterances", *(f"Δ {figure_name(key)}" for key in keys)]
    return Table(columns, rows, title=title, note=note)


def _difference_name(a: Json, b: Json) -> str:
    """Names of two systems: the part that differs, and in brackets the part that is the same."""
    if a["variant"] == b["variant"]:
        return f"{a['name']} − {b['name']} ({a['variant']})"
    return f"{a['variant']} − {b['variant']} ({a['name']})"


def human(scores: Json, note: str) -> Table:
    """One rater against the others (and the label), with the models against the same references."""
    rows = scores["human"]["rows"]
    keys = list(rows[0]["metrics"])
    references = {"others": "the other raters", "label": "the label"}
    cells = [
        [
            Cell(references[row["against"]]),
            Cell(row["who"], f"({row['variant']})" if row["variant"] else "", strong=row["variant"] is None),
            *(interval_cell(key, row["metrics"][key]) for key in keys),
        ]
        for row in rows
    ]
    columns = ["Scored against", "Who", *map(figure_name, keys)]
    return Table(columns, cells, words=2, title="Human agreement", note=note)


def votes(scores: Json, note: str) -> Table:
    """Models, baselines and half of the listeners against the distribution of the votes."""
    references = {"votes": "all votes", "half": "half of the raters"}
    rows = []
    for row in scores["votes"]["rows"]:
        who = Cell(row["who"], f"({row['variant']})" if row["variant"] else "", strong=row["model"])
        cells = [interval_cell(key, row["metrics"].get(key)) for key in VOTE_FIGURES]
        against = interval_cell(VOTE_FIGURES[0], row.get("difference"), signed=True)
        rows.append([Cell(references[row["against"]]), who, Cell(str(row["utterances"])), *cells, against])
    columns = ["Scored against", "Who", "Utterances", *map(figure_name, VOTE_FIGURES), "Δ KL to mean votes"]
    return Table(columns, rows, words=2, title="Distribution of the votes", note=note)


def spreads(scores: Json) -> Table:
    """Main figure over folds, seeds and speakers."""
    key = figure_keys(scores)[0]
    name = figure_name(key)
    columns = [
        "Variant",
        "System",
        f"{name} pooled",
        "mean of folds ± sd",
        "mean of seeds ± sd",
        "mean of speakers ± sd",
    ]
    second = ["weighted_f1"] if "weighted_f1" in figure_keys(scores) else []
    columns += ["worst speaker", "best speaker", *map(figure_name, second)]
    rows = []
    for system in (s for s in scores["systems"] if key in s["metrics"]):
        speakers = system["over_speakers"][key]
        ends = [Cell(number(key, speakers[end]), f"({speakers[end + '_name']})") for end in ("worst", "best")]
        rows.append(
            [
                Cell(system["variant"]),
                Cell(system["name"], strong=system["baseline"] is None),
                Cell(number(key, system["metrics"][key]["estimate"])),
                spread_cell(key, system["over_folds"][key]),
                spread_cell(key, (system["over_seeds"] or {}).get(key)),
                spread_cell(key, speakers),
                *(ends if speakers["n"] else [Cell(NONE), Cell(NONE)]),
                *(interval_cell(name, system["metrics"].get(name)) for name in second),
            ]
        )
    title = f"Spread of {name} over folds, seeds and speakers"
    return Table(columns, rows, words=2, title=title, note="sd: sample standard deviation (n − 1).")


def per_class(scores: Json, classes: Sequence[str]) -> Table | None:
    """Recall, precision and F1 of every class, model by model."""
    models = [s for s in scores["systems"] if s["baseline"] is None and s["classes"]]
    if not models:
        return None
    # More than two models do not fit beside each other with all three figures.
    kinds = ("recall", "precision", "f1") if len(models) <= 2 else ("recall", "f1")
    heads = {"recall": "Recall", "precision": "Precision", "f1": "F1"}
    columns = ["Class", "Support", *(f"{heads[kind]}, {model['variant']}" for model in models for kind in kinds)]
    rows = []
    for place, name in enumerate(classes):
        figures = [Cell(number("", model["classes"][kind][place])) for model in models for kind in kinds]
        rows.append([Cell(name), Cell(str(models[0]["classes"]["support"][place])), *figures])
    return Table(columns, rows, title="By class", note="In %. Support: utterances of the class in the truth.")


def by_group(scores: Json, kind: str) -> Table | None:
    """Main figure by ``fold``, ``session`` or ``speaker``, model by model."""
    return group_table(scores, kind, figure_keys(scores)[:1], f"By {kind}")


def group_table(scores: Json, kind: str, keys: Sequence[str], title: str) -> Table | None:
    """Some figures by ``fold``, ``session`` or ``speaker`` of the models that have them; None without any."""
    models = [s for s in scores["systems"] if s["baseline"] is None and any(key in s["metrics"] for key in keys)]
    names = list(dict.fromkeys(entry[kind] for model in models for entry in model[f"by_{kind}"]))
    if not names:
        return None
    found = [{entry[kind]: entry for entry in model[f"by_{kind}"]} for model in models]
    heads = [f"{figure_name(key)}, {model['variant']}" for model in models for key in keys]
    rows = []
    for name in names:
        count = max(entries[name]["utterances"] for entries in found if name in entries)
        cells = [Cell(number(key, entries.get(name, {}).get(key))) for entries in found for key in keys]
        rows.append([Cell(name), Cell(str(count)), *cells])
    return Table([kind.capitalize(), "Utterances", *heads], rows, title=title)


def corpora_table(scores: Json) -> Table | None:
    """One row a system and corpus, and one for the mean; None for a single corpus."""
    keys = figure_keys(scores, leave_out=["weighted_f1"])
    rows = []
    for system in scores["systems"]:
        found = system.get("by_corpus")
        for entry in [*found["corpora"], {"corpus": "mean", **found["mean"]}] if found else []:
            rows.append(
                [
                    Cell(system["variant"]),
                    Cell(system["name"]),
                    Cell(entry["corpus"], strong=entry["corpus"] == "mean"),
                    Cell(str(entry.get("utterances", ""))),
                    *(interval_cell(key, entry["metrics"].get(key)) for key in keys),
                ]
            )
    if not rows:
        return None
    columns = ["Variant", "System", "Corpus", "Utterances", *map(figure_name, keys)]
    note = _CORPORA_NOTE.format(one=str(scores["cluster_by"]).replace("_", " "))
    return Table(columns, rows, words=3, title="By corpus", note=note)
