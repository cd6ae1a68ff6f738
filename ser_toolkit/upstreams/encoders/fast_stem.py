"""The convolutional feature encoder as matrix products, utterance by utterance, where no gradient is asked for.

Frames are rows and channels lie side by side, (T, C). A window of a strided convolution is then one stretch of memory,
and the convolution a matrix product over views: nothing is copied, padded frames are never computed, and no frame
depends on another utterance. On a CPU this takes the time of the matrix products alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_toolkit.upstreams.encoders.masked_norm import window_moments

#: Output frames that are computed at once (4 s at 20 ms): values between the layers then stay in the processor's
#: cache and in memory that the allocator keeps, and do not grow with the recording.
FRAMES = 200


def applies(layers: Sequence[Any], wav: Tensor) -> bool:
    """Whether ``fast_stem`` computes these layers: on a CPU, without gradients, plain convolutions."""
    if wav.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    learns = wav.requires_grad or any(parameter.requires_grad for layer in layers for parameter in layer.parameters())
    return not (torch.is_grad_enabled() and learns) and all(_is_plain(layer.conv) for layer in layers)


def fast_stem(layers: Sequence[Any], wav: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """Output of ``layers`` for each utterance alone.

    The first layer computes in float32 always, the others in the precision of their weights or of autocast.

    Args:
        layers: of a transformers feature encoder: ``conv``, ``activation`` and a ``layer_norm`` or none.
        wav: (B, N), float32; samples beyond ``lengths`` never change a result.
        lengths: (B,) samples, each at least one frame.
        frames: T of the result.

    Returns:
        (B, T, C), zero behind each utterance.
    """
    dtype = layers[-1].conv.weight.dtype
    if torch.is_autocast_enabled(wav.device.type):
        dtype = torch.get_autocast_dtype(wav.device.type)
    with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
        weights = [_flat(layer.conv, dtype) for layer in layers[1:]]
        out = wav.new_zeros(len(wav), frames, layers[-1].conv.out_channels, dtype=dtype)
        for row, signal, length in zip(out, wav.float(), lengths.tolist(), strict=True):
            _encode(layers, weights, signal[:length], row)
    return out


def _encode(layers: Sequence[Any], weights: list[Tensor], signal: Tensor, out: Tensor) -> None:
    """One utterance, (N,) -> the first rows of (T, C), in pieces that overlap by the window of a frame."""
    hop, receptive = 1, 1
    for layer in layers:
        receptive += (layer.conv.kernel_size[0] - 1) * hop
        hop *= layer.conv.stride[0]
    signal, weight, bias = _first(layers[0], signal)
    total = (len(signal) - receptive) // hop + 1
    for start in range(0, total, FRAMES):
        stop = min(start + FRAMES, total)
        piece = signal[start * hop : (stop - 1) * hop + receptive]
        windows = piece.unfold(0, layers[0].conv.kernel_size[0], layers[0].conv.stride[0])
        hidden = windows @ weight.T if bias is None else torch.addmm(bias, windows, weight.T)
        hidden = _finish(layers[0], hidden).to(out.dtype)
        for layer, flat in zip(layers[1:], weights, strict=True):
            hidden = _finish(layer, _convolve(layer.conv, flat, hidden))
        out[start:stop] = hidden


def _first(layer: Any, signal: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Signal, weight (C, k) and bias (C,) of the first convolution, a group norm over time folded into both.

    With the windows' mean m and covariance S, channel w has mean w.m and variance w'Sw over time. The norm takes the
    channel's mean off, so neither the signal's own mean nor the convolution's bias matters.
    """
    conv, norm = layer.conv, getattr(layer, "layer_norm", None)
    weight = conv.weight[:, 0, :].float()
    if not isinstance(norm, nn.GroupNorm):
        return signal, weight, None if conv.bias is None else conv.bias.float()
    signal = (signal - signal.double().mean()).float()
    length = torch.tensor([len(signal)])
    (mean,), (covariance,) = window_moments(signal[None], length, conv.kernel_size[0], conv.stride[0])
    exact = weight.double()
    variance = ((exact @ covariance) * exact).sum(-1).clamp(min=0)
    scale = torch.rsqrt(variance + norm.eps) * norm.weight
    return signal, (exact * scale[:, None]).float(), (norm.bias - (exact @ mean) * scale).float()


def _finish(layer: Any, hidden: Tensor) -> Tensor:
    """Layer norm over the channels, where there is one, and activation: (T, C) -> (T, C), in place where it can be."""
    norm = getattr(layer, "layer_norm", None)
    if isinstance(norm, nn.LayerNorm):
        weight, bias = norm.weight.to(hidden.dtype), norm.bias.to(hidden.dtype)
        hidden = F.layer_norm(hidden, norm.normalized_shape, weight, bias, norm.eps)
    return torch.ops.aten.gelu_(hidden) if _is_gelu(layer.activation) else layer.activation(hidden)


def _convolve(conv: nn.Conv1d, weight: Tensor, hidden: Tensor) -> Tensor:
    """(T, C) -> (T', D): of every window, ``stride`` frames at a time are the columns of one matrix product."""
    (kernel,), (stride,) = conv.kernel_size, conv.stride
    channels = hidden.shape[1]
    rows = (len(hidden) - kernel) // stride + 1

    def window(columns: slice) -> Tensor:
        shape, steps = (rows, columns.stop - columns.start), (stride * channels, 1)
        return hidden.as_strided(shape, steps, hidden.storage_offset() + columns.start)

    first, *others = (slice(tap * channels, min(tap + stride, kernel) * channels) for tap in range(0, kernel, stride))
    bias = None if conv.bias is None else conv.bias.to(hidden.dtype)
    out = F.linear(window(first), weight[:, first], bias)
    for columns in others:
        out.addmm_(window(columns), weight[:, columns].T)
    return out


def _flat(conv: nn.Conv1d, dtype: torch.dtype) -> Tensor:
    """Weights (D, C, k) as (D, k * C): the channels of one tap side by side."""
    return conv.weight.permute(0, 2, 1).to(dtype).flatten(1)


def _is_plain(conv: nn.Module) -> bool:
    # an adapter's wrapper or a parametrised weight is another class, and is called as it wants
    return type(conv) is nn.Conv1d and conv.groups == 1 and conv.dilation == (1,) and conv.padding == (0,)


def _is_gelu(activation: nn.Module) -> bool:
    """Of the exact GELU transformers has a class of its own."""
    return type(activation).__name__ == "GELUActivation" or (
        isinstance(activation, nn.GELU) and activation.approximate == "none"
    )
