"""``ser-report``: the report of a run directory, rebuilt from its stored predictions alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ser_toolkit.cli._command import run_command
from ser_toolkit.cli._options import Parser, write_output
from ser_toolkit.errors import RecipeError

USAGE = """\
usage: ser-report RUN [RUN ...] [--table] [--output table.md]

Rebuild report.json, report.md and report.html of run directories (runs/<recipe>/<hash>) from their stored
predictions alone, and print the short report of each; of several runs one table of all models as well, plain and
speaker-normalised. Nothing is trained, no audio is read.

  --table            print the table alone
  --output table.md  write the table as well, as Markdown
  --version
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("ser-report", USAGE, _report, arguments)


def _report(arguments: list[str]) -> None:
    from ser_toolkit.evaluation.reporting.joint import joint_markdown, joint_text
    from ser_toolkit.evaluation.reporting.report import make_report
    from ser_toolkit.evaluation.run_folder import RunFolder, find_run

    parser = Parser("ser-report")
    parser.add_argument("runs", metavar="RUN", nargs="*")
    parser.add_argument("--table", action="store_true")
    parser.add_file("--output", ".md")
    options = parser.read(arguments)
    if not options.runs:
        raise RecipeError("which run? Name one.")
    reports = []
    for folder in dict.fromkeys(find_run(Path(run)) for run in options.runs):
        reports.append(make_report(folder))
        try:
            reports[-1].write()
            place = f"{RunFolder(folder).report_html}\n"
        except OSError as error:  # someone else's run, or one on a disk that may only be read
            sys.stderr.write(
                f"ser-report: not written: {folder}: {error.strerror}. What is printed is made anew; report files that "
                "lie there are as they were.\n"
            )
            place = ""
        if not options.table:
            sys.stdout.write(f"{reports[-1].text()}\n{place}")
    if options.table or len(reports) > 1:
        sys.stdout.write(("" if options.table else "\n") + joint_text(reports) + "\n")
    if options.output is not None:
        write_output(options.output, joint_markdown(reports))
        sys.stdout.write(f"{options.output}\n")


if __name__ == "__main__":
    sys.exit(main())
