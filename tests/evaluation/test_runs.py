"""A run directory is found from whatever part of its path a user gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.run_folder import find_run


def make(folder: Path) -> Path:
    (folder / "plain" / "fold=1" / "seed=0").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


def test_a_run_is_found_at_above_and_below(tmp_path: Path) -> None:
    run = make(tmp_path / "runs" / "demo" / "0123456789")
    for given in (run, run / "plain" / "fold=1" / "seed=0", run / "run.json", run.parent, run.parent.parent):
        assert find_run(given) == run.resolve()


def test_a_relative_path_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path / "runs" / "demo" / "0123456789")
    monkeypatch.chdir(run / "plain")
    assert find_run(Path("fold=1")) == run.resolve()
    assert find_run(Path("..")) == run.resolve()


def test_several_runs_are_named(tmp_path: Path) -> None:
    make(tmp_path / "demo" / "aaa")
    make(tmp_path / "demo" / "bbb")
    with pytest.raises(ResultError, match=r"holds 2 runs; give one: .*aaa, .*bbb"):
        find_run(tmp_path / "demo")


def test_no_run_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"is no run directory: expected run\.json in it"):
        find_run(tmp_path)
    with pytest.raises(ResultError, match=r"No run directory at .*gone"):
        find_run(tmp_path / "gone")
