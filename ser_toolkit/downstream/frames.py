"""Frame stages: frames -> frames, between the layer mix and the pooling."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import Part


class FrameStage(nn.Module, Part):
    """Frames -> frames: (B, T, D), (B,) -> (B, T', D'), (B,).

    Args:
        input_dim: D, injected.
    """

    #: Whether the map is linear in each frame by itself (then it commutes with the mean over time).
    linear: bool = False

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.output_dim = input_dim

    @abstractmethod
    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T', D'), (B,); frames behind the new lengths may hold anything."""


class NoFrameStage(FrameStage):
    """Frames go to the pooling as they are.

    Args:
        input_dim: D, injected.
    """

    linear = True

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> the same."""
        return frames, lengths


class LinearProjection(FrameStage):
    """A linear layer on every frame, as in SUPERB: with mean pooling and a linear head it is a linear probe.

    Source: Yang et al. 2021, "SUPERB", emotion recognition. See LinearReLU for the probe of EmoBox and emotion2vec,
    which has as many parameters but is another function.

    Args:
        input_dim: D, injected.
        dim: D', features of a frame behind the layer.
    """

    linear = True

    def __init__(self, input_dim: int, dim: int = 256) -> None:
        super().__init__(input_dim)
        self.output_dim = dim
        self.projection = nn.Linear(input_dim, dim)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T, dim), (B,)."""
        return self.projection(frames), lengths


class LinearReLU(FrameStage):
    """A linear layer and a ReLU on every frame, as in EmoBox and emotion2vec.

    Source: Ma et al. 2024, "EmoBox"; Ma et al. 2024, "emotion2vec" (downstream of both).

    Args:
        input_dim: D, injected.
        dim: D', features of a frame behind the layer.
        dropout: probability, in [0, 1), that a feature of a frame is dropped behind the ReLU.
    """

    def __init__(self, input_dim: int, dim: int = 256, dropout: float = 0.0) -> None:
        super().__init__(input_dim)
        self.output_dim = dim
        self.projection = nn.Linear(input_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T, dim), (B,)."""
        return self.dropout(self.projection(frames).relu()), lengths


class MaskedBatchNorm2d(nn.Module):
    """Batch normalisation whose training statistics are those of valid positions only.

    Equal to ``nn.BatchNorm2d`` when nothing is padded. In evaluation the running statistics are used, so an utterance
    does not depend on the batch it is in. Statistics are per process, and taken in float32 at least.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1.

    Args:
        channels: C.
        eps: added to the variance.
        momentum: share of the new batch in the running statistics, in (0, 1].
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, images: Tensor, lengths: Tensor) -> Tensor:
        """(B, C, T, F), (B,) frames -> (B, C, T, F), zero behind ``lengths``."""
        mask = valid_mask(lengths, images.shape[2])[:, None, :, None]
        values = images.to(torch.promote_types(images.dtype, torch.float32)).masked_fill(~mask, 0.0)
        # Products of (C, 1, 1) and (B, 1, T, 1) keep padding at zero: a pass over the images themselves is dear.
        valid = mask.to(values.dtype)
        count = valid.sum() * values.shape[3]
        mean = values.sum(dim=(0, 2, 3)) / count if self.training else self.running_mean
        centred = values - mean[:, None, None] * valid
        variance = centred.square().sum(dim=(0, 2, 3)) / count if self.training else self.running_var
        if self.training:
            self._remember(mean.detach(), variance.detach(), count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        out = torch.addcmul(self.bias[:, None, None] * valid, centred, scale[:, None, None])
        return out.to(images.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Update the running statistics, as torch does: with the unbiased variance.

        One position has none (torch refuses it): it would be remembered as a variance of 0, so nothing is.
        """
        unbiased = variance * count / (count - 1).clamp_min(1)
        share = (count > 1).to(self.running_mean) * self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(unbiased.to(self.running_var), share)


class _ConvolutionBlock(nn.Module):
    """Convolution, masked batch norm, ReLU, max pooling, dropout: (B, C, T, F) -> (B, C', ceil(T/p), ceil(F/q))."""

    def __init__(
        self, channels: int, outputs: int, kernel_size: int, pool_time: int, pool_frequency: int, dropout: float
    ) -> None:
        super().__init__()
        self.pool_time = pool_time
        # No bias: the batch norm behind it has one.
        self.convolution = nn.Conv2d(channels, outputs, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = MaskedBatchNorm2d(outputs)
        # ceil_mode keeps the last, partly filled window, so that even one frame leaves one frame.
        self.pool = nn.MaxPool2d((pool_time, pool_frequency), ceil_mode=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Images must be zero behind ``lengths``, and are so again on return."""
        # Zeros behind the end are what the convolution's own padding is for an utterance alone. Behind the ReLU
        # all values are >= 0, so a zero never wins a window of the max pooling that holds a valid position.
        values = self.pool(self.norm(self.convolution(images), lengths).relu())
        return self.dropout(values), lengths.add(self.pool_time - 1).div(self.pool_time, rounding_mode="floor")


class MelCNN(FrameStage):
    """A small convolutional network over time and frequency, for log-mel frames without a pre-trained upstream.

    Each block is convolution, batch norm, ReLU, max pooling and dropout; D is read as the frequency axis, and what is
    left of it is laid out with the channels: D' = channels[-1] * ceil(D / pool_frequency ** blocks), and as much time.

    Source: the blocks are those of Kong et al. 2020, "PANNs", with one convolution a block.

    Args:
        input_dim: D frequency bands, injected.
        channels: output channels of each block.
        kernel_size: extent of the convolution in time and frequency; odd.
        pool_time: how many frames one frame becomes in each block.
        pool_frequency: how many bands one band becomes in each block.
        dropout: probability, in [0, 1), that a value is dropped behind each block.
        input_norm: batch normalisation of each frequency band before the first block.

    Raises:
        RecipeError: the kernel is even, or a size is not positive.
    """

    def __init__(
        self,
        input_dim: int,
        channels: tuple[int, ...] = (32, 64, 128),
        kernel_size: int = 3,
        pool_time: int = 2,
        pool_frequency: int = 2,
        dropout: float = 0.1,
        input_norm: bool = True,
    ) -> None:
        super().__init__(input_dim)
        if kernel_size % 2 == 0:
            raise RecipeError(f"MelCNN: kernel_size must be odd to keep the frames in place, found {kernel_size}.")
        if not channels or min(*channels, kernel_size, pool_time, pool_frequency) < 1:
            raise RecipeError(
                f"MelCNN: channels ({list(channels)}, at least one block), kernel_size ({kernel_size}), pool_time "
                f"({pool_time}) and pool_frequency ({pool_frequency}) must be positive."
            )
        self.input_norm = MaskedBatchNorm2d(input_dim) if input_norm else None
        blocks = []
        bands, inputs = input_dim, 1
        for outputs in channels:
            blocks.append(_ConvolutionBlock(inputs, outputs, kernel_size, pool_time, pool_frequency, dropout))
            bands, inputs = -(-bands // pool_frequency), outputs
        self.blocks = nn.ModuleList(blocks)
        self.output_dim = inputs * bands

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T', D'), (B,) with T' = ceil(T / pool_time ** blocks)."""
        frames = frames.masked_fill(~valid_mask(lengths, frames.shape[1])[..., None], 0.0)
        if self.input_norm is not None:
            # Bands take the place of channels, so that each has its own statistics.
            frames = self.input_norm(frames.transpose(1, 2)[..., None], lengths)[..., 0].transpose(1, 2)
        images = frames[:, None]
        for block in self.blocks:
            images, lengths = block(images, lengths)
        return images.transpose(1, 2).flatten(2), lengths
