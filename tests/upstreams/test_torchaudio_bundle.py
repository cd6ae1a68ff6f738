"""Encoders of torchaudio's bundles: equal to ours on the same weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from tiny_s3prl import save_torchaudio, tiny_bundle
from torch import Tensor

from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream
from ser_toolkit.upstreams.torchaudio_bundle import TorchaudioBundle

LENGTHS = torch.tensor([16000, 9001])


@pytest.fixture(scope="module")
def wav(voice: np.ndarray) -> Tensor:
    """Two utterances: (2, 16000). An offset shows an input normalisation that was left out.

    They are loud, because its divisors differ: variance + 1e-5 in torchaudio, variance + 1e-7 in transformers.
    """
    return 10 * torch.from_numpy(np.stack([voice, np.roll(voice, 999)])) + 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torchaudio")


def build(bundle: Any, **settings: Any) -> TorchaudioBundle:
    with tiny_bundle("TINY", bundle):
        return TorchaudioBundle("TINY", **settings)


@pytest.mark.parametrize("style", ["group", "layer"])
@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
def test_hidden_states_equal_ours_on_the_same_weights(family: str, style: str, folder: Path, wav: Tensor) -> None:
    hugging_face, weights, bundle = save_torchaudio(family, folder, style)
    found, counts = build(bundle, weights=str(weights))(wav, LENGTHS)
    expected, expected_counts = HuggingFaceUpstream(str(hugging_face))(wav, LENGTHS)
    assert counts.tolist() == expected_counts.tolist()
    for layer in range(4):
        difference = torch.linalg.norm(found[:, layer] - expected[:, layer])
        assert difference / torch.linalg.norm(expected[:, layer]) < 2e-6, layer


@pytest.mark.parametrize("style", ["group", "layer"])
def test_outputs_of_the_layers_are_torchaudios_own(style: str, folder: Path, wav: Tensor) -> None:
    _, weights, bundle = save_torchaudio("wav2vec2", folder, style)
    upstream = build(bundle, weights=str(weights), layers=[1, 2])
    with torch.no_grad():
        signal = torch.nn.functional.layer_norm(wav[:1], wav[:1].shape) if style == "layer" else wav[:1]
        expected, _ = upstream.model.extract_features(signal)
    assert len(expected) == 2  # the layer above is not kept
    assert torch.allclose(upstream(wav[:1], LENGTHS[:1])[0][0], torch.cat(expected), atol=1e-6)


def test_layers_and_settings_are_in_the_fingerprint(folder: Path) -> None:
    _, weights, bundle = save_torchaudio("hubert", folder, "layer")
    built = [build(bundle, weights=str(weights), layers=layers) for layers in ("all", "last", [0, 3])]
    bundle._normalize_waveform = False
    built.append(build(bundle, weights=str(weights)))
    assert len({upstream.fingerprint() for upstream in built}) == 4
    assert [upstream.num_layers for upstream in built] == [4, 1, 2, 4]


def test_fine_tuning_keeps_the_convolutions_unless_told(folder: Path, wav: Tensor) -> None:
    _, weights, bundle = save_torchaudio("wavlm", folder, "layer")
    for fixed in (True, False):
        upstream = build(bundle, weights=str(weights), frozen=False, freeze_encoder=fixed, layers=[1]).train()
        upstream(wav[:, :4000], torch.tensor([4000, 3000]))[0].square().sum().backward()
        assert all(p.grad is not None for p in upstream.parameters() if p.requires_grad)
        trained = [name for name, p in upstream.named_parameters() if p.requires_grad]
        assert any("feature_extractor" in name for name in trained) is not fixed


def test_safetensors_and_an_output_layer_are_read(folder: Path, wav: Tensor) -> None:
    from safetensors.torch import save_file

    _, weights, bundle = save_torchaudio("wav2vec2", folder)
    state = torch.load(weights, weights_only=True)
    # torchaudio's published files hold weight norm under its older names
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        name = "encoder.transformer.pos_conv_embed.conv."
        state[name + old] = state.pop(f"{name}parametrizations.weight.{new}")
    save_file(state | {"aux.weight": torch.zeros(3, 32)}, folder / "speech.safetensors")
    found = build(bundle, weights=str(folder / "speech.safetensors"))
    assert torch.equal(found(wav, LENGTHS)[0], build(bundle, weights=str(weights))(wav, LENGTHS)[0])


def test_a_real_bundle_gives_architecture_and_normalisation(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "empty.pth")
    expected = r"do not fit WAVLM_BASE_PLUS: \d+ tensors differ, first encoder.*expected \(512,\)"
    with torch.device("meta"), pytest.raises(CheckpointError, match=expected):  # 94 million numbers are not drawn
        TorchaudioBundle("WAVLM_BASE_PLUS", str(tmp_path / "empty.pth"))


def test_mistakes_are_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, bundle = save_torchaudio("wav2vec2", folder)
    with pytest.raises(RecipeError, match="Did you mean HUBERT_BASE"):
        TorchaudioBundle("HUBERT_BAS")
    with pytest.raises(CheckpointError, match="not a file"):
        build(bundle, weights="no.pth")
    torch.save({"a": tmp_path.touch}, tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="tensors only"):
        build(bundle, weights=str(tmp_path / "code.pth"))

    def refuse(url: str, **settings: Any) -> None:
        assert settings["weights_only"] is True
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(torchaudio.pipelines._wav2vec2.utils, "load_state_dict_from_url", refuse)
    with pytest.raises(CheckpointError, match=r"no route to host.*model\.upstream\.weights=FILE"):
        build(bundle)


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio.pipelines", None)
    with pytest.raises(RecipeError, match="pip install torchaudio"):
        TorchaudioBundle("HUBERT_BASE")
