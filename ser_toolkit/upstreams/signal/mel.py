"""Short-time spectra and mel filters that see each utterance of a padded batch exactly as if it were alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import RecipeError


def centred_frames(lengths: Tensor, hop: int) -> Tensor:
    """Number of frames centred at 0, hop, 2 hop, ... up to the last sample: (B,) samples -> (B,) frames."""
    return torch.div(lengths, hop, rounding_mode="floor") + 1


def reflect_pad(wav: Tensor, lengths: Tensor, pad: int) -> Tensor:
    """Mirror each utterance at its own ends: (B, N), (B,) -> (B, max(lengths) + 2 pad), zeros behind its mirror image.

    ``F.pad(mode="reflect")`` would mirror the padding of a shorter utterance instead of its speech.

    Args:
        wav: waveforms.
        lengths: number of samples, each at least ``pad + 1``.
        pad: samples to add on either side.
    """
    last = lengths[:, None] - 1
    positions = torch.arange(-pad, int(lengths.max()) + pad, device=wav.device)[None, :]
    mirrored = last - (last - positions.abs()).abs()
    exists = positions <= last + pad
    return wav.gather(1, mirrored.clamp(min=0)) * exists


def power_spectrum(wav: Tensor, lengths: Tensor, n_fft: int, window: Tensor, hop: int) -> Tensor:
    """Squared magnitude of the centred short-time Fourier transform: (B, N), (B,) -> (B, T, n_fft / 2 + 1).

    Args:
        wav: (B, N) waveforms; samples beyond ``lengths`` never change a result.
        lengths: number of samples, each above ``n_fft / 2``.
        n_fft: transform length, in samples.
        window: (W,) with W <= n_fft; shorter windows are centred in the transform.
        hop: distance of two frames, in samples.

    Returns:
        T = max(lengths) // hop + 1 frames; those behind an utterance's own number of frames are meaningless.
    """
    padded = reflect_pad(wav, lengths, n_fft // 2)
    spectrum = torch.stft(
        padded, n_fft, hop_length=hop, win_length=len(window), window=window, center=False, return_complex=True
    )
    return (spectrum.real**2 + spectrum.imag**2).transpose(1, 2)


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """HTK mel scale. Source: O'Shaughnessy, Speech Communication, 1987: m = 2595 log10(1 + f / 700)."""
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


def mel_filterbank(num_mels: int, n_fft: int, sampling_rate: int, low_hz: float, high_hz: float) -> Tensor:
    """Triangles of height 1, equally wide in HTK mel: (n_fft / 2 + 1, num_mels), float32.

    Source: Davis & Mermelstein, IEEE Trans. ASSP 28(4), 1980; HTK mel scale, no area normalisation.

    Raises:
        RecipeError: the band is empty or leaves the spectrum, or a filter is narrower than the bins of the transform.
    """
    if not 0 <= low_hz < high_hz <= sampling_rate / 2:
        raise RecipeError(
            f"Mel band {low_hz} to {high_hz} Hz is impossible at {sampling_rate} Hz: expected "
            f"0 <= low_hz < high_hz <= {sampling_rate / 2}. Change low_hz or high_hz."
        )
    # float64: the corners of narrow filters would otherwise move by a visible part of their width, as in torchaudio's
    # melscale_fbanks, whose filters differ from these by a relative 4e-6 to 7e-6 (log mel by up to 1e-5 of its range)
    bins = torch.linspace(0, sampling_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    low, high = hertz_to_mel(torch.tensor([low_hz, high_hz], dtype=torch.float64)).tolist()
    mels = torch.linspace(low, high, num_mels + 2, dtype=torch.float64)
    corners = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins[:, None] - left) / (centre - left)
    falling = (right - bins[:, None]) / (right - centre)
    filters = torch.minimum(rising, falling).clamp(min=0)
    empty = int((filters.sum(dim=0) == 0).sum())
    if empty:
        raise RecipeError(
            f"{empty} of {num_mels} mel filters between {low_hz} and {high_hz} Hz contain no bin of a {n_fft}-point "
            "transform. Use fewer num_mels, a longer window or a wider band."
        )
    return filters.float()


def standardise(values: Tensor, lengths: Tensor, per_feature: bool, floor: float = 1e-5) -> Tensor:
    """Each utterance to mean 0 and standard deviation 1 over its own frames: (B, T, D), (B,) -> (B, T, D).

    Args:
        values: features; frames behind ``lengths`` do not matter and come back as zeros.
        lengths: number of frames.
        per_feature: one mean and standard deviation for each of the D features, or one pair for all.
        floor: smallest standard deviation, so that a constant utterance becomes zeros.
    """
    mask = valid_mask(lengths, values.shape[1])[:, :, None]
    dims = (1,) if per_feature else (1, 2)
    count = mask.sum(dim=1, keepdim=True) * (1 if per_feature else values.shape[2])
    mean = values.masked_fill(~mask, 0).sum(dim=dims, keepdim=True) / count
    centred = (values - mean).masked_fill(~mask, 0)
    # clamp before the root: the slope of the root at zero is infinite
    deviation = (centred.square().sum(dim=dims, keepdim=True) / count).clamp(min=floor**2).sqrt()
    return centred / deviation
