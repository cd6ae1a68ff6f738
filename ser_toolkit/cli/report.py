"""``ser-report``: the report of a run directory, rebuilt from its stored predictions alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ser_toolkit.cli._command import run_command
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
    from ser_toolkit.evaluation.run_folder import find_run

    output, rest = _output(arguments)
    runs = [argument for argument in rest if argument != "--table"]
    unknown = [argument for argument in runs if argument.startswith("-")]
    if unknown or not runs:
        raise RecipeError(
            f"{unknown[0]} is no option: known are --table and --output table.md."
            if unknown
            else "which run? Name one."
        )
    only_table, reports = len(runs) < len(rest), []
    for folder in dict.fromkeys(find_run(Path(run)) for run in runs):
        reports.append(make_report(folder))
        try:
            reports[-1].write()
            place = f"{folder / 'report.html'}\n"
        except OSError as error:  # someone else's run, or one on a disk that may only be read
            sys.stderr.write(
                f"ser-report: not written: {folder}: {error.strerror}. What is printed is made anew; report files that "
                "lie there are as they were.\n"
            )
            place = ""
        if not only_table:
            sys.stdout.write(f"{reports[-1].text()}\n{place}")
    if only_table or len(reports) > 1:
        sys.stdout.write(("" if only_table else "\n") + joint_text(reports) + "\n")
    if output is not None:
        _write(joint_markdown(reports), output)
        sys.stdout.write(f"{output}\n")


def _output(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The file of ``--output FILE`` or ``--output=FILE``, and the other arguments."""
    found, rest, waiting = None, [], list(arguments)
    while waiting:
        argument = waiting.pop(0)
        option, equals, value = argument.partition("=")
        if option != "--output":
            rest.append(argument)
            continue
        value = value if equals else (waiting.pop(0) if waiting else "")
        found = Path(value).expanduser()
        if found.suffix != ".md":
            raise RecipeError(f"--output needs the name of a file that ends in .md; found {value or 'none'}.")
    return found, rest


def _write(text: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"Cannot write {path}: {error.strerror}. Choose another place with --output FILE.") from error


if __name__ == "__main__":
    sys.exit(main())
