"""Normalisation over valid samples alone: statistics over a whole row would make results depend on padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask


def zero_behind(values: Tensor, valid: Tensor) -> Tensor:
    """(B, T, D) with zeros where ``valid`` (B, T) is False."""
    return values.masked_fill(~valid[..., None], 0)


def normalise_waves(wav: Tensor, lengths: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Zero mean and unit (population) variance per utterance over its valid samples: (B, N) -> (B, N), zero behind."""
    valid = valid_mask(lengths, wav.shape[1])
    values = wav.to(_exact_type(wav)).masked_fill(~valid, 0)
    count = lengths[:, None].to(values.dtype)
    centred = (values - values.sum(1, keepdim=True) / count).masked_fill(~valid, 0)
    variance = centred.square().sum(1, keepdim=True) / count
    return (centred / torch.sqrt(variance + epsilon)).to(wav.dtype)


def masked_first_layer(conv: nn.Conv1d, norm: nn.GroupNorm, wav: Tensor, lengths: Tensor) -> Tensor:
    """First convolution and its group norm, normalised over the frames of each utterance alone.

    One group per channel over time makes the group norm depend on everything in the row, padding included. The
    statistics of a linear layer follow from those of its input: with window mean m and covariance S over the valid
    windows, channel w has mean w.m and variance w'Sw. So only k x k moments of the waveform are masked, in double
    precision, and the large output is scaled once, in place of three more passes over it.

    Args:
        conv: 1 input channel, C output channels, no padding.
        norm: C groups of one channel.
        wav: (B, N); samples beyond ``lengths`` never change a result.
        lengths: (B,) samples, each at least one window.

    Returns:
        (B, C, T).
    """
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    with torch.autocast(wav.device.type, enabled=False):
        mean, covariance = window_moments(wav, lengths, kernel, stride)
        weight = conv.weight[:, 0, :].to(mean.dtype)
        channel_mean = mean @ weight.T
        if conv.bias is not None:
            channel_mean = channel_mean + conv.bias
        variance = ((weight @ covariance) * weight).sum(-1).clamp(min=0)
        scale = torch.rsqrt(variance + norm.eps) * norm.weight
        shift = norm.bias - channel_mean * scale
    out = conv(wav[:, None, :])
    return torch.addcmul(shift[..., None].to(out.dtype), out, scale[..., None].to(out.dtype))


def window_moments(wav: Tensor, lengths: Tensor, kernel: int, stride: int) -> tuple[Tensor, Tensor]:
    """Mean (B, k) and covariance (B, k, k) of the valid windows of each waveform."""
    windows = wav.detach().to(_exact_type(wav)).unfold(1, kernel, stride)
    count = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
    valid = valid_mask(count, windows.shape[1])
    number = count[:, None].to(windows.dtype)
    mean = zero_behind(windows, valid).sum(1) / number
    centred = zero_behind(windows - mean[:, None, :], valid)
    return mean, centred.transpose(1, 2) @ centred / number[..., None]


def _exact_type(values: Tensor) -> torch.dtype:
    """Double precision where the device has it."""
    return torch.float32 if values.device.type == "mps" else torch.float64
