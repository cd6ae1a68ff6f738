"""Folds side by side: each in a process of its own that runs the same command for one fold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.errors import SerError
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.experiment.console import Console
from ser_toolkit.system.memory import SIDE_BY_SIDE


def run_side_by_side(
    recipe: Recipe, folds: Sequence[str], jobs: int, console: Console, folder: Path | None = None
) -> None:
    """Run folds in ``jobs`` processes at a time; on GPUs each process gets one of them in turn.

    Args:
        recipe: what to run.
        folds: names.
        jobs: processes at a time.
        console: shows every fold that ends.
        folder: the run directory with its ``config.yaml``, which the processes go on with; one by the hash when None.

    Raises:
        SerError: folds failed; the last line of output of each is in the message. Complete folds stay.
    """
    waiting, failed = list(folds), []
    free = list(range(jobs))
    running: dict[subprocess.Popen, _Job] = {}
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / f"{recipe.name}.yaml"
        config.write_text(recipe.yaml(), encoding="utf-8")
        config = config if folder is None else RunFolder(folder).config
        try:
            while waiting or running:
                while waiting and free:
                    slot, fold = free.pop(0), waiting.pop(0)
                    log = Path(scratch) / f"{len(waiting)}.log"
                    running[_start(recipe.name, config, fold, log, worker_environment(slot, jobs))] = _Job(
                        slot, fold, log
                    )
                process = _next_finished(list(running))
                job = running.pop(process)
                free.append(job.slot)
                if process.returncode:
                    failed.append(f"fold {job.fold}: {last_line(job.log)}")
                console.line(f"fold {job.fold} {'failed' if process.returncode else 'done'}")
        finally:
            # An interrupted command leaves nobody behind who goes on writing.
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
    if failed:
        raise SerError("; ".join(failed) + " Complete folds are kept: run the same command again.")


@dataclass(frozen=True)
class _Job:
    slot: int
    fold: str
    log: Path


def _start(name: str, config: Path, fold: str, log: Path, environment: dict[str, str]) -> subprocess.Popen:
    # a run directory keeps its own parts as they are now, whatever becomes of their files while it goes on
    in_run = RunFolder(config.parent).is_run
    # and its code is trusted: this process executes it, too
    source = ["--resume", str(config.parent), "--trust-code"] if in_run else [f"recipe={config}", f"name={name}"]
    command = [sys.executable, "-m", "ser_toolkit.cli.train", *source, f"fold={fold}"]
    command += ["jobs=1", "baselines=[]", "worker=true"]
    with log.open("w", encoding="utf-8") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment)


def last_line(log: Path) -> str:
    """Last line that a worker printed, without the name of its command."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return re.sub(r"^ser-\w+: ", "", lines[-1]) if lines else "no output (killed?)."


def worker_environment(slot: int, jobs: int) -> dict[str, str]:
    """Environment of a worker: its share of cores and GPUs; a number of threads that the user has set stays."""
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} | dict(os.environ)
    environment[SIDE_BY_SIDE] = str(jobs)
    if not {"", os.getcwd()} & set(sys.path):  # within a run, say: ``python -m`` would put it there
        environment["PYTHONSAFEPATH"] = "1"
    if torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        devices = visible.split(",")
        environment["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return environment


def _next_finished(processes: Sequence[subprocess.Popen]) -> subprocess.Popen:
    while True:
        for process in processes:
            if process.poll() is not None:
                return process
        time.sleep(0.1)
