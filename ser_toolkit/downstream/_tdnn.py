"""Blocks of ECAPA-TDNN whose valid frames do not depend on the padding behind them.

All map (B, C, T), (B,) -> (B, C', T). Values behind the lengths must be finite, and may be anything on return.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.downstream.frames import MaskedBatchNorm2d


def reflect_ends(values: Tensor, lengths: Tensor, pad: int) -> Tensor:
    """Each utterance mirrored at its own two ends, its first and last frame not repeated.

    Equal to ``torch.nn.functional.pad(mode="reflect")`` for each utterance alone. Where an utterance has no more than
    ``pad`` frames it is mirrored again and again, as by ``numpy.pad``; a single frame is repeated.

    Args:
        values: (B, C, T).
        lengths: (B,) frames, at least 1.
        pad: frames to add at each end.

    Returns:
        (B, C, T + 2 * pad); an utterance starts at ``pad`` and what is behind its mirrored end is meaningless.
    """
    if pad == 0:
        return values
    steps = torch.arange(1, pad + 1, device=values.device)
    last = (lengths - 1)[:, None]
    period = (2 * last).clamp_min(1)
    beyond = torch.cat([steps.flip(0).expand(len(lengths), -1), last + steps], dim=1) % period
    source = torch.minimum(beyond, period - beyond)[:, None].expand(-1, values.shape[1], -1)
    left, right = values.gather(2, source).split(pad, dim=2)
    target = (last + pad + steps)[:, None].expand(-1, values.shape[1], -1)
    # The right end is laid behind the batch to make room, and put where each utterance ends.
    return torch.cat([left, values, right], dim=2).scatter_(2, target, right)


class TDNN(nn.Module):
    """Convolution over time with reflected ends, ReLU, masked batch norm, channel dropout.

    Args:
        inputs: C.
        outputs: C'.
        kernel_size: frames that the convolution sees; odd.
        dilation: distance between them.
        dropout: probability, in [0, 1), that a channel of an utterance is dropped.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int = 1, dilation: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.pad = dilation * (kernel_size - 1) // 2
        self.convolution = nn.Conv1d(inputs, outputs, kernel_size, dilation=dilation)
        self.norm = MaskedBatchNorm2d(outputs)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(B, C, T), (B,) -> (B, C', T), zero behind ``lengths``."""
        values = self.convolution(reflect_ends(values, lengths, self.pad)).relu()
        return self.dropout(self.norm(values[..., None], lengths)[..., 0])


class Res2Net(nn.Module):
    """Groups of channels through a chain of convolutions, each fed its group and the result before.

    Source: Gao et al. 2019, "Res2Net", eq. 1.

    Args:
        channels: C, in and out.
        scale: groups of C / scale channels; the first passes through.
        kernel_size: of each convolution; odd.
        dilation: of each convolution.
    """

    def __init__(self, channels: int, scale: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.scale = scale
        width = channels // scale
        self.blocks = nn.ModuleList(TDNN(width, width, kernel_size, dilation) for _ in range(scale - 1))

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(B, C, T), (B,) -> (B, C, T)."""
        first, *groups = values.chunk(self.scale, dim=1)
        results = [first]
        for number, (block, group) in enumerate(zip(self.blocks, groups, strict=True)):
            results.append(block(group + results[-1] if number else group, lengths))
        return torch.cat(results, dim=1)


class SqueezeExcitation(nn.Module):
    """Each channel scaled by a gate in (0, 1) that sees the mean over time of all channels.

    Source: Desplanques et al. 2020, "ECAPA-TDNN", section 3.2; Hu et al. 2018, "Squeeze-and-excitation networks".

    Args:
        channels: C, in and out.
        bottleneck: hidden size of the gate.
    """

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, bottleneck)
        self.excite = nn.Linear(bottleneck, channels)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(B, C, T), (B,) -> (B, C, T); values must be zero behind ``lengths``."""
        mean = values.sum(dim=2, dtype=torch.promote_types(values.dtype, torch.float32)) / lengths[:, None]
        gate = self.excite(self.squeeze(mean.to(values.dtype)).relu()).sigmoid()
        return values * gate[..., None].to(values.dtype)


class SERes2Net(nn.Module):
    """TDNN, Res2Net, TDNN, squeeze-excitation, around which runs a residual.

    Source: Desplanques et al. 2020, "ECAPA-TDNN", section 3.2 and figure 1.

    Args:
        inputs: C.
        outputs: C'; where it is not C, the residual is projected.
        kernel_size: of the Res2Net's convolutions; odd.
        dilation: of the Res2Net's convolutions.
        scale: groups of the Res2Net.
        se_channels: hidden size of the squeeze-excitation.
        dropout: probability, in [0, 1), that a channel of an utterance is dropped behind the two TDNNs.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, dilation: int, scale: int, se_channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.before = TDNN(inputs, outputs, dropout=dropout)
        self.res2net = Res2Net(outputs, scale, kernel_size, dilation)
        self.behind = TDNN(outputs, outputs, dropout=dropout)
        self.gate = SqueezeExcitation(outputs, se_channels)
        self.shortcut = None if inputs == outputs else nn.Conv1d(inputs, outputs, 1)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(B, C, T), (B,) -> (B, C', T)."""
        residual = values if self.shortcut is None else self.shortcut(values)
        values = self.behind(self.res2net(self.before(values, lengths), lengths), lengths)
        return self.gate(values, lengths) + residual


def zero_behind(frames: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, D), (B,) -> the same with zeros behind ``lengths``."""
    return frames.masked_fill(~valid_mask(lengths, frames.shape[1])[..., None], 0.0)
