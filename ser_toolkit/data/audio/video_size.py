"""Whether a video file ends before its container does: FFmpeg decodes what is there of a cut one in silence.

Sources: ISO/IEC 14496-12, section 4.2 (boxes of MP4 and MOV); RFC 8794, sections 4 to 6 (EBML: Matroska and WebM);
Microsoft, AVI RIFF File Reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ser_toolkit.data.audio.containers import STREAMING_SIZE

#: MP4's boxes that are looked at: unknown ones could be anything that some program appended.
_BOXES = (b"ftyp", b"moov", b"moof", b"mdat", b"free")
_EBML = b"\x1a\x45\xdf\xa3"
#: Matroska's Segment and Cluster, whose parts follow their headers; recorders leave their sizes open.
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675


def cut_off(path: Path) -> bool:
    """Whether a part of an MP4, MOV, Matroska, WebM or AVI file reaches beyond the file's end; False for others.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[:4] == _EBML:
            return _matroska(file, size)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return _avi(file, size)
        return head[4:8] in _BOXES and _mp4(file, size)


def _mp4(file: BinaryIO, end: int) -> bool:
    place = 0
    while len(header := file.read(8)) == 8 and header[4:] in _BOXES:
        size = int.from_bytes(header[:4], "big")
        if size == 1:  # the true size follows
            size = int.from_bytes(file.read(8), "big")
        if size < 8:  # 0: to the end of the file
            return False
        place += size
        if place > end:
            return True
        file.seek(place)
    return False


def _avi(file: BinaryIO, end: int) -> bool:
    place = 0
    while len(header := file.read(8)) == 8 and header[:4] == b"RIFF":
        size = int.from_bytes(header[4:], "little")
        if size >= STREAMING_SIZE:
            return False
        place += 8 + size + size % 2
        if place - size % 2 > end:
            return True
        file.seek(place)
    return False


def _matroska(file: BinaryIO, end: int) -> bool:
    """Walk the elements of a Segment of open size; those of a Cluster only where its size is open, too."""
    while file.tell() < end:
        kind, size = _number(file, marked=True), _number(file, marked=False)
        if kind is None or size is None:
            return file.tell() >= end  # else something that is no element was appended
        if size >= 0 and file.tell() + size > end:
            return True
        if kind == _SEGMENT and size >= 0:
            return False
        if size < 0 and kind not in (_SEGMENT, _CLUSTER):
            return False
        file.seek(max(size, 0), 1)
    return False


def _number(file: BinaryIO, marked: bool) -> int | None:
    """An EBML number of 1 to 8 bytes, the leading zero bits of which tell how many there are.

    Args:
        file: at its first byte.
        marked: whether the bit behind those zeros belongs to it, as in the names of elements.

    Returns:
        -1 where all bits of a size are set: it is open. None where the file ends or no number stands.
    """
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    rest = file.read(more)
    if len(rest) < more:
        return None
    mark = 1 << (7 * (more + 1))
    value = int.from_bytes(first + rest, "big")
    if marked:
        return value
    return -1 if value - mark == mark - 1 else value - mark
