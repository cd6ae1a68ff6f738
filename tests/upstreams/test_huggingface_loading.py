"""Where Hugging Face encoders come from: good folders, bad folders, unsafe files, and what identifies them."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny, tiny_config

from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("wavlm", tmp_path_factory.mktemp("hub") / "tiny", "layer")


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be spoilt."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def edit(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_folder_that_does_not_exist() -> None:
    for name in ("./nowhere", "/no/where/at/all", "~/no-such-upstream"):
        with pytest.raises(RecipeError, match="does not exist"):
            HuggingFaceUpstream(name)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RecipeError, match="nor reachable on the hub") as caught:
        HuggingFaceUpstream("nobody/no-such-model", revision="v1")
    assert "at revision 'v1'" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unsupported_family(damaged: Path) -> None:
    edit(damaged / "config.json", model_type="bert")
    with pytest.raises(RecipeError, match=r"of type 'bert', which is not supported.*wavlm"):
        HuggingFaceUpstream(str(damaged))
    edit(damaged / "config.json", model_type="nonsense")
    with pytest.raises(RecipeError, match="No configuration found"):
        HuggingFaceUpstream(str(damaged))


def test_a_folder_without_weights(damaged: Path) -> None:
    (damaged / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        HuggingFaceUpstream(str(damaged))
    assert HuggingFaceUpstream(str(damaged), random_init=True).num_layers == 4


def test_truncated_weights(damaged: Path) -> None:
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        HuggingFaceUpstream(str(damaged))


def test_weights_of_another_model(damaged: Path) -> None:
    """transformers would draw what is missing at random and go on."""
    edit(damaged / "config.json", num_hidden_layers=4)
    with pytest.raises(CheckpointError, match=r"lack \d+ of its parameters \(encoder.layers.3"):
        HuggingFaceUpstream(str(damaged))
    edit(damaged / "config.json", num_hidden_layers=3, intermediate_size=40)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        HuggingFaceUpstream(str(damaged))


class _Malicious:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


def test_a_malicious_pickle_is_not_run(damaged: Path) -> None:
    (damaged / "model.safetensors").unlink()
    trap = damaged / "executed"
    torch.save({"weight": _Malicious(str(trap))}, damaged / "pytorch_model.bin", pickle_module=pickle)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        HuggingFaceUpstream(str(damaged))
    assert not trap.exists()


def test_tensors_in_a_pytorch_file_are_read(damaged: Path, folder: Path) -> None:
    upstream = HuggingFaceUpstream(str(folder))
    (damaged / "model.safetensors").unlink()
    torch.save(upstream.model.state_dict(), damaged / "pytorch_model.bin")
    assert HuggingFaceUpstream(str(damaged)).fingerprint() == upstream.fingerprint()


def test_half_precision_checkpoints_are_used_in_full(damaged: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_pretrained(damaged).half().save_pretrained(damaged)
    assert {p.dtype for p in HuggingFaceUpstream(str(damaged)).parameters()} == {torch.float32}


def test_a_folder_without_feature_extractor(tmp_path: Path) -> None:
    for style, normalised in (("group", False), ("layer", True)):
        tiny = save_tiny("hubert", tmp_path / style, style)
        (tiny / "preprocessor_config.json").unlink()
        assert HuggingFaceUpstream(str(tiny))._family.extractor.do_normalize is normalised


def test_fingerprint_tells_what_the_frames_depend_on(folder: Path, damaged: Path) -> None:
    plain = HuggingFaceUpstream(str(folder)).fingerprint()
    assert plain.startswith("huggingface:wavlm:") and plain == HuggingFaceUpstream(str(damaged)).fingerprint()
    others = [
        HuggingFaceUpstream(str(folder), layers="last").fingerprint(),
        HuggingFaceUpstream(str(folder), peer_padding=True).fingerprint(),
        HuggingFaceUpstream(str(folder), normalize_input=False).fingerprint(),
        HuggingFaceUpstream(str(folder), random_init=True).fingerprint(),
    ]
    edit(damaged / "config.json", num_attention_heads=2, layer_norm_eps=1e-3)
    edit(damaged / "preprocessor_config.json", do_normalize=False)
    tuned = HuggingFaceUpstream(str(folder), frozen=False)
    with torch.no_grad():
        next(tuned.transformer_layers.parameters()).add_(1e-3)
    assert len({plain, *others, tuned.fingerprint()}) == 6


def test_state_dict_round_trip(folder: Path) -> None:
    upstream = HuggingFaceUpstream(str(folder))
    wav, lengths = torch.randn(2, 5000), torch.tensor([5000, 3000])
    expected, _ = upstream(wav, lengths)
    fresh = HuggingFaceUpstream(str(folder), random_init=True)
    assert not torch.allclose(fresh(wav, lengths)[0], expected)
    fresh.load_state_dict(upstream.state_dict())
    assert torch.equal(fresh(wav, lengths)[0], expected)
    assert torch.equal(copy.deepcopy(upstream)(wav, lengths)[0], expected)


def test_saved_encoder_is_read_by_transformers(folder: Path, tmp_path: Path) -> None:
    """The attention that is put into WavLM keeps the names of the parameters."""
    from transformers import AutoModel

    HuggingFaceUpstream(str(folder)).model.save_pretrained(tmp_path)
    expected = AutoModel.from_pretrained(folder).state_dict()
    found = AutoModel.from_pretrained(tmp_path).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_contradictory_settings(folder: Path, tmp_path: Path) -> None:
    for layers in ("first", [], [4], [-5]):
        with pytest.raises(RecipeError, match="indices from 0 to 3"):
            HuggingFaceUpstream(str(folder), layers=layers)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"layerdrop is 1\.0"):
        HuggingFaceUpstream(str(folder), layerdrop=1.0)
    with pytest.raises(RecipeError, match="peer_padding"):
        HuggingFaceUpstream(str(folder), layerdrop=0.1, peer_padding=True)
    whisper = save_tiny("whisper", tmp_path)
    with pytest.raises(RecipeError, match="hears a spectrogram"):
        HuggingFaceUpstream(str(whisper), normalize_input=True)


def test_random_initialisation_follows_the_seed(folder: Path) -> None:
    prints = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        prints.append(HuggingFaceUpstream(str(folder), random_init=True).fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_loading_is_silent(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    HuggingFaceUpstream(str(folder))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_settings_are_known_to_the_command_line(folder: Path) -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(HuggingFaceUpstream, "upstream")
    values = parser.parse_args(
        [f"--upstream.name={folder}", "--upstream.layers=[1,2]", "--upstream.spec_augment.time_prob=0.1"]
    )
    upstream = parser.instantiate(values).upstream
    assert upstream.num_layers == 2 and upstream.spec_augment.time_prob == 0.1
    assert tiny_config("wavlm", "layer").do_stable_layer_norm
