"""Folds side by side: each in a process of its own that runs the same command for one fold."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from ser_toolkit.errors import SerError
from ser_toolkit.progress import Console
from ser_toolkit.recipe import Recipe


def run_side_by_side(recipe: Recipe, folds: Sequence[str], jobs: int, console: Console) -> None:
    """Run folds in ``jobs`` processes at a time; on GPUs each process gets one of them in turn.

    Raises:
        SerError: a fold failed; its last line of output is in the message. Folds that were complete stay.
    """
    waiting, running, failed = list(folds), {}, []
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / f"{recipe.name}.yaml"
        config.write_text(recipe.yaml(), encoding="utf-8")
        free = list(range(jobs))
        while waiting or running:
            while waiting and free:
                slot, fold = free.pop(0), waiting.pop(0)
                log = open(Path(scratch) / f"{len(waiting)}.log", "w+", encoding="utf-8")  # noqa: SIM115
                command = [sys.executable, "-m", "ser_toolkit.cli.train", f"recipe={config}", f"fold={fold}"]
                command += ["jobs=1", "baselines=[]", f"name={recipe.name}", "worker=true"]
                process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment(slot, threads))
                running[process] = (slot, fold, log)
            process = _next_finished(list(running))
            slot, fold, log = running.pop(process)
            free.append(slot)
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()]
            log.close()
            if process.returncode:
                failed.append(f"fold {fold}: {lines[-1] if lines else 'no output'}")
            console.line(f"fold {fold} {'failed' if process.returncode else 'done'}")
    if failed:
        raise SerError("; ".join(failed) + ". Complete folds are kept: run the same command again.")


def _environment(slot: int, threads: str) -> dict[str, str]:
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    if torch.cuda.is_available():
        environment["CUDA_VISIBLE_DEVICES"] = str(slot % torch.cuda.device_count())
    return environment


def _next_finished(processes: list[subprocess.Popen]) -> subprocess.Popen:
    while True:
        for process in processes:
            try:
                process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            return process
