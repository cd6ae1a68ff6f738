"""Provenance of a result: the commit of the checkout that the package runs from, and the machine."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

#: Seconds that git may take; a slow disk must not hold up a run.
_PATIENCE = 5.0


@functools.cache
def commit() -> dict[str, Any] | None:
    """``{"commit": 40 hex digits, "changed": whether files differ from it}`` of the package's checkout.

    None where the package is installed, or git is not there or does not answer.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        # without optional locks: git must not write into a checkout that others work in
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
        )
    except (OSError, subprocess.SubprocessError):
        return None
    name = found.stdout.strip()
    if found.returncode or not name:
        return None
    return {"commit": name.removesuffix("-dirty"), "changed": name.endswith("-dirty")}


@functools.cache
def machine() -> dict[str, Any]:
    """``cpu`` (its model), ``cores`` (that the process may use), ``memory_gib`` and ``system``, as far as known."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"cpu": _cpu(), "cores": cores, "memory_gib": _memory(), "system": platform.platform(terse=True)}
    return {name: value for name, value in found.items() if value}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    except (AttributeError, ValueError, OSError):
        return None
