"""Heads that judge every frame and put the judgements of an utterance together."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import Outputs, valid_mask
from ser_toolkit.downstream.heads import FrameHead
from ser_toolkit.errors import RecipeError


class FrameLevelHead(FrameHead):
    """Classes of every frame; the utterance is their average over time.

    ``probabilities`` takes the mean over time of p_t = softmax(logits_t), so that few sure frames can decide, and gives
    its logarithm as the logits of the utterance. ``logits`` takes the mean of the logits, as a linear head behind mean
    pooling would. With the objective FrameCrossEntropy every frame learns the utterance's label.

    Source: Chernykh and Prikhodko 2017, "Emotion recognition from speech with recurrent neural networks" (its framewise
    system).

    Args:
        input_dim: D of the frames that enter the pooling, injected.
        num_classes: C, injected from the data.
        hidden_dim: size of a hidden layer with ReLU for every frame; null for none.
        dropout: probability, in [0, 1), that a feature of a frame is dropped before and behind the hidden layer.
        average: what is averaged over the frames of an utterance.

    Raises:
        RecipeError: ``average`` is something else.
    """

    outputs = ("logits", "frame_logits")

    def __init__(
        self,
        input_dim: int,
        num_classes: int,
        hidden_dim: int | None = None,
        dropout: float = 0.0,
        average: Literal["probabilities", "logits"] = "probabilities",
    ) -> None:
        super().__init__(input_dim, num_classes)
        if average not in ("probabilities", "logits"):
            raise RecipeError(f"FrameLevelHead: average must be 'probabilities' or 'logits', found {average!r}.")
        self.average = average
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden_dim is not None:
            layers += [nn.Linear(input_dim, hidden_dim), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.classes = nn.Linear(hidden_dim or input_dim, num_classes)

    def from_frames(self, frames: Tensor, lengths: Tensor) -> Outputs:
        """(B, T, D), (B,) -> logits (B, C) and frame_logits (B, T, C), zero behind the lengths."""
        valid = valid_mask(lengths, frames.shape[1])[..., None]
        # chosen, not multiplied: 0 * NaN would be NaN
        values = self.classes(self.hidden(torch.where(valid, frames, 0)))
        values = torch.where(valid, values.to(torch.promote_types(values.dtype, torch.float32)), 0)
        count = lengths[:, None].to(values)
        if self.average == "logits":
            return Outputs(logits=values.sum(dim=1) / count, frame_logits=values)
        summed = values.log_softmax(dim=2).masked_fill(~valid, -torch.inf).logsumexp(dim=1)
        return Outputs(logits=summed - count.log(), frame_logits=values)
