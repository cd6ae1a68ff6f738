"""Run directories: found from whatever part of their path a user gives."""

from __future__ import annotations

from pathlib import Path

from ser_toolkit.errors import ResultError


def find_run(path: Path) -> Path:
    """The run directory (it holds ``run.json``) at ``path``, above it, or the only one below it.

    Raises:
        ResultError: there is none, or there are several below.
    """
    path = path.expanduser().resolve()
    if not path.exists():
        raise ResultError(f"No run directory at {path}.")
    for candidate in (path, *path.parents):
        if (candidate / "run.json").is_file():
            return candidate
    below = sorted({found.parent for found in path.glob("*/run.json")} | {f.parent for f in path.glob("*/*/run.json")})
    if len(below) == 1:
        return below[0]
    if not below:
        raise ResultError(f"{path} is no run directory: expected run.json in it, as ser-train leaves it.")
    raise ResultError(f"{path} holds {len(below)} runs; give one: {', '.join(str(run) for run in below[:6])}.")
