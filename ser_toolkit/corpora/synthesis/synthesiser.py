"""Source-filter synthesis of syllable strings: the signal model behind the ``Synthetic`` corpus.

A pulse train whose cycles carry jitter and shimmer (KLGLOTT88 flow derivative with an exponential return phase) is
tilted by a one-pole low-pass, joined by aspiration noise, and sent through a cascade of time-varying resonators that
stand for the vocal tract; frication and bursts join behind it. Timing, voicing and formants are piecewise constant
per segment and smoothed, which gives transitions between consonants and vowels.

Source: Klatt and Klatt (1990), "Analysis, synthesis, and perception of voice quality variations among female and male
talkers", JASA 87(2) (source, spectral tilt TL, aspiration); Klatt (1980), JASA 67(3), eq. 1-2 (cascade
resonators); Fant (1995), STL-QPSR 36 (return phase).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, resample_poly

from ser_toolkit.corpora.synthesis.phones import CONSONANTS, UPPER_FORMANTS, VOWELS

Array = NDArray[np.float64]

SAMPLING_RATE = 16_000

_OVERSAMPLING = 2  # the source is drawn at 32 kHz, so that pulses may fall between samples without audible aliasing
_FRAME = 128  # samples at 16 kHz (8 ms) between two control values
_FFT = 1024  # a window and the longest ringing of the vocal tract fit in
_REFERENCE_TRACT_CM = 17.5  # the length that the formant tables below belong to
_EDGE_SECONDS = 0.06  # silence before and after the speech
_RETURN_SECONDS = 2.5e-5
_TILT_HZ = 3000.0
_BANDWIDTHS = np.array([70.0, 90.0, 130.0, 190.0, 260.0, 340.0, 420.0])
_HIGHEST_FORMANT = 0.94 * SAMPLING_RATE / 2
_F0_LIMITS = (55.0, 600.0)  # Hz
_PEAK = 0.97


@dataclass(frozen=True)
class AcousticTarget:
    """Programmed values of one utterance, which an analyser should find again.

    Args:
        syllables: consonant and vowel each, ``("ba", "ti")``.
        vocal_tract_cm: length of the vocal tract; formants scale with 17.5 cm over it.
        f0_hz: mean of the voiced parts' fundamental frequency on a logarithmic scale, in Hz.
        f0_sd_semitones: standard deviation of the voiced parts' fundamental frequency, in semitones.
        syllables_per_second: speech rate without the silent edges.
        level_dbfs: root mean square of the voiced parts, in dB below full scale.
        tilt_db: attenuation of the voice source at 3 kHz, in dB (0 or more; larger is softer).
        jitter: standard deviation of a cycle's duration from the contour, as a fraction.
        shimmer: standard deviation of a cycle's amplitude, as a fraction.
        open_quotient: part of a cycle in which the glottis is open, in (0, 1).
        aspiration: root mean square of the aspiration noise, relative to the tilted voice source.
    """

    syllables: tuple[str, ...]
    vocal_tract_cm: float
    f0_hz: float
    f0_sd_semitones: float
    syllables_per_second: float
    level_dbfs: float
    tilt_db: float
    jitter: float
    shimmer: float
    open_quotient: float
    aspiration: float


@dataclass(frozen=True)
class _Segment:
    """A stretch of time with one articulation: start and end in seconds, Hz, and amplitudes relative to a vowel."""

    start: float
    end: float
    formants: tuple[float, float, float]
    voicing: float
    noise: float = 0.0
    centre: float = 1000.0
    bandwidth: float = 1000.0


@dataclass(frozen=True)
class _Tracks:
    """Control values every 8 ms: voicing (F,), f0 in Hz (F,), formants in Hz (F, 7)."""

    voicing: Array
    f0: Array
    formants: Array


def synthesise(target: AcousticTarget, rng: np.random.Generator, noise_snr_db: float | None = None) -> Array:
    """Synthesise a syllable string.

    Args:
        target: what to say, and how.
        rng: source of all chance (cycle perturbation, accents, durations, noise); the same state, the same samples.
        noise_snr_db: add low-passed stationary noise at this ratio to the whole utterance's power; None adds none.

    Returns:
        Samples (N,) at 16 kHz in [-1, 1].
    """
    segments = _segments(target, rng)
    tracks = _tracks(target, segments, rng)
    samples = len(tracks.f0) * _FRAME
    middles = (np.arange(len(tracks.f0)) + 0.5) * _FRAME
    voicing = np.interp(np.arange(samples), middles, tracks.voicing)
    speech = _vocal_tract(_source(target, tracks.f0, rng) * voicing, tracks.formants)
    voiced = voicing > 0.5
    speech /= _rms(speech[voiced])
    for segment in segments:
        _add_noise_burst(speech, segment, rng)
    speech *= 10 ** (target.level_dbfs / 20) / _rms(speech[voiced])
    if noise_snr_db is not None:
        room = lfilter([1.0], [1.0, -0.9], rng.standard_normal(samples))
        speech += room * (_rms(speech) / _rms(room) * 10 ** (-noise_snr_db / 20))
    peak = float(np.abs(speech).max())
    return speech * min(1.0, _PEAK / peak)


def _rms(signal: Array) -> float:
    return float(np.sqrt(np.mean(signal**2)))


def _segments(target: AcousticTarget, rng: np.random.Generator) -> list[_Segment]:
    """Durations of consonants and vowels; their mean obeys the rate, the last syllable is the longest."""
    count = len(target.syllables)
    weights = 1 + 0.12 * np.clip(rng.standard_normal(count), -2, 2)
    weights[-1] *= 1.35
    durations = weights / weights.sum() * count / target.syllables_per_second
    found: list[_Segment] = []
    now = _EDGE_SECONDS
    for syllable, duration in zip(target.syllables, durations, strict=True):
        consonant, vowel = CONSONANTS[syllable[0]], VOWELS[syllable[1]]
        # Consonants give way less than vowels when speech slows down.
        middle = now + 0.38 * duration**0.7 * 0.2**0.3
        release = now + consonant.closure * (middle - now)
        articulation = (300.0, (consonant.locus + vowel[1]) / 2, vowel[2])
        found.append(_Segment(now, release, articulation, consonant.voicing))
        noise = (consonant.noise, consonant.centre, consonant.bandwidth)
        found.append(_Segment(release, middle, articulation, consonant.voicing, *noise))
        found.append(_Segment(middle, now + duration, vowel, 1.0))
        now += float(duration)
    return found


def _tracks(target: AcousticTarget, segments: list[_Segment], rng: np.random.Generator) -> _Tracks:
    """Segments as smooth tracks, and the melody: declination plus one accent per syllable."""
    frames = int(np.ceil((segments[-1].end + _EDGE_SECONDS) * SAMPLING_RATE / _FRAME))
    times = (np.arange(frames) + 0.5) * _FRAME / SAMPLING_RATE
    index = np.clip(np.searchsorted([segment.end for segment in segments], times, side="right"), 0, len(segments) - 1)
    spoken = (times >= segments[0].start) & (times < segments[-1].end)
    voicing = _smooth(np.array([segment.voicing for segment in segments])[index] * spoken, 5)
    lower = np.array([segment.formants for segment in segments])[index]
    formants = np.column_stack([*(_smooth(track, 9) for track in lower.T), np.tile(UPPER_FORMANTS, (frames, 1))])
    formants = np.minimum(formants * _REFERENCE_TRACT_CM / target.vocal_tract_cm, _HIGHEST_FORMANT)
    vowels = segments[2::3]
    centres = [(vowel.start + vowel.end) / 2 for vowel in vowels]
    accents = np.linspace(1.0, -1.0, len(vowels)) + 0.8 * rng.standard_normal(len(vowels))
    melody = _smooth(np.interp(times, centres, accents), 13)
    voiced = voicing > 0.5
    melody = (melody - melody[voiced].mean()) / max(float(melody[voiced].std()), 1e-6)
    f0 = np.clip(target.f0_hz * 2 ** (melody * target.f0_sd_semitones / 12), *_F0_LIMITS)
    return _Tracks(voicing, f0, formants)


def _smooth(track: Array, width: int) -> Array:
    """Hann-smooth a track (F,) over ``width`` frames, holding its ends."""
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(track, width // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


def _source(target: AcousticTarget, f0: Array, rng: np.random.Generator) -> Array:
    """Flow derivative of the glottis with tilt and aspiration, (F * 128,) at 16 kHz, unit root mean square."""
    rate = SAMPLING_RATE * _OVERSAMPLING
    samples = len(f0) * _FRAME * _OVERSAMPLING
    time = np.arange(samples) / rate
    contour = np.interp(time, (np.arange(len(f0)) + 0.5) * _FRAME / SAMPLING_RATE, f0)
    cycles = np.concatenate([[0.0], np.cumsum(contour) / rate])
    # Where the contour's phase is a whole number a cycle begins; jitter then makes each cycle longer or shorter.
    whole = np.interp(np.arange(np.floor(cycles[-1]) + 1), cycles, np.arange(samples + 1) / rate)
    nominal = np.concatenate([whole, whole[-1] + np.array([1.0, 2.0]) / f0[-1]])
    periods = np.diff(nominal) * (1 + target.jitter * np.clip(rng.standard_normal(len(nominal) - 1), -3, 3))
    onsets = np.concatenate([[0.0], np.cumsum(periods)])
    onsets *= nominal[-1] / onsets[-1]  # chance must not move the mean
    position = np.interp(time, onsets, np.arange(len(onsets)))
    cycle = np.minimum(position.astype(int), len(periods) - 1)
    strength = (1 + target.shimmer * np.clip(rng.standard_normal(len(periods)), -3, 3))[cycle]
    pulses, is_open = _flow_derivative(position - cycle, periods[cycle], target.open_quotient)
    voice = _tilt(pulses * strength, target.tilt_db, rate)
    voice = resample_poly(voice / _rms(voice), 1, _OVERSAMPLING)
    breath = rng.standard_normal(len(voice)) * (0.3 + 0.7 * is_open[::_OVERSAMPLING])
    return voice + target.aspiration * breath / _rms(breath)


def _flow_derivative(phase: Array, period: Array, open_quotient: float) -> tuple[Array, NDArray[np.bool_]]:
    """KLGLOTT88: the derivative of ``p^2 - p^3`` while the glottis is open, then an exponential return to zero.

    Args:
        phase: position in the cycle in [0, 1), (N,).
        period: duration of the cycle in seconds, (N,).
        open_quotient: where in the cycle the glottis closes.

    Returns:
        The derivative, -1 at the closure, (N,); and whether the glottis is open, (N,).
    """
    opening = phase / open_quotient
    is_open = opening < 1
    returning = -np.exp(-np.maximum(phase - open_quotient, 0) * period / _RETURN_SECONDS)
    return np.where(is_open, 2 * opening - 3 * opening**2, returning), is_open


def _tilt(signal: Array, attenuation_db: float, rate: float) -> Array:
    """One-pole low-pass with gain 1 at 0 Hz and ``-attenuation_db`` at 3 kHz."""
    if attenuation_db <= 0:
        return signal
    power = 10 ** (-attenuation_db / 10)
    # (1 - a)^2 = power (1 - 2 a cos w + a^2), solved for the root inside the unit circle.
    half = 1 - power * np.cos(2 * np.pi * _TILT_HZ / rate)
    pole = (half - np.sqrt(half**2 - (1 - power) ** 2)) / (1 - power)
    return lfilter([1 - pole], [1.0, -pole], signal)


def _vocal_tract(source: Array, formants: Array) -> Array:
    """Cascade of resonators with unit gain at 0 Hz whose formants move, by overlapping windows.

    Every window is filtered with its whole impulse response and then faded into the next: unlike a recursive filter
    whose coefficients change, that makes no clicks.

    Args:
        source: samples (F * 128,).
        formants: centre frequencies in Hz (F, R).

    Returns:
        Samples (F * 128,).
    """
    frames = len(formants)
    radius = np.exp(-np.pi * _BANDWIDTHS / SAMPLING_RATE)
    first = -2 * radius * np.cos(2 * np.pi * formants / SAMPLING_RATE)
    delay = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT)
    response = np.ones((frames, len(delay)), dtype=complex)
    for resonator in range(formants.shape[1]):
        inner, outer = first[:, resonator, None], radius[resonator] ** 2
        response *= (1 + inner + outer) / (1 + delay * (inner + outer * delay))
    # A periodic Hann window around each frame's middle: neighbours add up to one.
    window = np.hanning(2 * _FRAME + 1)[:-1]
    padded = np.pad(source, _FRAME // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _FRAME)[::_FRAME] * window
    filtered = np.fft.irfft(np.fft.rfft(windows, _FFT) * response, _FFT)
    spoken = np.zeros(len(padded) + _FFT)
    for frame, part in enumerate(filtered):
        spoken[frame * _FRAME : frame * _FRAME + _FFT] += part
    return spoken[_FRAME // 2 : _FRAME // 2 + len(source)]


def _add_noise_burst(speech: Array, segment: _Segment, rng: np.random.Generator) -> None:
    """Add the noise of a fricative or a burst to ``speech`` (unit root mean square), in place."""
    start, end = (round(edge * SAMPLING_RATE) for edge in (segment.start, segment.end))
    if segment.noise == 0 or end - start < 16:
        return
    radius = np.exp(-np.pi * segment.bandwidth / SAMPLING_RATE)
    pole = -2 * radius * np.cos(2 * np.pi * segment.centre / SAMPLING_RATE)
    noise = lfilter([1.0, 0.0, -1.0], [1.0, pole, radius**2], rng.standard_normal(end - start))
    speech[start:end] += np.hanning(end - start) * noise * (segment.noise / _rms(noise))
