"""Output that nobody reads any more: other commands end as by SIGPIPE, training goes on to its end."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from ser_toolkit.cli._command import run_command
from ser_toolkit.cli.report import main as report
from ser_toolkit.evaluation.reporting.report import Report
from ser_toolkit.experiment.console import Console


class Gone(io.StringIO):
    """A stream whose reader leaves after the first line."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number, self.lines = number, 0

    def write(self, text: str) -> int:
        self.lines += 1
        if self.lines > 1:
            raise OSError(self._number, os.strerror(self._number))
        return len(text)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
@pytest.mark.parametrize(("trains", "code", "done"), [(True, 0, True), (False, 141, False)])
def test_a_reader_that_leaves(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    trains: bool,
    code: int,
    done: bool,
) -> None:
    reached = []

    def work(_: list[str]) -> None:
        for line in ("one\n", "two\n", "three\n"):
            sys.stdout.write(line)
        Console().line("by rich")
        reached.append(True)

    monkeypatch.setattr(sys, "stdout", Gone(number))
    assert run_command("ser-x", "usage", work, ["work"], trains) == code
    assert bool(reached) is done
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("trains", "code"), [(True, 0), (False, 1)])
def test_an_output_that_was_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trains: bool, code: int
) -> None:
    reached = []

    def work(_: list[str]) -> None:
        sys.stdout.write("one\n")
        reached.append(True)

    monkeypatch.setattr(sys, "stdout", None)
    assert run_command("ser-x", "usage", work, ["work"], trains) == code
    assert reached
    assert ("closed" in capsys.readouterr().err) is not trains


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "/data/x: Permission denied. Check who may"),
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space and run the same command again"),
        (OSError(errno.EIO, "Input/output error", "/mnt/y"), "/mnt/y: Input/output error."),
    ],
)
def test_whatever_the_system_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, said: str
) -> None:
    monkeypatch.chdir(tmp_path)  # what is raised in the working directory is a fault of a user's own part

    def work(_: list[str]) -> None:
        raise error

    assert run_command("ser-x", "usage", work, ["work"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("ser-x: ")
    assert said in told
    assert told.count("\n") == 1


def test_a_run_that_may_only_be_read_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(self: Report) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self.json_path))

    class Made(Report):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder, {}, None)  # type: ignore[arg-type]

        def text(self) -> str:
            return "the report"

    (tmp_path / "run.json").write_text("{}")
    monkeypatch.setattr(Report, "write", refused)
    monkeypatch.setattr("ser_toolkit.evaluation.reporting.report.make_report", Made)
    assert report([str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.out == "the report\n"
    assert f"ser-report: not written: {tmp_path}: Permission denied." in told.err
