"""Free memory, as the system tells it and as processes share it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_toolkit import memory


def test_what_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:       8000 kB\nMemAvailable:   2000 kB\n", encoding="ascii")
    monkeypatch.setattr(memory, "MEMINFO", told)
    assert memory.available() == 2000 * 1024
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert memory.available() == memory.UNKNOWN


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
