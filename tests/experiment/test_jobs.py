"""Folds side by side give what folds one after another give, and say in one line what went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

import ser_toolkit.experiment.workers
from ser_toolkit.cli.train import main
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.errors import SerError
from ser_toolkit.experiment.console import Console
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.workers import _next_finished, last_line, run_side_by_side, worker_environment

ARGUMENTS = ["recipe=mini.yaml", "data.protocol=GroupedKFold", "data.protocol.num_folds=2", "data.protocol.dev_folds=0"]


def weights(folder: Path) -> dict[str, object]:
    """Weights of every unit below, and its predictions, by path."""
    return {
        str(path.relative_to(folder)): {name: value.tolist() for name, value in load_file(path).items()}
        for path in folder.rglob("model.safetensors")
    }


@pytest.mark.slow
def test_two_jobs_give_what_one_gives(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main([*ARGUMENTS, "output=one"]) == 0
    assert main([*ARGUMENTS, "output=two", "jobs=2"]) == 0
    (one,), (two,) = (mini / "one" / "mini").iterdir(), (mini / "two" / "mini").iterdir()
    assert one.name == two.name
    assert len(weights(one)) == 2
    assert weights(one) == weights(two)
    assert {p.relative_to(one) for p in one.rglob("*")} == {p.relative_to(two) for p in two.rglob("*")}


def test_a_worker_that_fails_is_said_in_one_line_and_the_others_end(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(name: str, config: Path, fold: str, log: Path, environment: dict[str, str]) -> subprocess.Popen:
        assert load_recipe(str(config)).hash("", "") == recipe.hash("", "")
        text = "raise SystemExit('ser-train: no room.')" if fold == "2" else f"open('done-{fold}', 'w').close()"
        with log.open("w") as output:
            return subprocess.Popen([sys.executable, "-c", text], stdout=output, stderr=output, env=environment)

    recipe = load_recipe("mini.yaml")
    monkeypatch.setattr(ser_toolkit.experiment.workers, "_start", start)
    with pytest.raises(SerError) as failed:
        run_side_by_side(recipe, ["1", "2", "3"], 2, Console(quiet=True))
    assert str(failed.value) == "fold 2: no room. Complete folds are kept: run the same command again."
    assert sorted(path.name for path in mini.glob("done-*")) == ["done-1", "done-3"]


def test_an_interrupted_command_leaves_no_worker_behind(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen] = []

    def start(*_: object) -> subprocess.Popen:
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return started[-1]

    def interrupt(_: object) -> subprocess.Popen:
        raise KeyboardInterrupt

    monkeypatch.setattr(ser_toolkit.experiment.workers, "_start", start)
    monkeypatch.setattr(ser_toolkit.experiment.workers, "_next_finished", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(load_recipe("mini.yaml"), ["1", "2", "3"], 2, Console(quiet=True))
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_complete_folds_get_no_process(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("mini.yaml", "fold=spk02", "baselines=[]")
    Experiment(recipe).run()
    asked: list[str] = []
    monkeypatch.setattr(
        "ser_toolkit.experiment.experiment.run_side_by_side", lambda recipe, folds, *_: asked.extend(folds)
    )
    monkeypatch.setattr(Experiment, "_run_units", lambda *_: None)
    Experiment(load_recipe("mini.yaml", "jobs=2", "baselines=[]")).run()
    assert asked == ["spk01", "spk03", "spk04"]


def test_cores_and_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert worker_environment(0, 2)["OMP_NUM_THREADS"] == "4"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert worker_environment(0, 2)["OMP_NUM_THREADS"] == "2", "the user's word counts"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [worker_environment(slot, 3)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1, 2)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [worker_environment(slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["5", "7"]


def test_the_last_words_of_a_worker_are_found(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("noise\nser-train: what went wrong.\n\n")
    assert last_line(log) == "what went wrong."
    log.write_text("")
    assert last_line(log) == "no output (killed?)."


def test_whoever_ends_first_is_found() -> None:
    slow = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    quick = subprocess.Popen([sys.executable, "-c", "pass"])
    try:
        assert _next_finished([slow, quick]) is quick
    finally:
        slow.kill()
        slow.wait()
