"""Audio decoding: mix to mono or choose a channel, cut, resample, refuse what is no speech.

``librosa.load`` is soundfile and soxr as well, without the checks. Torch is not needed here. Files are recognised by
their content, so an AIFF file that is named ``.wav`` reads as well.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ser_toolkit.data.audio.channels import MIX, one_channel
from ser_toolkit.data.audio.opening import opened, reason_of
from ser_toolkit.errors import AudioError
from ser_toolkit.system.audio_files import shown

DEFAULT_SAMPLING_RATE = 16000
#: Segment bounds are often rounded to centiseconds: so far may an end lie behind the end of its file, in seconds.
END_TOLERANCE = 0.02
#: A lossy header counts whole codec frames; only a larger shortfall in samples means that data is missing.
_LOSSY_SLACK = 2 * 1152
_LOSSY_FORMATS = ("MP3", "OGG")
#: No float recording has such a peak, but integers that were cast without scaling do.
_UNSCALED_PEAK = 64.0


@dataclass(frozen=True)
class AudioInfo:
    """Facts in a file's header.

    Args:
        sampling_rate: in hertz.
        num_channels: channels.
        num_samples: samples per channel at the file's own rate.
        duration: in seconds.
        format: container and encoding, for example ``WAV/PCM_16``.
    """

    sampling_rate: int
    num_channels: int
    num_samples: int
    duration: float
    format: str


def probe(path: str | Path) -> AudioInfo:
    """Read a file's header, without decoding.

    Raises:
        AudioError: the file is missing, unreadable, without samples, or shorter than its header promises.
    """
    with opened(Path(path)) as file:
        return AudioInfo(
            file.samplerate, file.channels, file.frames, file.frames / file.samplerate, f"{file.format}/{file.subtype}"
        )


def read_audio(
    path: str | Path,
    start: float | None = None,
    end: float | None = None,
    sampling_rate: int = DEFAULT_SAMPLING_RATE,
    allow_silent: bool = False,
    channel: str | int = MIX,
) -> np.ndarray:
    """Decode a file, or a stretch of it, to a mono waveform.

    Args:
        path: any format that libsndfile knows, recognised by content. Videos (mp4 ...) need the extra
            ``ser-toolkit[video]``.
        start: where the stretch begins, in seconds; None (or NaN, as tables have it) is the file's beginning.
        end: where it ends, in seconds; None or NaN is the file's end.
        sampling_rate: rate of the result in hertz; another rate of the file is resampled (soxr, high quality).
        allow_silent: accept digital silence.
        channel: ``mix`` averages all channels; ``left``, ``right`` or a number from 0 on takes one of several.

    Returns:
        (N,) float32, nominally in [-1, 1].

    Raises:
        AudioError: the file is missing, unreadable, empty, truncated, silent, holds NaN or infinite samples, or the
            stretch lies outside the file.
    """
    path, start, end = Path(path), _given(start), _given(end)
    with opened(path, channel) as file:
        rate, total = file.samplerate, file.frames
        first, last = _bounds(path, start, end, total, rate)
        try:
            samples = _decode(file, first, last)
        except soundfile.SoundFileError as error:
            raise AudioError(f"{shown(path)}: damaged or truncated, decoding stopped ({reason_of(error)}).") from error
        slack = _LOSSY_SLACK if file.format in _LOSSY_FORMATS else 0
    if len(samples) < last - first - slack or not len(samples):
        raise AudioError(
            f"{shown(path)}: truncated, the header promises {last - first} samples "
            f"{'in this stretch' if first or last < total else 'in all'}, but {len(samples)} could be decoded."
        )
    mono = one_channel(samples, channel, shown(path))
    name = (
        shown(path) if start is None and end is None else f"{shown(path)} [{first / rate:.3f} s to {last / rate:.3f} s]"
    )
    mono = check_waveform(mono, name, allow_silent)
    return check_waveform(resample(mono, rate, sampling_rate), name, allow_silent=True)


def resample(wav: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Change the rate of a waveform (N,) with soxr's high-quality filter; float32."""
    if source_rate == target_rate:
        return wav
    return np.ascontiguousarray(soxr.resample(wav, source_rate, target_rate, quality="HQ"), dtype=np.float32)


def check_waveform(wav: np.ndarray, name: str, allow_silent: bool = False, min_samples: int = 1) -> np.ndarray:
    """Check a waveform, whether it came from a file or from a user's program.

    Args:
        wav: (N,) floating point, nominally in [-1, 1].
        name: what to call it in messages (a path, an utterance id).
        allow_silent: accept a waveform whose samples are all equal.
        min_samples: the shortest that can be used, such as an upstream's receptive field.

    Returns:
        The waveform as contiguous float32.

    Raises:
        AudioError: wrong shape or type, too short, NaN or infinite samples, unscaled integers, or digital silence.
    """
    wav = np.asarray(wav)
    if wav.ndim != 1:
        raise AudioError(f"{name}: a waveform of shape {wav.shape}, expected (samples,). Average the channels first.")
    if not np.issubdtype(wav.dtype, np.floating):
        raise AudioError(f"{name}: samples of type {wav.dtype}, expected float in [-1, 1]. Divide int16 by 32768.")
    if len(wav) < max(1, min_samples):
        raise AudioError(f"{name}: {len(wav)} samples, at least {max(1, min_samples)} are needed. Leave it out.")
    lowest, highest = float(wav.min()), float(wav.max())  # NaN wins both, so that one pass finds everything
    if not np.isfinite([lowest, highest]).all():
        bad = int(len(wav) - np.isfinite(wav).sum())
        raise AudioError(f"{name}: {bad} of {len(wav)} samples are NaN or infinite. Repair or leave out the recording.")
    if max(-lowest, highest) > _UNSCALED_PEAK:
        raise AudioError(f"{name}: peak {max(-lowest, highest):.0f}, expected samples in [-1, 1]. Scale them first.")
    if lowest == highest and not allow_silent:
        raise AudioError(
            f"{name}: digital silence, all {len(wav)} samples are equal. "
            "Leave the recording out, or accept silence with data.allow_silent=true."
        )
    return np.ascontiguousarray(wav, dtype=np.float32)


def file_hash(path: str | Path) -> str:
    """Hash of a file's bytes: 16 hexadecimal digits (BLAKE2b).

    Raises:
        AudioError: the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=8)
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise AudioError(f"{shown(path)}: cannot be read ({error.strerror}).") from error
    return digest.hexdigest()


def segment_hash(whole: str, start: float | None, end: float | None) -> str:
    """Add the bounds of a segment in seconds to the hash of its file; a whole file keeps its hash."""
    start, end = _given(start), _given(end)
    if start is None and end is None:
        return whole
    return f"{whole}:{start or 0.0:.6f}-{'' if end is None else format(end, '.6f')}"


def content_hash(path: str | Path, start: float | None = None, end: float | None = None) -> str:
    """Hash of an utterance's sound: the file's bytes, and the segment bounds in seconds where it has any.

    >>> segment_hash("00ff00ff00ff00ff", 1.5, None)
    '00ff00ff00ff00ff:1.500000-'
    """
    return segment_hash(file_hash(path), start, end)


def seconds_to_samples(seconds: float, sampling_rate: int = DEFAULT_SAMPLING_RATE) -> int:
    """The nearest whole number of samples."""
    return round(seconds * sampling_rate)


def crop(wav: np.ndarray, num_samples: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """A stretch of ``num_samples`` from a waveform (N,): anywhere with ``rng``, the middle without; all if shorter."""
    spare = len(wav) - num_samples
    if spare <= 0:
        return wav
    first = spare // 2 if rng is None else int(rng.integers(spare + 1))
    return wav[first : first + num_samples]


def windows(num_samples: int, size: int, hop: int) -> list[tuple[int, int]]:
    """Windows that cover a long recording, as (first, behind last) samples; all have ``size`` if it is long enough.

    The last window is moved back to end with the recording, so that no window is padded.

    Raises:
        ValueError: ``hop`` is not within 1..``size`` (something would be left out).

    >>> windows(10, size=4, hop=4)
    [(0, 4), (4, 8), (6, 10)]
    """
    if not 1 <= hop <= size:
        raise ValueError(f"hop is {hop}, expected 1 to the window size {size}: otherwise samples are skipped")
    if num_samples <= size:
        return [(0, num_samples)]
    starts = [*range(0, num_samples - size, hop), num_samples - size]
    return [(start, start + size) for start in starts]


def _given(seconds: float | None) -> float | None:
    """None for a missing bound, which a table holds as NaN."""
    return None if seconds is None or math.isnan(seconds) else float(seconds)


def _bounds(path: Path, start: float | None, end: float | None, total: int, rate: int) -> tuple[int, int]:
    """First sample and sample behind the last of a stretch given in seconds."""
    duration = total / rate
    first = 0 if start is None else seconds_to_samples(start, rate)
    last = total if end is None else seconds_to_samples(end, rate)
    if not 0 <= first < last or first >= total or last > total + seconds_to_samples(END_TOLERANCE, rate):
        raise AudioError(
            f"{path}: the stretch from {0.0 if start is None else start} s to {duration if end is None else end} s "
            f"does not lie in the file, which lasts {duration:.3f} s."
        )
    return first, min(last, total)


def _decode(file: soundfile.SoundFile, first: int, last: int) -> np.ndarray:
    """Samples first..last as (N, channels) float32; fewer when the file ends early."""
    if file.format == "MP3" or not file.seekable():
        # An MP3 frame borrows bits from those before it: after a seek the first frames come out wrong.
        return file.read(last, dtype="float32", always_2d=True)[first:]
    file.seek(first)
    return file.read(last - first, dtype="float32", always_2d=True)
