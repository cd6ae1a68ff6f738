"""Several upstreams as one: what they must share, whose grid it is, and that stores of single ones are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from ser_toolkit.corpora.folders import FolderCorpus
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.store import FeatureStore
from ser_toolkit.upstreams.base import Upstream
from ser_toolkit.upstreams.fused import FusedUpstreams
from ser_toolkit.upstreams.spectral import Spectral

MELS = {"features": "logmel", "num_mels": 6}
PROSODY = {"features": "prosody", "hop_ms": 20.0, "window_ms": 40.0}


class Trainable(Upstream):
    """Frames without overlap through one matrix, at any rate."""

    feature_dim, num_layers, hop_samples, receptive_samples = 2, 2, 400, 400

    def __init__(self, frozen: bool = False, sampling_rate: int = 16000) -> None:
        super().__init__(frozen)
        self.sampling_rate = sampling_rate
        self.matrix = torch.nn.Parameter(torch.linspace(-1, 1, 4 * 400).reshape(4, 400))

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return lengths // 400

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        counts = self.frame_lengths(lengths)
        frames = wav[:, : int(counts.max()) * 400].unflatten(1, (-1, 400)) @ self.matrix.T
        return frames.unflatten(2, (2, 2)).transpose(1, 2), counts

    def fingerprint(self) -> str:
        return "trainable"


def pair() -> FusedUpstreams:
    return FusedUpstreams([Spectral(**PROSODY), Spectral(**MELS)])  # type: ignore[arg-type]


def test_it_has_the_grid_of_the_closest_frames_and_room_for_all_layers() -> None:
    first, second = pair().parts
    fused = FusedUpstreams([first, second, Trainable(frozen=True)])
    assert (fused.hop_samples, fused.num_layers) == (160, 1)
    assert fused.feature_dim == first.feature_dim + 6 + 4
    assert fused.receptive_samples == max(first.receptive_samples, 400)
    assert fused.sampling_rate == 16000
    lengths = torch.tensor([1600, 8000])
    assert fused.frame_lengths(lengths).tolist() == second.frame_lengths(lengths).tolist()
    assert fused.fingerprint() == " + ".join(part.fingerprint() for part in (first, second)) + " + trainable"


def test_one_stream_of_all_is_each_on_the_grid_of_the_closest(voice: np.ndarray) -> None:
    fused = pair()
    wav, lengths = torch.from_numpy(voice[:8000])[None], torch.tensor([8000])
    frames, counts = fused(wav, lengths)
    coarse, fine = (part(wav, lengths)[0][0, 0] for part in fused.parts)
    assert torch.equal(frames[0, 0, :, coarse.shape[1] :], fine)
    times, own = (np.arange(int(counts)) + 0.5) * 0.01, (np.arange(len(coarse)) + 0.5) * 0.02
    expected = np.stack([np.interp(times, own, column) for column in coarse.numpy().T], axis=1)
    np.testing.assert_allclose(frames[0, 0, :, : coarse.shape[1]], expected, atol=1e-4)


def refused(*upstreams: Upstream) -> str:
    with pytest.raises(RecipeError) as caught:
        FusedUpstreams(list(upstreams))
    return str(caught.value)


def test_what_cannot_be_fused_is_refused_by_name() -> None:
    mels: Any = Spectral(**MELS)  # type: ignore[arg-type]
    assert "list two or more, found Spectral" in refused(mels)
    assert "list two or more, found none" in refused()
    assert "found Spectral 16000 Hz, Trainable 8000 Hz" in refused(mels, Trainable(True, sampling_rate=8000))
    assert "all of Spectral, Trainable should be frozen, or none" in refused(mels, Trainable(frozen=False))
    assert "holds another FusedUpstreams" in refused(mels, pair())


def test_a_recording_is_refused_when_one_of_them_cannot_hear_it(voice: np.ndarray) -> None:
    fused = pair()
    assert fused.receptive_samples == 513
    with pytest.raises(AudioError, match="at least 513 samples"):
        fused(torch.from_numpy(voice[:512])[None], torch.tensor([512]))


def test_frozen_and_fine_tuned_ones_behave_as_one(voice: np.ndarray) -> None:
    wav, lengths = torch.from_numpy(voice[:8000])[None], torch.tensor([8000])
    assert not any(module.training for module in torch.nn.Sequential(pair()).train()[0].modules())
    fused = FusedUpstreams([Trainable(), Trainable()])
    assert not fused.frozen
    assert all(module.training for module in fused.train().modules())
    fused(wav, lengths)[0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in fused.parameters())
    assert {name for name, _ in fused.named_parameters()} == {"upstreams.0.matrix", "upstreams.1.matrix"}


@pytest.fixture
def corpus(tmp_path: Path, voice: np.ndarray) -> Manifest:
    """Four recordings of different length."""
    for number in range(4):
        path = tmp_path / "corpus" / ("angry", "sad")[number % 2] / f"s0{number}_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.roll(voice, 999 * number)[: 6000 + 1000 * number], 16000)
    return manifest_of(FolderCorpus(r"(?P<speaker>s\d+)_.*"), tmp_path / "corpus")


def test_what_was_extracted_for_one_upstream_is_not_extracted_again(
    corpus: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    extract = Spectral.extract

    def counted(self: Spectral, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        heard.extend(self.features * len(wav))
        return extract(self, wav, lengths)

    monkeypatch.setattr(Spectral, "extract", counted)
    fused = pair()
    mels = fused.parts[1]
    alone = extract_corpus(mels, corpus, tmp_path / "store")
    assert heard == ["logmel"] * 4
    both = extract_corpus(fused, corpus, tmp_path / "store")
    assert heard == ["logmel"] * 4 + ["prosody"] * 4
    extract_corpus(fused, corpus, tmp_path / "store")
    assert len(heard) == 8
    assert list(both) == list(alone)
    assert len(both) == 4
    folders = {FeatureStore(StoreKey(part.fingerprint()), tmp_path / "store").folder for part in fused.parts}
    assert set((tmp_path / "store").iterdir()) == folders, "no store of the fusion itself"
    for name, frames in both.items():
        assert torch.equal(frames[1], alone[name])  # type: ignore[arg-type]
        assert [part.shape[2] for part in frames] == [fused.parts[0].feature_dim, 6]
