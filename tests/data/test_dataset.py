"""From a planned batch to tensors: what belongs together stays together, and crops are a function of their names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from tiny_corpus import CLASSES, RATE, Tones, write_tone

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.data.batch import STREAM, Batch, Frames, Moments, Vectors, Waves
from ser_toolkit.data.dataset import PieceDataset
from ser_toolkit.data.labels import Intended
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.data.sampling import Piece, PlannedBatch


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Twelve tones, one stretch of a longer file, one utterance without label and speaker."""
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "tones"
    corpus = Tones.write(root, speakers=2)
    write_tone(root / "long.wav", 500.0, 4 * RATE, 0.5, np.random.default_rng(1))
    corpus._rows += [
        Utterance("stretch", "long.wav", start=0.5, end=2.5, speaker="s1", label="sad", valence=4.0),
        Utterance("unknown", "long.wav", start=2.5),
    ]
    corpus.dimension_range = (1.0, 5.0)
    return manifest_of(corpus, root)


def _dataset(manifest: Manifest, **options: object) -> PieceDataset:
    settings: dict = {"features": None, "sampling_rate": RATE} | options
    return PieceDataset(manifest, Intended().targets(manifest), **settings)


def _whole(manifest: Manifest, *rows: int, epoch: int = 0) -> PlannedBatch:
    return PlannedBatch(tuple(Piece(row) for row in rows), epoch)


def _waves(batch: Batch) -> Waves:
    stream = batch.streams[STREAM]
    assert isinstance(stream, Waves)
    return stream


def test_targets_ids_and_speakers_are_those_of_their_rows(manifest: Manifest) -> None:
    rows = np.random.default_rng(0).permutation(len(manifest)).tolist()
    batch = _dataset(manifest)[_whole(manifest, *rows)]
    table = manifest.table.iloc[rows]
    assert batch.ids == table["id"].tolist()
    names = [CLASSES[code] if code >= 0 else None for code in batch.targets.label.tolist()]
    assert names == table["label"].tolist()
    speakers = [None if code < 0 else f"s{code}" for code in batch.speaker.tolist()]
    assert speakers == table["speaker"].tolist()
    one_hot = torch.nn.functional.one_hot(batch.targets.label.clamp_min(0), len(CLASSES)).float()
    known = batch.targets.label >= 0
    torch.testing.assert_close(batch.targets.soft[known], one_hot[known])
    assert batch.targets.soft[~known].isnan().all()
    valence = batch.targets.dimensions[:, 0]
    assert valence[batch.ids.index("stretch")] == 0.75
    assert valence.isnan().sum() == len(manifest) - 1


def test_rows_know_their_dialogue_and_their_turn_by_start_time(manifest: Manifest) -> None:
    table = manifest.table.copy()
    names = ["b_late", "b_early", "several_0", "several_1", "a_start", "a_none", "no_dialogue"]
    dialogues = ["b", "b", "several", "several", "a", "a", None]
    rows = table.iloc[: len(names)].assign(
        id=names,
        dialogue=pd.Series(dialogues, dtype=object).to_numpy(),
        path=["b.wav", "b.wav", "c.wav", "d.wav", "a.wav", "a.wav", "b.wav"],
        start=[7.5, 0.25, 1.0, 2.0, 3.0, np.nan, 1.0],
    )
    features = {name: torch.zeros(5) for name in names}
    made = _dataset(replace(manifest, table=rows), features=features)
    batch = made[_whole(manifest, 1, 0, 2, 3, 4, 5, 6)]
    assert batch.dialogue.tolist() == [1, 1, 2, 2, 0, 0, -1]
    # times of several files are not of one clock, and an unknown start has no place
    assert batch.turn.tolist() == [0, 1, -1, -1, -1, -1, -1]


def test_features_travel_with_their_ids(manifest: Manifest) -> None:
    rng = np.random.default_rng(0)
    names = manifest.table["id"].tolist()
    # Stored in another order than the manifest's, each utterance with its own number of frames and its own value.
    order = rng.permutation(len(names)).tolist()
    features = {names[row]: torch.full((2, row + 1, 3), float(row + 1)) for row in order}
    dataset = _dataset(manifest, features=features)
    rows = rng.permutation(len(names)).tolist()
    batch = dataset[_whole(manifest, *rows)]
    stream = batch.streams[STREAM]
    assert isinstance(stream, Frames)
    assert stream.lengths.tolist() == [row + 1 for row in rows]
    for values, name, length in zip(stream.values, batch.ids, stream.lengths.tolist(), strict=True):
        assert (values[:, :length] == names.index(name) + 1).all()
        assert (values[:, length:] == 0).all()


def test_one_vector_an_utterance_is_a_stream_of_vectors(manifest: Manifest) -> None:
    features = {name: torch.full((5,), float(row)) for row, name in enumerate(manifest.table["id"])}
    stream = _dataset(manifest, features=features)[_whole(manifest, 7, 2)].streams[STREAM]
    assert isinstance(stream, Vectors)
    assert stream.values.tolist() == [[7.0] * 5, [2.0] * 5]


@pytest.mark.parametrize("rows", [(), (2, 7, 9, 11)])
def test_what_was_put_together_travels_with_its_ids(manifest: Manifest, rows: tuple[int, ...]) -> None:
    names = manifest.table["id"].tolist()
    features = {name: Moments(torch.tensor(row + 1), torch.full((2, 3), float(row))) for row, name in enumerate(names)}
    batch = _dataset(manifest, features=features, rows=rows)[_whole(manifest, 9, 2, 11)]
    stream = batch.streams[STREAM]
    assert isinstance(stream, Moments)
    assert batch.ids == [names[9], names[2], names[11]]
    assert stream.count.tolist() == [10, 3, 12]
    assert stream.mean[:, 1, 2].tolist() == [9.0, 2.0, 11.0]


def test_waves_are_the_recordings(manifest: Manifest) -> None:
    batch = _dataset(manifest)[_whole(manifest, 3, 12)]
    stream = _waves(batch)
    first = soundfile.read(manifest.audio_path(3), dtype="float32")[0]
    long = soundfile.read(manifest.audio_path(12), dtype="float32")[0]
    assert stream.lengths.tolist() == [len(first), 2 * RATE]
    np.testing.assert_array_equal(stream.values[0, : len(first)], first)
    assert (stream.values[0, len(first) :] == 0).all()
    np.testing.assert_array_equal(stream.values[1], long[RATE // 2 : 5 * RATE // 2])


def test_windows_lie_inside_their_utterance(manifest: Manifest) -> None:
    long = soundfile.read(manifest.audio_path(12), dtype="float32")[0]
    stream = _waves(_dataset(manifest)[PlannedBatch((Piece(12, 1.0, 2.0), Piece(13, 0.0, 0.25)), 0)])
    np.testing.assert_array_equal(stream.values[0], long[3 * RATE // 2 : 5 * RATE // 2])
    np.testing.assert_array_equal(stream.values[1, : RATE // 4], long[5 * RATE // 2 : 11 * RATE // 4])


def test_crops_depend_on_seed_epoch_and_utterance_alone(manifest: Manifest) -> None:
    whole = _waves(_dataset(manifest)[_whole(manifest, 12)]).values[0]

    def start(seed: int, epoch: int, *company: int) -> int:
        dataset = _dataset(manifest, crop_seconds=0.5, seed=seed)
        stream = _waves(dataset[_whole(manifest, *company, 12, epoch=epoch)])
        assert stream.lengths[-1] == RATE // 2
        crop = stream.values[-1, : RATE // 2]
        places = (whole.unfold(0, 20, 1) == crop[:20]).all(dim=1).nonzero().flatten().tolist()
        (found,) = [place for place in places if torch.equal(whole[place : place + RATE // 2], crop)]
        return found

    assert start(0, 0) == start(0, 0, 1, 13, 5)
    assert len({start(seed, epoch) for seed in range(2) for epoch in range(3)}) == 6


def test_short_recordings_are_not_cropped(manifest: Manifest) -> None:
    cropped = _waves(_dataset(manifest, crop_seconds=0.5)[_whole(manifest, 0, 4)])
    whole = _waves(_dataset(manifest)[_whole(manifest, 0, 4)])
    torch.testing.assert_close(cropped.values, whole.values, rtol=0, atol=0)


def test_another_rate_is_resampled(manifest: Manifest) -> None:
    stream = _waves(_dataset(manifest, sampling_rate=8000)[_whole(manifest, 12)])
    assert stream.lengths.tolist() == [16000]
