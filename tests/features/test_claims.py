"""Who computes what: one process at a time, and nobody waits for the dead."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_toolkit.errors import StoreError
from ser_toolkit.features.claims import STALE_SECONDS, Claims


def left_by(folder: Path, host: str, process: int, age: float = 0.0) -> Path:
    """A claim on "a" that another process has made."""
    folder.mkdir(exist_ok=True)
    path = folder / "a.claim"
    path.write_text(json.dumps([host, process, 0]), encoding="utf-8")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def living() -> int:
    """The number of another process that lives as long as the tests do."""
    return os.getppid()


def test_a_claim_holds_until_it_is_given_back(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims")
    assert claims.take("a") and claims.take("b")
    path = tmp_path / "claims" / "a.claim"
    assert json.loads(path.read_text(encoding="utf-8"))[:2] == [socket.gethostname(), os.getpid()]
    claims.release("a")
    assert not path.exists()
    claims.release_all()
    assert not (tmp_path / "claims").exists(), "an empty folder is not left behind"
    assert claims.take("a"), "it is made anew"


def test_what_a_living_process_has_is_not_taken(tmp_path: Path) -> None:
    path = left_by(tmp_path / "claims", socket.gethostname(), living())
    claims = Claims(tmp_path / "claims")
    assert not claims.take("a")
    assert claims.take("b")
    claims.release_all()
    assert path.exists(), "the other's claim stays"


def test_what_a_dead_process_had_is_taken_at_once(tmp_path: Path) -> None:
    path = left_by(tmp_path / "claims", socket.gethostname(), dead())
    assert Claims(tmp_path / "claims").take("a")
    assert json.loads(path.read_text(encoding="utf-8"))[1] == os.getpid()


def test_a_number_that_no_process_can_have_is_that_of_a_dead_one(tmp_path: Path) -> None:
    left_by(tmp_path / "claims", socket.gethostname(), 10**30)
    assert Claims(tmp_path / "claims").take("a")


def test_what_this_process_had_in_an_earlier_attempt_is_taken(tmp_path: Path) -> None:
    left_by(tmp_path / "claims", socket.gethostname(), os.getpid())
    assert Claims(tmp_path / "claims").take("a")


@pytest.mark.parametrize("host", ["another machine", socket.gethostname()], ids=["another", "this"])
@pytest.mark.parametrize(("age", "taken"), [(STALE_SECONDS / 2, False), (2 * STALE_SECONDS, True)])
def test_a_claim_that_was_not_renewed_goes_to_the_next(tmp_path: Path, host: str, age: float, taken: bool) -> None:
    # on this machine the number may by now be that of a process that knows nothing of features
    left_by(tmp_path / "claims", host, living(), age)
    assert Claims(tmp_path / "claims").take("a") is taken


def test_a_claim_that_is_renewed_does_not_grow_stale(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims")
    claims.take("a")
    path = tmp_path / "claims" / "a.claim"
    os.utime(path, (0, 0))
    claims.renew()
    assert time.time() - path.stat().st_mtime < STALE_SECONDS / 2


@pytest.mark.parametrize(("age", "taken"), [(0.0, False), (2 * STALE_SECONDS, True)])
@pytest.mark.parametrize("text", ["", "7", "null", '{"host": 7}', '["h"]', '["h", "7"]', "[7, 7]", '["h", 7, 7]'])
def test_a_claim_that_is_just_being_written_or_says_nothing_counts_until_it_is_stale(
    tmp_path: Path, text: str, age: float, taken: bool
) -> None:
    path = left_by(tmp_path / "claims", "h", 1)
    path.write_text(text.replace("h", socket.gethostname()), encoding="utf-8")
    os.utime(path, (time.time() - age,) * 2)
    assert Claims(tmp_path / "claims").take("a") is taken


def test_a_folder_that_goes_while_a_claim_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, gone = tmp_path / "claims", os.open, []

    def opens(path: Path, flags: int) -> int:
        if not gone:
            gone.append(path)
            folder.rmdir()  # another process that was through
        return real(path, flags)

    monkeypatch.setattr(os, "open", opens)
    assert Claims(folder).take("a")
    assert (folder / "a.claim").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for name in ("file", "file/claims"):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StoreError, match="SER_CACHE"):
            Claims(tmp_path / name).take("a")


def test_a_disk_that_is_full_is_one_line_and_leaves_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, mode: str) -> None:
        os.close(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(StoreError, match=r"No space left on device.*SER_CACHE"):
        Claims(tmp_path / "claims").take("a")
    assert os.listdir(tmp_path / "claims") == []


def _take_all(folder: Path, start: object, taken: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    claims = Claims(folder)
    taken.put([name for name in map(str, range(200)) if claims.take(name)])  # type: ignore[attr-defined]
    start.wait()  # type: ignore[attr-defined]


def test_two_processes_share_and_never_have_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, taken = context.Barrier(2), context.SimpleQueue()
    processes = [context.Process(target=_take_all, args=(tmp_path / "claims", start, taken)) for _ in range(2)]
    for process in processes:
        process.start()
    found = taken.get() + taken.get()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert sorted(found, key=int) == [*map(str, range(200))]
