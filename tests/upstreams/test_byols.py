"""BYOL-S: parity with a composition of librosa and torch, checkpoints good and bad, real weights on real speech."""

from __future__ import annotations

import pickle
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from torch import nn

from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.upstreams.byols import BYOLS, PUBLISHED_MEAN, PUBLISHED_STD
from ser_toolkit.upstreams.signal.mel import mel_filterbank, power_spectrum, reflect_pad, standardise


def random_state_dict(width: int = 512) -> dict[str, torch.Tensor]:
    """Weights with the names and shapes of the published checkpoints, written out by hand."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=generator)

    weights: dict[str, torch.Tensor] = {}
    for index, fan_in in ((0, 1), (4, 64), (8, 64)):
        weights[f"features.{index}.weight"] = draw(64, fan_in, 3, 3, scale=(9 * fan_in) ** -0.5)
        weights[f"features.{index}.bias"] = draw(64, scale=0.1)
        weights[f"features.{index + 1}.weight"] = 1 + draw(64, scale=0.1)
        weights[f"features.{index + 1}.bias"] = draw(64, scale=0.3)
        weights[f"features.{index + 1}.running_mean"] = draw(64, scale=0.3)
        weights[f"features.{index + 1}.running_var"] = 0.5 + draw(64).abs()
        weights[f"features.{index + 1}.num_batches_tracked"] = torch.tensor(7)
    weights["fc.0.weight"], weights["fc.0.bias"] = draw(width, 512, scale=512**-0.5), draw(width, scale=0.1)
    weights["fc.3.weight"], weights["fc.3.bias"] = draw(width, width, scale=width**-0.5), draw(width, scale=0.1)
    return weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("byols") / "random.pth"
    torch.save(random_state_dict(), path)
    return str(path)


def reference_frames(wav: np.ndarray, weights: dict[str, torch.Tensor], mean: float, std: float) -> torch.Tensor:
    """One utterance through librosa's mel spectrogram and functional layers: (N,) -> (T, D)."""
    mel = librosa.feature.melspectrogram(
        y=wav, sr=16000, n_fft=1024, hop_length=160, n_mels=64, fmin=60, fmax=7800, htk=True, norm=None,
        pad_mode="reflect",
    )  # fmt: skip
    log_mel = np.log(mel + np.finfo(np.float32).eps)
    hidden = torch.tensor((log_mel - mean) / std, dtype=torch.float32)[None, None]
    for index in (0, 4, 8):
        hidden = F.conv2d(hidden, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], padding=1)
        norm = {name: weights[f"features.{index + 1}.{name}"] for name in ("weight", "bias")}
        stored = (weights[f"features.{index + 1}.running_mean"], weights[f"features.{index + 1}.running_var"])
        hidden = F.max_pool2d(F.relu(F.batch_norm(hidden, *stored, **norm)), 2)
    _, _, mels, time = hidden.shape
    flat = torch.stack([torch.cat([hidden[0, :, m, t] for m in range(mels)]) for t in range(time)])
    inner = F.relu(F.linear(flat, weights["fc.0.weight"], weights["fc.0.bias"]))
    return F.relu(F.linear(inner, weights["fc.3.weight"], weights["fc.3.bias"]))


def test_filterbank_equals_librosas_htk_filters() -> None:
    ours = mel_filterbank(64, 1024, 16000, 60, 7800)
    theirs = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=64, fmin=60, fmax=7800, htk=True, norm=None)
    np.testing.assert_allclose(ours.T.numpy(), theirs, atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(500, 400), (0, 9000), (-1, 4000)])
def test_impossible_mel_band_is_refused(low: float, high: float) -> None:
    with pytest.raises(RecipeError, match="Mel band"):
        mel_filterbank(20, 512, 16000, low, high)


def test_mel_filters_narrower_than_a_bin_are_refused() -> None:
    with pytest.raises(RecipeError, match="contain no bin"):
        mel_filterbank(128, 512, 16000, 0, 8000)


def test_power_spectrum_of_each_utterance_equals_librosa_alone(voice: np.ndarray) -> None:
    lengths = torch.tensor([4000, 5003, 513])
    wav = torch.ones(3, 6000)  # what lies behind an utterance must not matter
    for row, length in enumerate(lengths.tolist()):
        wav[row, :length] = torch.from_numpy(voice[:length])
    power = power_spectrum(wav, lengths, 1024, torch.hann_window(1024), 160)
    for row, length in enumerate(lengths.tolist()):
        theirs = np.abs(librosa.stft(voice[:length], n_fft=1024, hop_length=160, pad_mode="reflect")) ** 2
        np.testing.assert_allclose(power[row, : theirs.shape[1]].T.numpy(), theirs, rtol=1e-4, atol=1e-4)


def test_reflect_pad_mirrors_at_the_utterances_own_end() -> None:
    wav = torch.tensor([[1.0, 2, 3, 4], [5.0, 6, 7, 99]])
    padded = reflect_pad(wav, torch.tensor([4, 3]), 2)
    assert padded.tolist() == [[3, 2, 1, 2, 3, 4, 3, 2], [7, 6, 5, 6, 7, 6, 5, 0]]


def test_standardise_uses_valid_frames_only_and_survives_constants() -> None:
    values = torch.full((2, 3, 2), 4.0)
    values[0, :2] = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    values[0, 2] = 1e6
    out = standardise(values, torch.tensor([2, 3]), per_feature=False)
    expected = (np.array([[1, 2], [3, 6]]) - 3) / np.std([1, 2, 3, 6])
    np.testing.assert_allclose(out[0, :2].numpy(), expected, rtol=1e-6)
    assert out[0, 2].abs().sum() == 0
    assert out[1].abs().sum() == 0


@pytest.mark.parametrize("normalisation", ["utterance", "fixed", "none"])
def test_frames_equal_a_plain_composition(checkpoint: str, voice: np.ndarray, normalisation: str) -> None:
    upstream = BYOLS(checkpoint, normalisation=normalisation)  # type: ignore[arg-type]
    wav = voice[:7321]
    mean, std = {"fixed": (PUBLISHED_MEAN, PUBLISHED_STD), "none": (0.0, 1.0)}.get(normalisation, (None, None))
    if mean is None:
        mel = librosa.feature.melspectrogram(
            y=wav, sr=16000, n_fft=1024, hop_length=160, n_mels=64, fmin=60, fmax=7800, htk=True, norm=None,
            pad_mode="reflect",
        )  # fmt: skip
        log_mel = np.log(mel + np.finfo(np.float32).eps)
        mean, std = float(log_mel.mean()), float(log_mel.std())
    frames, lengths = upstream(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))
    expected = reference_frames(wav, random_state_dict(), mean, std)
    assert lengths.tolist() == [5] == [len(expected)]
    assert expected.std() > 0.01
    assert torch.linalg.norm(frames[0, 0] - expected) / torch.linalg.norm(expected) < 1e-5


def test_all_layers_are_the_blocks_at_one_resolution_and_both_linear_layers(checkpoint: str, voice: np.ndarray) -> None:
    wav, lengths = torch.from_numpy(voice[:7321])[None], torch.tensor([7321])
    upstream = BYOLS(checkpoint, layers="all")
    frames, counts = upstream(wav, lengths)
    assert (upstream.num_layers, frames.shape) == (5, (1, 5, int(counts), 512))
    torch.testing.assert_close(frames[:, 4:], BYOLS(checkpoint)(wav, lengths)[0])
    weights = random_state_dict()
    inner = F.relu(F.linear(frames[0, 2], weights["fc.0.weight"], weights["fc.0.bias"]))
    torch.testing.assert_close(frames[0, 3], inner)
    last = F.relu(F.linear(inner, weights["fc.3.weight"], weights["fc.3.bias"]))
    torch.testing.assert_close(frames[0, 4], last)
    hidden = upstream._log_mel(wav, lengths).transpose(1, 2)[:, None]
    for layer, stop in enumerate((4, 8, 12)):
        block = upstream.features[:stop](hidden)[0]
        width = block.shape[1] // 8  # as many bands and frames as the last block pools into one
        for band, frame in ((0, 0), (3, 2), (7, int(counts) - 1)):
            patch = block[:, band * width : (band + 1) * width, frame * width : (frame + 1) * width]
            found = frames[0, layer, frame, band * 64 : (band + 1) * 64]
            torch.testing.assert_close(found, patch.amax(dim=(1, 2)))


def test_every_length_modulo_the_pooling_is_padding_exact(checkpoint: str, voice: np.ndarray) -> None:
    upstream = BYOLS(checkpoint)
    sizes = [1120 + 160 * extra + extra for extra in range(9)]
    wav = torch.zeros(len(sizes), 4000)
    for row, size in enumerate(sizes):
        wav[row, :size] = torch.from_numpy(voice[:size])
    frames, lengths = upstream(wav, torch.tensor(sizes))
    for row, size in enumerate(sizes):
        alone, count = upstream(wav[row : row + 1, :size], torch.tensor([size]))
        assert int(count) == int(lengths[row]) == (size // 160 + 1) // 8
        error = torch.linalg.norm(frames[row, :, : int(count)] - alone[0]) / torch.linalg.norm(alone)
        assert error < 1e-5


def test_level_vanishes_only_when_normalised_per_utterance(checkpoint: str, voice: np.ndarray) -> None:
    wav, lengths = torch.from_numpy(voice)[None], torch.tensor([16000])
    loud = BYOLS(checkpoint)(wav, lengths)[0]
    soft = BYOLS(checkpoint)(wav * 0.5, lengths)[0]
    torch.testing.assert_close(loud, soft, rtol=1e-2, atol=1e-2)
    loud = BYOLS(checkpoint, normalisation="fixed")(wav, lengths)[0]
    soft = BYOLS(checkpoint, normalisation="fixed")(wav * 0.5, lengths)[0]
    assert (loud - soft).abs().max() > 0.05


def test_silence_is_finite(checkpoint: str) -> None:
    frames, _ = BYOLS(checkpoint)(torch.zeros(1, 8000), torch.tensor([8000]))
    assert frames.isfinite().all()


def test_unfrozen_trains_all_weights_with_stored_batch_norm_statistics(checkpoint: str, voice: np.ndarray) -> None:
    upstream = BYOLS(checkpoint, frozen=False).train()
    before = {name: value.clone() for name, value in upstream.named_buffers()}
    frames, _ = upstream(torch.from_numpy(voice)[None], torch.tensor([16000]))
    frames.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in upstream.parameters())
    assert all(torch.equal(before[name], value) for name, value in upstream.named_buffers())
    assert upstream.fc.training
    assert not any(layer.training for layer in upstream.features if isinstance(layer, nn.BatchNorm2d))


def test_wider_byol_a_checkpoints_load(tmp_path: Path) -> None:
    torch.save(random_state_dict(width=1024), tmp_path / "wide.pth")
    assert BYOLS(str(tmp_path / "wide.pth")).feature_dim == 1024
    with pytest.raises(RecipeError, match="needs a 512-d checkpoint"):
        BYOLS(str(tmp_path / "wide.pth"), layers="all")


def test_fingerprint_changes_with_what_changes_features_and_only_then(checkpoint: str, tmp_path: Path) -> None:
    weights = random_state_dict()
    torch.save(weights, tmp_path / "copy.pth")
    base = BYOLS(checkpoint, normalisation="fixed").fingerprint()
    assert BYOLS(str(tmp_path / "copy.pth"), normalisation="fixed", frozen=False).fingerprint() == base
    weights["fc.3.bias"][0] += 1
    torch.save(weights, tmp_path / "other.pth")
    others = [
        BYOLS(str(tmp_path / "other.pth"), normalisation="fixed"),
        BYOLS(checkpoint, normalisation="fixed", mean=-5.0),
        BYOLS(checkpoint, normalisation="fixed", std=5.0),
        BYOLS(checkpoint, normalisation="none"),
        BYOLS(checkpoint, normalisation="utterance"),
        BYOLS(checkpoint, normalisation="fixed", layers="all"),
    ]
    assert len({base, *(upstream.fingerprint() for upstream in others)}) == 7
    # mean and std belong to "fixed" alone
    assert BYOLS(checkpoint, mean=1.0, std=2.0).fingerprint() == BYOLS(checkpoint).fingerprint()


def test_environment_variables_and_relative_paths(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_WEIGHTS", str(Path(checkpoint).parent))
    assert BYOLS("${MY_WEIGHTS}/random.pth").fingerprint() == BYOLS(checkpoint).fingerprint()
    monkeypatch.chdir(Path(checkpoint).parent)
    assert BYOLS("random.pth").fingerprint() == BYOLS(checkpoint).fingerprint()
    monkeypatch.delenv("MY_WEIGHTS")
    with pytest.raises(CheckpointError, match="MY_WEIGHTS, which is not set"):
        BYOLS("${MY_WEIGHTS}/random.pth")


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("owned"),)  # type: ignore[return-value]


def _damage(kind: str, path: Path) -> None:
    weights = random_state_dict()
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Malicious()))
    elif kind == "pickle in a zip":
        torch.save({"fc.3.bias": _Malicious()}, path)
    elif kind == "truncated":
        torch.save(weights, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif kind == "other model":
        torch.save({"encoder.weight": torch.zeros(2)}, path)
    elif kind == "list":
        torch.save([torch.zeros(2)], path)
    elif kind == "missing key":
        del weights["features.4.bias"]
        torch.save(weights, path)
    elif kind == "wrong shape":
        weights["fc.0.weight"] = torch.zeros(512, 640)
        torch.save(weights, path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing file", "is not a file"),
        ("pickle", "refused"),
        ("pickle in a zip", "refused"),
        ("truncated", "damaged"),
        ("empty", "damaged"),
        ("text", "refused|damaged"),
        ("other model", "another model"),
        ("list", "not a state dict"),
        ("missing key", r"features.4.bias \(found none, expected \(64,\)\)"),
        ("wrong shape", r"found \(512, 640\), expected \(512, 512\)"),
    ],
)
def test_bad_checkpoints_are_refused_in_one_line(
    kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _damage(kind, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        BYOLS(str(tmp_path / "bad.pth"))
    assert "\n" not in str(caught.value)
    assert "bad.pth" in str(caught.value)
    assert not (tmp_path / "owned").exists()


def test_impossible_normalisation_is_refused(checkpoint: str) -> None:
    with pytest.raises(RecipeError, match="normalisation='speaker'"):
        BYOLS(checkpoint, normalisation="speaker")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="std=0"):
        BYOLS(checkpoint, normalisation="fixed", std=0.0)


@pytest.mark.corpus
def test_real_weights_on_real_speech(weights_root: Path, corpora_root: Path) -> None:
    (path,) = (weights_root / "BYOL-S").rglob("*.pth")
    upstream = BYOLS(str(path))
    clips = sorted((corpora_root / "EmoDB").rglob("*.wav"))[:20]
    assert len(clips) == 20
    means = []
    for clip in clips:
        wav, rate = soundfile.read(clip, dtype="float32")
        assert rate == 16000
        frames, lengths = upstream(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))
        assert frames.shape == (1, 1, int(lengths), 512)
        assert frames.isfinite().all()
        # many units of a ReLU are off, but the active ones must follow the speech
        assert (frames[0, 0].std(dim=0) > 1e-4).sum() > 100
        means.append(frames.mean(dim=(0, 1, 2)))
    assert torch.stack(means).std(dim=0).max() > 1e-2
