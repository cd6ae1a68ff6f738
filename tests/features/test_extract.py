"""Extraction: each sound once, what was computed stays, and stored features give what recordings give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_corpus import RATE, TinyUpstream, Tones, tiny_data, tiny_model
from torch import Tensor

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.data.audio import read_audio
from ser_toolkit.data.batch import STREAM, Batch, Frames, Moments, Outputs, Targets, Vectors, Waves, pad_sequences
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.downstream.frames import LinearProjection, LinearReLU
from ser_toolkit.downstream.layers import ConcatenateLayers, SingleLayer, WeightedSum
from ser_toolkit.downstream.pooling import AttentiveStatisticsPooling, MeanPooling, MeanStdMaxPooling
from ser_toolkit.errors import AudioError, RecipeError, StoreError
from ser_toolkit.features import extract as extract_module
from ser_toolkit.features import store as store_module
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.features.store import FeatureStore, StoreKey
from ser_toolkit.upstreams.spectral import Spectral


class Counting(TinyUpstream):
    """Notes how many recordings go through it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += lengths.tolist()
        return super().extract(wav, lengths)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    root = tmp_path / "tones"
    return Manifest.from_corpus(Tones.write(root, speakers=3), root)


def _alone(upstream: TinyUpstream, manifest: Manifest, row: int) -> Tensor:
    wav = torch.from_numpy(read_audio(manifest.audio_path(row)))[None]
    return upstream(wav, torch.tensor([wav.shape[1]]))[0][0]


def test_every_utterance_has_the_frames_that_it_has_alone(manifest: Manifest) -> None:
    upstream = TinyUpstream()
    features = extract_corpus(upstream, manifest)
    assert list(features) == manifest.table["id"].tolist()
    for row, name in enumerate(features):
        torch.testing.assert_close(features[name], _alone(upstream, manifest, row))


def test_a_second_extraction_computes_nothing(manifest: Manifest) -> None:
    first = Counting()
    progress: list[tuple[float, float]] = []
    found = extract_corpus(first, manifest, progress=lambda done, to_do: progress.append((done, to_do)))
    assert len(first.seen) == len(manifest)
    assert progress[-1][0] == pytest.approx(progress[-1][1]) == pytest.approx(manifest.table["duration"].sum())
    second = Counting()
    again = extract_corpus(second, manifest)
    assert second.seen == []
    assert all(torch.equal(again[name], found[name]) for name in found)


def test_the_same_sound_goes_through_once(tmp_path: Path) -> None:
    root = tmp_path / "tones"
    corpus = Tones.write(root, speakers=2)
    corpus._rows.append(Utterance("twin", corpus._rows[0].path, speaker="s0", label="angry"))
    corpus._rows.append(Utterance("part", corpus._rows[0].path, start=0.02, end=0.1, speaker="s0", label="angry"))
    manifest = Manifest.from_corpus(corpus, root)
    upstream = Counting()
    features = extract_corpus(upstream, manifest)
    assert len(upstream.seen) == len(manifest) - 1
    assert torch.equal(features["twin"], features[corpus._rows[0].id])
    assert features["part"].shape[1] == int(0.08 * RATE) // 160


def test_only_what_a_damaged_shard_held_is_computed_again(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_module, "SHARD_BYTES", 4000)
    upstream = Counting()
    # Loaded tensors may be views of the very file that is damaged below.
    before = {name: frames.clone() for name, frames in extract_corpus(upstream, manifest).items()}
    shards = sorted(FeatureStore(StoreKey(upstream.fingerprint())).folder.glob("*.safetensors"))
    assert len(shards) > 2
    with store_module.safe_open(shards[1], framework="pt") as content:
        lost = len(list(content.keys()))
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    upstream.seen.clear()
    after = extract_corpus(upstream, manifest)
    assert len(upstream.seen) == lost
    for name in before:
        torch.testing.assert_close(after[name], before[name])


def test_an_unreadable_recording_keeps_what_came_before(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract_module, "BATCH_SECONDS", 0.5)
    rows = manifest.table.sort_values("duration")
    broken = manifest.root / rows["path"].iloc[len(rows) // 2]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    upstream = Counting()
    with pytest.raises(AudioError, match=broken.name):
        extract_corpus(upstream, manifest)
    kept = len(FeatureStore(StoreKey(upstream.fingerprint())))
    assert 0 < kept == len(upstream.seen) < len(manifest)
    broken.write_bytes(whole)
    upstream.seen.clear()
    extract_corpus(upstream, manifest)
    assert len(upstream.seen) == len(manifest) - kept


def test_a_disk_that_fills_up_in_the_middle_keeps_what_came_before(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_module, "SHARD_BYTES", 4000)
    monkeypatch.setattr(extract_module, "BATCH_SECONDS", 0.5)
    real, written = store_module.save_file, []

    def fills_up(tensors: dict[str, Tensor], path: Path) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(list(tensors))
        real(tensors, path)

    upstream = Counting()
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "save_file", fills_up)
        with pytest.raises(StoreError, match="No space left on device"):
            extract_corpus(upstream, manifest)
    store = FeatureStore(StoreKey(upstream.fingerprint()))
    assert len(store) == sum(map(len, written))
    assert list(store.folder.glob("*.partial")) == []
    assert len(extract_corpus(upstream, manifest)) == len(manifest)


def test_silence_is_refused_unless_it_is_accepted(tmp_path: Path) -> None:
    root = tmp_path / "tones"
    corpus = Tones.write(root, speakers=1, takes=1)
    soundfile.write(root / corpus._rows[0].path, np.zeros(3200), RATE)
    manifest = Manifest.from_corpus(corpus, root)
    with pytest.raises(AudioError, match=r"silence.*allow_silent"):
        extract_corpus(TinyUpstream(), manifest)
    assert len(extract_corpus(TinyUpstream(), manifest, allow_silent=True)) == len(manifest)


# --- the stored path is the waveform path -----------------------------------------------------------------------------


def _batch(stream: Waves | Frames | Moments | Vectors, ids: list[str]) -> Batch:
    count = len(ids)
    targets = Targets(torch.zeros(count, dtype=torch.long), torch.zeros(count, 3), torch.zeros(count, 3))
    return Batch({STREAM: stream}, targets, ids)


def _logits(outputs: Outputs) -> Tensor:
    assert outputs.logits is not None
    return outputs.logits


COMPOSITIONS = {
    "weighted sum": {},
    "superb": {"frames": lambda dim: LinearProjection(dim, 5)},
    "superb, global": {"frames": lambda dim: LinearProjection(dim, 5), "normalisation": "global"},
    "emobox": {"frames": lambda dim: LinearReLU(dim, 5), "normalisation": "global"},
    "attentive": {"pooling": lambda dim: AttentiveStatisticsPooling(dim, 4), "normalisation": "global"},
    "fixed": {"layer_mix": ConcatenateLayers, "pooling": MeanStdMaxPooling},
    "fixed, embedding": {"layer_mix": ConcatenateLayers, "pooling": MeanStdMaxPooling, "normalisation": "embedding"},
    "fixed, global": {"layer_mix": SingleLayer, "pooling": MeanPooling, "normalisation": "global"},
    "layer norm": {"layer_mix": lambda *sizes: WeightedSum(*sizes, layer_norm=True)},
}
MOMENTS_SUFFICE = {"weighted sum", "superb", "superb, global", "fixed, global"}


@pytest.mark.parametrize("spectral", [False, True], ids=["tiny", "spectral"])
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_stored_features_give_what_recordings_give(tmp_path: Path, name: str, spectral: bool) -> None:
    data = tiny_data(tmp_path / "tones", eval_batch_size=5)
    model = tiny_model(Spectral(num_mels=8, num_mfcc=8) if spectral else TinyUpstream(), **COMPOSITIONS[name])
    features = extract_corpus(model.upstream, data.manifest)
    training = [features[one] for one in data.training_ids]
    model.prepare(
        torch.from_numpy(data.class_counts()),
        0,
        training,
        lambda: torch.stack([model.vector(frames) for frames in training]),
    )
    model.eval()
    torch.manual_seed(1)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    waves = list(data.test_dataloader())
    data.use(data.fold, features=features)
    for heard, stored in zip(waves, data.test_dataloader(), strict=True):
        assert heard.ids == stored.ids
        assert isinstance(heard.streams[STREAM], Waves)
        assert isinstance(stored.streams[STREAM], Frames)
        with torch.no_grad():
            expected = _logits(model(heard))
            torch.testing.assert_close(_logits(model(stored)), expected, rtol=1e-5, atol=1e-5)
            if model.fixed_embedding:
                vectors = model.normalised(torch.stack([model.vector(features[one]) for one in heard.ids]))
                torch.testing.assert_close(
                    _logits(model(_batch(Vectors(vectors), heard.ids))), expected, rtol=1e-5, atol=1e-5
                )
            moments = Moments(
                torch.tensor([features[one].shape[1] for one in heard.ids]),
                torch.stack([features[one].mean(dim=1) for one in heard.ids]),
            )
            if name in MOMENTS_SUFFICE:
                torch.testing.assert_close(_logits(model(_batch(moments, heard.ids))), expected, rtol=1e-5, atol=1e-5)
            else:
                with pytest.raises(RecipeError, match="Stored means are enough"):
                    model(_batch(moments, heard.ids))


def test_an_utterance_does_not_depend_on_its_company(manifest: Manifest) -> None:
    model = tiny_model(pooling=MeanStdMaxPooling, normalisation="global").eval()
    features = extract_corpus(model.upstream, manifest)
    model.prepare(torch.ones(3), 0, list(features.values()))
    names = list(features)
    with torch.no_grad():
        together = _logits(model(_batch(Frames(*pad_sequences([features[n] for n in names], dim=1)), names)))
        for name, expected in zip(names, together, strict=True):
            alone = _batch(Frames(*pad_sequences([features[name]], dim=1)), [name])
            torch.testing.assert_close(_logits(model(alone))[0], expected, rtol=1e-5, atol=1e-6)
