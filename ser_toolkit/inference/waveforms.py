"""From a file or an array to the waveforms that a model takes: mono, at its rate, whole or in windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_toolkit.data.audio.channels import MIX, one_channel
from ser_toolkit.data.audio.decode import check_waveform, read_audio, resample, windows
from ser_toolkit.errors import AudioError, RecipeError

#: Longer recordings than this are cut into windows when the user leaves the choice to us, in seconds.
LONGEST_WHOLE = 60.0
#: Length of these windows, in seconds.
DEFAULT_WINDOW = 30.0
#: More columns than this are no channels.
_MOST_CHANNELS = 16
_ARRAY = "array"


@dataclass(frozen=True)
class Recording:
    """A waveform, or the error by which there is none.

    Args:
        path: its file; ``array`` for an array.
        content: (N,) float32 at the model's rate, or the error.
    """

    path: Path
    content: np.ndarray | AudioError

    def wave(self) -> np.ndarray:
        """The waveform, if there is one.

        Raises:
            AudioError: there is none.
        """
        if isinstance(self.content, AudioError):
            raise self.content
        return self.content


@dataclass(frozen=True)
class Reading:
    """Reading of recordings as a run did it, for its models.

    Args:
        allow_silent: accept digital silence.
        channel: of recordings with several: ``mix`` averages them; ``left``, ``right`` or a number from 0 takes one.
    """

    allow_silent: bool = False
    channel: str | int = MIX


USUAL = Reading()


def recording_from_file(path: Path, sampling_rate: int, min_samples: int, reading: Reading) -> Recording:
    """Decode a file to mono at ``sampling_rate``; one that cannot be used, or is too short, keeps its error."""
    try:
        wav = read_audio(path, None, None, sampling_rate, reading.allow_silent, reading.channel)
        return Recording(path, check_waveform(wav, str(path), allow_silent=True, min_samples=min_samples))
    except AudioError as error:
        return Recording(path, error)


def recording_from_array(
    audio: np.ndarray, source_rate: int | None, sampling_rate: int, min_samples: int, reading: Reading
) -> Recording:
    """Bring an array to mono at ``sampling_rate``: (N,), (channels, N) or (N, channels) floats in [-1, 1].

    Raises:
        AudioError: no rate, an ambiguous shape, integers, or what ``check_waveform`` refuses.
    """
    if source_rate is None or not source_rate > 0:
        raise AudioError(
            f"{_ARRAY}: sampling_rate is {source_rate}, but an array does not say how fast it is to be played. "
            "Give its rate in hertz: predict(array, sampling_rate=16000)."
        )
    mono = check_waveform(_mono(np.asarray(audio), reading.channel), _ARRAY, reading.allow_silent)
    resampled = resample(mono, round(source_rate), sampling_rate)
    return Recording(Path(_ARRAY), check_waveform(resampled, _ARRAY, allow_silent=True, min_samples=min_samples))


def chunks(recordings: Iterable[Recording], max_samples: float, stop_at_error: bool) -> Iterator[list[Recording]]:
    """Recordings in groups of about ``max_samples``; a group also ends with an error if that is where all ends."""
    chunk: list[Recording] = []
    samples = 0
    for recording in recordings:
        chunk.append(recording)
        failed = isinstance(recording.content, AudioError)
        samples += 0 if isinstance(recording.content, AudioError) else len(recording.content)
        if samples >= max_samples or (failed and stop_at_error):
            yield chunk
            chunk, samples = [], 0
    if chunk:
        yield chunk


def _mono(audio: np.ndarray, channel: str | int) -> np.ndarray:
    """Average the channels or take one, where it is clear which axis they are."""
    if not np.issubdtype(audio.dtype, np.floating):
        return audio.ravel()  # the error of check_waveform explains how to scale integers, whatever their shape
    if audio.ndim != 2:
        return audio
    fewer, more = sorted(audio.shape)
    if fewer == more or not 1 <= fewer <= _MOST_CHANNELS or more <= _MOST_CHANNELS:
        raise AudioError(
            f"{_ARRAY}: of shape {audio.shape} it is unclear which axis holds the channels; expected (N,), "
            f"(channels, N) or (N, channels) with at most {_MOST_CHANNELS} channels and more samples. "
            "Average the channels first."
        )
    return one_channel(audio if audio.shape[1] == fewer else audio.T, channel, _ARRAY)


def check_window(window_seconds: float | None, sampling_rate: int, min_samples: int) -> None:
    """Refuse windows in which the upstream finds no frame.

    Raises:
        RecipeError: the window is too short.
    """
    if window_seconds is not None and not window_seconds * sampling_rate >= max(1, min_samples):
        raise RecipeError(
            f"Windows of {window_seconds} s are too short: this model needs at least "
            f"{min_samples / sampling_rate:.3f} s."
        )


def windows_of(
    recording: Recording, sampling_rate: int, window_seconds: float | None, max_samples: int | None
) -> list[np.ndarray] | AudioError:
    """The windows of a recording (see ``cut``), or the error by which there are none."""
    try:
        return cut(recording.wave(), sampling_rate, window_seconds, max_samples)
    except AudioError as error:
        return error if error is recording.content else AudioError(f"{recording.path}: {error}")


def cut(
    wav: np.ndarray, sampling_rate: int, window_seconds: float | None, max_samples: int | None = None
) -> list[np.ndarray]:
    """Windows that cover a waveform (N,), the whole of it when it is short enough.

    Args:
        wav: at ``sampling_rate``.
        sampling_rate: in hertz.
        window_seconds: length of a window; None takes recordings of up to ``LONGEST_WHOLE`` seconds as a whole and
            cuts longer ones into windows of ``DEFAULT_WINDOW`` seconds, both less where the model takes less. The last
            window is moved back to end with the recording, so that no window is padded.
        max_samples: the most that the model takes at once; None: any length.

    Raises:
        AudioError: a window is longer than the model takes; the message names one that is not.
    """
    limit = math.inf if max_samples is None else max_samples
    if window_seconds is None:
        longest, window = min(LONGEST_WHOLE * sampling_rate, limit), min(DEFAULT_WINDOW * sampling_rate, limit)
    else:
        longest = window = window_seconds * sampling_rate
    if len(wav) <= longest:
        pieces = [wav]
    else:
        size = round(window)
        pieces = [wav[start:end] for start, end in windows(len(wav), size, size)]
    if len(pieces[0]) > limit:
        most, found = (samples / sampling_rate for samples in (limit, len(pieces[0])))
        raise AudioError(
            f"{found:.1f} s at once, but this model takes {most:g} s at most. Take windows of {most:g} s (--window "
            f"{most:g}, in Python window_seconds={most:g}), or leave the window to the model."
        )
    return pieces
