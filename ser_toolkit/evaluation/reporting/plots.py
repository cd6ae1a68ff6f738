"""Plots of a report as inline SVG: no files beside the page, the browser's own font, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

#: Chosen to stay apart for colour-blind readers and in grey print.
COLOURS = ("#1f4e9c", "#c2571a", "#2f7d5b", "#7a4a9e", "#8a6d1d")
GREY = "#6b7280"
_INK = "#1f2937"
_BLUES = LinearSegmentedColormap.from_list("report", ["#ffffff", "#c9d9f0", "#1f4e9c"])
#: Any, because the stubs list every key of matplotlib as a literal.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ser_toolkit",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#9ca3af",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Mark:
    """One line of a forest plot: a figure with its interval, in the unit of the axis."""

    label: str
    estimate: float
    low: float | None
    high: float | None
    is_model: bool
    group: str


@dataclass(frozen=True)
class Series:
    """One system over speakers or folds: values in the order of the names, NaN where there is none."""

    label: str
    values: Sequence[float]


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, description: str) -> str:
    """The figure as an SVG element that scales with the page and carries its description."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(description, quote=True)}" ', 1)


def forest(marks: Sequence[Mark], name: str, chance: float | None = None) -> str:
    """Figures with intervals, one line a system, variants in groups.

    Args:
        marks: from top to bottom.
        name: of the figure, for the axis.
        chance: where a dashed line stands.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(8, 0.7 + 0.34 * len(marks))
        groups = list(dict.fromkeys(mark.group for mark in marks))
        places = [row + 0.5 * groups.index(mark.group) for row, mark in enumerate(marks)]
        for place, mark in zip(places, marks, strict=True):
            colour = COLOURS[0] if mark.is_model else GREY
            if mark.low is not None and mark.high is not None:
                axes.plot([mark.low, mark.high], [place, place], color=colour, lw=2, solid_capstyle="round")
            fill = colour if mark.is_model else "white"
            axes.plot(mark.estimate, place, "o", ms=7, color=colour, markerfacecolor=fill, markeredgewidth=1.8)
        if chance is not None:
            axes.axvline(chance, color=GREY, ls=(0, (4, 3)), lw=1, zorder=0)
            axes.annotate(
                "chance",
                (chance, 1),
                xycoords=("data", "axes fraction"),
                xytext=(4, -2),
                va="top",
                color=GREY,
                textcoords="offset points",
                fontsize=9,
            )
        axes.set_yticks(places, [mark.label for mark in marks])
        axes.set_ylim(max(places) + 0.7, -0.9)
        axes.grid(axis="x", color="#e5e7eb", lw=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel(name)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return _svg(figure, f"{name} of {len(marks)} systems with intervals")


def confusion(counts: npt.ArrayLike, classes: Sequence[str], runs: int = 1) -> str:
    """Counts (a run, on average) and row per cents; the truth in rows.

    Args:
        counts: (C, C), summed over runs.
        classes: C names.
        runs: how many runs the counts sum.
    """
    matrix = np.asarray(counts, dtype=float)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    size = len(classes)
    side = max(3.4, 0.85 * size + 1.2)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(side + 0.4, side)
        axes.imshow(share, cmap=_BLUES, vmin=0, vmax=1, aspect="equal")
        for row in range(size):
            for column in range(size):
                colour = "white" if share[row, column] > 0.75 else _INK
                count = matrix[row, column] / runs
                axes.text(
                    column, row - 0.12, f"{100 * share[row, column]:.0f} %", ha="center", va="center", color=colour
                )
                axes.text(
                    column,
                    row + 0.22,
                    f"{count:.0f}" if count % 1 == 0 else f"{count:.1f}",
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=8,
                    alpha=0.85,
                )
        turn: Any = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if max(map(len, classes)) > 8 else {}
        axes.set_xticks(range(size), classes, **turn)
        axes.set_yticks(range(size), classes)
        axes.set_xlabel("predicted")
        axes.set_ylabel("truth")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return _svg(figure, f"Confusion matrix of {', '.join(classes)}")


def scatter(panels: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], bounds: Sequence[float]) -> str:
    """Predictions over ratings, one panel a dimension; on the dashed line they would agree.

    Args:
        panels: (N,) ratings and (N,) predictions by dimension.
        bounds: lowest and highest rating: the axis of the ratings, which predictions may leave.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(0.5 + 3 * len(panels), 3.3), layout="constrained")
        for axes, (name, (truth, predicted)) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            few = len(np.asarray(truth)) <= 400
            axes.axline((bounds[0], bounds[0]), slope=1, color=GREY, ls=(0, (4, 3)), lw=1, zorder=0)
            axes.plot(
                truth, predicted, "o", ms=3.5 if few else 2.5, color=COLOURS[0], alpha=0.5 if few else 0.25, mew=0
            )
            axes.set_xlim(*bounds)
            axes.set_title(name)
            axes.set_xlabel("rated")
        figure.axes[0].set_ylabel("predicted")
        return _svg(figure, f"Predictions over ratings of {', '.join(panels)}")


def groups(names: Sequence[str], series: Sequence[Series], name: str, kind: str, chance: float | None = None) -> str:
    """One dot a speaker (or fold) and system, ordered by the first series.

    Args:
        names: of the speakers or folds.
        series: values in the order of ``names``; a line marks each mean.
        name: of the figure, for the axis.
        kind: ``speaker`` or ``fold``.
        chance: where a dashed line stands.
    """
    first = np.asarray(series[0].values, dtype=float)
    order = np.argsort(np.where(np.isnan(first), np.inf, first), kind="stable")
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(8, 3.2)
        x = np.arange(len(names))
        for place, one in enumerate(series):
            values = np.asarray(one.values, dtype=float)[order]
            colour = COLOURS[place % len(COLOURS)]
            size = 7 if len(names) <= 40 else 4
            axes.plot(x, values, "osD^v"[place % 5], ms=size, color=colour, label=one.label, alpha=0.9, clip_on=False)
            if not np.isnan(values).all():
                axes.axhline(float(np.nanmean(values)), color=colour, lw=1, alpha=0.45, zorder=0)
        if chance is not None:
            axes.axhline(chance, color=GREY, ls=(0, (4, 3)), lw=1, zorder=0)
        _name_ticks(axes, x, [names[i] for i in order], kind)
        axes.grid(axis="y", color="#e5e7eb", lw=0.8)
        axes.set_axisbelow(True)
        axes.set_ylabel(name)
        if len(series) > 1:
            axes.legend(
                frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(series), handletextpad=0.3
            )
        return _svg(figure, f"{name} by {kind}, {len(names)} of them")


def _name_ticks(axes: Axes, x: npt.NDArray[np.int64], names: Sequence[str], kind: str) -> None:
    """Names below the dots as far as they fit."""
    longest = max(map(len, names))
    axes.set_xlim(-0.6, len(x) - 0.4)
    if len(names) > 60:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names)} {kind}s, ordered by the first system")
        return
    crowded = len(names) * longest > 90
    axes.set_xticks(x, names, rotation=90 if crowded else 0, fontsize=7 if len(names) > 30 else 9)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(kind)
