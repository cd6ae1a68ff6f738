"""What WAV and AIFF headers promise, against what the file holds: libsndfile reads a cut-off file without a word."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: Sizes from here on are written by programs that could not know the size (ffmpeg, sox, arecord into a pipe).
_STREAMING_SIZE = 0x7FFF0000


@dataclass(frozen=True)
class SampleChunk:
    """Where a RIFF or AIFF file keeps its samples.

    Args:
        promised: bytes of samples that the header announces, or None when it is a streaming placeholder.
        present: bytes between the chunk's beginning and the end of the file.
        size_offset: position of the four size bytes.
        unfinished: the size says 0, but samples follow (a recorder that never closed its file).
    """

    promised: int | None
    present: int
    size_offset: int
    unfinished: bool = False

    @property
    def truncated(self) -> bool:
        """Whether the header announces more than the file holds."""
        return self.promised is not None and self.promised > self.present


def sample_chunk(path: Path) -> SampleChunk | None:
    """The chunk of samples of a WAV (RIFF, RIFX, RF64) or AIFF file; None for every other format.

    The decision is taken from the file's content, not from its name.

    Raises:
        OSError: the file cannot be read.
    """
    file_size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12:
            return None
        if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:] == b"WAVE":
            return _find(file, file_size, b"data", "<" if head[:4] != b"RIFX" else ">", head)
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return _find(file, file_size, b"SSND", ">", head)
    return None


def _find(file: BinaryIO, file_size: int, wanted: bytes, order: str, head: bytes) -> SampleChunk | None:
    """Walk the chunks that follow the 12-byte head up to the one called ``wanted``."""
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", header)
        position = file.tell()
        if name == wanted:
            present = file_size - position
            # With a whole-file size that fits, an empty chunk is meant; otherwise both sizes were never filled in.
            (whole,) = struct.unpack(f"{order}I", head[4:8])
            unfinished = head[:4] == b"RIFF" and size == 0 and present > 0 and whole + 8 != file_size
            known = size < _STREAMING_SIZE and not unfinished
            return SampleChunk(size if known else None, present, position - 4, unfinished)
        file.seek(position + size + size % 2)
    return None


def with_actual_size(path: Path, chunk: SampleChunk) -> bytes:
    """The content of an unfinished little-endian WAV file with its true sample size written into the header."""
    content = bytearray(path.read_bytes())
    content[chunk.size_offset : chunk.size_offset + 4] = struct.pack("<I", chunk.present)
    content[4:8] = struct.pack("<I", len(content) - 8)
    return bytes(content)
