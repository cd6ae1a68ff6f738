"""TIM-Net: dilated causal convolutions over a frame sequence and its mirror image, mixed over time scales."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.downstream.frames import FrameStage
from ser_toolkit.errors import RecipeError

#: Added to the variance by the batch norms of the published network.
NORM_EPS = 1e-3
#: Weights of the scales start uniformly between minus and plus this.
SCALE_RANGE = 0.05


class TIMNet(FrameStage):
    """Temporal-aware blocks with dilation 1, 2, 4, ... in both directions of time, summed with a weight per scale.

    A stream is a linear layer on every frame and ``num_blocks`` temporal-aware blocks. Block j looks back by causal
    convolutions of dilation 2^j and multiplies its input by the gate sigmoid(relu(...)), so between a half and one. A
    second stream with weights of its own hears the utterance backwards, from its last valid frame to its first, and its
    frames are put back in their places. With f_j and b_j behind block j of either stream,

        y[t] = sum_j w_j (f_j[t] + b_j[t]),

    where the scalars w_j are learned without a softmax. The mean over time commutes with that sum: under
    ``pooling=MeanPooling`` and ``head=LinearHead`` this *is* TIM-Net. On 39 features it then has 104,456, 104,496 and
    104,536 trainable parameters for 6, 7 and 8 classes, and 129,650 with ``num_blocks=10`` (IEMOCAP) for 4.

    What differs from the authors' code: utterances keep their length (they pad or crop the waveform to a fixed length,
    and zeros count in their means and batch norms; here neither sees padding), and the running statistics of the batch
    norms move by 0.1 a batch (theirs by 0.01, for ten times as many steps).

    Source: Ye et al. 2023, "Temporal modeling matters", ICASSP, arXiv 2211.08233; initial values, epsilon and
    the ReLU before the gate are those of the authors' code.

    Args:
        input_dim: D, injected.
        num_blocks: temporal-aware blocks of a stream, n; 8, or 10 for long utterances.
        filters: D', channels of every convolution.
        kernel_size: frames that a convolution takes, k, at least 2; it reaches back (k - 1) 2^j frames.
        dropout: probability, in [0, 1), that a channel of an utterance is dropped behind each convolution.
        bidirectional: ``False`` leaves the backward stream out: then y[t] hears only frames up to t.

    Raises:
        RecipeError: a size or the probability is out of range.
    """

    def __init__(
        self,
        input_dim: int,
        num_blocks: int = 8,
        filters: int = 39,
        kernel_size: int = 2,
        dropout: float = 0.1,
        bidirectional: bool = True,
    ) -> None:
        super().__init__(input_dim)
        if num_blocks < 1 or filters < 1 or kernel_size < 2 or not 0 <= dropout < 1:
            raise RecipeError(
                f"TIMNet got num_blocks={num_blocks}, filters={filters}, kernel_size={kernel_size}, dropout={dropout}: "
                "expected num_blocks and filters of at least 1, kernel_size of at least 2, and 0 <= dropout < 1."
            )
        self.output_dim = filters
        #: Frames that one output frame depends on, its own included, to each side that is heard.
        self.receptive_frames = 1 + 2 * (kernel_size - 1) * (2**num_blocks - 1)
        options = (input_dim, num_blocks, filters, kernel_size, dropout)
        self.forwards = _Stream(*options)
        self.backwards = _Stream(*options) if bidirectional else None
        self.scales = nn.Parameter(torch.empty(num_blocks).uniform_(-SCALE_RANGE, SCALE_RANGE))

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T, filters), (B,)."""
        mask = valid_mask(lengths, frames.shape[1])
        position = torch.arange(frames.shape[1], device=frames.device).expand_as(mask)
        # From here on the valid frames of all utterances stand in one row: there is no padding to be kept out.
        before, after = position[mask], (lengths[:, None] - 1 - position)[mask]
        counts = lengths.to(mask.device)
        packed = self.forwards(frames[mask], before, counts, self.scales)
        if self.backwards is not None:
            packed = packed + self.backwards(frames[mask].flip(0), after.flip(0), counts.flip(0), self.scales).flip(0)
        out = packed.new_zeros(*mask.shape, self.output_dim)
        return out.masked_scatter(mask[..., None], packed), lengths


class _Stream(nn.Module):
    """One direction: a linear layer and the blocks, whose outputs are summed with the weights of the scales."""

    def __init__(self, input_dim: int, num_blocks: int, filters: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(input_dim, filters)
        _initialise(self.projection, input_dim, filters)
        self.blocks = nn.ModuleList(
            _TemporalAwareBlock(filters, kernel_size, 2**level, dropout) for level in range(num_blocks)
        )

    def forward(self, frames: Tensor, position: Tensor, counts: Tensor, scales: Tensor) -> Tensor:
        """Valid frames (N, D) of one utterance behind the other -> (N, C).

        Args:
            frames: in the order in which the stream hears them.
            position: (N,) frames of the same utterance that were heard before this one.
            counts: (B,) frames of each utterance.
            scales: (n,) weights.
        """
        values = self.projection(frames)
        total = torch.zeros_like(values)
        for block, scale in zip(self.blocks, scales, strict=True):
            values = block(values, position, counts)
            total = total + scale * values
        return total


class _TemporalAwareBlock(nn.Module):
    """(N, C) -> (N, C): the input times a gate in [1/2, 1) from two causal convolutions."""

    def __init__(self, channels: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.steps = [dilation * tap for tap in reversed(range(kernel_size))]
        # A convolution is a linear layer on its taps side by side, the oldest first. Its bias does nothing in training,
        # the batch norm takes it out again; the published network has it.
        self.convolutions = nn.ModuleList(nn.Linear(kernel_size * channels, channels) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels, eps=NORM_EPS) for _ in range(2))
        self.dropout = dropout
        for convolution in self.convolutions:
            _initialise(convolution, kernel_size * channels, kernel_size * channels)

    def forward(self, values: Tensor, position: Tensor, counts: Tensor) -> Tensor:
        """The arguments are those of the stream."""
        gate = values
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            taps = torch.cat([delayed(gate, position, steps) for steps in self.steps], dim=1)
            gate = self._drop(norm(convolution(taps)).relu(), counts)
        return values * gate.sigmoid()

    def _drop(self, values: Tensor, counts: Tensor) -> Tensor:
        """Spatial dropout: a channel is dropped for the whole utterance. (N, C), (B,) -> (N, C)."""
        if not self.training or self.dropout == 0:
            return values
        mask = functional.dropout(values.new_ones(len(counts), values.shape[1]), self.dropout)
        return values * mask.repeat_interleave(counts, dim=0, output_size=len(values))


def delayed(values: Tensor, position: Tensor, steps: int) -> Tensor:
    """Frame of each utterance so many frames ago, zeros before its start: (N, C), (N,) -> (N, C)."""
    if steps == 0:
        return values
    moved = functional.pad(values[: max(len(values) - steps, 0)], (0, 0, min(steps, len(values)), 0))
    return moved * (position >= steps)[:, None]


def _initialise(layer: nn.Module, fan_in: int, fan_out: int) -> None:
    """Glorot uniform weights and no bias, as in the published network."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(layer.get_parameter("weight"), -bound, bound)
    nn.init.zeros_(layer.get_parameter("bias"))
