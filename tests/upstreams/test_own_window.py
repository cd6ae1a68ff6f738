"""Whisper on each recording's own length: against transformers' modules by hand, in pieces, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny
from torch import Tensor
from torch.nn import functional as F

from ser_toolkit.errors import RecipeError
from ser_toolkit.upstreams.fused import FusedUpstreams
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

#: Samples of the tiny model's window, 3 s.
WINDOW = 48000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("whisper", tmp_path_factory.mktemp("hub") / "whisper-tiny")


def own(folder: Path, **options: Any) -> HuggingFaceUpstream:
    return HuggingFaceUpstream(str(folder), window="own", **options)


def noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def alone(upstream: HuggingFaceUpstream, wav: Tensor) -> Tensor:
    """(N,) -> (L, T, D)."""
    return upstream(wav[None], torch.tensor([len(wav)]))[0][0]


def relative(found: Tensor, expected: Tensor) -> float:
    return float((torch.linalg.norm(found - expected) / torch.linalg.norm(expected)).detach())


def by_hand(folder: Path, wav: Tensor, margin: float) -> Tensor:
    """Hidden states of transformers' own modules for the recording and silence behind it: (N,) -> (L, T, D)."""
    from transformers import WhisperFeatureExtractor, WhisperModel

    encoder = WhisperModel.from_pretrained(folder).get_encoder().eval()
    size = -(-(len(wav) + round(margin * 16000)) // 320) * 320
    extractor = WhisperFeatureExtractor(feature_size=16)
    heard = F.pad(wav, (0, size - len(wav)))
    mel = extractor(heard.numpy(), sampling_rate=16000, return_tensors="pt", max_length=size)["input_features"]
    assert mel.shape[2] == size // 160
    with torch.no_grad():
        hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).transpose(1, 2)
        states = [hidden + encoder.embed_positions.weight[: hidden.shape[1]]]
        for layer in encoder.layers:
            out = layer(states[-1], attention_mask=None)
            states.append(out[0] if isinstance(out, tuple) else out)
        states[-1] = encoder.layer_norm(states[-1])
    return torch.cat(states)[:, : -(-len(wav) // 320)]


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("samples", [16000, 16001, 9761, 400])
def test_frames_are_those_of_the_recording_and_its_margin(folder: Path, samples: int, margin: float) -> None:
    found = alone(own(folder, margin_seconds=margin), noise(samples))
    assert relative(found, by_hand(folder, noise(samples), margin)) < 1e-5


@pytest.mark.parametrize("packed", [True, False])
def test_odd_and_even_lengths_together_equal_each_alone(folder: Path, packed: bool) -> None:
    upstream = own(folder) if packed else own(folder, frozen=False).eval()
    lengths = torch.tensor([16000, 15999, 15841, 15839, 801, 47999])  # odd and even numbers of spectra
    wav = torch.stack([F.pad(noise(n, n), (0, WINDOW - n), value=9.0) for n in lengths.tolist()])
    frames, counts = upstream(wav, lengths)
    assert counts.tolist() == [50, 50, 50, 50, 3, 150]
    for row, n in enumerate(lengths.tolist()):
        assert relative(frames[row, :, : counts[row]], alone(upstream, wav[row, :n])) < 1e-5


def test_the_loudest_point_of_the_batch_sets_no_floor_for_the_others(folder: Path) -> None:
    soft, loud = 1e-4 * noise(8000, 1), 100.0 * noise(8000, 2)
    frames, _ = own(folder)(torch.stack([soft, loud]), torch.tensor([8000, 8000]))
    assert relative(frames[0], alone(own(folder), soft)) < 1e-5


def test_no_spectrum_of_the_published_window_is_made(folder: Path) -> None:
    upstream, sizes = own(folder), []
    extractor = upstream._family.extractor
    upstream._family.extractor = lambda *args, **options: (
        sizes.append(options["max_length"])
        or extractor(  # type: ignore[func-returns-value]
            *args, **options
        )
    )
    upstream._family.extractor.sampling_rate, upstream._family.extractor.hop_length = 16000, 160
    alone(upstream, noise(4001))
    assert sizes == [12160], "0.25 s and 0.5 s, up to a whole frame"


def test_a_longer_recording_is_cut_into_equal_pieces(folder: Path) -> None:
    wav = noise(2 * WINDOW + 5)
    upstream = own(folder)
    size = -(-len(wav) // (3 * 320)) * 320
    expected = torch.cat([alone(upstream, piece) for piece in wav.split(size)], dim=1)
    assert len(wav.split(size)) == 3
    assert upstream.longest_samples is None
    short = noise(5000, 1)
    batch = torch.stack([F.pad(short, (0, len(wav) - len(short))), wav])
    frames, counts = upstream(batch, torch.tensor([len(short), len(wav)]))
    assert counts.tolist() == upstream.frame_lengths(torch.tensor([len(short), len(wav)])).tolist() == [16, 301]
    assert relative(frames[1], expected) < 1e-5
    assert relative(frames[0, :, :16], alone(upstream, short)) < 1e-5
    assert not frames[0, :, 16:].any()


def test_the_published_window_is_as_it_was(folder: Path) -> None:
    published = HuggingFaceUpstream(str(folder))
    from transformers import WhisperFeatureExtractor, WhisperModel

    wav = noise(9000)
    mel = WhisperFeatureExtractor(feature_size=16, chunk_length=3)(
        wav.numpy(), sampling_rate=16000, return_tensors="pt"
    )
    with torch.no_grad():
        out = (
            WhisperModel.from_pretrained(folder).eval().get_encoder()(mel["input_features"], output_hidden_states=True)
        )
    assert relative(alone(published, wav)[-1], out.last_hidden_state[0, :29]) < 1e-6
    assert published.longest_samples == WINDOW
    assert relative(alone(own(folder), wav), alone(published, wav)) > 1e-3


def test_padding_beyond_the_window_does_no_harm(folder: Path) -> None:
    wav, lengths = F.pad(noise(9000), (0, WINDOW))[None], torch.tensor([9000])
    for upstream in (HuggingFaceUpstream(str(folder)), own(folder)):
        frames, _ = upstream(wav, lengths)
        assert frames.shape[2] == -(-wav.shape[1] // 320)
        assert relative(frames[0, :, :29], alone(upstream, wav[0, :9000])) < 1e-5


def test_the_fingerprint_tells_the_windows_apart(folder: Path) -> None:
    published, half, quarter = HuggingFaceUpstream(str(folder)), own(folder), own(folder, margin_seconds=0.25)
    assert half.fingerprint() == own(folder, margin_seconds=0.5).fingerprint()
    assert len({upstream.fingerprint() for upstream in (published, half, quarter)}) == 3


def test_half_precision_weights_compute_in_float32(folder: Path, tmp_path: Path) -> None:
    from transformers import WhisperModel

    model = WhisperModel.from_pretrained(folder).half()
    model.save_pretrained(tmp_path / "half")
    model.float().save_pretrained(tmp_path / "full")
    for name in ("half", "full"):
        shutil.copy(folder / "preprocessor_config.json", tmp_path / name)
    half, full = own(tmp_path / "half"), own(tmp_path / "full")
    assert half.fingerprint() == full.fingerprint()
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    assert torch.equal(alone(half, noise(8000)), alone(full, noise(8000)))


def test_in_bfloat16_it_stays_near(folder: Path) -> None:
    wav, upstream = noise(8000), own(folder)
    assert relative(alone(upstream.at("bfloat16"), wav).float(), alone(upstream, wav)) < 0.05  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("wavlm", {"window": "own"}, "window=own is for Whisper's encoder.* wavlm sees each recording in its own"),
        ("wav2vec2-bert", {"window": "own"}, "wav2vec2-bert sees each recording"),
        ("whisper", {"window": "short"}, "window is 'short', expected published or own"),
        ("whisper", {"margin_seconds": 0.5}, "beside window=published. Set window=own as well"),
        ("whisper", {"window": "own", "margin_seconds": -1.0}, "expected seconds from 0 up"),
        ("whisper", {"window": "own", "margin_seconds": float("nan")}, "expected seconds from 0 up"),
        ("whisper", {"window": "own", "peer_padding": True}, "Choose one or the other"),
    ],
)
def test_what_means_nothing_is_refused(tmp_path: Path, family: str, options: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        HuggingFaceUpstream(str(save_tiny(family, tmp_path / family, "layer")), **options)


def test_the_shortest_limit_of_fused_upstreams_holds(folder: Path, tmp_path: Path) -> None:
    wavlm = HuggingFaceUpstream(str(save_tiny("wavlm", tmp_path)))
    assert FusedUpstreams([wavlm, HuggingFaceUpstream(str(folder))]).longest_samples == WINDOW
    assert FusedUpstreams([wavlm, own(folder)]).longest_samples is None


def test_a_folder_is_found_where_weights_lie(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_WEIGHTS", str(folder.parent))
    assert HuggingFaceUpstream(folder.name).fingerprint() == HuggingFaceUpstream(str(folder)).fingerprint()


def test_pieces_of_a_long_recording_teach_the_encoder(folder: Path) -> None:
    """Gradients of the recording in pieces are those of its pieces, each a recording by itself."""
    wav, half = noise(2 * WINDOW), WINDOW
    joined, apart = own(folder, frozen=False).eval(), own(folder, frozen=False).eval()
    shorter = F.pad(noise(16000, 1), (0, WINDOW))
    joined(torch.stack([wav, F.pad(shorter, (0, 2 * WINDOW - len(shorter)))]), torch.tensor([2 * WINDOW, 16000]))[0][
        0
    ].square().sum().backward()
    (alone(apart, wav[:half]).square().sum() + alone(apart, wav[half:]).square().sum()).backward()
    for one, other in zip(joined.parameters(), apart.parameters(), strict=True):
        if one.requires_grad:
            assert one.grad is not None
            assert relative(one.grad, other.grad) < 1e-4
