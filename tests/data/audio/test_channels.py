"""Several channels: said where they differ; one of them on request, in the store's key and the run's identity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from ser_toolkit.config.identity import what_matters
from ser_toolkit.corpora.folders import FolderCorpus
from ser_toolkit.data.audio.channels import channel_index
from ser_toolkit.data.audio.decode import read_audio
from ser_toolkit.data.audio.index import index_audio
from ser_toolkit.data.audio.notes import different_channels, resampling_note, sampling_rates
from ser_toolkit.data.batch import STREAM
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.needs import Needs
from ser_toolkit.data.prepare import prepare
from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.inference.waveforms import USUAL, Reading, recording_from_array, recording_from_file
from ser_toolkit.protocols.splits import GroupedKFold
from ser_toolkit.upstreams.spectral import Spectral

RNG = np.random.default_rng(0)
LEFT, RIGHT = (RNG.uniform(-0.3, 0.3, 4000).astype(np.float32) for _ in range(2))


def written(path: Path, *channels: np.ndarray, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack(channels, axis=1), rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("channel", "expected"),
    [("mix", (LEFT + RIGHT) / 2), ("left", LEFT), ("right", RIGHT), (0, LEFT), ("1", RIGHT)],
)
def test_a_channel_is_taken_or_all_are_averaged(tmp_path: Path, channel: str | int, expected: np.ndarray) -> None:
    path = written(tmp_path / "a.wav", LEFT, RIGHT)
    np.testing.assert_allclose(read_audio(path, channel=channel), expected, atol=1e-7)
    np.testing.assert_allclose(read_audio(path, 0.1, 0.2, channel=channel), expected[1600:3200], atol=1e-7)
    reading = Reading(channel=channel)
    np.testing.assert_allclose(recording_from_file(path, 16000, 1, reading).wave(), expected, atol=1e-7)
    for array in (np.stack([LEFT, RIGHT]), np.stack([LEFT, RIGHT], axis=1)):
        found = recording_from_array(array, 16000, 16000, 1, reading).wave()
        np.testing.assert_allclose(found, expected, atol=1e-7)
    mono = written(tmp_path / "mono.wav", LEFT)
    np.testing.assert_array_equal(read_audio(mono, channel=channel), LEFT)


def test_channels_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"a\.wav: 2 channels, numbered from 0: there is no channel 2"):
        read_audio(written(tmp_path / "a.wav", LEFT, RIGHT), channel=2)
    for channel in ("middle", -1, "1.5"):
        with pytest.raises(RecipeError, match="expected mix, left, right or a number"):
            channel_index(channel)


def test_differing_channels_are_said_and_equal_ones_are_not(tmp_path: Path) -> None:
    written(tmp_path / "mono.wav", LEFT)
    written(tmp_path / "twice.wav", LEFT, LEFT)

    def said() -> list[str]:
        return different_channels(tmp_path, index_audio(tmp_path, sorted(f.name for f in tmp_path.glob("*.wav"))))

    assert said() == []
    written(tmp_path / "bleeding.wav", LEFT, -0.7 * LEFT + 0.01 * RIGHT)
    [sentence] = said()
    assert sentence.startswith("2 of 3 files have several channels, which differ in 1 of the 2 looked at")
    assert "median 0.00, -1.00 to 1.00" in sentence and "data.channel" in sentence
    written(tmp_path / "half.wav", LEFT, np.zeros_like(LEFT))  # one channel is silent
    assert "differ in 2 of the 3" in said()[0]


def test_what_a_manifest_says_of_channels_and_rates(tmp_path: Path) -> None:
    for number, name in enumerate(("angry/a_0.wav", "angry/b_0.wav", "sad/a_1.wav", "sad/b_1.wav")):
        written(tmp_path / name, LEFT, RIGHT, rate=16000 if number else 44100)
    corpus = FolderCorpus(r"(?P<speaker>[^_]+)_.*")
    plain = prepare(corpus, str(tmp_path), False, 0.0)
    assert plain.channel == "mix" and plain.facts["sampling_rates"] == {"16000": 3, "44100": 1}
    [note] = plain.facts["notes"]
    assert note.startswith("4 of 4 files have several channels, which differ in 4 of the 4")
    left = prepare(corpus, str(tmp_path), False, 0.0, channel="left")
    assert left.channel == "left" and left.facts["notes"][-1].endswith("data.channel=left.")
    assert left.content_hash == plain.content_hash
    left.write(tmp_path / "m.parquet")
    assert Manifest.read(tmp_path / "m.parquet").channel == "left"
    pd.testing.assert_frame_equal(left.table, plain.table)


def test_stored_features_and_batches_are_those_of_the_channel(tmp_path: Path) -> None:
    for number, name in enumerate(("angry/a_0.wav", "angry/b_0.wav", "sad/a_1.wav", "sad/b_1.wav")):
        left = RNG.uniform(-0.3, 0.3, 4000 + number).astype(np.float32)
        written(tmp_path / "two" / name, left, RIGHT[: len(left)] if number == 0 else -left)
        written(tmp_path / "one" / name, left)
    corpus = FolderCorpus(r"(?P<speaker>[^_]+)_.*")
    one = CorpusData(corpus, GroupedKFold(2, dev_folds=0), str(tmp_path / "one"))
    two, mixed = (
        CorpusData(corpus, GroupedKFold(2, dev_folds=0), str(tmp_path / "two"), channel=channel, allow_silent=True)
        for channel in ("left", "mix")
    )
    found = [
        extract_corpus(Spectral(), data.manifest, tmp_path / "store", allow_silent=True) for data in (one, two, mixed)
    ]
    for name in one.manifest.table["id"]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=0, atol=0)
        assert not torch.equal(found[1][name], found[2][name])
    batches = []
    for data in (one, two):
        batches.append(next(iter(FoldData(data, 1, needs=Needs(16000)).test_dataloader())))
    assert torch.equal(batches[0].streams[STREAM].values, batches[1].streams[STREAM].values)


def test_resampling_is_said_where_there_is_any() -> None:
    assert resampling_note({"16000": 5}, 16000) is None
    rates = {"48000": 2, "44100": 3}
    assert resampling_note(rates, 16000) == "Audio resampled from 48 kHz or 44.1 kHz to 16 kHz."
    assert resampling_note({"22050": 1}, 16000) == "Audio resampled from 22.05 kHz to 16 kHz."
    assert sampling_rates([]) == {}


def test_the_choice_belongs_to_a_run_where_it_is_one() -> None:
    def identity(**data: object) -> dict:
        return what_matters({"data": {"corpus": "c", **data}, "model": {}}, "dev/ua")

    assert identity(channel="mix") != identity(channel="left")
    assert USUAL.channel == "mix"
