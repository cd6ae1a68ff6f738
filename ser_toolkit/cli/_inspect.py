"""Statistics of a corpus copy as text and as a picture: classes, speakers, durations, raters."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ser_toolkit.data.ratings import describe_ratings
from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.agreement.human import Panel, human_agreement
from ser_toolkit.evaluation.agreement.raters import observers, weights
from ser_toolkit.evaluation.reporting import tables, wording
from ser_toolkit.evaluation.reporting.copies import copy_banners
from ser_toolkit.evaluation.reporting.tables import Cell, Table
from ser_toolkit.evaluation.sums import outer_sums
from ser_toolkit.protocols.lookalikes import lookalikes
from ser_toolkit.terms import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ser_toolkit.corpora.base import Corpus
    from ser_toolkit.data.manifest import Manifest

PICTURES = (".png", ".svg", ".pdf")
_WIDTH = 110
_MOST_SPEAKERS = 30


def statistics(corpus: Corpus, manifest: Manifest) -> str:
    """Text that ``ser-corpus inspect`` prints."""
    table = manifest.table
    blocks = [_headline(corpus, manifest), _classes(manifest).text(), _speakers(manifest)]
    human = human_agreement(table, manifest.classes)
    if human is not None:
        blocks.append(_raters(table, human))
    return "\n\n".join(blocks) + "\n"


def _headline(corpus: Corpus, manifest: Manifest) -> str:
    table = manifest.table
    ratings = describe_ratings(manifest)
    lines = [
        f"{corpus.name}: {counted(len(table), 'utterance')}, {counted(table['speaker'].nunique(), 'speaker')}, "
        f"{table['duration'].sum() / 60:.1f} minutes ({table['duration'].min():.2f} to "
        f"{table['duration'].max():.2f} s, median {table['duration'].median():.2f} s)",
        f"classes: {', '.join(manifest.classes) or 'none'}",
        f"labels: {corpus.label_rule}",
        *(f"ratings: {sentence}" for sentence in ratings),
        f"licence: {corpus.licence}",
        f"manifest: {manifest.content_hash}",
    ]
    return "\n".join([*lines, *remarks(manifest)])


def remarks(manifest: Manifest) -> list[str]:
    """Lines about a copy: deviations and left-out parts behind a mark, then notes."""
    notes = [f"note: {sentence}" for sentence in manifest.facts.get("notes", ())]
    alike = lookalikes(manifest.table)
    return [*(f"! {banner}" for banner in (*copy_banners(manifest.facts), *alike)), *notes]


def _classes(manifest: Manifest) -> Table:
    """Utterances, minutes, durations and speakers of each class."""
    table = manifest.table
    label = table["label"].fillna("(no label)")
    rows = []
    for name in (*manifest.classes, *(["(no label)"] if table["label"].isna().any() else [])):
        own = table[label == name]
        seconds = own["duration"]
        spread = [f"{seconds.quantile(q):.2f}" for q in (0.05, 0.5, 0.95)] if len(own) else [tables.NONE] * 3
        figures = [len(own), f"{100 * len(own) / len(table):.1f}", f"{seconds.sum() / 60:.1f}", *spread]
        rows.append([Cell(str(name)), *(Cell(str(f)) for f in figures), Cell(str(own["speaker"].nunique()))])
    columns = ["class", "utterances", "%", "minutes", "s: 5 %", "median", "95 %", "speakers"]
    return Table(columns, rows)


def _speakers(manifest: Manifest) -> str:
    """Utterances per speaker and class; of many speakers, how they spread."""
    summary = manifest.summary()
    speakers = summary.drop(index="all")
    if len(speakers) <= _MOST_SPEAKERS:
        return str(summary.round(1).to_string())
    spread = speakers.describe().loc[["min", "25%", "50%", "75%", "max"]]
    return f"Utterances per speaker, {counted(len(speakers), 'speaker')}\n{spread.round(1).to_string()}"


def _raters(table: pd.DataFrame, human: dict[str, Any]) -> str:
    """Agreement of the raters, and how much each named one answered."""
    lines = ["Raters"]
    if "rows" in human:
        lines += [tables.human({"human": human}, "").text(), *textwrap.wrap(wording.human({"human": human}), _WIDTH)]
    else:
        lines += textwrap.wrap(" ".join(wording.dimensions(human)), _WIDTH)
    answers = Counter(rating["rater"] for text in table["ratings"].dropna() for rating in observers(text))
    if answers:
        counts = np.array(sorted(answers.values()))
        lines.append(
            f"{len(answers)} raters by name, {counts[0]} to {counts[-1]} ratings each (median {np.median(counts):g})"
        )
    return "\n".join(lines)


def draw(manifest: Manifest, path: Path) -> None:
    """Draw classes, speakers, durations and, where there are votes, the answers of raters.

    Args:
        manifest: the copy.
        path: a file that ends as one of ``PICTURES``; its folder is made.

    Raises:
        RecipeError: it cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from ser_toolkit.evaluation.reporting import plots

    with matplotlib.rc_context(plots._STYLE):
        figure = Figure(figsize=(11, 7.5), layout="constrained", dpi=130)
        figure.suptitle(
            f"{manifest.corpus}: {counted(len(manifest), 'utterance')}, {manifest.table['duration'].sum() / 60:.1f} min"
        )
        axes = figure.subplots(2, 2).ravel()
        _draw_classes(axes[0], manifest)
        _draw_speakers(axes[1], manifest)
        _draw_durations(axes[2], manifest)
        _draw_raters(axes[3], manifest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path)
        except OSError as error:
            raise RecipeError(f"--plot {path}: cannot be written ({error.strerror or error}).") from error


def _draw_classes(axes: Axes, manifest: Manifest) -> None:
    from ser_toolkit.evaluation.reporting import plots

    label = manifest.table["label"]
    names = [*manifest.classes, *(["(no label)"] if label.isna().any() else [])]
    counts = label.fillna("(no label)").value_counts().reindex(names, fill_value=0)
    bars = axes.barh(
        range(len(names)), counts, color=[plots.COLOURS[0] if n in manifest.classes else plots.GREY for n in names]
    )
    axes.bar_label(bars, padding=3, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("utterances")
    axes.set_title("Classes", loc="left")
    axes.tick_params(axis="y", length=0)


def _draw_speakers(axes: Axes, manifest: Manifest) -> None:
    from ser_toolkit.evaluation.reporting import plots

    table = manifest.table
    speaker = table["speaker"].fillna("(unknown)")
    counts = speaker.value_counts()
    sex = table["sex"].groupby(speaker).first()
    known = {"female": plots.COLOURS[1], "male": plots.COLOURS[0]}
    colours = [known.get(str(sex.get(name)), plots.GREY) for name in counts.index]
    axes.bar(range(len(counts)), counts, color=colours, width=0.85 if len(counts) <= 60 else 1.0)
    few = len(counts) <= _MOST_SPEAKERS
    axes.set_xticks(
        range(len(counts)) if few else [], counts.index if few else [], rotation=90 if few and len(counts) > 8 else 0
    )
    axes.set_ylabel("utterances")
    axes.set_xlabel("speaker" if few else f"{len(counts)} speakers, most utterances first")
    axes.set_title("Speakers", loc="left")
    for name, colour in known.items():
        if (sex == name).any():
            axes.plot([], [], "s", color=colour, label=f"{name} ({int((sex == name).sum())})")
    if sex.notna().any():
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, handletextpad=0.2, borderpad=0)


def _draw_durations(axes: Axes, manifest: Manifest) -> None:
    from ser_toolkit.evaluation.reporting import plots

    seconds = manifest.table["duration"].to_numpy(dtype=float)
    axes.hist(
        seconds, bins=min(60, max(10, round(len(seconds) ** 0.5))), color=plots.COLOURS[0], edgecolor="white", lw=0.4
    )
    axes.axvline(float(np.median(seconds)), color=plots.COLOURS[1], lw=1.5)
    axes.set_xlabel(f"seconds (line: median {np.median(seconds):.2f} s)")
    axes.set_ylabel("utterances")
    axes.set_title("Durations", loc="left")


def _draw_durations_of_classes(axes: Axes, manifest: Manifest) -> None:
    from ser_toolkit.evaluation.reporting import plots

    known = manifest.table[manifest.table["label"].isin(manifest.classes)]
    for place, name in enumerate(manifest.classes):
        seconds = known.loc[known["label"] == name, "duration"]
        low, first, middle, third, high = (float(seconds.quantile(q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95))
        axes.plot([low, high], [place, place], color=plots.GREY, lw=1.2, zorder=1)
        axes.barh(place, third - first, left=first, height=0.6, color=plots.COLOURS[0], zorder=2)
        axes.plot([middle, middle], [place - 0.3, place + 0.3], color=plots.COLOURS[1], lw=2, zorder=3)
    axes.set_yticks(range(len(manifest.classes)), manifest.classes)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("seconds (bar: quartiles, line: 5 to 95 %)")
    axes.set_title("Durations by class (no votes of several raters)", loc="left")


def _draw_raters(axes: Axes, manifest: Manifest) -> None:
    """Draw the answers of raters to each label, in per cent of its row; durations where there are no votes."""
    from ser_toolkit.evaluation.reporting import plots

    panel = Panel(manifest.table, manifest.classes) if manifest.table["votes"].notna().any() else None
    if panel is None or len(panel.answers.row) == 0:
        _draw_durations_of_classes(axes, manifest)
        return
    one = np.zeros(len(panel.answers.row), dtype=np.int64)
    weighted = panel.references("label")[panel.answers.row] * weights(panel.answers)[:, None]
    answered = outer_sums(weighted, panel.answers.value, one, 1)[0]
    share = answered / np.maximum(answered.sum(axis=1, keepdims=True), 1e-9)
    words = [*manifest.classes, *panel.words[len(manifest.classes) :]]
    axes.imshow(share, cmap=plots._BLUES, vmin=0, vmax=1, aspect="auto")
    for row in range(share.shape[0]):
        for column in range(share.shape[1]):
            colour = "white" if share[row, column] > 0.6 else plots._INK
            axes.text(
                column, row, f"{100 * share[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9
            )
    axes.set_xticks(range(len(words)), words, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(manifest.classes)), manifest.classes)
    axes.tick_params(length=0)
    axes.set_ylabel("label")
    axes.set_xlabel("answer")
    axes.set_title(f"{int(panel.answers.count.sum())} answers of raters, % of each label", loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)
