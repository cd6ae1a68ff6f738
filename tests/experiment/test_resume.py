"""A killed run goes on and ends where the uninterrupted one would have ended, to the last bit."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from mini_recipe import MINI_RECIPE
from safetensors.torch import load_file

from ser_toolkit.cli.train import main
from ser_toolkit.experiment.stages import checkpoints

CALLBACK = '''
import os
import signal
from pathlib import Path

from lightning.pytorch.callbacks import Callback


class Interrupted(BaseException):
    """Not to be caught by anyone."""


class StopAt(Callback):
    def _stop(self, trainer, hook, batch=0):
        armed = Path("armed")
        if armed.exists() and armed.read_text().split() in (
            [hook, str(trainer.current_epoch), str(batch)], [hook]
        ):
            armed.unlink()
            if os.environ.get("STOP") == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise Interrupted

    def on_train_epoch_start(self, trainer, pl_module):
        self._stop(trainer, "on_train_epoch_start")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._stop(trainer, "on_train_batch_end", batch_idx)

    def on_validation_end(self, trainer, pl_module):
        self._stop(trainer, "on_validation_end")

    def on_train_epoch_end(self, trainer, pl_module):
        self._stop(trainer, "on_train_epoch_end")

    def on_fit_end(self, trainer, pl_module):
        self._stop(trainer, "on_fit_end")
'''
ARGUMENTS = [
    "recipe=mini.yaml",
    "fold=2",
    "baselines=[]",
    "trainer.callbacks+=callback_that_stops.StopAt",
    "trainer.max_epochs=6",
    "trainer.accumulate_grad_batches=2",
    "selection.average=2",
    "selection.patience=3",
    "model.lr_scheduler=ReduceLROnPlateau",
    "model.lr_scheduler.mode=max",
    "model.lr_scheduler.patience=0",
    "model.lr_scheduler.factor=0.5",
]


def result(home: Path) -> dict[str, Any]:
    """Weights, predictions and record of the only unit below."""
    (unit,) = home.glob("runs/mini/*/plain/fold=spk02/seed=0")
    record = json.loads((unit / "metrics.json").read_text())
    record["fit"].pop("seconds")
    weights = {name: value.tolist() for name, value in load_file(unit / "checkpoints/model.safetensors").items()}
    return {
        "record": record,
        "weights": weights,
        "predictions": pd.read_parquet(unit / "predictions.parquet").to_csv(),
        "dev": pd.read_parquet(unit / "dev_predictions.parquet").to_csv(),
        "curves": (unit / "log" / "metrics.csv").read_text(),
        "files": sorted(str(path.relative_to(unit)) for path in unit.rglob("*")),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mini_cache: Path) -> Iterator[Path]:
    """A working directory with the recipe and the callback; the environment points there while the module runs."""
    place = tmp_path_factory.mktemp("resume")
    (place / "mini.yaml").write_text(MINI_RECIPE, encoding="utf-8")
    (place / "callback_that_stops.py").write_text(CALLBACK, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        patch.setenv("SER_CACHE", str(mini_cache))
        yield place


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """These epochs are short: a state is kept at the start of each."""
    monkeypatch.setattr(checkpoints, "PERIOD", -1.0)


@pytest.fixture
def now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are kept at the start of epochs 1, 3 and 5: each look at this clock takes a second."""
    monkeypatch.setattr(checkpoints, "PERIOD", 2.0)
    monkeypatch.setattr(checkpoints, "clock", itertools.count().__next__)


@pytest.fixture(scope="module")
def uninterrupted(home: Path) -> dict[str, Any]:
    """What comes out when nothing happens."""
    assert main(ARGUMENTS) == 0
    found = result(home)
    (home / "runs").rename(home / "uninterrupted")
    return found


@pytest.fixture
def fresh(home: Path) -> Iterator[Path]:
    """No runs from the test before."""
    yield home
    shutil.rmtree(home / "runs", ignore_errors=True)
    (home / "armed").unlink(missing_ok=True)


STOPS = [
    "on_train_epoch_start 3 0",
    "on_train_batch_end 3 1",
    "on_validation_end 3 0",
    "on_train_epoch_end 3 0",
    "on_train_batch_end 0 0",
    "on_fit_end",
]


@pytest.mark.parametrize("stop", STOPS)
def test_an_interrupted_run_ends_like_the_uninterrupted_one(
    fresh: Path, uninterrupted: dict[str, Any], stop: str
) -> None:
    (fresh / "armed").write_text(stop)
    with pytest.raises(BaseException, match="") as stopped:
        main(ARGUMENTS)
    assert type(stopped.value).__name__ == "Interrupted"
    assert not (fresh / "armed").exists()
    assert not list(fresh.glob("runs/**/metrics.json"))
    assert main(ARGUMENTS) == 0
    assert result(fresh) == uninterrupted


def last_state(home: Path) -> dict[str, Any]:
    """What the broken run would go on from; the best epochs that it names lie beside it."""
    (last,) = home.glob("runs/**/last.ckpt")
    state: dict[str, Any] = torch.load(last, weights_only=True)
    scores = state["callbacks"]["BestWeights"]["scores"]
    assert len(scores) == min(state["epoch"], 2)
    for epoch in scores:
        assert (last.parent / f"epoch={epoch}.ckpt").is_file(), f"{epoch} is named by the state of {state['epoch']}"
    return state


def test_a_run_goes_on_from_some_epochs_ago(fresh: Path, uninterrupted: dict[str, Any], now_and_then: None) -> None:
    (fresh / "armed").write_text("on_validation_end 2 0")
    with pytest.raises(BaseException, match=""):
        main(ARGUMENTS)
    assert last_state(fresh)["epoch"] == 1
    assert main(ARGUMENTS) == 0
    assert result(fresh) == uninterrupted


@pytest.mark.parametrize(("step", "epoch"), [("write", 1), ("drop_replaced", 3)])
def test_a_kill_while_states_are_written_leaves_what_belongs_together(
    fresh: Path,
    uninterrupted: dict[str, Any],
    now_and_then: None,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    epoch: int,
) -> None:
    class KilledError(BaseException):
        pass

    done, calls = getattr(checkpoints.BestWeights, step), []

    def killed(self: checkpoints.BestWeights) -> None:
        calls.append(step)
        if step == "write":
            done(self)
        if len(calls) == 2:
            raise KilledError
        if step != "write":
            done(self)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.BestWeights, step, killed)
        with pytest.raises(KilledError):
            main(ARGUMENTS)
    assert last_state(fresh)["epoch"] == epoch
    assert main(ARGUMENTS) == 0
    assert result(fresh) == uninterrupted


def test_kill_9_in_the_middle_of_a_fit(fresh: Path, uninterrupted: dict[str, Any]) -> None:
    (fresh / "armed").write_text("on_train_batch_end 3 1")
    code = "import sys; from ser_toolkit.experiment.stages import checkpoints; from ser_toolkit.cli.train import main; "
    code += "checkpoints.PERIOD = -1.0; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *ARGUMENTS]
    killed = subprocess.run(command, env=os.environ | {"STOP": "kill"}, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not list(fresh.glob("runs/**/metrics.json"))
    assert main(ARGUMENTS) == 0
    assert result(fresh) == uninterrupted


def test_a_damaged_last_checkpoint_starts_the_unit_anew(
    fresh: Path, uninterrupted: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    (fresh / "armed").write_text("on_train_batch_end 3 1")
    with pytest.raises(BaseException, match=""):
        main(ARGUMENTS)
    (last,) = fresh.glob("runs/**/last.ckpt")
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    assert main(ARGUMENTS) == 0
    assert "last.ckpt is damaged" in caplog.text
    assert result(fresh) == uninterrupted


def test_a_run_directory_that_was_moved_in_the_middle_goes_on(fresh: Path, uninterrupted: dict[str, Any]) -> None:
    (fresh / "armed").write_text("on_train_batch_end 3 1")
    with pytest.raises(BaseException, match=""):
        main([*ARGUMENTS, "output=elsewhere"])
    (fresh / "elsewhere").rename(fresh / "runs")
    assert last_state(fresh)["epoch"] == 3
    assert main(ARGUMENTS) == 0
    assert result(fresh) == uninterrupted


def test_a_full_disk_is_one_line_and_finished_folds_stay(
    fresh: Path, uninterrupted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write, writings = checkpoints.BestWeights.write, []

    def full(self: checkpoints.BestWeights) -> None:
        place = self.path(0)
        if "fold=spk03" in str(place):
            writings.append(place)
            if len(writings) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
        write(self)

    every_fold = [argument for argument in ARGUMENTS if not argument.startswith("fold=")]
    monkeypatch.setattr(checkpoints.BestWeights, "write", full)
    assert main(every_fold) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "No space left on device" in said
    assert "Free some space" in said
    assert len(list(fresh.glob("runs/**/metrics.json"))) == 2
    monkeypatch.setattr(checkpoints.BestWeights, "write", write)
    assert main(every_fold) == 0
    (folder,) = fresh.glob("runs/mini/*/plain")
    assert len(list(folder.glob("fold=*/seed=0/metrics.json"))) == 4
    weights = load_file(folder / "fold=spk02/seed=0/checkpoints/model.safetensors")
    assert all(torch.equal(value, torch.tensor(uninterrupted["weights"][name])) for name, value in weights.items())
