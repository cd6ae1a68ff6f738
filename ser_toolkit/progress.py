"""What a run shows while it goes: the plan and its audit, bars over units and epochs, and the report."""

from __future__ import annotations

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
from ser_toolkit.evaluation.copies import copy_banners

if TYPE_CHECKING:
    from ser_toolkit.data.datamodule import SerDataModule
    from ser_toolkit.evaluation.report import Report


class UnitBars:
    """Bars over the units of an experiment and over the epochs of the unit in work."""

    def __init__(self, progress: Progress, units: int) -> None:
        self._progress = progress
        self._units = progress.add_task("units", total=units)
        self._epochs = progress.add_task("epochs", total=1)

    def start(self, variant: str, fold: str, seed: int) -> None:
        """A unit begins."""
        self._progress.update(self._units, description=f"{variant} fold {fold} seed {seed}")
        self._progress.reset(self._epochs, total=1, description="epochs")

    def epoch(self, epoch: int, epochs: int, metric: float | None) -> None:
        """An epoch ended."""
        text = "epochs" if metric is None else f"epochs, dev {metric:.3f}"
        self._progress.update(self._epochs, completed=epoch, total=epochs, description=text)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """A unit ended."""
        self._progress.advance(self._units)


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
            yield UnitBars(progress, total)

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
