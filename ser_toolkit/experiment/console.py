"""What a run shows while it goes: the plan and its audit, bars over units and epochs, and the report."""

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
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ser_toolkit.errors import counted
from ser_toolkit.evaluation.reporting.copies import copy_banners

if TYPE_CHECKING:
    from ser_toolkit.data.datamodule import SerDataModule
    from ser_toolkit.evaluation.reporting.report import Report


class UnitBars:
    """Bars over the units of an experiment and over the epochs of the unit in work; in a file, one line a unit.

    Args:
        progress: where the bars are shown.
        units: how many there are.
        line: prints a line for every unit that is trained; None where bars are seen.
    """

    def __init__(self, progress: Progress, units: int, line: Callable[[str], None] | None = None) -> None:
        self._progress, self._line = progress, line
        self._units = progress.add_task("units", total=units)
        self._epochs = progress.add_task("epochs", total=1)
        self._name, self._number, self._total, self._started = "", 0, units, 0.0

    def start(self, variant: str, fold: str, seed: int) -> None:
        """A unit begins."""
        self._name, self._number, self._started = (
            f"{variant} fold {fold} seed {seed}",
            self._number + 1,
            time.monotonic(),
        )
        self._progress.update(self._units, description=self._name)
        self._progress.reset(self._epochs, total=1, description="epochs")

    def epoch(self, epoch: int, epochs: int, metric: float | None) -> None:
        """An epoch ended."""
        text = "epochs" if metric is None else f"epochs, dev {metric:.3f}"
        self._progress.update(self._epochs, completed=epoch, total=epochs, description=text)

    def finish(self, record: Mapping[str, Any], trained: bool, monitor: str) -> None:
        """Advance the bar behind a unit, or print its line.

        Args:
            record: its ``metrics.json``.
            trained: False where it was complete already.
            monitor: the dev figure that selects.
        """
        self._progress.advance(self._units)
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


class Console:
    """The terminal of a run.

    Args:
        quiet: show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._rich = RichConsole(quiet=quiet, highlight=False, soft_wrap=True)
        self._quiet = quiet

    def line(self, text: str) -> None:
        """One line."""
        self._rich.print(text, markup=False)

    def heading(self, name: str, data: SerDataModule, plan: Any, sentences: list[str], folder: Path) -> None:
        """What is going to happen, and the leakage audit."""
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
    def extraction(self, upstream: str) -> Iterator[Callable[[float, float], None]]:
        """A bar over audio seconds."""
        with self._progress(TextColumn("{task.fields[rate]}")) as progress:
            task = progress.add_task(f"extract {upstream}", total=None, rate="", visible=False)

            def advance(done: float, to_do: float) -> None:
                elapsed = progress.tasks[0].elapsed or 1e-9
                progress.update(
                    task, completed=done, total=to_do, visible=True, rate=f"{done / elapsed:.0f} s of audio/s"
                )

            yield advance

    @contextmanager
    def reading(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """A bar over bytes that are read."""
        with self._progress(DownloadColumn(), TransferSpeedColumn()) as progress:
            task = progress.add_task(f"read {name}", total=None)
            yield lambda done, to_do: progress.update(task, completed=done, total=to_do)

    @contextmanager
    def units(self, total: int) -> Iterator[UnitBars]:
        """Bars over units and epochs."""
        with self._progress(MofNCompleteColumn()) as progress:
            yield UnitBars(progress, total, None if self._rich.is_terminal else self.line)

    def report(self, report: Report) -> None:
        """The short report."""
        self.line(report.text())

    def _progress(self, *columns: Any) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._rich,
            transient=True,
            disable=self._quiet or not self._rich.is_terminal,
        )
