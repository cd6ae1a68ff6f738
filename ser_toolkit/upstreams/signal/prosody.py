"""Prosody of each frame: pitch and voicing from the waveform, energy and the shape of the spectrum."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.upstreams.signal.mel import centred_frames

#: Range of F0 that is looked for, in Hz: a low male creak to a woman shouting.
F0_RANGE_HZ = (55.0, 600.0)
#: F0 is given in semitones above this (A0), as in eGeMAPS.
SEMITONE_REFERENCE_HZ = 27.5
#: Stretch of speech that is compared with its own past, in seconds.
CORRELATION_SECONDS = 0.025
#: A lag at the long end of the range must correlate better by this share than one at the short end, since two periods
#: fit as well as one. The idea is Talkin's (RAPT, 1995).
LAG_PENALTY = 0.1
#: Samples softer than this (-80 dB of full scale) count as silence, so that it has no pitch.
SILENCE_AMPLITUDE = 1e-4
#: Frames analysed at a time, to bound the memory that a long recording takes.
FRAMES_AT_ONCE = 4096


def pitch(wav: Tensor, lengths: Tensor, hop: int, sampling_rate: int) -> tuple[Tensor, Tensor]:
    """F0 and voicing of frames centred at 0, hop, 2 hop, ...: (B, N), (B,) -> two (B, T).

    Normalised cross-correlation of each frame with itself one lag later, the best local maximum with a parabola
    through it. There is no tracking from frame to frame, so a frame depends on some 43 ms around it alone.

    Source: Talkin, A robust algorithm for pitch tracking (RAPT), in Speech Coding and Synthesis, 1995;
    voicing: Ghahremani et al., A pitch extraction algorithm tuned for ASR, ICASSP 2014.

    Returns:
        F0 in Hz of the most likely period (whether voiced or not), and the probability of voicing in [0, 1].
    """
    span = round(CORRELATION_SECONDS * sampling_rate)
    shortest = math.floor(sampling_rate / F0_RANGE_HZ[1])
    longest = math.ceil(sampling_rate / F0_RANGE_HZ[0])
    # librosa's pyin takes one utterance at a time on the CPU and tracks through all of it, so padding would matter;
    # torchaudio's detect_pitch_frequency gives no voicing. Both see no batch, and the tests compare with pyin.
    block = span + longest + 1
    frames = int(centred_frames(lengths, hop).max())
    speech = wav * valid_mask(lengths, wav.shape[1])
    # zeros beyond either end, as many as the last frame needs
    right = max(0, (frames - 1) * hop + block - block // 2 - speech.shape[1])
    blocks = F.pad(speech, (block // 2, right)).unfold(1, block, hop)[:, :frames]
    parts = [_pitch_of_blocks(part, span, shortest, longest) for part in blocks.split(FRAMES_AT_ONCE, dim=1)]
    lag = torch.cat([part[0] for part in parts], dim=1)
    voicing = torch.cat([part[1] for part in parts], dim=1)
    return sampling_rate / lag, voicing


def _pitch_of_blocks(blocks: Tensor, span: int, shortest: int, longest: int) -> tuple[Tensor, Tensor]:
    """Best lag in samples, with fraction, and voicing: (B, T, W) -> two (B, T)."""
    correlation = _normalised_correlation(blocks, span)[..., shortest - 1 : longest + 2]
    before, here, after = correlation[..., :-2], correlation[..., 1:-1], correlation[..., 2:]
    lags = torch.arange(shortest, longest + 1, device=blocks.device)
    is_peak = (here > before) & (here >= after)
    score = (here * (1 - LAG_PENALTY * lags / longest)).masked_fill(~is_peak, -torch.inf)
    best = score.argmax(dim=-1, keepdim=True)
    low, top, high = (values.gather(-1, best).squeeze(-1) for values in (before, here, after))
    curvature = (low - 2 * top + high).clamp(max=-1e-7)
    offset = (0.5 * (low - high) / curvature).clamp(-0.5, 0.5)
    peak = top - 0.25 * (low - high) * offset
    voicing = voicing_probability(peak) * is_peak.any(dim=-1)
    return lags[best.squeeze(-1)] + offset, voicing


def _normalised_correlation(blocks: Tensor, span: int) -> Tensor:
    """Correlation of the first ``span`` samples with those k later: (B, T, W) -> (B, T, W - span + 1) in [-1, 1]."""
    width = blocks.shape[-1]
    # an offset of the microphone would correlate at every lag
    blocks = blocks - blocks.mean(dim=-1, keepdim=True)
    size = 2 ** math.ceil(math.log2(width))
    spectrum = torch.fft.rfft(blocks, size)
    head = torch.fft.rfft(blocks[..., :span], size)
    products = torch.fft.irfft(head.conj() * spectrum, size)[..., : width - span + 1]
    energy = F.pad(blocks.square().cumsum(dim=-1), (1, 0))
    energy = (energy[..., span:] - energy[..., : width - span + 1]).clamp(min=0)
    silence = (span * SILENCE_AMPLITUDE**2) ** 2
    return products / (energy[..., :1] * energy + silence).sqrt()


def voicing_probability(correlation: Tensor) -> Tensor:
    """Probability of voicing, fitted by Ghahremani et al. (ICASSP 2014) to the correlation at the peak."""
    c = correlation.clamp(0, 1)
    logit = -5.2 + 5.4 * (7.5 * (c - 1)).exp() + 4.8 * c - 2 * (-10 * c).exp() + 4.2 * (20 * (c - 1)).exp()
    return logit.sigmoid()


def semitones(f0: Tensor) -> Tensor:
    """Hz -> semitones above 27.5 Hz."""
    return 12 * torch.log2(f0 / SEMITONE_REFERENCE_HZ)


def spectral_shape(power: Tensor, sampling_rate: int, floor: float) -> Tensor:
    """Centroid (kHz), tilt (dB per kHz) and flux (0 to 1) of each frame: (B, T, F) -> (B, T, 3).

    Centroid: mean frequency weighted with power. Tilt: slope of the straight line through the spectrum in dB. Flux:
    half the squared distance to the previous frame's amplitude spectrum, both at norm 1; 0 in the first frame.

    Source: Peeters, A large set of audio features for sound description, Ircam, 2004.
    """
    kilohertz = torch.linspace(0, sampling_rate / 2000, power.shape[-1], device=power.device)
    total = power.sum(dim=-1, keepdim=True) + floor
    centroid = (power * kilohertz).sum(dim=-1) / total.squeeze(-1)
    centred = kilohertz - kilohertz.mean()
    tilt = (10 * torch.log10(power + floor) * centred).sum(dim=-1) / centred.square().sum()
    amplitude = ((power + floor) / (total + floor * power.shape[-1])).sqrt()
    flux = 0.5 * (amplitude[:, 1:] - amplitude[:, :-1]).square().sum(dim=-1)
    return torch.stack([centroid, tilt, F.pad(flux, (1, 0))], dim=-1)
