"""The stores of a recipe: which there are, and how they are filled ahead of its training by one process or several."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.errors import RecipeError, SerError
from ser_toolkit.experiment.baselines import check_baselines
from ser_toolkit.experiment.console import Console
from ser_toolkit.experiment.workers import last_line, worker_environment
from ser_toolkit.features.estimate import readable
from ser_toolkit.features.extract import fill
from ser_toolkit.features.inventory import StoreInfo, store_info
from ser_toolkit.features.plan import StoreSpec, store_specs
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.feature_plan import why_not_stored

#: Seconds between looks at worker processes, and between looks at the stores that they fill.
LOOK, COUNT = 0.1, 1.0


def stores_of(
    recipe: Recipe, data: CorpusData, model: EmotionModel, searched: bool = True, root: Path | None = None
) -> list[StoreSpec]:
    """The stores that training a recipe reads, one for each upstream of its model.

    Args:
        recipe: the configuration; its features can be stored (``model.feature_plan.why_not_stored``).
        data: its corpus.
        model: of the recipe.
        searched: whether parts that are tried inside the folds behind the upstreams read the same stores.
        root: folder of stores; ``cache_root() / "features"`` when None.
    """
    reductions = recipe.reductions(model, searched)
    device = recipe.extraction_device
    return store_specs(model.upstream, data.manifest, reductions, recipe.features, device, data.allow_silent, root)


def all_stores(recipe: Recipe) -> list[StoreSpec]:
    """The stores that training a recipe reads: of its upstreams, and of those that it tries inside the folds.

    Raises:
        RecipeError: the recipe's features cannot be stored; the message gives the reason.
    """
    data = recipe.data()
    check_baselines(recipe.settings.baselines)
    found: dict[Path, StoreSpec] = {}
    for one in _with_candidates(recipe):
        model = one.model(data.classes, one.settings.seed)
        reason = why_not_stored(model.network, data, recipe.features)
        if reason is not None and one is not recipe:
            continue  # a candidate whose features are not stored: it is fine-tuned, or its frames depend on the batch
        if reason is not None:
            raise RecipeError(
                f"Recipe {recipe.name} keeps no features, every step starts at the recordings: {reason}. "
                "There is nothing to extract ahead."
            )
        for spec in stores_of(one, data, model, searched=one is recipe):
            found.setdefault(spec.store.folder, spec)
    return list(found.values())


def fill_stores(recipe: Recipe, console: Console | None = None) -> list[StoreInfo]:
    """Fill the stores that training a recipe reads, as ``ser-extract`` does; stored utterances are not computed again.

    With ``jobs`` above 1 in the recipe, so many processes share the work, on GPUs each with one of them in turn. Any
    number of other processes may do the same at the same time.

    Args:
        recipe: the configuration, as from ``load_recipe``.
        console: where plan and progress go; silent when None.

    Returns:
        The stores, one for each upstream.

    Raises:
        RecipeError: the recipe's features cannot be stored.
        AudioError: a recording cannot be read; what was computed before stays.
        StoreError: the features do not fit on the disk, or are not finite.
        SerError: a process failed or was killed; what was computed stays.
    """
    console = console or Console(quiet=True)
    jobs = recipe.settings.jobs
    if jobs < 1:
        raise RecipeError(f"jobs must be at least 1, found {jobs}.")
    specs = all_stores(recipe)
    if not recipe.settings.worker:
        for spec in specs:
            console.line(spec.line)
    if jobs > 1 and any(spec.seconds_missing for spec in specs):
        _side_by_side(recipe, jobs, specs, console)
    else:
        for spec in specs:
            with console.extraction(type(spec.upstream).__name__) as progress:
                fill(spec, progress)
    return [store_info(spec.store.folder) for spec in specs]


def describe_stores(recipe: Recipe) -> Iterator[str]:
    """Lines on the work of ``fill_stores``; nothing is written."""
    for spec in all_stores(recipe):
        plan, left = spec.forecast()
        place = next(path for path in (spec.store.folder, *spec.store.folder.parents) if path.exists())
        yield plan
        yield f"{left} ({readable(shutil.disk_usage(place).free)} free)"


def _with_candidates(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe, and its variations by every candidate that has an upstream of its own."""
    yield recipe
    for candidate in recipe.selection.candidates:
        if re.search(r"(^|\s)(--)?model\.upstream[.=+]", candidate):
            yield recipe.override(*candidate.split())


def _side_by_side(recipe: Recipe, jobs: int, specs: Sequence[StoreSpec], console: Console) -> None:
    """Start workers that run the same command, and show the progress of all of them.

    Raises:
        SerError: one of them failed; the last line of output of each that did is in the message.
    """
    total, started = sum(spec.seconds_missing for spec in specs), time.perf_counter()
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
                        progress.update(total - sum(spec.seconds_missing for spec in specs), total)
        finally:
            # an interrupted command leaves no worker behind that goes on writing
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
        printed = [line for log in logs for line in log.read_text("utf-8", errors="replace").splitlines()]
        for line in dict.fromkeys(line for line in printed if "relative error" in line):
            console.line(line)
        failed = [_end(worker, log) for worker, log in zip(workers, logs, strict=True) if worker.returncode]
    left = sum(spec.seconds_missing for spec in specs)
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
    """Reason of a worker's failure, in a sentence."""
    if worker.returncode < 0:
        return f"Killed by signal {-worker.returncode}{' (out of memory?)' if worker.returncode == -9 else ''}."
    return last_line(log)
