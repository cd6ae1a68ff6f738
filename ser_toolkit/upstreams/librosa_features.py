"""librosa: the features of speech and music research, as frames or as functionals of an utterance."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Literal, get_args

import numpy as np
from filelock import FileLock
from torch import Tensor

from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.system.places import cache_root
from ser_toolkit.upstreams._one_by_one import arrays_one_by_one
from ser_toolkit.upstreams.base import Upstream
from ser_toolkit.upstreams.signal.functionals import functionals
from ser_toolkit.upstreams.signal.mel import centred_frames

Feature = Literal["mfcc", "chroma", "contrast", "tonnetz", "zero_crossings", "rms", "f0"]
Statistic = Literal["mean", "std", "p05", "median", "p95", "slope"]
FEATURES: tuple[Feature, ...] = get_args(Feature)
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
#: Columns whose number no option changes.
COLUMNS = {
    "chroma": ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"],
    "contrast": [f"band {band}" for band in range(7)],
    "tonnetz": ["fifth x", "fifth y", "minor third x", "minor third y", "major third x", "major third y"],
    "zero_crossings": ["rate"],
    "rms": [""],
    "f0": ["Hz", "voiced", "voicing probability"],
}


class LibrosaFeatures(Upstream):
    """librosa's features, each of them selectable: one frame every 10 ms, or statistics of each over the utterance.

    Frames are centred at 0, hop, 2 hop, ... with silence beyond either end of the utterance, as librosa has them.

    - ``mfcc``: ``num_mfcc`` cepstral coefficients of the log mel spectrogram (Slaney filters, decibels, at most 80 dB
      below the utterance's loudest), then ``deltas`` orders of slopes over 9 frames (ends repeated).
    - ``chroma``: power by pitch class, the largest 1; tuned to the utterance. 12 columns.
    - ``contrast``: peak minus valley of the spectrum in seven bands, in dB.
    - ``tonnetz``: tonal centroid of ``chroma``, 6 columns.
    - ``zero_crossings``: share of samples with a change of sign. ``rms``: root mean square.
    - ``f0``: by probabilistic YIN: F0 in Hz (0 where unvoiced), voiced or not (1, 0), probability of voicing. A hundred
      times as slow as all others together; the first call on a machine also compiles for some ten seconds.

    Functionals of F0 in Hz are over voiced frames alone, zeros where there are none. There is nothing to train;
    features are computed on the CPU, one utterance after the other, so a feature store pays off.

    Source: McFee et al. 2015, "librosa: audio and music signal analysis in Python", SciPy; Mauch & Dixon 2014, "pYIN",
    ICASSP; Jiang et al. 2002 (contrast), Harte et al. 2006 (tonnetz).

    Args:
        features: ``all``, one of the names above, or a list of them, side by side in the order given.
        level: ``functionals``, one frame an utterance, or ``frames``.
        statistics: of functionals, for every column: ``all`` (mean, standard deviation, 5th percentile, median, 95th
            percentile, slope per second, in this order), one or a list.
        num_mfcc: cepstral coefficients, from coefficient 0, at most ``num_mels``.
        num_mels: mel filters from 0 to 8000 Hz under ``mfcc``.
        deltas: orders of differences over time of ``mfcc``: 0, 1 or 2.
        window_ms: length of every window, in milliseconds; an even number of samples.
        hop_ms: distance of two frames, in milliseconds.
        low_f0_hz: lower end of the search for F0; two periods should fit into a window.
        high_f0_hz: upper end of the search for F0.

    Raises:
        RecipeError: a setting is unknown or impossible.
    """

    def __init__(
        self,
        features: Literal["all"] | Feature | list[Feature] = "all",
        level: Literal["functionals", "frames"] = "functionals",
        statistics: Literal["all"] | Statistic | list[Statistic] = "all",
        num_mfcc: int = 20,
        num_mels: int = 128,
        deltas: Literal[0, 1, 2] = 0,
        window_ms: float = 64.0,
        hop_ms: float = 10.0,
        low_f0_hz: float = 55.0,
        high_f0_hz: float = 600.0,
    ) -> None:
        super().__init__(frozen=True)
        self.features = _chosen("features", features, FEATURES)
        self.statistics = _chosen("statistics", statistics, STATISTICS)
        self.level = level
        if level not in ("functionals", "frames") or deltas not in (0, 1, 2):
            raise RecipeError(
                f"LibrosaFeatures got level={level!r}, deltas={deltas}: expected functionals or frames, and 0, 1 or 2."
            )
        self.window_samples = round(window_ms * self.sampling_rate / 1000)
        self.spacing = round(hop_ms * self.sampling_rate / 1000)
        self.num_mfcc, self.num_mels, self.deltas = num_mfcc, num_mels, deltas
        self.f0_hz = (float(low_f0_hz), float(high_f0_hz))
        self._check_numbers()
        self.num_layers = 1
        self.hop_samples = 0 if level == "functionals" else self.spacing
        self.receptive_samples = self.window_samples
        self.feature_dim = len(self.feature_names)
        self.freeze()

    @property
    def column_names(self) -> list[str]:
        """Names of a frame's columns: ``mfcc 0``, ``mfcc 0 delta``, ``chroma C``, ``f0 Hz`` ..."""
        orders = ["", " delta", " delta delta"][: self.deltas + 1]
        cepstra = [f"{number}{order}" for order in orders for number in range(self.num_mfcc)]
        columns = {"mfcc": cepstra, **COLUMNS}
        return [f"{name} {column}".rstrip() for name in self.features for column in columns[name]]

    @property
    def feature_names(self) -> list[str]:
        """Names of the D features: columns, or each column's statistics (``mfcc 0 mean``)."""
        if self.level == "frames":
            return self.column_names
        return [f"{column} {statistic}" for column in self.column_names for statistic in self.statistics]

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames: 1 for functionals."""
        counts = centred_frames(lengths, self.spacing)
        return counts if self.level == "frames" else counts.clamp(max=1)

    def fingerprint(self) -> str:
        """The settings that the chosen features depend on, and librosa's version."""
        parts = [f"LibrosaFeatures/1|{'+'.join(self.features)}|window={self.window_samples}|hop={self.spacing}"]
        if "mfcc" in self.features:
            parts.append(f"mfcc={self.num_mfcc}|mels={self.num_mels}|deltas={self.deltas}")
        if "f0" in self.features:
            parts.append(f"f0={self.f0_hz}")
        if self.level == "functionals":
            parts.append(f"functionals={'+'.join(self.statistics)}")
        return "|".join([*parts, f"librosa={version('librosa')}"])

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N), (B,) -> (B, 1, T, D), (B,); T = 1 for functionals.

        Raises:
            AudioError: a recording is not finite.
        """
        with _compiling(tuple(self.features)):
            return arrays_one_by_one("LibrosaFeatures", self._of_utterance, wav, lengths)

    def _of_utterance(self, signal: np.ndarray) -> np.ndarray:
        """One utterance: (N,) -> (T, D) or (1, D) float32."""
        contours = np.concatenate([self._contours(name, signal) for name in self.features])
        if not np.isfinite(contours[[column != "f0 Hz" for column in self.column_names]]).all():
            raise AudioError(
                f"librosa has no finite value for some of {', '.join(self.features)} of a recording of {len(signal)} "
                "samples. Listen to it, repair it or remove it from the corpus."
            )
        if self.level == "functionals":
            seconds = np.arange(contours.shape[1]) * self.spacing / self.sampling_rate
            rows = [functionals(contour, seconds, self.statistics) for contour in contours]
            return np.asarray(rows, dtype=np.float32).reshape(1, -1)
        return np.nan_to_num(contours, nan=0.0).T.astype(np.float32)

    def _contours(self, name: Feature, signal: np.ndarray) -> np.ndarray:
        """Columns of one feature: (N,) -> (K, T); F0 is NaN where unvoiced."""
        import librosa  # not at the top: it brings numba, which takes a second

        rate, hop, window = self.sampling_rate, self.spacing, self.window_samples
        if name == "zero_crossings":
            return librosa.feature.zero_crossing_rate(signal, frame_length=window, hop_length=hop)
        if name == "rms":
            return librosa.feature.rms(y=signal, frame_length=window, hop_length=hop)
        if name == "f0":
            low, high = self.f0_hz
            tracks = librosa.pyin(signal, fmin=low, fmax=high, sr=rate, frame_length=window, hop_length=hop)
            return np.stack([track.astype(np.float64) for track in tracks])
        spectrum: dict[str, Any] = {"y": signal, "sr": rate, "n_fft": window, "hop_length": hop}
        if name == "contrast":
            return librosa.feature.spectral_contrast(**spectrum)
        if name == "mfcc":
            static = librosa.feature.mfcc(**spectrum, n_mfcc=self.num_mfcc, n_mels=self.num_mels)
            # ends repeated: librosa's default fits a line to 9 frames, which a short utterance does not have
            slopes = [librosa.feature.delta(static, order=n + 1, mode="nearest") for n in range(self.deltas)]
            return np.concatenate([static, *slopes])
        with warnings.catch_warnings():
            # in silence there is nothing to tune to, and librosa goes on untuned
            warnings.filterwarnings("ignore", "Trying to estimate tuning from empty frequency set")
            chroma = librosa.feature.chroma_stft(**spectrum)
        # of the same chroma: librosa's default for tonnetz is a constant-Q transform, made for music
        return librosa.feature.tonnetz(chroma=chroma) if name == "tonnetz" else chroma

    def _check_numbers(self) -> None:
        """Refuse sizes that have no meaning."""
        if self.window_samples < 2 or self.window_samples % 2 or self.spacing < 1:
            raise RecipeError(
                f"LibrosaFeatures got a window of {self.window_samples} and a hop of {self.spacing} samples: expected "
                "an even number of at least 2, and at least 1. window_ms and hop_ms are in milliseconds (64 and 10)."
            )
        if "mfcc" in self.features and not 1 <= self.num_mfcc <= self.num_mels:
            raise RecipeError(
                f"LibrosaFeatures got num_mfcc={self.num_mfcc}, num_mels={self.num_mels}: expected 1 <= num_mfcc <= "
                "num_mels."
            )
        low, high = self.f0_hz
        needed = 2 * self.sampling_rate / low if low > 0 else float("inf")
        if "f0" in self.features and not (0 < low < high <= self.sampling_rate / 2 and needed < self.window_samples):
            raise RecipeError(
                f"LibrosaFeatures got low_f0_hz={low}, high_f0_hz={high} with windows of {self.window_samples} "
                f"samples: expected 0 < low_f0_hz < high_f0_hz <= {self.sampling_rate // 2}, and two periods of "
                "low_f0_hz in a window. Raise low_f0_hz or window_ms."
            )


def _chosen(option: str, asked: str | list, known: tuple) -> list:
    """Resolve names of features: all, one, or a list; unknown, repeated and no names are refused."""
    found = list(known) if asked == "all" else [asked] if isinstance(asked, str) else list(asked)
    if not found or set(found) - set(known) or len(set(found)) < len(found):
        raise RecipeError(
            f"LibrosaFeatures got {option}={found}: expected all, or one or more of {', '.join(known)}, each once."
        )
    return found


#: Sets of features whose functions are compiled in this process.
_COMPILED: set[tuple[str, ...]] = set()
#: File in the cache folder that a process holds while it compiles.
_LOCK = "librosa.lock"


@contextmanager
def _compiling(features: tuple[str, ...]) -> Iterator[None]:
    """Context of an extraction, whose first one compiles librosa's functions: one process at a time.

    numba stores compiled functions beside librosa. Two processes that store the same one at once leave files which do
    not fit each other, and every process that loads them from then on crashes.
    """
    with contextlib.ExitStack() as stack:
        if features not in _COMPILED:
            with contextlib.suppress(OSError):  # a folder that may only be read: nothing is locked there
                cache_root().mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(cache_root() / _LOCK))
        yield
        _COMPILED.add(features)
