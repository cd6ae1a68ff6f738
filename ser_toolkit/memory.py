"""How much memory a process may still take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
#: Taken for granted where the system does not tell, in bytes.
UNKNOWN = 4 * 2**30
#: Says to folds that are trained side by side how many they are.
SIDE_BY_SIDE = "SER_PROCESSES"


def free_memory() -> float:
    """Bytes of free memory that fall to this process: others of the same job read the same features."""
    return available() / processes_here()


def available() -> int:
    """Bytes of memory that are free on this machine."""
    with contextlib.suppress(OSError, ValueError):
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return UNKNOWN


def processes_here() -> int:
    """Processes of one job on this machine, as launchers and ``jobs=`` tell."""
    told = (os.environ.get(name, "") for name in ("LOCAL_WORLD_SIZE", SIDE_BY_SIDE))
    return max([1, *(int(text) for text in told if text.isdigit())])
