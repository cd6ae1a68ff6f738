"""Two commands never make the same unit of a run at once; the dead block nobody."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ser_toolkit.cli.train import main
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.errors import BusyError
from ser_toolkit.evaluation.run_folder import UnitFolder
from ser_toolkit.experiment import unit_claims as module
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.record import write_record
from ser_toolkit.experiment.stages.tune import drop_tuning
from ser_toolkit.experiment.unit_claims import at_work

ONE, TWO = "plain/fold=1/seed=0", "plain/fold=2/seed=0"


def claim_of(run: Path, unit: str, process: int, since: float = 0.0) -> Path:
    """What another process on this machine has left."""
    path = run / "claims" / f"{unit.replace('/', '+')}.claim"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([socket.gethostname(), process, int(since)]), encoding="utf-8")
    return path


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_second_is_told_who_is_at_work(tmp_path: Path) -> None:
    claim_of(tmp_path, TWO, os.getppid(), time.time())
    with pytest.raises(BusyError) as refused, at_work(tmp_path, [ONE, TWO]):
        pass
    said = str(refused.value)
    assert said.startswith(f"process {os.getppid()} on {socket.gethostname()}, since ")
    assert f"is at work on {TWO} of {tmp_path}" in said and "\n" not in said
    assert [path.stem for path in (tmp_path / "claims").iterdir()] == [TWO.replace("/", "+")], "ours are given back"


def test_other_units_of_the_run_may_be_made(tmp_path: Path) -> None:
    claim_of(tmp_path, TWO, os.getppid())
    with at_work(tmp_path, [ONE]):
        assert len(list((tmp_path / "claims").iterdir())) == 2


def test_nothing_is_left_behind_and_the_dead_block_nobody(tmp_path: Path) -> None:
    claim_of(tmp_path, ONE, dead())
    with pytest.raises(KeyboardInterrupt), at_work(tmp_path, [ONE, TWO]):
        raise KeyboardInterrupt
    assert not (tmp_path / "claims").exists()


def test_workers_of_a_command_are_of_the_same_run(tmp_path: Path) -> None:
    claim_of(tmp_path, ONE, os.getppid())
    with at_work(tmp_path, [ONE], worker=True):
        pass


def test_a_worker_whose_command_was_killed_still_holds_its_unit(tmp_path: Path) -> None:
    claim_of(tmp_path, ONE, dead())
    claim_of(tmp_path, f"worker/{ONE}", os.getppid())
    with pytest.raises(BusyError, match=f"process {os.getppid()} "), at_work(tmp_path, [ONE]):
        pass


def test_only_the_first_process_of_a_distributed_training_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_of(tmp_path, ONE, os.getppid())
    monkeypatch.setenv("LOCAL_RANK", "1")
    with at_work(tmp_path, [ONE]):
        pass


def test_long_work_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWAL", 0.01)
    with at_work(tmp_path, [ONE]):
        (claim,) = (tmp_path / "claims").iterdir()
        os.utime(claim, (0, 0))
        waited = time.monotonic()
        while claim.stat().st_mtime == 0 and time.monotonic() - waited < 20:
            time.sleep(0.01)
        assert claim.stat().st_mtime > 0


def test_the_command_ends_in_one_line(mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["recipe=mini.yaml", "fold=2", "baselines=[]", "trainer.max_epochs=1"]
    assert main([*arguments, "--dry-run"]) == 0
    run = mini / capsys.readouterr().out.split("run directory: ")[1].split()[0]
    run.mkdir(parents=True)
    claim_of(run, "plain/fold=spk02/seed=0", os.getppid(), time.time())
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ser-train: process {os.getppid()} on ") and said.count("\n") == 1
    assert not list(run.glob("plain/*"))


def test_two_shells_may_write_the_record_of_their_run_at_once(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(load_recipe("mini.yaml", "fold=1"))
    plan, model = experiment.plan(), experiment.probe_model()
    folder = mini / "run"
    folder.mkdir()

    def record() -> None:
        write_record(folder, experiment.recipe, experiment.data, model, plan.variants, plan.seeds, [])

    mine, replace, others = os.getpid(), Path.replace, []

    def meanwhile(path: Path, target: Path) -> Path:
        if target.name not in others:  # the other one writes the same file between our writing and our renaming
            others.append(target.name)
            process = mine + len(others)
            with monkeypatch.context() as other:
                other.setattr(os, "getpid", lambda: process)
                record()
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    record()
    assert others == ["run.json", "config.yaml", "manifest.parquet"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(others)


def test_what_a_command_killed_behind_its_fit_has_left_goes(tmp_path: Path) -> None:
    unit, weights = tmp_path, "checkpoints/model.safetensors"
    for left in (weights, "checkpoints/last.ckpt", "checkpoints/refit/epoch=0.ckpt", "candidates/1/fit.json"):
        (unit / left).parent.mkdir(parents=True, exist_ok=True)
        (unit / left).touch()
    drop_tuning(SimpleNamespace(files=UnitFolder(unit)))  # type: ignore[arg-type]
    assert [path for path in unit.rglob("*") if path.is_file()] == [unit / weights]
