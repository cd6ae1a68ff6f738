"""Free memory, as the system tells it and as processes share it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_toolkit.system import memory

GROUP = "user.slice/job_7"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8000 kB free and no control groups."""
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    _file(tmp_path / "proc/meminfo", "MemTotal:       9000 kB\nMemAvailable:   8000 kB\n")
    return tmp_path


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="ascii")


def _second(folder: Path, limit: str, used: int, inactive: int = 0) -> None:
    """A control group of version 2."""
    for name, value in (("max", limit), ("current", used), ("stat", f"anon 5\ninactive_file {inactive}")):
        _file(folder / f"memory.{name}", str(value))


def _first(folder: Path, limit: int, used: int, inactive: int) -> None:
    """A control group of version 1."""
    _file(folder / "memory.limit_in_bytes", str(limit))
    _file(folder / "memory.usage_in_bytes", str(used))
    _file(folder / "memory.stat", f"inactive_file 1\ntotal_inactive_file {inactive}")


def test_what_the_system_tells(root: Path) -> None:
    assert memory.available() == 8000 * 1024
    (root / "proc/meminfo").unlink()
    assert memory.available() == memory.UNKNOWN


@pytest.mark.parametrize(
    ("limit", "used", "inactive", "free"),
    [
        ("1000", 700, 200, 500),  # of 700 it may give back 200
        ("1000", 1200, 0, 0),
        ("1000", 100, 300, 1000),
        ("max", 700, 0, 8000 * 1024),
        ("99999999999", 700, 0, 8000 * 1024),  # the machine has less
    ],
)
def test_a_control_group_allows_less_than_the_machine_has(
    root: Path, limit: str, used: int, inactive: int, free: int
) -> None:
    _file(root / "proc/self/cgroup", f"0::/{GROUP}")
    _second(root / "sys/fs/cgroup" / GROUP, limit, used, inactive)
    assert memory.available() == free


def test_the_limit_of_a_parent_holds(root: Path) -> None:
    _file(root / "proc/self/cgroup", f"0::/{GROUP}")
    _second(root / "sys/fs/cgroup" / GROUP, "max", 10)
    _second(root / "sys/fs/cgroup/user.slice", "3000", 1000)
    assert memory.available() == 2000


@pytest.mark.parametrize("seen", [GROUP, ""], ids=["on the machine", "within a container"])
def test_a_control_group_of_version_1(root: Path, seen: str) -> None:
    _file(root / "proc/self/cgroup", f"5:cpu,cpuacct:/elsewhere\n4:memory:/{GROUP}\n0::/init.scope")
    _first(root / "sys/fs/cgroup/memory" / seen, 5000, 2000, 500)
    assert memory.available() == 3500


@pytest.mark.parametrize("text", ["", "nonsense", "0::/gone", "4:memory:/gone"])
def test_control_groups_that_say_nothing_are_passed_over(root: Path, text: str) -> None:
    _file(root / "proc/self/cgroup", text)
    _file(root / "sys/fs/cgroup/memory.max", "5")  # alone, it says nothing of what is used
    assert memory.available() == 8000 * 1024


@pytest.mark.parametrize(
    ("environment", "processes"),
    [({}, 1), ({"LOCAL_WORLD_SIZE": "3"}, 3), ({memory.SIDE_BY_SIDE: "2"}, 2), ({"LOCAL_WORLD_SIZE": "many"}, 1)],
)
def test_processes_share_it(environment: dict[str, str], processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_WORLD_SIZE", memory.SIDE_BY_SIDE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(memory, "available", lambda: 1200)
    assert memory.free_memory() == 1200 / processes
