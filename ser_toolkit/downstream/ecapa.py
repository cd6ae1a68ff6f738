"""ECAPA-TDNN as an aggregator: ``frames=ECAPA pooling=ECAPAPooling head=LinearHead``, as in Morais et al. 2022."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_toolkit.downstream._tdnn import TDNN, SERes2Net, zero_behind
from ser_toolkit.downstream.attention import ChannelAttentiveStatisticsPooling
from ser_toolkit.downstream.frames import FrameStage, MaskedBatchNorm2d
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError


class ECAPA(FrameStage):
    """The frame layers of ECAPA-TDNN: a TDNN, SE-Res2Net blocks, and a TDNN on the outputs of all blocks.

    Convolutions see each utterance mirrored at its own ends, as SpeechBrain's ``ECAPA_TDNN`` does for an utterance
    alone, to which this is then equal; here it is so in any batch. An utterance shorter than the mirror image, on
    which SpeechBrain fails, is mirrored again and again; a single frame is repeated. Batch statistics are taken over
    valid frames only.

    The default is a quarter of the published width, for the few thousand utterances of an emotion corpus: the
    published sizes are ``channels=[512,512,512,512,1536]``, and 1024 in place of 512.

    Source: Desplanques et al. 2020, "ECAPA-TDNN", section 3; as a downstream of speech emotion recognition, Morais et
    al. 2022, "Speech emotion recognition using self-supervised features".

    Args:
        input_dim: D, injected.
        channels: output channels of the first TDNN, of each SE-Res2Net block, and of the last TDNN (= D').
        kernel_sizes: odd extent of the convolutions of each of them, in frames.
        dilations: distance between the frames that they see.
        res2net_scale: groups of channels in a Res2Net; must divide the channels of each block.
        se_channels: hidden size of the squeeze-excitation.
        dropout: probability, in [0, 1), that a channel of an utterance is dropped behind a TDNN.

    Raises:
        RecipeError: the three lists differ in length or have no block, a kernel is even, a size is not positive,
            ``res2net_scale`` does not divide, or ``dropout`` is out of range.
    """

    def __init__(
        self,
        input_dim: int,
        channels: tuple[int, ...] = (128, 128, 128, 128, 384),
        kernel_sizes: tuple[int, ...] = (5, 3, 3, 3, 1),
        dilations: tuple[int, ...] = (1, 2, 3, 4, 1),
        res2net_scale: int = 8,
        se_channels: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(input_dim)
        _check(channels, kernel_sizes, dilations, res2net_scale, se_channels, dropout)
        first, *middle, last = zip(channels, kernel_sizes, dilations, strict=True)
        self.first = TDNN(input_dim, *first, dropout=dropout)
        blocks = []
        for inputs, (outputs, kernel_size, dilation) in zip(channels, middle, strict=False):
            blocks.append(SERes2Net(inputs, outputs, kernel_size, dilation, res2net_scale, se_channels, dropout))
        self.blocks = nn.ModuleList(blocks)
        self.aggregation = TDNN(sum(channels[1:-1]), *last, dropout=dropout)
        self.output_dim = channels[-1]

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B,) -> (B, T, channels[-1]), (B,)."""
        values = self.first(zero_behind(frames, lengths).transpose(1, 2), lengths)
        outputs = []
        for block in self.blocks:
            values = block(values, lengths)
            outputs.append(values)
        return self.aggregation(torch.cat(outputs, dim=1), lengths).transpose(1, 2), lengths


def _check(
    channels: tuple[int, ...],
    kernel_sizes: tuple[int, ...],
    dilations: tuple[int, ...],
    res2net_scale: int,
    se_channels: int,
    dropout: float,
) -> None:
    if not len(channels) == len(kernel_sizes) == len(dilations) >= 3:
        raise RecipeError(
            "ECAPA: channels, kernel_sizes and dilations need one entry for the first TDNN, one for each block and one "
            f"for the last TDNN, at least 3, found {list(channels)}, {list(kernel_sizes)} and {list(dilations)}."
        )
    if min(*channels, *kernel_sizes, *dilations, res2net_scale, se_channels) < 1 or not 0 <= dropout < 1:
        raise RecipeError(
            f"ECAPA: channels ({list(channels)}), kernel_sizes ({list(kernel_sizes)}), dilations ({list(dilations)}), "
            f"res2net_scale ({res2net_scale}) and se_channels ({se_channels}) must be positive, and dropout in [0, 1), "
            f"found {dropout}."
        )
    if any(size % 2 == 0 for size in kernel_sizes):
        raise RecipeError(f"ECAPA: kernel_sizes must be odd to keep the frames in place, found {list(kernel_sizes)}.")
    if any(width % res2net_scale for width in channels[1:-1]):
        raise RecipeError(
            f"ECAPA: res2net_scale must divide the channels of each block, found res2net_scale={res2net_scale} and "
            f"channels {list(channels[1:-1])}."
        )


class ECAPAPooling(Pooling):
    """Pooling of ECAPA-TDNN behind its frame layers: channel attentive statistics, batch norm, a linear embedding.

    Source: Desplanques et al. 2020, "ECAPA-TDNN", figure 2, in the form of SpeechBrain's ``ECAPA_TDNN``, with no batch
    norm behind the linear layer.

    Args:
        input_dim: D, injected.
        embedding_dim: E, size of the utterance vector, at least 1.
        attention_channels: hidden size of the network that weighs frames.

    Raises:
        RecipeError: a size is not positive.
    """

    def __init__(self, input_dim: int, embedding_dim: int = 192, attention_channels: int = 128) -> None:
        super().__init__(input_dim)
        if embedding_dim < 1:
            raise RecipeError(f"ECAPAPooling: embedding_dim must be positive, found {embedding_dim}.")
        self.output_dim = embedding_dim
        self.statistics = ChannelAttentiveStatisticsPooling(input_dim, attention_channels)
        # The batch norm of torch refuses to train on one utterance; this one then gives its bias.
        self.norm = MaskedBatchNorm2d(2 * input_dim)
        self.embedding = nn.Linear(2 * input_dim, embedding_dim)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, embedding_dim)."""
        vector = self.statistics(frames, lengths)
        vector = self.norm(vector[:, :, None, None], torch.ones_like(lengths))[:, :, 0, 0]
        return self.embedding(vector).to(frames.dtype)
