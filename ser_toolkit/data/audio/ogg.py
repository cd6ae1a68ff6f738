"""Completeness of Ogg files (Vorbis, Opus, FLAC in Ogg): of a cut or chained one libsndfile reads a part.

Source: S. Pfeiffer, The Ogg Encapsulation Format Version 0, RFC 3533, section 6 (the page header).
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_CAPTURE = b"OggS"
_HEADER = struct.Struct("<4sBBqIII")
#: Bytes of a page header before its table of segments.
_FIXED = 27
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04


def partly_read(path: Path) -> str | None:
    """Reason why only a part of an Ogg file would be decoded; None for a file that is decoded wholly.

    A logical stream ends with a page that has the end-of-stream flag. Multiplexed streams begin side by side and need
    one each; a stream that begins behind another one (chained) is not decoded. Bytes between pages and behind the last
    one (tags of other formats) are stepped over, as decoders do.

    Raises:
        OSError: the file cannot be read.
    """
    ended: dict[int, bool] = {}
    begun = False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(_CAPTURE)
        while place >= 0:
            size = _page_size(content, place)
            if size is None or place + size > len(content):
                return "truncated, its last page ends in the middle. Copy the file again"
            _, _, flags, _, stream, _, _ = _HEADER.unpack_from(content, place)
            if flags & _FIRST_PAGE and begun:
                return "several recordings one behind the other, of which the first alone would be read. Convert it"
            begun = begun or not flags & _FIRST_PAGE
            ended[stream] = bool(flags & _LAST_PAGE)
            place = content.find(_CAPTURE, place + size)
    return None if all(ended.values()) else "truncated, its last page has no end-of-stream flag. Copy the file again"


def _page_size(content: mmap.mmap, place: int) -> int | None:
    """Bytes of the page that begins at ``place``; None where its header is cut."""
    if place + _FIXED > len(content):
        return None
    segments = content[place + _FIXED - 1]
    table = content[place + _FIXED : place + _FIXED + segments]
    return _FIXED + segments + sum(table) if len(table) == segments else None
