"""Hugging Face encoders against independently loaded transformers models, and padding that changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import VARIANTS, save_tiny
from torch import Tensor

from ser_toolkit.data.batch import pad_sequences
from ser_toolkit.errors import AudioError
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

WAVEFORM = [(family, style) for family, style in VARIANTS if family not in ("whisper", "wav2vec2-bert")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("hub")
    return {(f, s): save_tiny(f, root / f"{f}-{s}", s) for f, s in VARIANTS}


def clip(samples: int, seed: int = 0) -> Tensor:
    """Coloured noise with an offset and a level that change from clip to clip."""
    noise = torch.randn(samples + 8, generator=torch.Generator().manual_seed(seed))
    smooth = noise.unfold(0, 8, 1).mean(-1)[:samples]
    return 0.2 * (1 + seed) * smooth + 0.05 * seed


def alone(upstream: HuggingFaceUpstream, wave: Tensor) -> Tensor:
    frames, counts = upstream(wave[None], torch.tensor([len(wave)]))
    assert frames.shape[2] == counts.item()
    return frames[0]


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def transformers_states(folder: Path, wave: Tensor) -> list[Tensor]:
    """Hidden states of a transformers model loaded apart, with eager attention, one recording, no padding."""
    from transformers import AutoFeatureExtractor, AutoModel

    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    if model.config.model_type == "whisper":
        model = model.get_encoder()
    inputs = extractor([wave.numpy()], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True)
    states = list(out.hidden_states)
    if getattr(model.config, "do_stable_layer_norm", False):
        states[-1] = out.last_hidden_state
    return states


@pytest.mark.parametrize(("family", "style"), VARIANTS)
def test_every_layer_equals_transformers(folders: dict, family: str, style: str) -> None:
    folder, wave = folders[family, style], clip(8123, 1)
    upstream = HuggingFaceUpstream(str(folder))
    expected = transformers_states(folder, wave)
    found = alone(upstream, wave)
    assert (upstream.num_layers, upstream.feature_dim) == (len(expected), 32) == (4, 32)
    for layer, reference in zip(found, expected, strict=True):
        assert relative(layer, reference[0, : layer.shape[0]]) < 5e-6


def test_group_norm_with_biased_convolutions_and_dc(tmp_path: Path) -> None:
    folder, wave = save_tiny("hubert", tmp_path, "group", do_normalize=False, conv_bias=True), clip(9000) + 0.5
    assert relative(alone(HuggingFaceUpstream(str(folder)), wave), torch.cat(transformers_states(folder, wave))) < 5e-6


@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize(("family", "style"), [("wavlm", "group"), ("wav2vec2", "layer")])
def test_input_normalisation_is_the_checkpoints(tmp_path: Path, family: str, style: str, do_normalize: bool) -> None:
    folder = save_tiny(family, tmp_path, style, do_normalize)
    wave = clip(6000, 3)
    expected = transformers_states(folder, wave)
    assert relative(alone(HuggingFaceUpstream(str(folder)), wave), torch.cat(expected)) < 5e-6
    other = HuggingFaceUpstream(str(folder), normalize_input=not do_normalize)
    # a group norm undoes scale and offset but for its epsilon, so little is left to see there
    assert relative(alone(other, wave), torch.cat(expected)) > 5e-5


def test_last_state_of_stable_models_is_behind_the_final_norm(folders: dict) -> None:
    upstream = HuggingFaceUpstream(str(folders["hubert", "layer"]))
    norm = upstream.model.encoder.layer_norm
    last = (alone(upstream, clip(8000))[-1] - norm.bias) / norm.weight
    assert last.mean(-1).abs().max() < 1e-5
    assert (last.var(-1, unbiased=False) - 1).abs().max() < 1e-3


@pytest.mark.parametrize(("family", "style"), VARIANTS)
def test_padding_changes_nothing(folders: dict, family: str, style: str) -> None:
    upstream = HuggingFaceUpstream(str(folders[family, style]))
    waves = [clip(5003, 1), clip(15400, 2), clip(9999, 3)]
    expected = [alone(upstream, wave) for wave in waves]
    for order in ([0, 1, 2], [2, 0, 1], [1, 0]):
        wav, lengths = pad_sequences([waves[i] for i in order])
        wav = torch.nn.functional.pad(wav, (0, 777))
        for row, length in zip(wav, lengths, strict=True):
            row[length:] = 0.7  # rubbish behind the end
        frames, counts = upstream(wav, lengths)
        for row, count, index in zip(frames, counts, order, strict=True):
            for layer, reference in zip(row[:, :count], expected[index], strict=True):
                assert relative(layer, reference) < 1e-5
            assert not row[:, count:].any()


def test_padding_with_several_kinds_of_positions(tmp_path: Path) -> None:
    variants = [
        ("hubert", {"conv_pos_batch_norm": True}),
        ("wav2vec2-bert", {"position_embeddings_type": "relative"}),
        ("wav2vec2-bert", {"position_embeddings_type": "rotary"}),
        ("sew", {"squeeze_factor": 3}),
    ]
    for number, (family, settings) in enumerate(variants):
        folder = save_tiny(family, tmp_path / str(number), "group", **settings)
        upstream = HuggingFaceUpstream(str(folder))
        for module in upstream.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(generator=torch.Generator().manual_seed(0))
        waves = [clip(5003, 1), clip(12000, 2)]
        frames, counts = upstream(*pad_sequences(waves))
        for row, count, wave in zip(frames, counts, waves, strict=True):
            assert relative(row[:, :count], alone(upstream, wave)) < 1e-5


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "sew"])
def test_transformers_own_padding_does_change_results(folders: dict, family: str) -> None:
    """The switch is there to match numbers of peers; it equals transformers on the same padded batch."""
    from transformers import AutoFeatureExtractor, AutoModel

    folder = folders[family, "group"]
    peer = HuggingFaceUpstream(str(folder), peer_padding=True)
    waves = [clip(5003, 1), clip(15400, 2)]
    frames, counts = peer(*pad_sequences(waves))
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    inputs = extractor([w.numpy() for w in waves], sampling_rate=16000, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    for row, count, i in zip(frames, counts, range(2), strict=True):
        assert relative(row[:, :count], torch.stack([state[i, :count] for state in states])) < 5e-6
    assert relative(frames[0][:, : counts[0]], alone(peer, waves[0])) > 1e-3


@pytest.mark.parametrize(("family", "style"), VARIANTS)
def test_lengths_and_shortest_recording(folders: dict, family: str, style: str) -> None:
    upstream = HuggingFaceUpstream(str(folders[family, style]))
    expected = {"sew": (640, 720), "wav2vec2-bert": (320, 560)}.get(family, (320, 400))
    assert (upstream.hop_samples, upstream.receptive_samples) == expected
    shortest = upstream.receptive_samples
    frames, counts = upstream(clip(shortest)[None], torch.tensor([shortest]))
    assert counts.item() >= 1 and frames.isfinite().all()
    with pytest.raises(AudioError, match=f"at least {shortest} samples"):
        upstream(clip(shortest - 1)[None], torch.tensor([shortest - 1]))
    many = torch.arange(shortest, shortest + 3000, 7)
    assert (upstream.frame_lengths(many) >= 1).all()
    if family in ("wav2vec2", "wavlm", "hubert"):
        assert upstream.frame_lengths(torch.tensor([16000, 32000])).tolist() == [49, 99]


def test_layers_can_be_chosen(folders: dict) -> None:
    name, wave = str(folders["wavlm", "layer"]), clip(6000)
    every = alone(HuggingFaceUpstream(name), wave)
    torch.testing.assert_close(alone(HuggingFaceUpstream(name, layers="last"), wave), every[3:])
    some = HuggingFaceUpstream(name, layers=[0, 2])
    assert len(some.transformer_layers) == 2 and some.num_layers == 2
    torch.testing.assert_close(alone(some, wave), every[[0, 2]])
    torch.testing.assert_close(alone(HuggingFaceUpstream(name, layers=[0]), wave), every[:1])
    torch.testing.assert_close(alone(HuggingFaceUpstream(name, layers=[-1, 1]), wave), every[[3, 1]])


def test_whisper_refuses_more_than_its_window(folders: dict) -> None:
    upstream = HuggingFaceUpstream(str(folders["whisper", "layer"]))
    with pytest.raises(AudioError, match=r"Whisper hears 3 s at most, found a recording of 3\.1 s"):
        upstream(torch.zeros(1, 49600), torch.tensor([49600]))


def test_wavlm_attention_equals_transformers_over_long_distances(tmp_path: Path) -> None:
    """Beyond 800 frames the position buckets saturate."""
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

    from ser_toolkit.upstreams.encoders.wavlm_attention import GatedRelativeAttention

    torch.manual_seed(0)
    theirs = WavLMAttention(16, 2)
    torch.nn.init.normal_(theirs.gru_rel_pos_const)
    ours = GatedRelativeAttention(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    torch.testing.assert_close(ours.position_bias(2001)[0], theirs.compute_bias(2001, 2001), rtol=0, atol=0)
    hidden, valid = torch.randn(2, 30, 16), torch.arange(30)[None] < torch.tensor([[30], [11]])
    with torch.no_grad():
        expected, found = theirs(hidden, attention_mask=valid)[0], ours(hidden, attention_mask=valid)[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_silence_is_finite(folders: dict) -> None:
    for folder in folders.values():
        assert alone(HuggingFaceUpstream(str(folder)), torch.zeros(3000)).isfinite().all()
