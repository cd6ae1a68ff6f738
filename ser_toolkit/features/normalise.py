"""Feature normalisation: one affine map for the corpus (fitted on training data) or one per speaker.

Both act on the frames of each layer *before* the layer mix, so that they are affine in the frames and exact from stored
moments too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import Frames, Moments, Stored, StoredPart, layer_pairs, parts_of, valid_mask
from ser_toolkit.errors import StoreError

#: Smallest standard deviation that is divided by: a constant dimension is centred only.
SMALLEST_STD = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of frames: each (L, D)."""

    mean: Tensor
    std: Tensor

    def apply(self, part: StoredPart) -> StoredPart:
        """Standardise the frames of one utterance, (L, T, D) -> (L, T, D), or their moments."""
        if isinstance(part, Moments):
            return standardised_moments(part, self.mean, self.std)
        return (part - self.mean[:, None]) / self.std[:, None]


def standardised_moments(moments: Moments, mean: Tensor, std: Tensor) -> Moments:
    """Moments of (x - mean) / std, with ``mean`` and ``std`` (L, D); of one utterance or a batch."""
    variance, cross = moments.variance, moments.cross
    if variance is not None:
        variance = variance / std.square()
    if cross is not None:
        first, second = layer_pairs(len(std))
        cross = cross / (std[first] * std[second])
    return Moments(moments.count, (moments.mean - mean) / std, variance, cross)


class _Sums:
    """Running sums of frames, of one variable shifted towards zero: exact for features far from zero. float64."""

    def __init__(self, first: StoredPart) -> None:
        self._shift = first.mean.double() if isinstance(first, Moments) else first.double().mean(dim=1)
        self._count = 0
        self._total, self._square = torch.zeros_like(self._shift), torch.zeros_like(self._shift)

    def add(self, part: StoredPart) -> None:
        if isinstance(part, Moments):
            self._add_moments(part)
            return
        moved = part.double() - self._shift[:, None]
        self._total += moved.sum(dim=1)
        self._square += moved.square().sum(dim=1)
        self._count += part.shape[1]

    def _add_moments(self, moments: Moments) -> None:
        """Add moments to the sums as their frames would have been added."""
        if moments.variances is None:
            raise StoreError("Means alone do not give the variance of frames. Store variances too.")
        count, moved = int(moments.count), moments.mean.double() - self._shift
        self._total += count * moved
        self._square += count * (moments.variances.double() + moved.square())
        self._count += count

    def statistics(self) -> Statistics:
        mean = self._total / self._count
        std = (self._square / self._count - mean.square()).clamp_min(0).sqrt()
        std = torch.where(std < SMALLEST_STD, torch.ones_like(std), std)
        return Statistics((mean + self._shift).float(), std.float())


def parallel_statistics(utterances: Iterable[Stored]) -> tuple[Statistics, ...]:
    """Statistics over all frames of some utterances under each upstream; population variance.

    Args:
        utterances: frames (L, T, D) or their moments with variances, or a tuple of them where several upstreams are
            fused; at least one.
    """
    sums: tuple[_Sums, ...] = ()
    for utterance in utterances:
        parts = parts_of(utterance)
        sums = sums or tuple(_Sums(part) for part in parts)
        for total, part in zip(sums, parts, strict=True):
            total.add(part)
    return tuple(total.statistics() for total in sums)


def frame_statistics(utterances: Iterable[StoredPart]) -> Statistics:
    """Statistics over all frames of some utterances, each (L, T, D) or moments."""
    return parallel_statistics(utterances)[0]


class GlobalNormalisation(nn.Module):
    """Standardise each feature of each layer with statistics of the training part, in frames or in their moments.

    The statistics are buffers: they are saved with the model, and prediction from waveforms uses them too.

    Args:
        num_layers: L.
        feature_dim: D.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_layers, feature_dim))
        self.register_buffer("std", torch.ones(num_layers, feature_dim))

    def fit(self, statistics: Statistics) -> None:
        """Copy statistics, each (L, D), into the buffers."""
        self.mean.copy_(statistics.mean)
        self.std.copy_(statistics.std)

    def forward(self, stream: Frames | Moments) -> Frames | Moments:
        """Frames (B, L, T, D), zero behind the lengths again, or moments (B, L, D)."""
        if isinstance(stream, Moments):
            return standardised_moments(stream, self.mean, self.std)
        scaled = stream.values - self.mean[:, None]
        # in place: the frames of all layers are large, and the frozen upstream needs no gradient
        scaled /= self.std[:, None]
        scaled *= valid_mask(stream.lengths, scaled.shape[2])[:, None, :, None]
        return Frames(scaled, stream.lengths)


class EmbeddingNormalisation(nn.Module):
    """Standardise utterance vectors with statistics of the training part, then divide by sqrt(E): (B, E) -> (B, E).

    Behind it a vector has a squared norm of about 1 whatever its size, so that one learning rate and one weight decay
    suit poolings of any width.

    Args:
        dim: E.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, vectors: Tensor) -> None:
        """Copy the statistics of vectors (N, E) into the buffers."""
        statistics = frame_statistics([vectors[None]])
        self.mean.copy_(statistics.mean[0])
        self.std.copy_(statistics.std[0])

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, E) -> (B, E)."""
        return (vectors - self.mean) / (self.std * len(self.mean) ** 0.5)


class SpeakerNormalised(Mapping[str, Stored]):
    """A view of features in which each utterance is standardised with its speaker's statistics.

    Args:
        features: utterance id -> (L, T, D), or a tuple of them where several upstreams are fused.
        speaker_of: utterance id -> speaker.
        reference: speaker -> ids of the utterances whose frames give the statistics.
    """

    def __init__(
        self,
        features: Mapping[str, Stored],
        speaker_of: Mapping[str, str],
        reference: Mapping[str, Sequence[str]],
    ) -> None:
        self._features = features
        self._speaker_of = speaker_of
        self._statistics = {
            speaker: parallel_statistics(features[name] for name in names) for speaker, names in reference.items()
        }

    def __getitem__(self, utterance: str) -> Stored:
        return standardised(self._features[utterance], self._statistics[self._speaker_of[utterance]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)


def standardised(utterance: Stored, statistics: Sequence[Statistics]) -> Stored:
    """Stored features of an utterance, those of each upstream standardised with the statistics of its frames."""
    found = tuple(one.apply(part) for one, part in zip(statistics, parts_of(utterance), strict=True))
    return found if isinstance(utterance, tuple) else found[0]
