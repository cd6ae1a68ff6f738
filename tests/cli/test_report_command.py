"""``ser-report``: the same report from stored predictions alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ser_toolkit.cli.report import main
from ser_toolkit.cli.train import main as train


def test_a_report_is_rebuilt_without_the_corpus(
    mini: Path, mini_cache: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(["recipe=mini.yaml", "fold=2", "trainer.max_epochs=1"]) == 0
    printed = capfd.readouterr().out
    (run,) = mini.glob("runs/mini/*")
    before = {name: (run / name).read_bytes() for name in ("report.json", "report.md", "report.html")}
    for name in before:
        (run / name).unlink()
    shutil.rmtree(run / "plain" / "fold=spk02" / "seed=0" / "checkpoints")
    monkeypatch.setenv("SER_CACHE", str(mini / "empty"))
    assert main(["runs"]) == 0
    said = capfd.readouterr().out
    assert {name: (run / name).read_bytes() for name in before} == before
    assert said.splitlines()[-1] == str(run / "report.html")
    assert said.splitlines()[:-1] == printed.splitlines()[-len(said.splitlines()) + 1 :], "the report that was printed"


@pytest.mark.parametrize(
    ("given", "message"), [("gone", "No run directory at"), (".", "expected run.json in it, as ser-train leaves it")]
)
def test_what_is_no_run_is_one_line(mini: Path, given: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([given]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_damaged_run_is_one_line(mini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (mini / "run.json").write_text("{")
    assert main(["."]) == 2
    assert capfd.readouterr().err.count("\n") == 1
