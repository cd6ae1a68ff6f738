"""Spectral: parity with librosa, pitch of known harmonics and of real speech, edges of utterances, settings."""

from __future__ import annotations

import math
import random
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from ser_toolkit.errors import AudioError, RecipeError
from ser_toolkit.upstreams.signal.prosody import pitch, spectral_shape
from ser_toolkit.upstreams.spectral import POWER_FLOOR, PROSODY, Spectral, delta

LENGTHS = [16000, 9001, 257]


def padded(voice: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Three beginnings of the voice, with noise where nobody must look."""
    wav = torch.randn(len(LENGTHS), max(LENGTHS), generator=torch.Generator().manual_seed(1))
    for row, length in enumerate(LENGTHS):
        wav[row, :length] = torch.from_numpy(voice[:length])
    return wav, torch.tensor(LENGTHS)


def librosa_log_mel(wav: np.ndarray) -> np.ndarray:
    """(N,) -> (T, 80)."""
    mel = librosa.feature.melspectrogram(
        y=wav, sr=16000, n_fft=512, win_length=400, hop_length=160, n_mels=80, fmin=20, fmax=7600, htk=True, norm=None,
        pad_mode="reflect",
    )  # fmt: skip
    return np.log(mel + POWER_FLOOR).T


def harmonics(f0: float, amplitude: float = 0.3, seconds: float = 1.0) -> torch.Tensor:
    """A steady voice-like tone: (1, N)."""
    time = np.arange(int(16000 * seconds)) / 16000
    signal = sum(np.sin(2 * np.pi * k * f0 * time + k) / k for k in range(1, int(7000 / f0)))
    return torch.tensor(amplitude * signal / np.abs(signal).max(), dtype=torch.float32)[None]


def prosody_of(wav: torch.Tensor) -> dict[str, torch.Tensor]:
    """One utterance (1, N) -> each contour (T,), without the five frames at either end."""
    frames, _ = Spectral("prosody")(wav, torch.tensor([wav.shape[1]]))
    return dict(zip(PROSODY, frames[0, 0, 5:-5].T, strict=True))


def test_log_mel_equals_librosa(voice: np.ndarray) -> None:
    frames, counts = Spectral()(*padded(voice))
    for row, length in enumerate(LENGTHS):
        expected = librosa_log_mel(voice[:length])
        assert int(counts[row]) == len(expected)
        np.testing.assert_allclose(frames[row, 0, : len(expected)].numpy(), expected, atol=2e-4)
        assert not frames[row, 0, len(expected) :].any()


def test_mfcc_equals_librosa(voice: np.ndarray) -> None:
    frames, _ = Spectral("mfcc", num_mfcc=13)(torch.from_numpy(voice)[None], torch.tensor([16000]))
    expected = librosa.feature.mfcc(S=librosa_log_mel(voice).T, n_mfcc=13, dct_type=2, norm="ortho", lifter=0).T
    np.testing.assert_allclose(frames[0, 0].numpy(), expected, atol=1e-3)


def test_deltas_equal_librosa_with_repeated_edges(voice: np.ndarray) -> None:
    frames, counts = Spectral("mfcc", deltas=2)(*padded(voice))
    static, first, second = frames[:, 0].split(20, dim=-1)
    for row, count in enumerate(counts.tolist()[:2]):
        inner = static[row, :count].T.numpy()
        slope = librosa.feature.delta(inner, width=5, order=1, mode="nearest")
        np.testing.assert_allclose(first[row, :count].T.numpy(), slope, atol=1e-4)
        slope = librosa.feature.delta(slope, width=5, order=1, mode="nearest")
        np.testing.assert_allclose(second[row, :count].T.numpy(), slope, atol=1e-4)


def test_delta_of_a_straight_line_is_its_slope() -> None:
    line = 3.0 * torch.arange(9)[None, :, None]
    assert delta(line, torch.tensor([9]))[0, 2:-2, 0].tolist() == [3.0] * 5


@pytest.mark.parametrize("f0", [60.0, 80.0, 100.0, 133.3, 200.0, 251.0, 350.0, 440.0, 590.0])
def test_pitch_of_known_harmonics(f0: float) -> None:
    contours = prosody_of(harmonics(f0))
    expected = 12 * math.log2(f0 / 27.5)
    # 0.05 semitones are 0.3 %, a fifth of a sample at 250 Hz
    assert (contours["F0 semitones"] - expected).abs().max() < 0.05
    assert contours["voicing"].min() > 0.99


def test_pitch_follows_a_glide() -> None:
    time = np.arange(16000) / 16000
    f0 = 100 * 2**time  # one octave a second
    phase = 2 * np.pi * np.cumsum(f0) / 16000
    signal = torch.tensor(sum(0.2 * np.sin(k * phase) / k for k in range(1, 20)), dtype=torch.float32)[None]
    found, _ = pitch(signal, torch.tensor([16000]), 160, 16000)
    at_frames = f0[::160]
    error = 12 * np.log2(found[0, 5:-6].numpy() / at_frames[5:-5])
    assert np.abs(error).max() < 0.15


@pytest.mark.parametrize("amplitude", [0.0, 0.1])
def test_noise_and_silence_are_unvoiced(amplitude: float) -> None:
    noise = amplitude * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    contours = prosody_of(noise)
    assert contours["voicing"].max() < 0.2
    assert not contours["F0 semitones"].any()
    assert all(contour.isfinite().all() for contour in contours.values())


def test_a_constant_offset_has_no_pitch() -> None:
    assert not prosody_of(torch.full((1, 16000), 0.3))["F0 semitones"].any()


def test_energy_is_the_logarithm_of_the_mean_power() -> None:
    sine = torch.sin(2 * torch.pi * 500 * torch.arange(16000) / 16000)[None]
    assert prosody_of(sine)["log energy"].mean().item() == pytest.approx(math.log(0.5), abs=1e-3)
    halved = prosody_of(0.5 * sine)["log energy"].mean().item()
    assert halved == pytest.approx(math.log(0.125), abs=1e-3)


def test_centroid_and_tilt_of_simple_spectra() -> None:
    sine = torch.sin(2 * torch.pi * 2000 * torch.arange(16000) / 16000)[None]
    torch.testing.assert_close(prosody_of(sine)["centroid kHz"], torch.full((91,), 2.0), atol=2e-3, rtol=0)
    kilohertz = torch.linspace(0, 8, 257)
    power = (10 ** (-6 * kilohertz / 10))[None, None].repeat(1, 3, 1)  # 6 dB per kHz down
    shape = spectral_shape(power, 16000, floor=1e-12)
    torch.testing.assert_close(shape[0, :, 1], torch.full((3,), -6.0), atol=1e-2, rtol=0)
    assert shape[0, :, 2].abs().max() < 1e-6


def test_flux_is_one_between_spectra_without_overlap_and_ignores_level() -> None:
    low, high = torch.zeros(257), torch.zeros(257)
    low[:100], high[100:] = 1, 1
    power = torch.stack([low, 9 * low, high])[None]
    flux = spectral_shape(power, 16000, floor=1e-12)[0, :, 2]
    torch.testing.assert_close(flux, torch.tensor([0.0, 0.0, 1.0]), atol=1e-4, rtol=0)


def test_prosody_of_each_utterance_equals_itself_alone(voice: np.ndarray) -> None:
    upstream = Spectral(["prosody", "mfcc"], deltas=1, normalisation="utterance")
    wav, lengths = padded(voice)
    frames, counts = upstream(wav, lengths)
    for row, length in enumerate(LENGTHS):
        alone, _ = upstream(torch.from_numpy(voice[:length])[None], torch.tensor([length]))
        error = torch.linalg.norm(frames[row, :, : counts[row]] - alone[0]) / torch.linalg.norm(alone)
        assert error < 1e-5
        assert not frames[row, :, counts[row] :].any()


def test_utterance_normalisation_is_per_feature(voice: np.ndarray) -> None:
    frames, _ = Spectral(normalisation="utterance")(torch.from_numpy(voice)[None], torch.tensor([16000]))
    torch.testing.assert_close(frames[0, 0].mean(dim=0), torch.zeros(80), atol=1e-5, rtol=0)
    torch.testing.assert_close(frames[0, 0].std(dim=0, correction=0), torch.ones(80), atol=1e-4, rtol=0)


def test_features_stand_in_the_order_given(voice: np.ndarray) -> None:
    wav, lengths = torch.from_numpy(voice)[None], torch.tensor([16000])
    both = Spectral(["mfcc", "logmel"])(wav, lengths)[0]
    torch.testing.assert_close(both[..., :20], Spectral("mfcc")(wav, lengths)[0])
    torch.testing.assert_close(both[..., 20:], Spectral("logmel")(wav, lengths)[0])


def test_gradient_reaches_every_sample_of_the_waveform_and_stays_finite(voice: np.ndarray) -> None:
    wav = torch.from_numpy(voice)[None].repeat(2, 1)
    wav[1, :8000] = 0  # silence is where roots and logarithms have infinite slopes
    wav.requires_grad_()
    upstream = Spectral(["logmel", "mfcc", "prosody"], deltas=2, normalisation="utterance")
    frames, _ = upstream.extract(wav, torch.tensor([16000, 16000]))
    (frames * torch.linspace(-1, 1, frames.numel()).reshape(frames.shape)).sum().backward()
    assert wav.grad is not None
    assert wav.grad.isfinite().all()
    assert (wav.grad[0] != 0).float().mean() > 0.99


def test_shortest_recording_and_one_sample_less() -> None:
    upstream = Spectral(["logmel", "prosody"], window_ms=20)
    shortest = upstream.receptive_samples
    frames, counts = upstream(torch.ones(1, shortest), torch.tensor([shortest]))
    assert frames.shape[2] == int(counts) == shortest // 160 + 1
    with pytest.raises(AudioError, match=f"at least {shortest} samples"):
        upstream(torch.ones(1, shortest), torch.tensor([shortest - 1]))


def test_window_and_hop_in_milliseconds(voice: np.ndarray) -> None:
    upstream = Spectral(["logmel", "prosody"], window_ms=32, hop_ms=16, num_mels=40)
    assert (upstream.n_fft, upstream.hop_samples, upstream.feature_dim) == (512, 256, 46)
    frames, counts = upstream(torch.from_numpy(voice)[None], torch.tensor([16000]))
    assert frames.shape == (1, 1, 63, 46)
    assert counts.tolist() == [63]


def test_fingerprint_changes_with_what_changes_features_and_only_then() -> None:
    variants = [
        Spectral(),
        Spectral("mfcc"),
        Spectral("mfcc", num_mfcc=13),
        Spectral("prosody"),
        Spectral(["logmel", "prosody"]),
        Spectral(["prosody", "logmel"]),
        Spectral(num_mels=40),
        Spectral(window_ms=32),
        Spectral(hop_ms=20),
        Spectral(low_hz=60),
        Spectral(high_hz=8000),
        Spectral(deltas=1),
        Spectral(deltas=2),
        Spectral(normalisation="utterance"),
    ]
    assert len({upstream.fingerprint() for upstream in variants}) == len(variants)
    assert Spectral(num_mfcc=13, window_ms=25, low_hz=20).fingerprint() == Spectral(["logmel"]).fingerprint()
    assert Spectral("prosody", num_mels=40, high_hz=4000).fingerprint() == Spectral("prosody").fingerprint()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": []}, "expected one or more of logmel, mfcc, prosody"),
        ({"features": "chroma"}, "chroma"),
        ({"features": ["mfcc", "mfcc"]}, "each once"),
        ({"features": "mfcc", "num_mfcc": 81}, "num_mfcc=81"),
        ({"num_mfcc": 0}, "num_mfcc=0"),
        ({"window_ms": 0.025}, "milliseconds"),
        ({"hop_ms": 0.0}, "milliseconds"),
        ({"high_hz": 9000.0}, "Mel band"),
        ({"num_mels": 200}, "contain no bin"),
        ({"deltas": 3}, "deltas=3"),
        ({"normalisation": "speaker"}, "normalisation='speaker'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Spectral(**settings)  # type: ignore[arg-type]


@pytest.mark.corpus
def test_pitch_of_real_speech_agrees_with_pyin(corpora_root: Path) -> None:
    clips = sorted((corpora_root / "EmoDB").rglob("*.wav"))
    gross: list[bool] = []
    for clip in random.Random(0).sample(clips, 3):
        wav, rate = soundfile.read(clip, dtype="float32")
        found, voicing = pitch(torch.from_numpy(wav)[None], torch.tensor([len(wav)]), 160, rate)
        theirs, voiced, _ = librosa.pyin(wav, fmin=55, fmax=600, sr=rate, frame_length=1024, hop_length=160)
        both = voiced[: found.shape[1]] & (voicing[0] >= 0.5).numpy()
        assert both.mean() > 0.1
        gross += list(np.abs(found[0].numpy()[both] / theirs[: found.shape[1]][both] - 1) > 0.2)
    # pYIN tracks over time and this tracker does not: a few per cent of octave errors are expected
    assert np.mean(gross) < 0.06


def test_few_mel_bands_need_no_word_about_cepstra() -> None:
    assert Spectral(features="logmel", num_mels=8).feature_dim == 8
    with pytest.raises(RecipeError, match="num_mfcc=20"):
        Spectral(features="mfcc", num_mels=8)
