"""A planned batch -> tensors, from stored features or from the recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from ser_toolkit.data.audio.decode import crop, read_audio
from ser_toolkit.data.batch import (
    CONDITION,
    STREAM,
    Batch,
    Stored,
    Stream,
    Targets,
    Vectors,
    Waves,
    pad_sequences,
    stack_stored,
)
from ser_toolkit.data.labels import LabelTargets
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.resident import ResidentFeatures, put_together
from ser_toolkit.data.sampling import Piece, PlannedBatch


class PieceDataset(Dataset[Batch]):
    """Planned batch -> Batch, from stored features when given, else from the recordings.

    Args:
        manifest: the utterances.
        targets: of every row of the manifest.
        features: utterance id -> (L, T, D) frames (a tuple of them under several upstreams) or (E,) vector, or None to
            read waveforms.
        sampling_rate: of the waveforms, in Hz.
        crop_seconds: longer waveforms are cut at a random place that depends on (seed, epoch, utterance).
        seed: of the crops.
        allow_silent: whether digitally silent recordings are used.
        conditions: (N, K) what is known of every row of the manifest besides its sound, or None.
        rows: of the manifest, which the batches will be made of: features of one fixed shape (moments and vectors) are
            put together for them once, where memory allows; without, and of frames, every batch puts its own together.
    """

    def __init__(
        self,
        manifest: Manifest,
        targets: LabelTargets,
        features: Mapping[str, Stored] | None,
        sampling_rate: int,
        crop_seconds: float | None = None,
        seed: int = 0,
        allow_silent: bool = False,
        conditions: Tensor | None = None,
        rows: Sequence[int] = (),
    ) -> None:
        self._root, self._channel = manifest.root, manifest.channel
        table = manifest.table
        self._ids = table["id"].tolist()
        self._paths = table["path"].tolist()
        self._starts = table["start"].to_numpy(dtype=float, na_value=np.nan)
        self._ends = table["end"].to_numpy(dtype=float, na_value=np.nan)
        self._speaker = torch.from_numpy(_codes(table["speaker"]))
        self._dialogue = torch.from_numpy(_codes(table["dialogue"]))
        self._turn = torch.from_numpy(_turns(table))
        self._label = torch.from_numpy(targets.label.astype(np.int64))
        self._soft = torch.from_numpy(targets.soft.astype(np.float32))
        self._dimensions = torch.from_numpy(targets.dimensions.astype(np.float32))
        self._features = features
        self._sampling_rate = sampling_rate
        self._crop_samples = None if crop_seconds is None else round(crop_seconds * sampling_rate)
        self._seed = seed
        self._allow_silent = allow_silent
        self._conditions = conditions
        self._rows = sorted(set(rows))
        self._place = torch.zeros(len(self._ids), dtype=torch.long)
        self._place[self._rows] = torch.arange(len(self._rows))

    @cached_property
    def _resident(self) -> ResidentFeatures | None:
        """Made for the first batch: a loader alone reads nothing. The workers of a loader would each hold a copy."""
        if self._features is None or get_worker_info() is not None:
            return None
        return put_together(self._features, [self._ids[row] for row in self._rows])

    def __getitem__(self, plan: PlannedBatch) -> Batch:
        rows = [piece.row for piece in plan.pieces]
        index = torch.tensor(rows)
        streams: dict[str, Stream]
        if self._resident is not None:
            streams = self._resident.streams(self._place[index])
        elif self._features is not None:
            streams = stack_stored([self._features[self._ids[row]] for row in rows])
        else:
            streams = {STREAM: Waves(*pad_sequences([self._wave(piece, plan.epoch) for piece in plan.pieces]))}
        targets = Targets(*(whole.index_select(0, index) for whole in (self._label, self._soft, self._dimensions)))
        if self._conditions is not None:
            streams[CONDITION] = Vectors(self._conditions.index_select(0, index))
        places = (whole.index_select(0, index) for whole in (self._speaker, self._dialogue, self._turn))
        return Batch(streams, targets, [self._ids[row] for row in rows], *places)

    def _wave(self, piece: Piece, epoch: int) -> Tensor:
        row = piece.row
        offset = 0.0 if np.isnan(self._starts[row]) else float(self._starts[row])
        end = None if np.isnan(self._ends[row]) else float(self._ends[row])
        start = None if np.isnan(self._starts[row]) else offset
        if piece.end is not None:
            start, end = offset + (piece.start or 0.0), offset + piece.end
        wav = read_audio(
            self._root / self._paths[row], start, end, self._sampling_rate, self._allow_silent, self._channel
        )
        if self._crop_samples is not None:
            wav = crop(wav, self._crop_samples, np.random.default_rng((self._seed, epoch, row)))
        return torch.from_numpy(wav)


def _codes(column: pd.Series) -> np.ndarray:
    """(N,) index of each cell among the sorted names of a column, -1 where it is empty."""
    names = column.to_numpy(dtype=object)
    index = {name: code for code, name in enumerate(sorted({name for name in names if isinstance(name, str)}))}
    return np.array([index.get(name, -1) for name in names], dtype=np.int64)


def _turns(table: pd.DataFrame) -> np.ndarray:
    """(N,) place of each row in its dialogue by start time, from 0.

    -1 where it is unknown: no dialogue, a start that is unknown, or a dialogue in several files, whose times are
    not those of one clock.
    """
    starts = pd.to_numeric(table["start"])
    if starts.isna().all():  # each recording is an utterance
        return np.full(len(table), -1, dtype=np.int64)
    dialogues = table.assign(start=starts).groupby("dialogue")
    one_clock = (dialogues["start"].transform("count") == dialogues["start"].transform("size")) & (
        dialogues["path"].transform("nunique") == 1
    )
    place = dialogues["start"].rank(method="first") - 1
    return place.where(one_clock, -1).fillna(-1).to_numpy(dtype=np.int64)
