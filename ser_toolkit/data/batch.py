"""Typed streams: a batch is named streams + targets + ids, and lengths travel with every tensor.

Letters of shapes, here and wherever a shape is written:

    B  rows of a batch: utterances, or windows of them      N  samples of the longest waveform
    L  layers of an upstream                                T  frames of the longest utterance
    P  pairs of layers l <= m, L (L + 1) / 2                D  features of a frame
    C  classes                                              E  features of an utterance vector
    K  numbers of facts known besides the sound
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from ser_toolkit.terms import DIMENSIONS as DIMENSIONS
from ser_toolkit.terms import MISSING_LABEL as MISSING_LABEL


class _Movable:
    """Base of dataclasses whose tensors Lightning moves to a device, by calling ``to``."""

    def to(self: MovableT, device: torch.device | str, non_blocking: bool = False) -> MovableT:
        """A copy with every tensor on ``device``."""

        def move(value: object) -> object:
            if isinstance(value, Tensor | _Movable):
                return value.to(device, non_blocking=non_blocking)
            if isinstance(value, dict):
                return {key: move(item) for key, item in value.items()}
            return value

        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self)})  # type: ignore[type-var,arg-type]


MovableT = TypeVar("MovableT", bound=_Movable)


@dataclass
class Waves(_Movable):
    """Waveforms: ``values`` (B, N) in [-1, 1] at the upstream's rate, zero behind ``lengths`` (B,) samples."""

    values: Tensor
    lengths: Tensor


@dataclass
class Frames(_Movable):
    """Frames of every layer: ``values`` (B, L, T, D), zero behind ``lengths`` (B,) frames."""

    values: Tensor
    lengths: Tensor


@dataclass
class Moments(_Movable):
    """Sufficient statistics of frames of every layer: of a batch, or of one utterance without the leading B.

    Args:
        count: (B,) number of frames.
        mean: (B, L, D) mean over time.
        variance: (B, L, D) population variance over time, None where it is not stored.
        cross: (B, P, D) centred second moments sum_t (x_l - mean_l)(x_m - mean_m) / count of all P = L (L + 1) / 2
            pairs of layers l <= m in the order of ``layer_pairs``, None where they are not stored.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor | None = None
    cross: Tensor | None = None

    @property
    def variances(self) -> Tensor | None:
        """Population variance of each layer, (B, L, D), from ``variance`` or ``cross``; None without both."""
        if self.variance is not None or self.cross is None:
            return self.variance
        first, second = layer_pairs(self.mean.shape[-2])
        return self.cross[..., first == second, :]


def layer_pairs(num_layers: int) -> tuple[Tensor, Tensor]:
    """Lower and higher layer of each pair l <= m, each (P,) with P = L (L + 1) / 2.

    >>> [pair.tolist() for pair in layer_pairs(2)]
    [[0, 0, 1], [0, 1, 1]]
    """
    first, second = torch.triu_indices(num_layers, num_layers)
    return first, second


@dataclass
class Vectors(_Movable):
    """Utterance vectors as pooled and normalised, or what is known besides the sound: ``values`` (B, E) or (B, K)."""

    values: Tensor


Stream = Waves | Frames | Moments | Vectors
#: Stored features of an utterance under one upstream: frames (L, T, D) or their moments.
StoredPart = Tensor | Moments
#: Stored features of an utterance: of one upstream, a tuple of them where several are fused, or a vector (E,).
Stored = StoredPart | tuple[StoredPart, ...]
#: Name of the main stream of a batch.
STREAM = "speech"
#: Name of the stream of facts known of the utterances besides their sound.
CONDITION = "condition"


def stream_name(part: int) -> str:
    """Name of the stream of an upstream, counted from 0: the first is the main one."""
    return STREAM if part == 0 else f"{STREAM}/{part}"


def parts_of(stored: Stored) -> tuple[StoredPart, ...]:
    """Stored features of one utterance, apart for each upstream."""
    return stored if isinstance(stored, tuple) else (stored,)


def stack_stored(rows: Sequence[Stored]) -> dict[str, Stream]:
    """Stack stored features of some utterances into the streams of a batch."""
    if isinstance(rows[0], Tensor) and rows[0].ndim == 1:
        return {STREAM: Vectors(torch.stack([row for row in rows if isinstance(row, Tensor)]))}
    by_part = zip(*(parts_of(row) for row in rows), strict=True)
    return {stream_name(part): _stack_part(list(each)) for part, each in enumerate(by_part)}


def _stack_part(rows: list[StoredPart]) -> Frames | Moments:
    moments = [row for row in rows if isinstance(row, Moments)]
    if moments:
        return stack_moments(moments)
    values, lengths = pad_sequences([row for row in rows if isinstance(row, Tensor)], dim=1)
    return Frames(values.float(), lengths)  # stored in half precision, perhaps


def stack_moments(rows: Sequence[Moments]) -> Moments:
    """Moments of some utterances, all with the same entries, as those of a batch."""

    def stack(values: list[Tensor | None]) -> Tensor | None:
        there = [value for value in values if value is not None]
        return torch.stack(there) if there else None

    return Moments(
        torch.stack([row.count for row in rows]),
        torch.stack([row.mean for row in rows]),
        stack([row.variance for row in rows]),
        stack([row.cross for row in rows]),
    )


@dataclass
class Targets(_Movable):
    """Targets of a batch; an utterance without a label for a task is masked there, never guessed.

    Args:
        label: (B,) class index, ``MISSING_LABEL`` where there is none.
        soft: (B, C) distribution over classes that sums to 1, NaN rows where there is none.
        dimensions: (B, 3) valence, arousal, dominance scaled to [0, 1], NaN where there is none.
    """

    label: Tensor
    soft: Tensor
    dimensions: Tensor


@dataclass
class Batch(_Movable):
    """One step's worth of utterances.

    Args:
        streams: by name; ``"speech"`` is the main one, ``"speech/1"`` that of a second upstream, ``"condition"`` what
            is known besides.
        targets: see Targets.
        ids: utterance ids, in row order: ids travel with features.
        speaker: (B,) index of the speaker in the manifest, -1 when unknown.
        dialogue: (B,) index of the dialogue in the manifest, -1 when unknown, as all are where none is given.
        turn: (B,) place in the dialogue from 0, by start time among all of the manifest's utterances; -1 when unknown.
    """

    streams: dict[str, Waves | Frames | Moments | Vectors]
    targets: Targets
    ids: list[str] = field(default_factory=list)
    speaker: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    dialogue: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    turn: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    def __post_init__(self) -> None:
        if len(self.dialogue) == 0:
            self.dialogue = torch.full_like(self.targets.label, -1)
        if len(self.turn) == 0:
            self.turn = torch.full_like(self.targets.label, -1)

    def __len__(self) -> int:
        """Number of utterances in the batch."""
        return len(self.ids)


@dataclass
class Outputs(_Movable):
    """Outputs of a model for a batch; each head fills in those that it predicts.

    Args:
        logits: (B, C) or None.
        dimensions: (B, 3) valence, arousal, dominance in the scaled range, or None.
        embedding: (B, E) pooled utterance vector.
        frames: (B, T, D) frames that entered the pooling, or None when the stream carried moments.
        frame_lengths: (B,) or None.
        frame_logits: (B, T, C) of every frame, from heads that judge frames, or None.
        cosines: (B, C) in [-1, 1], between the utterance vector and each class's prototype, or None.
    """

    logits: Tensor | None = None
    dimensions: Tensor | None = None
    embedding: Tensor | None = None
    frames: Tensor | None = None
    frame_lengths: Tensor | None = None
    frame_logits: Tensor | None = None
    cosines: Tensor | None = None


def valid_mask(lengths: Tensor, max_length: int) -> Tensor:
    """Mask of the positions that exist: (B,) lengths -> (B, max_length) bool, True on valid positions.

    >>> valid_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(max_length, device=lengths.device)[None, :] < lengths[:, None]


def pad_sequences(sequences: list[Tensor], dim: int = 0) -> tuple[Tensor, Tensor]:
    """Stack tensors that differ in size along ``dim``: zeros behind, and the (B,) lengths."""
    lengths = torch.tensor([s.shape[dim] for s in sequences], dtype=torch.long)
    shape = list(sequences[0].shape)
    shape[dim] = int(lengths.max())
    out = sequences[0].new_zeros(len(sequences), *shape)
    for row, sequence in zip(out, sequences, strict=True):
        row.narrow(dim, 0, sequence.shape[dim]).copy_(sequence)
    return out, lengths
