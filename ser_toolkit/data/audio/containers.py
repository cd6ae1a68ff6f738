"""Headers of uncompressed audio against the file's size: libsndfile reads a cut-off file without an error.

FLAC, MP3 and CAF need no such look: libsndfile itself notices, or decodes fewer samples than their headers announce.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: Sizes from here on are written by programs that could not know the size (ffmpeg, sox, arecord into a pipe).
STREAMING_SIZE = 0x7FFF0000


@dataclass(frozen=True)
class SampleChunk:
    """Place of the samples in a file.

    Args:
        promised: bytes of samples that the header announces, or None when it is a streaming placeholder.
        present: bytes between the chunk's beginning and the end of the file.
        size_offset: position of the four size bytes.
        unfinished: the size is 0, but samples follow (a recorder that never closed its file).
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
    """The samples of a WAV (RIFF, RIFX, RF64, Wave64), AIFF, AU, NIST SPHERE or VOC file; None for every other format.

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
            found = _find(file, file_size, b"data", "<" if head[:4] != b"RIFX" else ">", head)
            return _of_rf64(file, found) if found is not None and head[:4] == b"RF64" else found
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return _find(file, file_size, b"SSND", ">", head)
        for magic, place in _PLACES.items():
            if head.startswith(magic):
                return place(file, file_size)
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
            known = size < STREAMING_SIZE and not unfinished
            return SampleChunk(size if known else None, present, position - 4, unfinished)
        file.seek(position + size + size % 2)
    return None


def _of_rf64(file: BinaryIO, found: SampleChunk) -> SampleChunk:
    """The size in the first chunk of an RF64 file, where that of the samples is a placeholder (EBU Tech 3306)."""
    file.seek(12)
    first = file.read(24)
    if len(first) < 24 or first[:4] != b"ds64" or found.promised is not None:
        return found
    (size,) = struct.unpack("<Q", first[16:24])
    return SampleChunk(size or None, found.present, found.size_offset)


def _of_au(file: BinaryIO, file_size: int) -> SampleChunk:
    """A Sun AU file: offset and size of the samples follow the magic number."""
    file.seek(4)
    offset, size = struct.unpack(">II", file.read(8))
    return SampleChunk(size if size < STREAMING_SIZE else None, file_size - offset, 8)


def _of_wave64(file: BinaryIO, file_size: int) -> SampleChunk | None:
    """A Sony Wave64 file: chunks have names of 16 bytes and sizes of 8 that count their own header."""
    file.seek(_WAVE64_HEAD)
    while len(header := file.read(24)) == 24:
        (size,) = struct.unpack("<Q", header[16:])
        if header[:4] == b"data":
            return SampleChunk(size - 24 if 24 <= size < 1 << 62 else None, file_size - file.tell(), file.tell() - 8)
        file.seek(max(0, size - 24) + -size % 8, 1)
    return None


def _of_sphere(file: BinaryIO, file_size: int) -> SampleChunk | None:
    """A NIST SPHERE file: lines of text such as ``sample_count -i 80000``, then the samples."""
    file.seek(0)
    lines = [line.split(None, 2) for line in file.read(_SPHERE_HEAD).split(b"\n")]
    known = {words[0]: words[2] for words in lines if len(words) == 3 and words[1] == b"-i"}
    sizes = [known.get(name, b"") for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]
    if not all(size.isdigit() for size in sizes) or not b"".join(lines[1][:1]).isdigit():
        return None
    count, width, channels = map(int, sizes)
    return SampleChunk(count * width * channels, file_size - int(lines[1][0]), 0)


def _of_voc(file: BinaryIO, file_size: int) -> SampleChunk | None:
    """A Creative VOC file: blocks of a type and a size of 3 bytes; 1 and 9 hold samples, 0 ends the file."""
    file.seek(20)
    (place,) = struct.unpack("<H", file.read(2))
    while place + 4 <= file_size:
        file.seek(place)
        kind, *size = file.read(4)
        length = int.from_bytes(bytes(size), "little")
        if kind == 0:
            return None
        if kind in _VOC_SOUND:
            return SampleChunk(length, file_size - place - 4, place + 1)
        place += 4 + length
    return None


_WAVE64_HEAD, _SPHERE_HEAD, _VOC_SOUND = 40, 1024, (1, 9)
#: How the samples of further formats are found, by their first bytes.
_PLACES: dict[bytes, Callable[[BinaryIO, int], SampleChunk | None]] = {
    b".snd": _of_au,
    b"riff\x2e\x91\xcf\x11": _of_wave64,
    b"NIST_1A": _of_sphere,
    b"Creative Voi": _of_voc,
}


def with_actual_size(path: Path, chunk: SampleChunk) -> bytes:
    """The content of an unfinished little-endian WAV file with its true sample size written into the header."""
    content = bytearray(path.read_bytes())
    content[chunk.size_offset : chunk.size_offset + 4] = struct.pack("<I", chunk.present)
    content[4:8] = struct.pack("<I", len(content) - 8)
    return bytes(content)
