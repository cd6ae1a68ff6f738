"""The sound of a video file, through PyAV (the extra ``ser-toolkit[video]``): libsndfile does not read videos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from ser_toolkit.data.audio.channels import MIX, one_channel
from ser_toolkit.data.audio.video_size import cut_off
from ser_toolkit.errors import AudioError
from ser_toolkit.system.audio_files import VIDEO_SUFFIXES


def is_video(path: Path) -> bool:
    """Whether a file is named like a video (or like audio in a container of videos)."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def sound_of(path: Path, channel: str | int = MIX) -> bytes:
    """The first sound track of a video as a mono WAV file in memory, at the track's own rate.

    Args:
        path: the video.
        channel: ``mix`` averages channels, and of surround sound takes the centre alone, where films have their speech;
            ``left``, ``right`` or a number from 0 on takes one of several.

    Raises:
        AudioError: PyAV is not installed, or the file is cut off, has no sound track or cannot be decoded.
        OSError: the file cannot be read.
    """
    try:
        import av
    except ImportError as error:
        raise AudioError(
            f"{path}: the sound of a video needs PyAV. Run pip install 'ser-toolkit[video]', or extract it: "
            f"ffmpeg -i {path.name} -ac 1 -ar 16000 {path.stem}.wav."
        ) from error
    if cut_off(path):
        raise AudioError(f"{path}: truncated, its container reaches beyond the end of the file. Copy it again.")
    pieces: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: the video has no sound track. Leave it out.")
            stream = container.streams.audio[0]
            rate, names = stream.rate, [channel.name for channel in stream.layout.channels]
            planes = av.AudioResampler(format="fltp", layout=stream.layout.name, rate=rate)
            for frame in (*container.decode(stream), None):
                pieces.extend(piece.to_ndarray() for piece in planes.resample(frame))
    except av.FFmpegError as error:
        raise AudioError(f"{path}: not a video that can be decoded ({error.strerror or error}).") from error
    if not sum(piece.shape[1] for piece in pieces):
        raise AudioError(f"{path}: the sound track is empty. Leave it out.")
    tracks = np.concatenate(pieces, axis=1)
    mono = _mono(tracks, names) if channel == MIX else one_channel(tracks.T, channel, str(path))
    sound = io.BytesIO()
    soundfile.write(sound, mono, rate, subtype="FLOAT", format="WAV")
    return sound.getvalue()


def _mono(channels: np.ndarray, names: list[str]) -> np.ndarray:
    """One channel (N,) of several (C, N) with FFmpeg's names: the centre of surround sound, unless it is silent."""
    if len(names) > 2 and "FC" in names and np.ptp(channels[names.index("FC")]) > 0:
        return channels[names.index("FC")]
    return channels.mean(axis=0, dtype=np.float32)
