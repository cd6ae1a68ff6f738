"""GE2E: parity with librosa's mel spectrogram and torch's LSTM, Resemblyzer's partial utterances and embeddings."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.upstreams.ge2e import GE2E, raise_level


def random_state_dict() -> dict[str, torch.Tensor]:
    """Weights with the names and shapes of the published checkpoint, written out by hand."""
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> torch.Tensor:
        return 0.12 * torch.randn(*shape, generator=generator)

    weights = {"linear.weight": draw(256, 256), "linear.bias": draw(256)}
    for layer, fan_in in ((0, 40), (1, 256), (2, 256)):
        weights[f"lstm.weight_ih_l{layer}"], weights[f"lstm.weight_hh_l{layer}"] = draw(1024, fan_in), draw(1024, 256)
        weights[f"lstm.bias_ih_l{layer}"], weights[f"lstm.bias_hh_l{layer}"] = draw(1024), draw(1024)
    return weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("ge2e")
    loss_alone = {"similarity_weight": torch.ones(1), "similarity_bias": torch.zeros(1)}
    save_file(random_state_dict() | loss_alone, folder / "model.safetensors")
    return str(folder)


def reference_embedding(wav: np.ndarray, starts: list[int]) -> np.ndarray:
    """One utterance through librosa and an LSTM written out gate by gate: (N,) -> (256,)."""
    weights = {name: value.double().numpy() for name, value in random_state_dict().items()}
    silence = np.zeros(max(0, (starts[-1] + 160) * 160 - len(wav)), dtype=np.float32)
    wav = np.concatenate([wav, silence])
    mel = librosa.feature.melspectrogram(y=wav, sr=16000, n_fft=400, hop_length=160, n_mels=40).T
    embeddings = []
    for start in starts:
        steps = mel[start : start + 160].astype(np.float64)
        for layer in range(3):
            state, cell, out = np.zeros(256), np.zeros(256), []
            into = steps @ weights[f"lstm.weight_ih_l{layer}"].T + weights[f"lstm.bias_ih_l{layer}"]
            for step in into:
                gates = step + weights[f"lstm.weight_hh_l{layer}"] @ state + weights[f"lstm.bias_hh_l{layer}"]
                enter, forget, _, leave = 1 / (1 + np.exp(-gates.reshape(4, 256)))
                cell = forget * cell + enter * np.tanh(gates[512:768])
                state = leave * np.tanh(cell)
                out.append(state)
            steps = np.stack(out)
        raw = np.maximum(weights["linear.weight"] @ steps[-1] + weights["linear.bias"], 0)
        embeddings.append(raw / np.linalg.norm(raw))
    mean = np.mean(embeddings, axis=0)
    return mean / np.linalg.norm(mean)


def test_an_embedding_is_that_of_librosa_and_an_lstm_written_out(checkpoint: str, voice: np.ndarray) -> None:
    upstream = GE2E(checkpoint, raise_to_dbfs=None)
    long = np.concatenate([voice, 0.3 * voice[::-1], voice])[:40000]
    wav = torch.zeros(2, 40000)
    wav[0], wav[1, :9000] = torch.from_numpy(long), torch.from_numpy(voice[:9000])
    wav[1, 9000:] = 0.5  # not speech of the second
    frames, counts = upstream(wav, torch.tensor([40000, 9000]))
    assert frames.shape == (2, 1, 1, 256)
    assert counts.tolist() == [1, 1]
    np.testing.assert_allclose(frames[0, 0, 0].numpy(), reference_embedding(long, [0, 77]), atol=1e-5)
    np.testing.assert_allclose(frames[1, 0, 0].numpy(), reference_embedding(voice[:9000], [0]), atol=1e-5)


@pytest.mark.parametrize(
    ("samples", "rate", "coverage", "starts"),
    [
        (400, 1.3, 0.75, [0]),
        (25600, 1.3, 0.75, [0]),
        (31519, 1.3, 0.75, [0]),
        (31520, 1.3, 0.75, [0, 77]),
        (38240, 1.3, 0.75, [0, 77]),
        (60000, 1.3, 0.75, [0, 77, 154, 231]),
        (127200, 1.3, 0.75, [0, 77, 154, 231, 308, 385, 462, 539, 616]),
        (60000, 4.0, 0.5, [0, 25, 50, 75, 100, 125, 150, 175, 200, 225]),
    ],
)
def test_partial_utterances_begin_where_resemblyzers_do(
    samples: int, rate: float, coverage: float, starts: list[int], checkpoint: str
) -> None:
    """The lists were printed by ``compute_partial_slices`` of Resemblyzer 0.1.4."""
    assert list(GE2E(checkpoint, rate=rate, min_coverage=coverage).partial_starts(samples)) == starts


def test_soft_recordings_are_raised_and_loud_ones_left(voice: np.ndarray) -> None:
    wav = torch.from_numpy(np.stack([0.001 * voice, voice, 0 * voice]))
    raised = raise_level(wav, torch.tensor([16000] * 3), -30.0)
    assert 20 * raised[0].square().mean().sqrt().log10().item() == pytest.approx(-30, abs=1e-3)
    assert torch.equal(raised[1:], wav[1:])
    half = raise_level(torch.nn.functional.pad(wav, (0, 16000)), torch.tensor([16000] * 3), -30.0)
    torch.testing.assert_close(half[:, :16000], raised)


def test_silence_is_finite(checkpoint: str) -> None:
    assert GE2E(checkpoint)(torch.zeros(1, 8000), torch.tensor([8000]))[0].isfinite().all()


def test_fingerprint_changes_with_what_changes_the_embedding(checkpoint: str, tmp_path: Path) -> None:
    weights = random_state_dict()
    weights["linear.bias"][3] += 1
    save_file(weights, tmp_path / "other.safetensors")
    variants = [
        GE2E(checkpoint),
        GE2E(str(tmp_path / "other.safetensors")),
        GE2E(checkpoint, raise_to_dbfs=None),
        GE2E(checkpoint, raise_to_dbfs=-20.0),
        GE2E(checkpoint, rate=2.0),
        GE2E(checkpoint, min_coverage=0.5),
    ]
    assert len({upstream.fingerprint() for upstream in variants}) == len(variants)


@pytest.mark.parametrize("settings", [{"rate": 0.5}, {"rate": 101.0}, {"min_coverage": 0.0}, {"min_coverage": 1.1}])
def test_impossible_settings_are_refused(settings: dict[str, float], checkpoint: str) -> None:
    with pytest.raises(RecipeError, match=r"0\.625 to 100"):
        GE2E(checkpoint, **settings)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "is not a file .looked in"),
        ("empty folder", "is not a file"),
        ("text", "not a readable safetensors file"),
        ("other model", r"2[0-9] tensors differ|1[0-9] tensors differ"),
        ("wrong shape", r"linear.weight \(found \(128, 256\), expected \(256, 256\)\)"),
    ],
)
def test_bad_checkpoints_are_refused_in_one_line(kind: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif kind == "other model":
        save_file({"encoder.weight": torch.zeros(2)}, path)
    elif kind == "wrong shape":
        save_file(random_state_dict() | {"linear.weight": torch.zeros(128, 256)}, path)
    with pytest.raises(CheckpointError, match=message) as caught:
        GE2E(str(path))
    assert "\n" not in str(caught.value)
    assert "bad.safetensors" in str(caught.value)


#: The five largest entries of Resemblyzer 0.1.4's embedding (volume normalised, pauses left in), by clip and gain.
RESEMBLYZER = {
    ("03a01Fa", 1.0): {149: 0.3095631, 248: 0.2386542, 119: 0.2114010, 125: 0.1999848, 197: 0.1908662},
    ("16b10Wb", 1.0): {225: 0.2534426, 111: 0.2332808, 62: 0.2126544, 144: 0.2055389, 130: 0.1935110},
    ("08a01Na", 0.01): {237: 0.2272385, 149: 0.2256599, 130: 0.2159149, 193: 0.2023304, 173: 0.2009255},
}


@pytest.mark.corpus
@pytest.mark.parametrize(("clip", "gain"), RESEMBLYZER)
def test_published_weights_give_resemblyzers_embeddings(
    clip: str, gain: float, weights_root: Path, corpora_root: Path
) -> None:
    if not (weights_root / "GE2E-speaker-encoder").is_dir():
        pytest.skip("the GE2E speaker encoder is not there")
    upstream = GE2E(str(weights_root / "GE2E-speaker-encoder"))
    wav, _ = soundfile.read(corpora_root / "EmoDB" / "wav" / f"{clip}.wav", dtype="float32")
    frames, _ = upstream(gain * torch.from_numpy(wav)[None], torch.tensor([len(wav)]))
    for index, value in RESEMBLYZER[clip, gain].items():
        assert frames[0, 0, 0, index].item() == pytest.approx(value, abs=1e-5)
