"""One audio file, opened: it exists, can be decoded, and holds what its header promises."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import soundfile

from ser_toolkit.data.audio.channels import MIX
from ser_toolkit.data.audio.containers import SampleChunk, sample_chunk, with_actual_size
from ser_toolkit.data.audio.ogg import partly_read
from ser_toolkit.data.audio.video import is_video, sound_of
from ser_toolkit.errors import AudioError
from ser_toolkit.system.audio_files import absent, is_text, shown
from ser_toolkit.system.interrupts import held

#: libsndfile's answer for a FLAC stream whose header leaves the number of samples open.
_UNKNOWN_LENGTH = 1 << 62


@contextmanager
def opened(path: Path, channel: str | int = MIX) -> Iterator[soundfile.SoundFile]:
    """Open a file that exists, has samples and is as long as its header promises.

    Args:
        path: the file.
        channel: of a video, which is decoded at once; of other files it is chosen behind the reading.

    Raises:
        AudioError: the file is missing, unreadable, without samples, or shorter than its header promises.
    """
    _check_file(path)
    try:
        chunk = sample_chunk(path)
        source = _source(path, chunk, channel)
    except OSError as error:
        raise AudioError(f"{shown(path)}: cannot be read ({error.strerror}).") from error
    # libsndfile reads from memory by callbacks from C, in which an exception would be lost
    with held() if isinstance(source, io.BytesIO) else nullcontext():
        try:
            file = soundfile.SoundFile(source)
        except soundfile.SoundFileError as error:
            raise AudioError(f"{shown(path)}: not audio that can be decoded ({reason_of(error)}).") from error
        with file:
            _check_length(path, file, chunk)
            yield file


def _check_file(path: Path) -> None:
    """Check that there is a file with bytes, whose name is text.

    Raises:
        AudioError: there is none.
    """
    if not is_text(path):
        raise AudioError(f"{shown(path)}: its name is no text (UTF-8), and no table could name it. Rename it.")
    try:
        status = path.stat()
    except OSError as error:
        raise AudioError(f"{path}: {absent(path)}.") from error
    if not stat.S_ISREG(status.st_mode):
        closed = stat.S_ISDIR(status.st_mode) and not os.access(path, os.R_OK | os.X_OK)
        raise AudioError(f"{path}: not a file{', but a folder that cannot be listed' if closed else ''}.")
    if status.st_size == 0:
        raise AudioError(f"{path}: empty, the file has no bytes. Copy it again.")


def _check_length(path: Path, file: soundfile.SoundFile, chunk: SampleChunk | None) -> None:
    """Check that a file holds what its header promises.

    Raises:
        AudioError: it holds less, or nothing, or its header states no length.
    """
    if chunk is not None and chunk.truncated:
        raise AudioError(
            f"{path}: truncated, the header promises {chunk.promised} bytes of samples, "
            f"but {chunk.present} are there. Copy the file again."
        )
    fault = partly_read(path) if file.format == "OGG" else None
    if fault is not None:
        raise AudioError(f"{path}: {fault}; a file that is whole is mended by ffmpeg -i {path.name} {path.stem}.wav.")
    if file.frames <= 0:
        raise AudioError(f"{path}: zero length, the file holds no samples. Copy it again or leave it out.")
    if file.frames >= _UNKNOWN_LENGTH:
        raise AudioError(f"{path}: the header does not state its length. Convert it once, for example to WAV.")


def _source(path: Path, chunk: SampleChunk | None, channel: str | int) -> str | io.BytesIO:
    if chunk is None and is_video(path):
        return io.BytesIO(sound_of(path, channel))
    if chunk is not None and chunk.unfinished:
        return io.BytesIO(with_actual_size(path, chunk))
    return str(path)


def reason_of(error: Exception) -> str:
    """The library's own words, without the path and on one line."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".").replace("\n", " ")
