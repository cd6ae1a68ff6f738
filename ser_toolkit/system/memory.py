"""Memory that a process may still take: the rest of the machine's, or of its control group's if that is less.

Schedulers and containers limit a job by a control group, of which ``/proc/meminfo`` knows nothing: who goes by the
machine's free memory there, as the package psutil does, is killed.

Source: Linux documentation, admin-guide/cgroup-v2 (memory.max, memory.current, memory.stat) and
admin-guide/cgroup-v1/memory (memory.limit_in_bytes, memory.usage_in_bytes, total_inactive_file).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

#: Where the system's own files lie.
ROOT = Path("/")
#: Bytes that are taken for free where the system does not state them.
UNKNOWN = 4 * 2**30
#: Environment variable: the number of folds that are trained side by side.
SIDE_BY_SIDE = "SER_PROCESSES"


def free_memory() -> float:
    """Bytes of free memory that fall to this process: others of the same job read the same features."""
    return available() / processes_here()


def available() -> int:
    """Bytes of memory that are free on this machine, or in the control group of this process where that is less."""
    return min([*_of_machine(), *_of_control_groups()], default=UNKNOWN)


def _of_machine() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):
        for line in (ROOT / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_control_groups() -> Iterator[int]:
    """Bytes left in each control group of this process that has a limit: limits of parent groups hold as well."""
    mounted = ROOT / "sys/fs/cgroup"
    try:
        lines = (ROOT / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            top, names = mounted, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = mounted / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = Path(place.lstrip("/"))
        # within a container the path may be that of the host, where only the top is to be seen
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError, KeyError):
                yield _left(top / folder, *names)


def _left(folder: Path, limit: str, used: str, reclaimable: str) -> int:
    """Bytes left in a control group; its cache of files that nobody reads counts as free.

    Raises:
        ValueError: there is no limit (it reads ``max``).
        OSError: there is no such group here.
        KeyError: the size of that cache is not stated.
    """
    most = int((folder / limit).read_text(encoding="ascii"))
    now = int((folder / used).read_text(encoding="ascii"))
    parts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    return max(0, most - max(0, now - int(parts[reclaimable])))


def processes_here() -> int:
    """Processes of one job on this machine, by the environment of launchers and ``jobs=``."""
    counts = (os.environ.get(name, "") for name in ("LOCAL_WORLD_SIZE", SIDE_BY_SIDE))
    return max([1, *(int(text) for text in counts if text.isdigit())])
