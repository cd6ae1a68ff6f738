"""Files that are written whole: a reader, or a kill, meets the former file or the new one, never a part of it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Ending of files that are being written; one that stays belonged to a process that was killed.
PARTIAL = ".partial"


@contextmanager
def whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """Context in which a file is written beside ``path``, whose place it takes when the context ends without an error.

    The new file has the mode of the one that it replaces; where there is none, whoever may read or change the folder
    may do so with the file, but for others' writing. A symbolic link goes on pointing where it pointed.

    Args:
        path: of the file; its folder is made where it is missing.
        durable: whether the file has reached the disk before it takes its place. Caches that are made again from what
            lies elsewhere do not need that.

    Yields:
        Path of the temporary file, which does not exist yet and is gone after an error.

    Raises:
        OSError: the disk is full, or the folder cannot be made or written to; it names ``path``.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if durable:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        partial.chmod(path.stat().st_mode & 0o777 if path.exists() else path.parent.stat().st_mode & 0o664)
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename == str(partial):
            error.filename, error.filename2 = str(path), None
        raise


def ignores_case(folder: Path) -> bool:
    """Whether names in a folder that differ in case alone are one file, as on most disks of Windows and macOS.

    Raises:
        OSError: the folder cannot be written to.
    """
    with tempfile.TemporaryDirectory(prefix=".case-", dir=folder) as probe:
        return Path(probe).with_name(Path(probe).name.upper()).exists()


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Write bytes; see ``whole``."""
    with whole(path, durable) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, with its line ends as they are; see ``whole``."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write plain data as JSON, indented; see ``whole``."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
