"""Train x test: the table of every run on every corpus, its averages, and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ser_toolkit.evaluation.reporting import plots
from ser_toolkit.evaluation.reporting.tables import NONE, Cell, Table, interval_cell, number
from ser_toolkit.terms import PLAIN, Json

KEY = "uar"
OWN = "†"


def averages(cells: Sequence[Sequence[Json]]) -> Json:
    """Means of UA over the cells: of each run over the corpora it was not trained on, of each corpus over the runs that
    were not trained on it, of all of these, and of the in-corpus cells; None where there is no such cell.
    """  # noqa: D205
    values = np.array([[cell["scores"]["metrics"][KEY]["estimate"] for cell in row] for row in cells], dtype=float)
    own = np.array([[cell["in_corpus"] for cell in row] for row in cells], dtype=bool)

    def mean(chosen: np.ndarray) -> float | None:
        return float(chosen.mean()) if chosen.size else None

    return {
        "by_run": [mean(values[row][~own[row]]) for row in range(len(values))],
        "by_corpus": [mean(values[:, column][~own[:, column]]) for column in range(values.shape[1])],
        "across": mean(values[~own]),
        "in_corpus": mean(values[own]),
    }


def table(data: Json) -> Table:
    """UA of every run (rows) on every corpus (columns), and the averages across corpora."""
    rows = [
        [Cell(name), *(_cell(cell) for cell in cells), Cell(number(KEY, mean))]
        for name, cells, mean in zip(data["runs"], data["cells"], data["averages"]["by_run"], strict=True)
    ]
    last = [Cell("mean of the others"), *(Cell(number(KEY, value)) for value in data["averages"]["by_corpus"])]
    rows.append([*last, Cell(number(KEY, data["averages"]["across"]), strong=True)])
    return Table(["UA: trained by \\ tested on", *data["corpora"], "mean of the others"], rows)


def _cell(cell: Json) -> Cell:
    found = interval_cell(KEY, cell["scores"]["metrics"][KEY])
    return Cell(f"{found.text}{OWN}", found.detail) if cell["in_corpus"] else found


def notes(data: Json) -> list[str]:
    """Notes that are needed to read the table."""
    found = [
        f"{OWN} in-corpus: cross-validated predictions of the run itself, by the models of the folds that tested them."
    ]
    within = data["classes"]
    if within is not None:
        chances = dict.fromkeys(f"{100 * cell['scores']['chance']:.1f}" for row in data["cells"] for cell in row)
        classes, chance = ", ".join(within), " or ".join(chances)
        found.append(f"UA in % on the {len(within)} classes common to all: {classes}; chance is {chance}.")
    else:
        found.append("UA in % on the classes common to each pair: cells differ in classes and chance, see below.")
    inside = data["averages"]["in_corpus"]
    if inside is not None:
        found.append(f"Mean of the in-corpus cells: {number(KEY, inside)}; of the others: {_or_none(data)}.")
    found.append("In brackets: 95 % interval over the test speakers. Other cells average all models of the run.")
    if data["variant"] != PLAIN:
        found.append(
            f"Variant {data['variant']}: features of the test speakers are normalised, as those in training were."
        )
    if data["adapt_prior"]:
        found.append(
            "Transductive: class priors of each other corpus were estimated without labels (Saerens et al. 2002)."
        )
    return found


def _or_none(data: Json) -> str:
    across = data["averages"]["across"]
    return NONE if across is None else number(KEY, across)


def cells_table(data: Json) -> Table:
    """Table of the counts and figures behind each cell."""
    rows = []
    for run, cells in zip(data["runs"], data["cells"], strict=True):
        for corpus, cell in zip(data["corpora"], cells, strict=True):
            scores = cell["scores"]
            out = scores["utterances"] - scores["scored"]
            words = f"{', '.join(scores['classes'])}"
            figures = [interval_cell(key, scores["metrics"][key]) for key in ("accuracy", "macro_f1")]
            counts = (scores["scored"], out, scores["speakers"])
            rows.append([Cell(run), Cell(corpus), Cell(words), *(Cell(str(n)) for n in counts), *figures])
    columns = ["Trained by", "Tested on", "Classes", "Scored", "Not scored", "Speakers", "WA", "macro-F1"]
    return Table(columns, rows, words=3)


def markdown(data: Json, picture: str) -> str:
    """The matrix as Markdown."""
    lines = ["# Across corpora", ""]
    for banner in data["banners"]:
        lines += [f"> **Warning:** {banner}", ""]
    lines += [table(data).markdown(), "", *(f"- {note}" for note in notes(data)), "", f"![UA, train x test]({picture})"]
    lines += ["", "## Behind each cell", "", cells_table(data).markdown(), "", "## Audit", ""]
    return "\n".join([*lines, *(f"- {sentence}" for sentence in data["audit"])]) + "\n"


def text(data: Json) -> str:
    """Matrix of figures for a terminal."""
    return "\n".join([*(f"! {banner}" for banner in data["banners"]), table(data).text(), *notes(data)])


def heat_map(path: Path, data: Json) -> None:
    """Write UA of every cell as a PNG; in-corpus cells are framed."""
    scores = [[cell["scores"] for cell in row] for row in data["cells"]]
    values = np.array([[100 * one["metrics"][KEY]["estimate"] for one in row] for row in scores])
    low = min(100 * one["chance"] for row in scores for one in row)
    rows, columns = values.shape
    longest = max(map(len, data["runs"]))
    with matplotlib.rc_context(plots._STYLE):
        figure = Figure(
            figsize=(2.2 + 0.09 * longest + 1.25 * columns, 1.5 + 0.8 * rows), layout="constrained", dpi=150
        )
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        image = axes.imshow(values, cmap=plots._BLUES, vmin=low, vmax=100, aspect="auto")
        for row in range(rows):
            for column in range(columns):
                _write_cell(axes, row, column, values[row, column], (values[row, column] - low) / (100 - low), data)
        turn: Any = (
            {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if max(map(len, data["corpora"])) > 12 else {}
        )
        axes.set_xticks(range(columns), data["corpora"], **turn)
        axes.set_yticks(range(rows), data["runs"])
        axes.set_xlabel("tested on")
        axes.set_ylabel("trained by")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        bar = figure.colorbar(image, ax=axes, label="UA in %, from chance")
        bar.outline.set_visible(False)
        axes.set_title("framed: cross-validated within the corpus", fontsize=9, color=plots.GREY)
        figure.savefig(path, format="png", metadata={"Software": None})


def _write_cell(axes: plots.Axes, row: int, column: int, value: float, shade: float, data: Json) -> None:
    cell = data["cells"][row][column]
    colour = "white" if shade > 0.75 else "#1f2937"
    found = interval_cell(KEY, cell["scores"]["metrics"][KEY])
    axes.text(column, row - 0.08, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=12)
    axes.text(column, row + 0.24, found.detail, ha="center", va="center", color=colour, fontsize=7.5)
    if cell["in_corpus"]:
        frame = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, edgecolor=plots.COLOURS[1], linewidth=2)
        axes.add_patch(frame)
