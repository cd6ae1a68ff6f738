"""Frame stages with context in time: convolutions, transformer layers, and several stages one behind the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.downstream.frames import FrameStage, LinearProjection, LinearReLU, MaskedBatchNorm2d
from ser_toolkit.errors import RecipeError

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
_NORMS = ("none", "batch", "layer")


def _check(part: str, options: dict[str, int], dropout: float) -> None:
    """Sizes must be positive, the dropout a probability."""
    wrong = [f"{name}={value}" for name, value in options.items() if value < 1]
    if wrong:
        raise RecipeError(f"{part}: {', '.join(wrong)} must be positive.")
    if not 0 <= dropout < 1:
        raise RecipeError(f"{part}: dropout must lie in [0, 1), found {dropout}.")
    if options.get("kernel_size", 1) % 2 == 0:
        raise RecipeError(
            f"{part}: kernel_size must be odd to keep the frames in place, found {options['kernel_size']}."
        )


def _fewer(lengths: Tensor, step: int) -> Tensor:
    """How many frames are left when one in ``step`` is kept, the first one in any case: ceil(lengths / step)."""
    return lengths.add(step - 1).div(step, rounding_mode="floor")


def _zeroed(frames: Tensor, lengths: Tensor) -> Tensor:
    """(B, C, T) frames with zeros behind the lengths: what a convolution pads an utterance alone with."""
    return frames.masked_fill(~valid_mask(lengths, frames.shape[2])[:, None], 0.0)


class _ConvolutionLayer(nn.Module):
    """Convolution over time, norm, activation, max pooling, dropout: (B, C, T) -> (B, C', ceil(ceil(T / s) / p))."""

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, stride: int, pool: int, activation: str, norm: str
    ) -> None:
        super().__init__()
        self.stride, self.pool = stride, pool
        self.convolution = nn.Conv1d(
            inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=norm != "batch"
        )
        self.batch_norm = MaskedBatchNorm2d(outputs) if norm == "batch" else None
        self.layer_norm = nn.LayerNorm(outputs) if norm == "layer" else None
        self.activation = _ACTIVATIONS[activation]()

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        values, lengths = self.convolution(_zeroed(frames, lengths)), _fewer(lengths, self.stride)
        if self.batch_norm is not None:
            values = self.batch_norm(values[..., None], lengths)[..., 0]
        if self.layer_norm is not None:
            values = self.layer_norm(values.transpose(1, 2)).transpose(1, 2)
        values = self.activation(values)
        if self.pool > 1:
            # A frame behind the end never wins; the last, partly filled window is kept.
            values = values.masked_fill(~valid_mask(lengths, values.shape[2])[:, None], -torch.inf)
            values = nn.functional.max_pool1d(values, self.pool, ceil_mode=True)
            lengths = _fewer(lengths, self.pool)
            # Windows of padding alone gave -inf: a pooling of ``peers``, which reads padding, would be lost.
            values = _zeroed(values, lengths)
        return values, lengths


class ConvolutionalEncoder(FrameStage):
    """One-dimensional convolutions over time, all features at once: T' = T / (stride * pool) ** layers, rounded up.

    Each layer is convolution, normalisation, activation, max pooling over time and dropout. See MelCNN for
    convolutions over time and frequency.

    Source: LeCun & Bengio 1995, "Convolutional networks for images, speech, and time series"; Waibel et al. 1989,
    "Phoneme recognition using time-delay neural networks".

    Args:
        input_dim: D, injected.
        channels: features of a frame behind each layer; D' is the last.
        kernel_size: frames that a convolution sees; odd.
        stride: each convolution keeps one frame in this many.
        pool: how many frames max pooling makes one of behind each layer; 1 for none.
        activation: behind each convolution: "relu", "gelu" or "tanh".
        dropout: probability, in [0, 1), that a value is dropped behind each layer.
        norm: before the activation: "none", "batch" (statistics of valid frames only) or "layer" (of each frame).

    Raises:
        RecipeError: the kernel is even, a size is not positive, or the activation or norm is unknown.
    """

    def __init__(
        self,
        input_dim: int,
        channels: tuple[int, ...] = (128, 128),
        kernel_size: int = 5,
        stride: int = 1,
        pool: int = 1,
        activation: Literal["relu", "gelu", "tanh"] = "relu",
        dropout: float = 0.1,
        norm: Literal["none", "batch", "layer"] = "layer",
    ) -> None:
        super().__init__(input_dim)
        sizes = {f"channels[{number}]": size for number, size in enumerate(channels)}
        _check("ConvolutionalEncoder", sizes | {"kernel_size": kernel_size, "stride": stride, "pool": pool}, dropout)
        if not channels:
            raise RecipeError("ConvolutionalEncoder: channels must name at least one layer, such as [128].")
        if activation not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise RecipeError(f"ConvolutionalEncoder: activation must be one of {known}, found {activation!r}.")
        if norm not in _NORMS:
            raise RecipeError(f"ConvolutionalEncoder: norm must be one of {', '.join(_NORMS)}, found {norm!r}.")
        self.layers = nn.ModuleList(
            _ConvolutionLayer(inputs, outputs, kernel_size, stride, pool, activation, norm)
            for inputs, outputs in zip([input_dim, *channels[:-1]], channels, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.output_dim = channels[-1]

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T', D'), (B,)."""
        values = frames.transpose(1, 2)
        for layer in self.layers:
            values, lengths = layer(values, lengths)
            values = self.dropout(values)
        return values.transpose(1, 2), lengths


class AveragePooledCNN(FrameStage):
    """Average pooling over time, then three convolutions: the network below s3prl's CNN self-attention head.

    With LinearProjection(256) before it, SelfAttentivePooling and MLPHead(hidden_dim=80, dropout=0) behind it, this is
    s3prl's ``DeepModel`` with ``CNNSelfAttention`` for an utterance alone. The averages at either end count zeros as
    frames, as there. Padding never matters here; there the projection's bias leaks from it into the last averages.

    Source: s3prl, ``s3prl/downstream/emotion/model.py`` and ``config.yaml`` (the sizes).

    Args:
        input_dim: D, injected.
        hidden_dim: D', features of a frame behind each convolution.
        kernel_size: frames that the average and each convolution see; odd.
        pool: the average keeps one frame in this many: T' = T / pool, rounded up.
        dropout: probability, in [0, 1), that a value is dropped behind the average and the first two convolutions.

    Raises:
        RecipeError: the kernel is even, or a size is not positive.
    """

    def __init__(
        self, input_dim: int, hidden_dim: int = 80, kernel_size: int = 5, pool: int = 5, dropout: float = 0.4
    ) -> None:
        super().__init__(input_dim)
        _check("AveragePooledCNN", {"hidden_dim": hidden_dim, "kernel_size": kernel_size, "pool": pool}, dropout)
        self.pool = pool
        self.average = nn.AvgPool1d(kernel_size, pool, kernel_size // 2)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, hidden_dim, kernel_size, padding=kernel_size // 2)
            for inputs in (input_dim, hidden_dim, hidden_dim)
        )
        self.dropout = nn.Dropout(dropout)
        self.output_dim = hidden_dim

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, ceil(T / pool), hidden_dim), (B,)."""
        values = self.average(_zeroed(frames.transpose(1, 2), lengths))
        lengths = _fewer(lengths, self.pool)
        for number, convolution in enumerate(self.convolutions):
            values = values.relu() if number else values
            values = convolution(_zeroed(self.dropout(values), lengths))
        return values.transpose(1, 2), lengths


def _sinusoids(length: int, dim: int, like: Tensor) -> Tensor:
    """Sines and cosines of the position, in turn: (length, dim). Vaswani et al. 2017, section 3.5."""
    rates = torch.exp(torch.arange(0, dim, 2, device=like.device) * (-math.log(10000.0) / dim))
    angles = torch.arange(length, device=like.device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim].to(like.dtype)


class TransformerEncoder(FrameStage):
    """Transformer layers over the frames, normalised before each block: every frame sees the whole utterance.

    Source: Vaswani et al. 2017, "Attention is all you need", section 3; Xiong et al. 2020, "On layer normalization in
    the transformer architecture" (normalisation before each block and behind the last).

    Args:
        input_dim: D, injected.
        dim: D', to which a linear layer first brings the frames; null keeps D and has no such layer.
        num_layers: layers on top of each other.
        num_heads: of the attention; divides the size of a frame.
        feedforward_dim: hidden size of the network behind the attention.
        dropout: probability, in [0, 1), inside each layer and on what enters the first.
        positions: "sinusoidal" adds the position in time to what enters the first layer, "none" leaves it out.

    Raises:
        RecipeError: a size is not positive, the heads do not divide the frame, or the positions are unknown.
    """

    def __init__(
        self,
        input_dim: int,
        dim: int | None = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        feedforward_dim: int = 256,
        dropout: float = 0.1,
        positions: Literal["sinusoidal", "none"] = "sinusoidal",
    ) -> None:
        super().__init__(input_dim)
        size = input_dim if dim is None else dim
        sizes = {"dim": size, "num_layers": num_layers, "num_heads": num_heads, "feedforward_dim": feedforward_dim}
        _check("TransformerEncoder", sizes, dropout)
        if size % num_heads:
            raise RecipeError(
                f"TransformerEncoder: num_heads ({num_heads}) must divide the size of a frame ({size}, "
                f"{'that comes in, as dim is null' if dim is None else 'dim'})."
            )
        if positions not in ("sinusoidal", "none"):
            raise RecipeError(f"TransformerEncoder: positions must be 'sinusoidal' or 'none', found {positions!r}.")
        self.positions = positions
        self.projection = nn.Identity() if dim is None else nn.Linear(input_dim, dim)
        self.dropout = nn.Dropout(dropout)
        # Not nn.TransformerEncoder: it starts every layer from the same weights, and may leave for nested tensors.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(size, num_heads, feedforward_dim, dropout, batch_first=True, norm_first=True)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(size)
        self.output_dim = size

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T, D'), (B,)."""
        behind = ~valid_mask(lengths, frames.shape[1])
        # A weight of zero does not stop a NaN: what is not attended to must be finite.
        values = self.projection(frames.masked_fill(behind[..., None], 0.0))
        if self.positions == "sinusoidal":
            values = values + _sinusoids(values.shape[1], values.shape[2], values)
        values = self.dropout(values)
        for layer in self.layers:
            values = layer(values, src_key_padding_mask=behind)
        return self.norm(values), lengths


class FrameStages(FrameStage):
    """Several frame stages, one behind the other: a CNN-BLSTM is MelCNN, then RecurrentEncoder.

    On the command line ``model.frames.stages+=RecurrentEncoder`` adds one, and an option such as
    ``model.frames.stages.hidden_dim=64`` is one of the last stage's.

    Args:
        input_dim: D, injected.
        stages: in order; each takes the size that the one before it gives. The default is a network of two layers on
            every frame by itself.

    Raises:
        RecipeError: there is no stage.
    """

    def __init__(
        self, input_dim: int, stages: Sequence[Callable[[int], FrameStage]] = (LinearReLU, LinearProjection)
    ) -> None:
        super().__init__(input_dim)
        if not stages:
            raise RecipeError("FrameStages: stages must name at least one frame stage; for none use NoFrameStage.")
        self.stages = nn.ModuleList()
        for build in stages:
            stage = build(self.output_dim)
            self.stages.append(stage)
            self.output_dim = stage.output_dim
        self.linear = all(stage.linear for stage in self.stages)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T', D'), (B,)."""
        for stage in self.stages:
            frames, lengths = stage(frames, lengths)
        return frames, lengths
