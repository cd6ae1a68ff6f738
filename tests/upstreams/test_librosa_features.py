"""LibrosaFeatures: equal to librosa called directly, functionals against numpy and scipy, edges, settings."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.stats
import torch
from filelock import FileLock

from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.upstreams import librosa_features as module
from ser_toolkit.upstreams.librosa_features import FEATURES, STATISTICS, LibrosaFeatures
from ser_toolkit.upstreams.signal.functionals import FUNCTIONALS, functionals

LENGTHS = [12000, 4001]
QUICK = [name for name in FEATURES if name != "f0"]
SPECTRUM = {"sr": 16000, "n_fft": 1024, "hop_length": 160}


def padded(voice: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Two beginnings of the voice, with noise where nobody must look."""
    wav = torch.randn(len(LENGTHS), max(LENGTHS), generator=torch.Generator().manual_seed(1))
    for row, length in enumerate(LENGTHS):
        wav[row, :length] = torch.from_numpy(voice[:length])
    return wav, torch.tensor(LENGTHS)


def by_librosa(name: str, y: np.ndarray) -> np.ndarray:
    """What librosa itself says: (N,) -> (T, K)."""
    feature = librosa.feature
    if name == "mfcc":
        static = feature.mfcc(y=y, **SPECTRUM, n_mfcc=20)
        slopes = [feature.delta(static, order=order, mode="nearest") for order in (1, 2)]
        return np.concatenate([static, *slopes]).T
    if name == "chroma":
        return feature.chroma_stft(y=y, **SPECTRUM).T
    if name == "contrast":
        return feature.spectral_contrast(y=y, **SPECTRUM).T
    if name == "tonnetz":
        return feature.tonnetz(chroma=feature.chroma_stft(y=y, **SPECTRUM)).T
    if name == "zero_crossings":
        return feature.zero_crossing_rate(y, frame_length=1024, hop_length=160).T
    if name == "rms":
        return feature.rms(y=y, frame_length=1024, hop_length=160).T
    f0, voiced, probability = librosa.pyin(y, fmin=55, fmax=600, sr=16000, frame_length=1024, hop_length=160)
    return np.stack([np.nan_to_num(f0), voiced, probability], axis=1)


@pytest.mark.parametrize("name", FEATURES)
def test_frames_are_librosas_own(name: str, voice: np.ndarray) -> None:
    upstream = LibrosaFeatures(name, level="frames", deltas=2)  # type: ignore[arg-type]
    frames, counts = upstream(*padded(voice))
    for row, length in enumerate(LENGTHS):
        expected = by_librosa(name, voice[:length])
        assert expected.shape == (length // 160 + 1, upstream.feature_dim) == (int(counts[row]), frames.shape[3])
        np.testing.assert_array_equal(frames[row, 0, : int(counts[row])].numpy(), expected.astype(np.float32))
        assert not frames[row, 0, int(counts[row]) :].any()


def test_features_stand_in_the_order_given_under_their_names(voice: np.ndarray) -> None:
    wav, lengths = padded(voice)
    upstream = LibrosaFeatures(["rms", "mfcc"], level="frames", num_mfcc=3, deltas=1)
    frames = upstream(wav, lengths)[0]
    alone = [LibrosaFeatures(n, level="frames", num_mfcc=3, deltas=1)(wav, lengths)[0] for n in ("rms", "mfcc")]
    assert torch.equal(frames, torch.cat(alone, dim=3))
    assert upstream.feature_names == ["rms", *(f"mfcc {n}" for n in range(3)), *(f"mfcc {n} delta" for n in range(3))]
    assert len(LibrosaFeatures().feature_names) == LibrosaFeatures().feature_dim == (20 + 12 + 7 + 6 + 1 + 1 + 3) * 6


def test_functionals_are_statistics_of_the_frames(voice: np.ndarray) -> None:
    wav, lengths = padded(voice)
    upstream = LibrosaFeatures(["mfcc", "zero_crossings"], num_mfcc=4)
    found, counts = upstream(wav, lengths)
    frames, frame_counts = LibrosaFeatures(["mfcc", "zero_crossings"], level="frames", num_mfcc=4)(wav, lengths)
    assert counts.tolist() == [1, 1]
    for row, count in enumerate(frame_counts.tolist()):
        values = frames[row, 0, :count].double().numpy()
        seconds = np.arange(count) * 0.01
        lines = [scipy.stats.linregress(seconds, column).slope for column in values.T]
        percentiles = np.percentile(values, [5, 50, 95], axis=0)
        expected = np.stack([values.mean(axis=0), values.std(axis=0), *percentiles, lines], axis=1)
        np.testing.assert_allclose(found[row, 0, 0].numpy(), expected.reshape(-1), rtol=1e-4, atol=1e-4)
    assert upstream.feature_names[4:7] == ["mfcc 0 p95", "mfcc 0 slope", "mfcc 1 mean"]


def test_pitch_is_over_voiced_frames_and_zero_where_there_are_none(voice: np.ndarray) -> None:
    upstream = LibrosaFeatures("f0", statistics=["median", "mean"])
    silence = torch.zeros(1, 8000)
    half = torch.cat([torch.from_numpy(voice[:8000]), torch.zeros(8000)])[None]
    spoken = dict(zip(upstream.feature_names, upstream(half, torch.tensor([16000]))[0][0, 0, 0].tolist(), strict=True))
    # the fixture's F0 is 120 Hz +- 10 %
    assert spoken["f0 Hz median"] == pytest.approx(120, abs=8)
    assert 0.4 < spoken["f0 voiced mean"] < 0.6
    unvoiced = upstream(silence, torch.tensor([8000]))[0][0, 0, 0]
    assert unvoiced[:4].tolist() == [0.0] * 4
    assert unvoiced.isfinite().all()


def test_statistics_pass_over_frames_without_a_value() -> None:
    contour = np.array([np.nan, 1.0, 3.0, np.nan, 9.0])
    found = functionals(contour, np.arange(5.0), ["mean", "slope", "std"])
    assert found == pytest.approx([13 / 3, scipy.stats.linregress([1, 2, 4], [1, 3, 9]).slope, np.std([1, 3, 9])])
    assert functionals(np.full(4, np.nan), np.arange(4.0), list(FUNCTIONALS)) == [0.0] * 6
    assert functionals(np.array([2.0]), np.zeros(1), ["slope", "mean"]) == [0.0, 2.0]
    assert tuple(FUNCTIONALS) == STATISTICS


@pytest.mark.filterwarnings("error")
def test_the_shortest_recording_silence_and_broken_ones() -> None:
    upstream = LibrosaFeatures(QUICK, deltas=2)  # type: ignore[arg-type]
    assert upstream.receptive_samples == 1024
    assert upstream(torch.zeros(1, 1024), torch.tensor([1024]))[0].isfinite().all()
    with pytest.raises(AudioError, match=r"LibrosaFeatures needs at least 1024 samples \(0.064 s\)"):
        upstream(torch.zeros(1, 1023), torch.tensor([1023]))
    with pytest.raises(AudioError, match=r"LibrosaFeatures got a recording of 2000 samples .* not finite"):
        upstream(torch.full((1, 2000), torch.nan), torch.tensor([2000]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "pitch"}, r"features=\['pitch'\]: expected all, or one or more of mfcc, chroma"),
        ({"features": []}, "each once"),
        ({"features": ["rms", "rms"]}, "each once"),
        ({"statistics": ["mode"]}, "statistics=.*expected all, or one or more of mean, std"),
        ({"level": "lld"}, "functionals or frames"),
        ({"deltas": 3}, "deltas=3"),
        ({"num_mfcc": 200}, "num_mfcc=200, num_mels=128"),
        ({"window_ms": 0.064}, "milliseconds"),
        ({"hop_ms": 0.0}, "milliseconds"),
        ({"low_f0_hz": 20.0}, "two periods"),
        ({"low_f0_hz": 700.0}, "low_f0_hz < high_f0_hz"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        LibrosaFeatures(**settings)  # type: ignore[arg-type]


def test_fingerprint_holds_what_the_features_depend_on_and_no_more() -> None:
    base = LibrosaFeatures(QUICK).fingerprint()  # type: ignore[arg-type]
    assert f"librosa={librosa.__version__}" in base
    others = [
        LibrosaFeatures(),
        LibrosaFeatures(QUICK, level="frames"),  # type: ignore[arg-type]
        LibrosaFeatures(QUICK, num_mfcc=13),  # type: ignore[arg-type]
        LibrosaFeatures(QUICK, deltas=1),  # type: ignore[arg-type]
        LibrosaFeatures(QUICK, statistics=["mean"]),  # type: ignore[arg-type]
        LibrosaFeatures(QUICK, hop_ms=20),  # type: ignore[arg-type]
        LibrosaFeatures(low_f0_hz=80),
    ]
    assert len({base, *(upstream.fingerprint() for upstream in others)}) == 8
    assert LibrosaFeatures(QUICK, low_f0_hz=80).fingerprint() == base  # type: ignore[arg-type]
    assert LibrosaFeatures("rms", num_mfcc=13).fingerprint() == LibrosaFeatures("rms").fingerprint()


def test_it_survives_the_way_into_a_worker_process(voice: np.ndarray) -> None:
    upstream = LibrosaFeatures("rms")
    wav, lengths = padded(voice)
    assert torch.equal(pickle.loads(pickle.dumps(upstream))(wav, lengths)[0], upstream(wav, lengths)[0])


def test_one_process_at_a_time_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_COMPILED", set())
    upstream = LibrosaFeatures(features=["rms"])
    wav, lengths, done = torch.randn(1, 4000), torch.tensor([4000]), threading.Event()

    def extract() -> None:
        upstream(wav, lengths)
        done.set()

    with FileLock(tmp_path / "librosa.lock", thread_local=False):  # another process compiles
        threading.Thread(target=extract, daemon=True).start()
        assert not done.wait(timeout=0.3)
    assert done.wait(timeout=60)
    with FileLock(tmp_path / "librosa.lock"):
        upstream(wav, lengths)  # compiled: it waits for nobody
