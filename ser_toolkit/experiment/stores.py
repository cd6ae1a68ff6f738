"""The stores of a recipe are filled ahead of its training, by one process or several side by side."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.errors import RecipeError, SerError
from ser_toolkit.experiment.console import Console
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.workers import last_line, worker_environment
from ser_toolkit.features.estimate import Storage, plan_line, readable, storage
from ser_toolkit.features.extract import Extraction, Progress
from ser_toolkit.features.inventory import StoreInfo, store_info
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.store import DamagedStoreError, FeatureStore
from ser_toolkit.upstreams.base import Upstream

#: Seconds between looks at worker processes, and between looks at the stores that they fill.
LOOK, COUNT = 0.1, 1.0


@dataclass(frozen=True)
class StoreWork:
    """One store of a recipe, and what belongs into it.

    Args:
        extraction: fills it.
        upstream: whose features they are; one that fuses no others.
        reduction: what is kept of the frames.
        settings: precision, types and batches.
        table: rows of the manifest.
    """

    extraction: Extraction
    upstream: Upstream
    reduction: Reduction
    settings: FeatureSettings
    table: pd.DataFrame

    @property
    def store(self) -> FeatureStore:
        """The store."""
        return self.extraction.store

    @property
    def left(self) -> pd.DataFrame:
        """Rows that are still to be extracted, each sound once."""
        self.store.refresh()
        rows = self.table.drop_duplicates("audio_hash")
        return rows[rows["audio_hash"].isin(self.store.missing(rows["audio_hash"].tolist()))]

    @property
    def seconds_left(self) -> float:
        """Audio seconds that are still to be extracted."""
        return float(self.left["duration"].sum())

    @property
    def plan(self) -> str:
        """What is kept, why, and how much it is."""
        return plan_line(self.upstream, self.reduction, self.storage(self.table))

    def storage(self, rows: pd.DataFrame) -> Storage:
        """What the features of some rows take."""
        return storage(self.upstream, rows, self.reduction, self.settings.dtype)

    def fill(self, progress: Progress | None = None) -> None:
        """Extract what is missing, sharing the work with other processes that do the same."""
        while True:
            try:
                self.extraction.fill(progress)
            except DamagedStoreError:
                continue  # what it was to be made from was damaged and is set aside
            self.store.touch()
            return


def store_works(recipe: Recipe, console: Console | None = None) -> list[StoreWork]:
    """The stores that training a recipe reads: of its upstreams, and of those that it tries inside the folds.

    Args:
        recipe: the configuration.
        console: gets sentences about error and speed.

    Raises:
        RecipeError: the recipe keeps no features; the message says why.
    """
    note = (console or Console(quiet=True)).line
    experiment = Experiment(recipe)
    data = experiment.data
    found: dict[Path, StoreWork] = {}
    for one in _with_candidates(recipe):
        model = one.model(data.classes, one.settings.seed)
        reason = experiment.why_not_stored(model)
        if reason is not None and one is not recipe:
            continue  # a candidate that keeps none: it is fine-tuned, say, or its frames depend on the batch
        if reason is not None:
            raise RecipeError(
                f"Recipe {recipe.name} keeps no features, every step starts at the recordings: {reason}. "
                "There is nothing to extract ahead."
            )
        for part, reduction in zip(model.upstream.parts, one.reductions(model, searched=one is recipe), strict=True):
            work = Extraction(
                part, data.manifest, reduction, one.features, None, one.extraction_device, data.allow_silent, note
            )
            found.setdefault(work.store.folder, StoreWork(work, part, reduction, one.features, data.manifest.table))
    return list(found.values())


def extract(recipe: Recipe, console: Console | None = None) -> list[StoreInfo]:
    """Fill the stores that training a recipe reads, as ``ser-extract`` does; what is stored already is kept.

    With ``jobs`` above 1 in the recipe, so many processes share the work, on GPUs each with one of them in turn. Any
    number of other processes may do the same at the same time.

    Args:
        recipe: the configuration, as from ``load_recipe``.
        console: where plan and progress go; silent when None.

    Returns:
        The stores, one for each upstream.

    Raises:
        RecipeError: the recipe keeps no features.
        AudioError: a recording cannot be read; what was computed before stays.
        StoreError: the features do not fit on the disk, or are not finite.
        SerError: a process failed or was killed; what was computed stays.
    """
    console = console or Console(quiet=True)
    jobs = recipe.settings.jobs
    if jobs < 1:
        raise RecipeError(f"jobs must be at least 1, found {jobs}.")
    works = store_works(recipe, console)
    if not recipe.settings.worker:
        for work in works:
            console.line(work.plan)
    if jobs > 1 and any(work.seconds_left for work in works):
        _side_by_side(recipe, jobs, works, console)
    else:
        for work in works:
            with console.extraction(type(work.upstream).__name__) as progress:
                work.fill(progress)
    return [store_info(work.store.folder) for work in works]


def describe_extraction(recipe: Recipe) -> Iterator[str]:
    """What ``extract`` would do, in lines; nothing is written."""
    for work in store_works(recipe):
        left = work.left
        yield work.plan
        total = work.table.drop_duplicates("audio_hash")["duration"].sum() / 60
        place = next(path for path in (work.store.folder, *work.store.folder.parents) if path.exists())
        yield (
            f"  {left['duration'].sum() / 60:.1f} of {total:.1f} minutes to extract, "
            f"{readable(work.storage(left).size)} more in {work.store.folder} "
            f"({readable(shutil.disk_usage(place).free)} free)"
        )


def _with_candidates(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe, and it with every candidate that has an upstream of its own."""
    yield recipe
    for candidate in recipe.selection.candidates:
        if re.search(r"(^|\s)(--)?model\.upstream[.=+]", candidate):
            yield recipe.override(*candidate.split())


def _side_by_side(recipe: Recipe, jobs: int, works: Sequence[StoreWork], console: Console) -> None:
    """Start workers that run the same command, and show what they do together.

    Raises:
        SerError: one of them failed; the last line of output of each that did is in the message.
    """
    total, started = sum(work.seconds_left for work in works), time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / f"{recipe.name}.yaml"
        config.write_text(recipe.yaml(), encoding="utf-8")
        logs = [Path(scratch) / f"{number}.log" for number in range(jobs)]
        workers = [_start(config, log, worker_environment(slot, jobs)) for slot, log in enumerate(logs)]
        try:
            with console.extraction(f"by {jobs} processes") as progress:
                looked = 0.0
                while any(worker.poll() is None for worker in workers):
                    time.sleep(LOOK)
                    if time.perf_counter() - looked > COUNT:
                        looked = time.perf_counter()
                        progress(total - sum(work.seconds_left for work in works), total)
        finally:
            # An interrupted command leaves nobody behind who goes on writing.
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
        said = [line for log in logs for line in log.read_text("utf-8", errors="replace").splitlines()]
        for line in dict.fromkeys(line for line in said if "relative error" in line):
            console.line(line)
        failed = [_end(worker, log) for worker, log in zip(workers, logs, strict=True) if worker.returncode]
    left = sum(work.seconds_left for work in works)
    took = time.perf_counter() - started
    console.line(
        f"  extracted {(total - left) / 60:.1f} minutes of audio in {took:.0f} s by {jobs} processes, their start "
        f"included: {(total - left) / took:.0f} s of audio/s"
    )
    if failed:
        rest = f"{left / 60:.1f} minutes are left: run the same command again." if left else "The others did its share."
        raise SerError(
            f"{len(failed)} of {jobs} processes failed: {' '.join(dict.fromkeys(failed))} What is extracted is kept. "
            f"{rest}"
        )


def _start(config: Path, log: Path, environment: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "ser_toolkit.cli.extract", f"recipe={config}", "jobs=1", "worker=true"]
    with log.open("w", encoding="utf-8") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment)


def _end(worker: subprocess.Popen, log: Path) -> str:
    """Why a worker failed."""
    if worker.returncode < 0:
        return f"Killed by signal {-worker.returncode}{' (out of memory?)' if worker.returncode == -9 else ''}."
    return last_line(log)
