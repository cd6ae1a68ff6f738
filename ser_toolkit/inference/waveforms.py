"""From a file or an array to the waveforms that a model takes: mono, at its rate, whole or in windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ser_toolkit.data.audio import check_waveform, read_audio, resample, seconds_to_samples, windows
from ser_toolkit.errors import AudioError, RecipeError

#: Longer recordings than this are cut into windows when the user leaves the choice to us, in seconds.
LONGEST_WHOLE = 60.0
#: Length of these windows, in seconds.
DEFAULT_WINDOW = 30.0
#: More columns than this are no channels.
_MOST_CHANNELS = 16
_ARRAY = "array"


def wave_from_file(path: Path, sampling_rate: int, min_samples: int, allow_silent: bool) -> np.ndarray:
    """Decode a file to mono at ``sampling_rate``: (N,) float32.

    Raises:
        AudioError: the file cannot be used, or is shorter than ``min_samples``.
    """
    wav = read_audio(path, sampling_rate=sampling_rate, allow_silent=allow_silent)
    return check_waveform(wav, str(path), allow_silent=True, min_samples=min_samples)


def wave_from_array(
    audio: np.ndarray, source_rate: int | None, sampling_rate: int, min_samples: int, allow_silent: bool
) -> np.ndarray:
    """Bring an array to mono at ``sampling_rate``: (N,), (channels, N) or (N, channels) -> (N,) float32.

    Raises:
        AudioError: no rate, an ambiguous shape, integers, or what ``check_waveform`` refuses.
    """
    if source_rate is None or not source_rate > 0:
        raise AudioError(
            f"{_ARRAY}: sampling_rate is {source_rate}, but an array does not say how fast it is to be played. "
            "Give its rate in hertz: predict(array, sampling_rate=16000)."
        )
    mono = check_waveform(_mono(np.asarray(audio)), _ARRAY, allow_silent)
    resampled = resample(mono, int(source_rate), sampling_rate)
    return check_waveform(resampled, _ARRAY, allow_silent=True, min_samples=min_samples)


def _mono(audio: np.ndarray) -> np.ndarray:
    """Average the channels, where it is clear which axis they are."""
    if audio.ndim != 2 or not np.issubdtype(audio.dtype, np.floating):
        return audio  # one channel, or something that check_waveform refuses with better words
    fewer, more = sorted(audio.shape)
    if fewer == more or not 1 <= fewer <= _MOST_CHANNELS or more <= _MOST_CHANNELS:
        raise AudioError(
            f"{_ARRAY}: of shape {audio.shape} it is unclear which axis holds the channels; expected (N,), (channels, N) "
            f"or (N, channels) with at most {_MOST_CHANNELS} channels and more samples. Average the channels first."
        )
    axis = audio.shape.index(fewer)
    return audio.take(0, axis=axis) if fewer == 1 else audio.mean(axis=axis, dtype=np.float32)


def check_window(window_seconds: float | None, sampling_rate: int, min_samples: int) -> None:
    """Refuse windows in which the upstream finds no frame.

    Raises:
        RecipeError: the window is too short.
    """
    if window_seconds is not None and not seconds_to_samples(window_seconds, sampling_rate) >= max(1, min_samples):
        raise RecipeError(
            f"Windows of {window_seconds} s are too short: this model needs at least {min_samples / sampling_rate:.3f} s."
        )


def cut(wav: np.ndarray, sampling_rate: int, window_seconds: float | None) -> list[np.ndarray]:
    """Windows that cover a waveform (N,), the whole of it when it is short enough.

    Args:
        wav: at ``sampling_rate``.
        sampling_rate: in hertz.
        window_seconds: length of a window; None takes recordings of up to ``LONGEST_WHOLE`` seconds as a whole and
            cuts longer ones into windows of ``DEFAULT_WINDOW`` seconds. The last window is moved back to end with the
            recording, so that no window is padded.
    """
    if window_seconds is None:
        if len(wav) <= LONGEST_WHOLE * sampling_rate:
            return [wav]
        window_seconds = DEFAULT_WINDOW
    size = seconds_to_samples(window_seconds, sampling_rate)
    return [wav[start:end] for start, end in windows(len(wav), size, size)]
