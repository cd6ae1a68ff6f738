"""Display of a run while it goes: the plan and its audit, bars over units and epochs, and the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from ser_toolkit.evaluation.reporting.copies import copy_banners
from ser_toolkit.system.progress import Progress
from ser_toolkit.terms import counted

if TYPE_CHECKING:
    from ser_toolkit.data.corpus_data import CorpusData
    from ser_toolkit.evaluation.reporting.report import Report


class UnitBars(Progress):
    """Bars over the units of an experiment and the epochs of the present unit; in a file, one line a unit.

    Args:
        bars: where they are shown.
        units: how many there are.
        line: prints a line for every unit that is trained; None where bars are seen.
    """

    def __init__(self, bars: Bars, units: int, line: Callable[[str], None] | None = None) -> None:
        self._bars, self._line = bars, line
        self._units = bars.add_task("units", total=units)
        self._epochs = bars.add_task("epochs", total=1)
        self._name, self._number, self._total, self._started = "", 0, units, 0.0

    def start(self, variant: str, fold: str, seed: int) -> None:
        """Show that a unit begins."""
        self._name, self._number, self._started = (
            f"{variant} fold {fold} seed {seed}",
            self._number + 1,
            time.monotonic(),
        )
        self._bars.update(self._units, description=self._name)
        self._bars.reset(self._epochs, total=1, description="epochs")

    def update(self, done: float, total: float, figure: float | None = None) -> None:
        """Show that ``done`` of ``total`` epochs are through, with the dev figure of the last."""
        text = "epochs" if figure is None else f"epochs, dev {figure:.3f}"
        self._bars.update(self._epochs, completed=done, total=total, description=text)

    def finish(self, record: Mapping[str, Any], trained: bool, monitor: str) -> None:
        """Advance the bar behind a unit, or print its line.

        Args:
            record: its ``metrics.json``.
            trained: False where it was complete already.
            monitor: the dev figure that selects.
        """
        self._bars.advance(self._units)
        if trained and self._line is not None:
            dev = ((record.get("fit") or {}).get("dev") or {}).get(monitor)
            figures = [*([] if dev is None else [_figure(monitor, dev)]), *_test(record)]
            seconds = time.monotonic() - self._started
            self._line(f"{self._name}: {', '.join(figures)}; {seconds:.1f} s ({self._number} of {self._total})")


def _test(record: Mapping[str, Any]) -> list[str]:
    """UA and CCC of the test part, as far as the head gives them."""
    return [_figure(f"test/{name}", record["metrics"][name]) for name in ("uar", "ccc") if name in record["metrics"]]


def _figure(name: str, value: float) -> str:
    """``dev/uar``, 0.712 -> ``dev UA 71.2``."""
    part, _, metric = name.partition("/")
    short = {"uar": "UA", "accuracy": "WA", "macro_f1": "macro-F1"}.get(metric)
    return f"{part} {short} {100 * value:.1f}" if short else f"{part} {metric.replace('ccc', 'CCC')} {value:.3f}"


class _Bar(Progress):
    """One bar, and the lines above it.

    Args:
        bars: where it is shown.
        task: the bar.
        line: prints a line; None prints none.
    """

    def __init__(self, bars: Bars, task: TaskID, line: Callable[[str], None] | None) -> None:
        self._bars, self._task, self._line = bars, task, line

    def update(self, done: float, total: float, figure: float | None = None) -> None:
        """Move the bar to ``done`` of ``total``."""
        self._bars.update(self._task, completed=done, total=total)

    def note(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        if self._line is not None:
            self._line(sentence)


class _Extracted(_Bar):
    """A bar over audio seconds that is hidden until the first is there, with their number a second."""

    def update(self, done: float, total: float, figure: float | None = None) -> None:
        """Move the bar, and show the speed."""
        rate = f"{done / (self._bars.tasks[0].elapsed or 1e-9):.0f} s of audio/s"
        self._bars.update(self._task, completed=done, total=total, visible=True, rate=rate)


class Console:
    """The terminal of a run.

    Args:
        quiet: show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._rich = RichConsole(quiet=quiet, highlight=False, soft_wrap=True)
        self._quiet = quiet

    def line(self, text: str) -> None:
        """Print one line of text."""
        self._rich.print(text, markup=False)

    def heading(self, name: str, data: CorpusData, plan: Any, sentences: list[str], folder: Path) -> None:
        """Print what is going to be trained, and the leakage audit."""
        table = data.manifest.table
        hours = table["duration"].sum() / 3600
        variants = ", ".join(variant.name for variant in plan.variants)
        self.line(
            f"{name}: {data.corpus.name}, {counted(len(table), 'utterance')}, "
            f"{counted(table['speaker'].nunique(), 'speaker')}, {hours:.2f} h, "
            f"classes {', '.join(data.classes) or 'none'}"
        )
        for note in (*data.manifest.facts.get("notes", ()), *data.targets.notes):
            self.line(f"  note: {note}")
        for banner in copy_banners(data.manifest.facts, data.allow_incomplete):
            self.line(f"  ! {banner}")
        self.line(
            f"{type(data.protocol).__name__}: {counted(len(data.folds), 'fold')} (running {len(plan.folds)}), "
            f"{len(plan.seeds)} seed(s), variants {variants}; {data.protocol.dev_source}"
        )
        for sentence in sentences:
            self.line(f"  audit: {sentence}")
        self.line(f"run directory: {folder}")

    @contextmanager
    def extraction(self, upstream: str, notes: bool = True) -> Iterator[Progress]:
        """Show a bar over the audio seconds that go through an upstream; with ``notes`` also print its sentences."""
        with self._bars(TextColumn("{task.fields[rate]}")) as bars:
            task = bars.add_task(f"extract {upstream}", total=None, rate="", visible=False)
            yield _Extracted(bars, task, self.line if notes else None)

    @contextmanager
    def reading(self, name: str) -> Iterator[Progress]:
        """Show a bar over bytes that are read."""
        with self._bars(DownloadColumn(), TransferSpeedColumn()) as bars:
            yield _Bar(bars, bars.add_task(f"read {name}", total=None), self.line)

    @contextmanager
    def units(self, total: int) -> Iterator[UnitBars]:
        """Show bars over units and epochs."""
        with self._bars(MofNCompleteColumn()) as bars:
            yield UnitBars(bars, total, None if self._rich.is_terminal else self.line)

    def report(self, report: Report) -> None:
        """Print the short report."""
        self.line(report.text())

    def _bars(self, *columns: Any) -> Bars:
        return Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._rich,
            transient=True,
            disable=self._quiet or not self._rich.is_terminal,
        )
