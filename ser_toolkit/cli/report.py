"""``ser-report``: the report of a run directory, rebuilt from its stored predictions alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ser_toolkit.cli._command import run_command

USAGE = """\
usage: ser-report RUN [RUN ...]

Rebuild report.json, report.md and report.html of run directories (runs/<recipe>/<hash>) from their stored
predictions alone, and print the short report. Nothing is trained, no audio is read.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("ser-report", USAGE, _report, arguments)


def _report(arguments: list[str]) -> None:
    from ser_toolkit.evaluation.report import write_report
    from ser_toolkit.runs import find_run

    for argument in arguments:
        folder = find_run(Path(argument))
        sys.stdout.write(write_report(folder).text() + f"\n{folder / 'report.html'}\n")


if __name__ == "__main__":
    sys.exit(main())
