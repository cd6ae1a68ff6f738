"""Claims on pieces of work: processes on any number of machines that share a folder divide its work among them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path

from ser_toolkit.errors import StoreError

#: A claim that was not renewed for so many seconds is taken for that of a dead process.
STALE_SECONDS = 900.0


class Claims:
    """Claims on pieces of work, as files that only one process can make.

    A process that ends without releasing a claim (because it was killed) does not block the others: on the same machine
    its number is looked up, and on any machine its claim grows stale (another process may have got its number).

    The package filelock does not serve: its locks do not hold between machines, and none of them grows stale.

    Args:
        folder: where the claims lie, on a disk that all processes can reach.
        advice: remedy for the user where claims cannot be written, as a clause.
    """

    def __init__(self, folder: Path, advice: str = "set SER_CACHE to another place") -> None:
        self._folder, self._advice = folder, advice
        self._held: set[str] = set()

    def take(self, name: str) -> bool:
        """Claim a piece of work; False when another living process has it.

        Raises:
            StoreError: claims cannot be written there.
        """
        path = self._path(name)
        for _ in range(2):
            try:
                handle = self._create(path)
            except FileExistsError:
                if self._alive(path):
                    return False
                # two that find it dead at once may both take it: the work is then done twice, with one result
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            self._held.add(name)
            try:
                with os.fdopen(handle, "w") as file:
                    file.write(json.dumps([socket.gethostname(), os.getpid(), int(time.time())]))
            except OSError as error:  # such as a full disk
                self.release(name)
                raise self._refused(error) from error
            return True
        return False

    def _create(self, path: Path) -> int:
        """Create a file, and give its handle.

        Raises:
            FileExistsError: another process has made it.
            StoreError: the folder cannot be written.
        """
        while True:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._refused(error) from error
            try:
                return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                raise
            except FileNotFoundError:
                continue  # another process that was through has just removed the empty folder
            except OSError as error:
                raise self._refused(error) from error

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(
            f"Cannot write in {self._folder}: {error}. Free some space there, or {self._advice}, and run the same "
            "command again."
        )

    def release(self, name: str) -> None:
        """Release the claim on a piece of work, done or not."""
        self._held.discard(name)
        with contextlib.suppress(OSError):
            self._path(name).unlink()

    def renew(self) -> None:
        """Renew all claims of this process, so that they do not grow stale."""
        for name in list(self._held):
            with contextlib.suppress(OSError):
                os.utime(self._path(name))

    def release_all(self) -> None:
        """Release all claims of this process, and remove the folder if it is empty."""
        for name in list(self._held):
            self.release(name)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def living(self) -> list[str]:
        """Pieces of work that other living processes have claimed."""
        return sorted(path.stem for path in self._folder.glob("*.claim") if self._alive(path))

    def holder(self, name: str) -> str | None:
        """The living process that has claimed a piece of work, in words; None where none has."""
        path = self._path(name)
        if not self._alive(path):
            return None
        try:
            host, process, since = _maker(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "a process that has just begun"
        return f"process {process} on {host}, since {time.strftime('%Y-%m-%d %H:%M', time.localtime(since))}"

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.claim"

    def _alive(self, path: Path) -> bool:
        age = 0.0
        try:
            age = time.time() - path.stat().st_mtime
            host, process, _ = _maker(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        except (OSError, ValueError):
            return age < STALE_SECONDS  # just being written, or not the text of a claim
        if host == socket.gethostname():
            if process == os.getpid():
                return False  # of an earlier attempt of this process
            with contextlib.suppress(PermissionError):  # of another user
                try:
                    os.kill(process, 0)
                except (ProcessLookupError, OverflowError):  # the latter: a number that no process can have
                    return False
        return age < STALE_SECONDS


def _maker(text: str) -> tuple[str, int, int]:
    """Host and process that made a claim, and when (seconds since 1970).

    Raises:
        ValueError: the text is not that of a claim.
    """
    found = json.loads(text)
    if not isinstance(found, list) or [type(item) for item in found] != [str, int, int]:
        raise ValueError(f"expected a host, a process and a time, found {text[:80]!r}")
    return found[0], found[1], found[2]
