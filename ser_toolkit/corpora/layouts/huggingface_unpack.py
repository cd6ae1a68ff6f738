"""Recordings that are embedded in Parquet or Arrow files, unpacked once to the cache folder as the files they were.

A file of a dataset is known by its place, size and time of change, as the index of audio knows recordings: one that
changed gets a folder of its own. A recording appears under its name whole or not at all (temporary file, then rename),
and the list of all of them comes last: what was interrupted is gone on with. A few recordings are in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ser_toolkit.corpora.layouts.columns import inside
from ser_toolkit.corpora.layouts.huggingface_layout import WHO
from ser_toolkit.corpora.layouts.huggingface_sheet import Sheet
from ser_toolkit.errors import CorpusError
from ser_toolkit.system.audio_files import is_audio
from ser_toolkit.system.files import write_bytes
from ser_toolkit.system.places import cache_root

_LAYOUT = "v1"
_LIST = "recordings.json"
#: Recordings that are decoded from Parquet at a time.
_BATCH = 16
#: First bytes of the containers that recordings come in.
_MAGIC = {b"fLaC": ".flac", b"RIFF": ".wav", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff": ".mp3", b"FORM": ".aiff"}
_MAGIC |= {b"caff": ".caf", b".snd": ".au", b"\x1a\x45\xdf\xa3": ".webm"}

#: Name of a recording and its bytes; None where it was not embedded and the name is that of a file beside.
_Listed = tuple[str, int | None]


def recordings(sheet: Sheet, column: str, root: Path) -> list[str]:
    """The recording of each row: a file in the cache folder, or one that the row names.

    Args:
        sheet: of the file.
        column: its column with audio.
        root: the dataset's folder.

    Returns:
        Absolute paths of unpacked recordings; those of others are relative to ``root``.

    Raises:
        CorpusError: a row has neither bytes nor a name, or the cache folder cannot be written.
    """
    folder = _folder(sheet.part.file, column)
    listed = _listed(folder)
    if listed is None:
        try:
            listed = _unpack(sheet, column, folder)
        except OSError as error:
            raise CorpusError(
                f"{WHO}: cannot unpack {sheet.part.file} to {folder} ({error.strerror or error}). Make room, or choose "
                "another folder with the variable SER_CACHE; what is unpacked already will be used."
            ) from error
    # Only what was unpacked has a size: a name in the data is never looked for in the cache folder.
    return [
        _beside(sheet, row, name, root) if size is None else str(folder / name)
        for row, (name, size) in enumerate(listed)
    ]


def _folder(file: Path, column: str) -> Path:
    status = file.stat()
    identity = f"{file.resolve()}\n{status.st_size}\n{status.st_mtime_ns}\n{column}"
    return (
        cache_root().absolute()
        / f"huggingface-{_LAYOUT}"
        / hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
    )


def _listed(folder: Path) -> list[_Listed] | None:
    """Names and sizes by row when everything is there; sizes tell a file that was cut."""
    try:
        listed = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        whole = all(size is None or (folder / name).stat().st_size == size for name, size in listed)
        return [(name, size) for name, size in listed] if whole else None
    except (OSError, ValueError, TypeError):
        return None


def _unpack(sheet: Sheet, column: str, folder: Path) -> list[_Listed]:
    folder.mkdir(parents=True, exist_ok=True)
    listed: list[_Listed] = []
    for row, (content, name) in enumerate(_cells(sheet.part.file, column)):
        if content:
            listed.append((f"{row:06d}{_suffix(content, name)}", len(content)))
            target = folder / listed[-1][0]
            if not target.is_file() or target.stat().st_size != len(content):
                write_bytes(target, content, durable=False)
        elif name:
            listed.append((name, None))
        else:
            raise CorpusError(f"{WHO}: {sheet.where(row)}: {column} is empty. Remove the row.")
    write_bytes(folder / _LIST, json.dumps(listed).encode(), durable=False)
    return listed


def _cells(file: Path, column: str) -> Iterator[tuple[bytes | None, str | None]]:
    """Bytes and name of each recording, a few at a time."""
    import pyarrow
    import pyarrow.parquet

    try:
        if file.suffix == ".parquet":
            with pyarrow.parquet.ParquetFile(file, pre_buffer=False) as stored:
                for batch in stored.iter_batches(batch_size=_BATCH, columns=[column]):
                    yield from map(_bytes_and_name, batch.column(column))
        else:
            with pyarrow.memory_map(str(file)) as mapped, pyarrow.ipc.open_stream(mapped) as stream:
                for batch in stream:
                    yield from map(_bytes_and_name, batch.column(column))
    except pyarrow.ArrowException as error:
        raise CorpusError(f"{WHO}: {file} cannot be read ({error}). Copy it again.") from error


def _bytes_and_name(cell: Any) -> tuple[bytes | None, str | None]:
    value = cell.as_py()
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return value, None


def _suffix(content: bytes, name: str | None) -> str:
    """Suffix of a file, or of its first bytes; the suffix of a video has to be right."""
    if is_audio(name or ""):
        return Path(name or "").suffix.lower()
    if content[4:8] == b"ftyp":
        return ".m4a"
    return next((suffix for magic, suffix in _MAGIC.items() if content.startswith(magic)), ".audio")


def _beside(sheet: Sheet, row: int, name: str, root: Path) -> str:
    """A recording that is named and not embedded: it lies beside the file of its row, or below the root."""
    path = inside(name, f"{WHO}: {sheet.where(row)}")
    near = sheet.part.file.parent / path
    return near.relative_to(root).as_posix() if near.is_file() else path.as_posix()
