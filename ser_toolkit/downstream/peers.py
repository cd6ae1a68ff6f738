"""Poolings of other toolkits that depend on the batch or its padding: to reproduce their figures, never for new ones.

Poolings here with ``padding_exact = False`` let padding in: an utterance's vector, and with it each score, depends on
the utterances that it is batched with (``data.batch_size`` in training, ``data.eval_batch_size`` in the test), on their
order, and on what the upstream makes of the padding. With a batch of one they are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.downstream.pooling import Pooling, masked_mean


class UnmaskedMeanPooling(Pooling):
    """Batch-dependent mean over the padded length, as peers do that ignore lengths; not for new results.

    What is wrong: the frames behind the end are averaged too, so that a short utterance in a batch with a long one is
    diluted. The result depends on the batch (``data.batch_size``, ``data.eval_batch_size``); a batch of one is exact.
    Found in: autrainer (its wav2vec2 models, whose settings recommend inference one by one), and every model that
    ends in ``hidden.mean(dim=1)`` over a padded batch.

    Args:
        input_dim: D, injected.
    """

    padding_exact = False

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, D); T counts, ``lengths`` do not."""
        return frames.to(torch.promote_types(frames.dtype, torch.float32)).mean(dim=1).to(frames.dtype)


class S3prlAttentivePooling(Pooling):
    """Batch-dependent attention of s3prl, which adds 1 to the scores of valid frames; not for new results.

    What is wrong: the mask of ones and zeros is added to the scores before the softmax, where minus infinity would be
    needed: a frame of padding loses a factor e, not all of its weight. The result depends on the batch
    (``data.batch_size``, ``data.eval_batch_size``); a batch of one is exact, and AttentivePooling's relative.
    Found in: s3prl, ``s3prl/downstream/model.py``, ``AttentivePooling`` (scores w . ReLU(W x + b) + c).

    Args:
        input_dim: D, injected; also the size of the hidden layer.
    """

    padding_exact = False

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        self.hidden = nn.Linear(input_dim, input_dim)
        # The published offset is left out: the softmax over time does not see it.
        self.score = nn.Linear(input_dim, 1, bias=False)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, D)."""
        precise = torch.promote_types(frames.dtype, torch.float32)
        scores = self.score(self.hidden(frames).relu()).to(precise)
        weights = (scores + valid_mask(lengths, frames.shape[1])[..., None]).softmax(dim=1)
        return (weights * frames.to(precise)).sum(dim=1).to(frames.dtype)


class DropLastFrameMeanPooling(Pooling):
    """Mean over all frames but the last one, as FT-w2v2-ser does by mistake; padding does not matter.

    What is wrong: the index of the last frame is used as the number of frames, in the mask and in the division. The
    result does not depend on the batch. One frame alone, which there gives 0 / 0, is its own mean here.
    Found in: Chen & Rudnicky 2021, "Exploring wav2vec 2.0 fine-tuning for improved speech emotion recognition",
    their code ``pretrain/trainer.py``, ``PretrainedRNNHead``. It is followed there by a ReLU.

    Args:
        input_dim: D, injected.
    """

    ordered = True

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, D)."""
        return masked_mean(frames, (lengths - 1).clamp_min(1)).to(frames.dtype)
