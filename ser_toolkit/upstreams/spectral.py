"""Weight-free front end: log mel spectrogram, cepstrum and prosody, for networks that are trained from scratch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import RecipeError
from ser_toolkit.upstreams.base import Upstream
from ser_toolkit.upstreams.signal.mel import centred_frames, mel_filterbank, power_spectrum, standardise
from ser_toolkit.upstreams.signal.prosody import pitch, semitones, spectral_shape

Feature = Literal["logmel", "mfcc", "prosody"]
FEATURES: tuple[Feature, ...] = ("logmel", "mfcc", "prosody")
PROSODY = ("log energy", "F0 semitones", "voicing", "centroid kHz", "tilt dB/kHz", "flux")
#: Added to every power before the logarithm: about that of quantisation to 16 bits in one bin of a 25 ms window.
POWER_FLOOR = 1e-8
#: Frames on either side that a delta looks at.
DELTA_REACH = 2


class Spectral(Upstream):
    """Log mel spectrogram, MFCC and/or prosody every 10 ms, without weights.

    Nothing is trained, hence it counts as frozen; ``extract`` can be differentiated with respect to the waveform.

    - ``logmel``: natural logarithm of the power in triangular HTK mel filters of height 1, Hann window.
    - ``mfcc``: orthonormal DCT-II of ``logmel``, from coefficient 0, without liftering.
    - ``prosody``: log energy; F0 in semitones above 27.5 Hz, 0 where the probability of voicing is below 0.5; that
      probability; spectral centroid (kHz), tilt (dB/kHz) and flux.

    Source: Davis & Mermelstein, IEEE Trans. ASSP 28(4), 1980; Talkin, RAPT, 1995 (F0); Peeters, Ircam, 2004 (shape).

    Args:
        features: one of ``logmel``, ``mfcc``, ``prosody``, or a list of them, side by side in the order given.
        num_mels: mel filters, also under ``mfcc``.
        num_mfcc: cepstral coefficients, at most ``num_mels``.
        window_ms: length of the analysis window, in milliseconds.
        hop_ms: distance of two frames, in milliseconds.
        low_hz: lower end of the mel filters.
        high_hz: upper end of the mel filters, at most 8000.
        deltas: how many orders of differences over time to append (regression over 5 frames).
        normalisation: ``utterance`` brings each feature to mean 0 and standard deviation 1 over the utterance.

    Raises:
        RecipeError: a setting is unknown or impossible.
    """

    def __init__(
        self,
        features: Feature | list[Feature] = "logmel",
        num_mels: int = 80,
        num_mfcc: int = 20,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        low_hz: float = 20.0,
        high_hz: float = 7600.0,
        deltas: Literal[0, 1, 2] = 0,
        normalisation: Literal["none", "utterance"] = "none",
    ) -> None:
        super().__init__(frozen=True)
        self.features: list[Feature] = [features] if isinstance(features, str) else list(features)
        _check_names(self.features, deltas, normalisation)
        self.window_samples = round(window_ms * self.sampling_rate / 1000)
        self.hop_samples = round(hop_ms * self.sampling_rate / 1000)
        if "mfcc" not in self.features:
            num_mfcc = min(num_mfcc, num_mels)  # not used: the default must not refuse a small num_mels
        _check_numbers(self.window_samples, self.hop_samples, num_mels, num_mfcc)
        self.num_mels, self.num_mfcc = num_mels, num_mfcc
        self.band_hz = (float(low_hz), float(high_hz))
        self.deltas = deltas
        self.normalisation = normalisation
        self.n_fft = 2 ** math.ceil(math.log2(self.window_samples))
        sizes = {"logmel": num_mels, "mfcc": num_mfcc, "prosody": len(PROSODY)}
        self.feature_dim = sum(sizes[name] for name in self.features) * (1 + deltas)
        self.num_layers = 1
        # the mirror image at either end needs one sample more than half the transform
        self.receptive_samples = self.n_fft // 2 + 1
        self.register_buffer("window", torch.hann_window(self.window_samples), persistent=False)
        filters = mel_filterbank(num_mels, self.n_fft, self.sampling_rate, low_hz, high_hz)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("cosines", cosine_transform(num_mels, num_mfcc), persistent=False)
        self.window: Tensor
        self.filters: Tensor
        self.cosines: Tensor
        self.freeze()

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """(B,) samples -> (B,) frames, centred at 0, hop, 2 hop, ..."""
        return centred_frames(lengths, self.hop_samples)

    def fingerprint(self) -> str:
        """The settings that the chosen features depend on."""
        parts = [f"Spectral/1|{'+'.join(self.features)}|window={self.window_samples}|hop={self.hop_samples}"]
        if "logmel" in self.features or "mfcc" in self.features:
            parts.append(f"mels={self.num_mels}|band={self.band_hz}")
        if "mfcc" in self.features:
            parts.append(f"mfcc={self.num_mfcc}")
        return "|".join([*parts, f"deltas={self.deltas}|normalisation={self.normalisation}"])

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N), (B,) -> (B, 1, T, D), (B,)."""
        counts = self.frame_lengths(lengths)
        # in half precision the power of soft speech would vanish
        with torch.autocast(wav.device.type, enabled=False):
            values = self._static(wav.float(), lengths)
            orders = [values]
            for _ in range(self.deltas):
                orders.append(delta(orders[-1], counts))
            values = torch.cat(orders, dim=-1)
            if self.normalisation == "utterance":
                values = standardise(values, counts, per_feature=True)
        values = values.masked_fill(~valid_mask(counts, values.shape[1])[:, :, None], 0)
        return values[:, None], counts

    def _static(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """The features without deltas: (B, N), (B,) -> (B, T, D)."""
        power = power_spectrum(wav, lengths, self.n_fft, self.window, self.hop_samples)
        log_mel = (power @ self.filters + POWER_FLOOR).log()
        columns: dict[str, Tensor] = {"logmel": log_mel}
        if "mfcc" in self.features:
            columns["mfcc"] = log_mel @ self.cosines
        if "prosody" in self.features:
            columns["prosody"] = self._prosody(wav, lengths, power)
        return torch.cat([columns[name] for name in self.features], dim=-1)

    def _prosody(self, wav: Tensor, lengths: Tensor, power: Tensor) -> Tensor:
        """(B, N), (B,), (B, T, F) -> (B, T, 6), in the order of ``PROSODY``."""
        f0, voicing = pitch(wav, lengths, self.hop_samples, self.sampling_rate)
        melody = semitones(f0) * (voicing >= 0.5)
        # mean power of the windowed samples, by Parseval's theorem over the half spectrum
        energy = (2 * power.sum(dim=-1) - power[..., 0] - power[..., -1]) / self.n_fft / self.window.square().sum()
        shape = spectral_shape(power, self.sampling_rate, POWER_FLOOR)
        return torch.cat([torch.stack([(energy + POWER_FLOOR).log(), melody, voicing], dim=-1), shape], dim=-1)


def cosine_transform(num_inputs: int, num_outputs: int) -> Tensor:
    """Orthonormal DCT-II as a matrix: (num_inputs, num_outputs)."""
    # torchaudio's create_dct (in float32) moves single coefficients by up to 9e-6 of their norm: stores would not match
    angle = torch.outer(torch.arange(num_inputs) + 0.5, torch.arange(num_outputs) * (math.pi / num_inputs))
    matrix = angle.double().cos() * math.sqrt(2 / num_inputs)
    matrix[:, 0] = math.sqrt(1 / num_inputs)
    return matrix.float()


def delta(values: Tensor, counts: Tensor) -> Tensor:
    """Slope over 5 frames, the outermost frames of each utterance repeated: (B, T, D), (B,) -> (B, T, D).

    Source: Young et al., The HTK Book 3.4, 2006, section 5.9.
    """
    # torchaudio's compute_deltas knows no lengths: in a padded batch shorter utterances come out 1 to 5 % off
    positions = torch.arange(values.shape[1], device=values.device)[None, :]
    last = counts[:, None] - 1

    def shifted(steps: int) -> Tensor:
        index = torch.minimum((positions + steps).clamp(min=0), last)
        return values.gather(1, index[:, :, None].expand_as(values))

    reach = range(1, DELTA_REACH + 1)
    slope = torch.stack([step * (shifted(step) - shifted(-step)) for step in reach]).sum(dim=0)
    return slope / (2 * sum(step**2 for step in reach))


def _check_names(features: list[Feature], deltas: int, normalisation: str) -> None:
    """Refuse unknown names, and repeated or no features."""
    if not features or set(features) - set(FEATURES) or len(set(features)) < len(features):
        raise RecipeError(
            f"Spectral got features={features}: expected one or more of {', '.join(FEATURES)}, each once."
        )
    if deltas not in (0, 1, 2) or normalisation not in ("none", "utterance"):
        raise RecipeError(
            f"Spectral got deltas={deltas}, normalisation={normalisation!r}: expected 0, 1 or 2, and none or utterance."
        )


def _check_numbers(window: int, hop: int, num_mels: int, num_mfcc: int) -> None:
    """Refuse sizes that have no meaning."""
    if window < 2 or hop < 1:
        raise RecipeError(
            f"Spectral got a window of {window} and a hop of {hop} samples: expected at least 2 and 1. "
            "window_ms and hop_ms are in milliseconds (25 and 10 are usual)."
        )
    if not 1 <= num_mfcc <= num_mels:
        raise RecipeError(f"Spectral got num_mfcc={num_mfcc}, num_mels={num_mels}: expected 1 <= num_mfcc <= num_mels.")
