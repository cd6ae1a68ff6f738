"""``ser-train``: usage without heavy imports, a run from the command line, users' own parts, loggers, dry runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ser_toolkit import __version__
from ser_toolkit.cli.train import main

QUICK = ["recipe=mini.yaml", "fold=2", "baselines=[]", "trainer.max_epochs=1"]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["recipe=demo", "--help"]])
def test_help_names_every_key_of_its_own(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    said = capfd.readouterr().out
    for key in ("recipe=", "data.root=", "fold=", "seeds=", "jobs=", "variants=", "output=", "--dry-run", "--help-all"):
        assert key in said


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"ser-train {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ser_toolkit.cli.train import main; code = main(['--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'pandas'} & set(sys.modules); sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_prints_plan_audit_and_report(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "baselines=[majority]"]) == 0
    said = capfd.readouterr()
    assert "mini: Synthetic, 24 utterances, 4 speakers" in said.out
    assert "audit: speakers: none shared" in said.out
    assert "run directory: runs/mini/" in said.out
    assert "1 of 4 folds" in said.out
    assert "majority" in said.out
    assert said.err == "", "warnings of libraries say nothing about a result"
    assert len(list(mini.glob("runs/mini/*/report.html"))) == 1


def test_a_class_in_the_working_directory_is_a_part(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(mini))])
    (mini / "train_part_of_mine.py").write_text(
        "from ser_toolkit.downstream.pooling import MaxPooling\n\n\nclass Mine(MaxPooling):\n    '''Mine.'''\n"
    )
    assert main([*QUICK, "model.pooling=train_part_of_mine.Mine"]) == 0
    (config,) = mini.glob("runs/mini/*/config.yaml")
    assert "class_path: train_part_of_mine.Mine" in config.read_text()


def test_a_dry_run_writes_no_run_directory(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--dry-run"]) == 0
    assert "training: 3 steps" in capfd.readouterr().out
    assert not (mini / "runs").exists()


@pytest.mark.parametrize("logger", ["CSVLogger", "TensorBoardLogger"])
def test_loggers_by_override_are_kept_apart_by_run_and_unit(mini: Path, logger: str) -> None:
    given = [f"trainer.logger={logger}", "trainer.logger.save_dir=logs", "trainer.logger.name=mine"]
    assert main([*QUICK, "seeds=2", "variants=[Plain,Transductive]", *given]) == 0
    assert main([*QUICK, "model.optimizer.lr=0.02", *given]) == 0
    files = [*(mini / "logs").rglob("metrics.csv"), *(mini / "logs").rglob("events.out.*")]
    folders = sorted(str(path.parent.relative_to(mini / "logs" / "mine")) for path in files)
    curves = [path.parent.parent for path in mini.glob("runs/mini/*/*/fold=*/seed=*/log/metrics.csv")]
    assert len(curves) == 5, "the table of curves lies in every unit, too"
    assert folders == sorted(str(unit.relative_to(mini / "runs")) for unit in curves)


@pytest.mark.parametrize("logger", ["false", "true", "null"])
def test_curves_lie_beside_the_result_whatever_the_logger(mini: Path, logger: str) -> None:
    assert main([*QUICK, f"trainer.logger={logger}", "trainer.max_epochs=2"]) == 0
    (curves,) = mini.glob("runs/mini/*/plain/fold=spk02/seed=0/log/metrics.csv")
    table = pd.read_csv(curves)
    assert {"dev/uar", "dev/loss", "train/loss"} <= set(table.columns)
    assert (table["epoch"].tolist(), table["step"].tolist()) == ([0, 1], [2, 5]), "a row an epoch, filled"
    assert not table.isna().any(axis=None)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_a_fit_says_how_to_go_on(
    mini: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], sent: int, code: int
) -> None:
    def signalled(*_: object) -> None:
        os.kill(os.getpid(), sent)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # a shell that starts the tests behind its back (&) has them ignore SIGINT, and so does an interrupted trainer
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("ser_toolkit.model.emotion_model.EmotionModel.on_train_epoch_end", signalled)
    try:
        assert main(QUICK) == code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert capfd.readouterr().err.endswith("the same command goes on from there.\n")
    assert not list(mini.rglob("metrics.json"))


def test_an_interrupt_between_fits_says_so_too(
    mini: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ser_toolkit.experiment.experiment.Experiment._run_units", interrupt)
    assert main(QUICK) == 130
    assert "the same command goes on from there" in capfd.readouterr().err


def test_a_program_error_is_not_hidden(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MisconfigurationException("a bug")

    monkeypatch.setattr("ser_toolkit.experiment.experiment.Experiment._run_units", fail)
    with pytest.raises(MisconfigurationException, match="a bug"):
        main(QUICK)
