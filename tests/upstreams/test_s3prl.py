"""s3prl's models by s3prl's own code: equal to ours on the same weights, exact in a batch, and safe to load."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_s3prl import read_tiny, save_hubert, save_wavlm
from torch import Tensor

from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.upstreams._s3prl_frames import Framing, measure_framing
from ser_toolkit.upstreams._s3prl_hub import hub_entries
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream
from ser_toolkit.upstreams.s3prl import S3prlUpstream

LENGTHS = torch.tensor([16000, 9001])


@pytest.fixture(scope="module")
def wav(voice: np.ndarray) -> Tensor:
    """Two utterances: (2, 16000). An offset shows an input normalisation that was left out.

    They are loud, because its divisors differ: variance + 1e-5 in s3prl, variance + 1e-7 in transformers.
    """
    rows = 10 * torch.from_numpy(np.stack([voice, np.roll(voice, 999)])) + 0.5
    rows[1, LENGTHS[1] :] = 0
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s3prl")


def wavlm_local(folder: Path, style: str) -> tuple[Path, Path]:
    return save_wavlm(folder, style)


def hubert_local(folder: Path, style: str) -> tuple[Path, Path]:
    return save_hubert(folder, style)


def hf_wav2vec2_custom(folder: Path, style: str) -> tuple[Path, Path]:
    path = folder / f"hf-wav2vec2-{style}"
    read_tiny("wav2vec2", path, style)
    return path, path


def hf_hubert_custom(folder: Path, style: str) -> tuple[Path, Path]:
    path = save_hubert(folder, style)[0]
    return path, path


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float(torch.linalg.norm(found - expected) / torch.linalg.norm(expected))


@pytest.mark.parametrize("style", ["group", "layer"])
@pytest.mark.parametrize("save", [wavlm_local, hubert_local, hf_wav2vec2_custom, hf_hubert_custom])
def test_hidden_states_equal_ours_on_the_same_weights(
    save: Callable[[Path, str], tuple[Path, Path]], style: str, folder: Path, wav: Tensor
) -> None:
    hugging_face, checkpoint = save(folder, style)
    found, counts = S3prlUpstream(save.__name__, str(checkpoint))(wav, LENGTHS)
    expected, expected_counts = HuggingFaceUpstream(str(hugging_face))(wav, LENGTHS)
    assert counts.tolist() == expected_counts.tolist() == [49, 27]
    for layer in range(4):
        assert relative_error(found[:, layer], expected[:, layer]) < 2e-6, layer


def test_its_own_padding_is_its_own_and_moves_results(folder: Path, wav: Tensor) -> None:
    _, checkpoint = save_wavlm(folder, "layer")
    peer = S3prlUpstream("wavlm_local", str(checkpoint), padding="s3prl")
    assert peer.batch_dependent == "padding=s3prl reproduces s3prl's own padding"
    exact = S3prlUpstream("wavlm_local", str(checkpoint))
    found, counts = peer(wav, LENGTHS)
    with torch.no_grad():
        expected = peer.expert([wav[0], wav[1, :9001]])["hidden_states"]
    assert counts.tolist() == [49, 28]  # round(samples / 320), of which the longest has one less
    assert torch.equal(found[0], torch.stack([state[0] for state in expected]))
    assert torch.equal(found[1, :, :28], torch.stack([state[1, :28] for state in expected]))
    assert not found[1, :, 28:].any()
    alone, _ = exact(wav, LENGTHS)
    assert relative_error(found[1, :, :27], alone[1, :, :27]) > 1e-2
    assert relative_error(found[0], alone[0]) < 1e-5
    assert peer.fingerprint() != exact.fingerprint()


@pytest.mark.parametrize(
    ("name", "size", "framing"),
    [
        ("fbank", 240, Framing(hop=160, offset=240, receptive=560)),  # one frame has no variance to be divided by
        ("fbank_no_cmvn", 240, Framing(hop=160, offset=240, receptive=400)),
        ("mel", 80, Framing(hop=160, offset=-160, receptive=201)),  # centred windows of 400, reflected at both ends
        ("spectrogram", 257, Framing(hop=160, offset=240, receptive=560)),
    ],
)
def test_framing_is_found_by_asking(name: str, size: int, framing: Framing) -> None:
    upstream = S3prlUpstream(name)
    assert (upstream.num_layers, upstream.feature_dim) == (1, size)
    assert upstream._framing == framing


def test_unsteady_frames_are_refused() -> None:
    with pytest.raises(RecipeError, match="one more frame every 160 samples"):
        measure_framing(lambda wav: torch.zeros(1, len(wav) // 170, 2), 160, "odd")
    with pytest.raises(RecipeError, match="no finite frames"):
        measure_framing(lambda wav: torch.full((1, len(wav), 2), torch.nan), 160, "silent")


def test_layers_are_chosen(folder: Path, wav: Tensor) -> None:
    _, checkpoint = save_wavlm(folder)
    every = S3prlUpstream("wavlm_local", str(checkpoint))
    some = S3prlUpstream("wavlm_local", str(checkpoint), layers=[0, 2])
    last = S3prlUpstream("wavlm_local", str(checkpoint), layers="last")
    frames = every(wav, LENGTHS)[0]
    assert torch.equal(some(wav, LENGTHS)[0], frames[:, [0, 2]])
    assert torch.equal(last(wav, LENGTHS)[0], frames[:, 3:])
    assert len({upstream.fingerprint() for upstream in (every, some, last)}) == 3
    with pytest.raises(RecipeError, match="indices from 0 to 3"):
        S3prlUpstream("wavlm_local", str(checkpoint), layers=[4])


def test_fine_tuning_trains_the_transformer_below_the_highest_layer(folder: Path, wav: Tensor) -> None:
    _, checkpoint = save_wavlm(folder)
    upstream = S3prlUpstream("wavlm_local", str(checkpoint), frozen=False, layers=[0, 1]).train()
    trained = {name.split("model.")[1] for name, p in upstream.named_parameters() if p.requires_grad}
    assert any(name.startswith("encoder.layers.0.") for name in trained)
    assert not [name for name in trained if name.startswith(("feature_extractor.", "encoder.layers.1.", "mask_emb"))]
    frames, _ = upstream(wav[:, :4000], torch.tensor([4000, 3000]))
    frames.square().mean().backward()
    assert all(p.grad is not None for p in upstream.parameters() if p.requires_grad)
    with pytest.raises(RecipeError, match="nothing to train"):
        S3prlUpstream("fbank", frozen=False)


def test_a_copy_is_equal_and_independent(folder: Path, wav: Tensor) -> None:
    _, checkpoint = save_wavlm(folder)
    upstream = S3prlUpstream("wavlm_local", str(checkpoint), frozen=False, layers=[0, 1])
    with torch.no_grad():  # as fine-tuning does
        upstream.get_parameter("expert.model.encoder.layers.0.fc1.weight").mul_(0.5)
    twin = copy.deepcopy(upstream).eval()
    before = upstream.eval()(wav, LENGTHS)[0]
    assert torch.equal(twin(wav, LENGTHS)[0], before)
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in upstream.parameters()]
    with torch.no_grad():
        twin.get_parameter("expert.model.encoder.layers.0.fc1.weight").zero_()
    assert torch.equal(upstream(wav, LENGTHS)[0], before)
    assert not torch.equal(twin(wav, LENGTHS)[0], before)


def test_the_number_of_layers_stays_in_training(folder: Path, wav: Tensor) -> None:
    path = folder / "dropping"
    read_tiny("wav2vec2", path, "layer")
    settings = (path / "config.json").read_text().replace('"layerdrop": 0.1', '"layerdrop": 0.9')
    assert "0.9" in settings
    (path / "config.json").write_text(settings)
    upstream = S3prlUpstream("hf_wav2vec2_custom", str(path), frozen=False).train()
    for _ in range(3):  # two frames: SpecAugment would raise
        assert upstream(wav[:1, :720], torch.tensor([720]))[0].shape == (1, 4, 2, 32)


def test_settings_beside_the_weights_change_the_fingerprint(folder: Path) -> None:
    _, checkpoint = save_wavlm(folder)
    state = torch.load(checkpoint, weights_only=True)
    state["cfg"]["normalize"] = True
    torch.save(state, folder / "normalising.pt")
    path, _ = hf_wav2vec2_custom(folder, "group")
    before = S3prlUpstream("hf_wav2vec2_custom", str(path)).fingerprint()
    settings = path / "preprocessor_config.json"
    original = settings.read_text()
    settings.write_text(original.replace('"do_normalize": false', '"do_normalize": true'))
    after = S3prlUpstream("hf_wav2vec2_custom", str(path)).fingerprint()
    settings.write_text(original)
    plain, normalising = (S3prlUpstream("wavlm_local", str(file)) for file in (checkpoint, folder / "normalising.pt"))
    assert before != after
    assert plain.fingerprint() != normalising.fingerprint()


def test_settings_that_change_no_frame_leave_the_fingerprint(folder: Path) -> None:
    path, checkpoint = hf_wav2vec2_custom(folder / "copied", "group")
    before = S3prlUpstream("hf_wav2vec2_custom", str(checkpoint))
    config = path / "config.json"
    original = json.loads(config.read_text(encoding="utf-8"))
    (path / "vocab.json").write_text('{"a": 0}', encoding="utf-8")
    config.write_text(json.dumps(original | {"id2label": {"0": "angry"}, "hidden_dropout": 0.25}), encoding="utf-8")
    after = S3prlUpstream("hf_wav2vec2_custom", str(checkpoint))
    tuned = S3prlUpstream("hf_wav2vec2_custom", str(checkpoint), frozen=False)
    config.write_text(json.dumps(original | {"layer_norm_eps": 0.1}), encoding="utf-8")
    other = S3prlUpstream("hf_wav2vec2_custom", str(checkpoint))
    assert before.fingerprint() == after.fingerprint() != other.fingerprint()
    assert (after.training_settings, tuned.training_settings["config.hidden_dropout"]) == ({}, 0.25)


def test_code_in_a_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    _, checkpoint = save_wavlm(folder)
    state = torch.load(checkpoint, weights_only=True)
    state["cfg"]["conv_feature_layers"] = f"open({str(trace)!r}, 'w') and [(24, 10, 5)]"
    torch.save(state, tmp_path / "expression.pt")
    torch.save({"cfg": trace.touch, "model": {}}, tmp_path / "pickle.pt")
    for name, message in (("expression", "conv_feature_layers is"), ("pickle", "cannot be loaded")):
        with pytest.raises(CheckpointError, match=message):
            S3prlUpstream("wavlm_local", str(tmp_path / f"{name}.pt"))
    assert not trace.exists()


def test_names_are_those_of_the_hub() -> None:
    assert {"hubert", "wavlm_base_plus", "fbank", "wavlm_local", "xls_r_300m"} <= set(hub_entries())
    assert not {"Path", "options"} & set(hub_entries())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"name": "hubrt"}, RecipeError, "Did you mean hubert"),
        ({"name": "hubert_local"}, RecipeError, "set model.upstream.checkpoint"),
        ({"name": "fbank", "checkpoint": "x.pt"}, RecipeError, "brings its own weights"),
        ({"name": "fbank", "padding": "none"}, RecipeError, "expected exact or s3prl"),
        ({"name": "wavlm_local", "checkpoint": "no.pt"}, CheckpointError, "does not exist"),
        ({"name": "wavlm_local", "checkpoint": "{hubert}"}, CheckpointError, "cannot be loaded .*cfg"),
        ({"name": "hf_hubert_custom", "checkpoint": "{wavlm}"}, CheckpointError, "holds 'wavlm'"),
    ],
)
def test_mistakes_are_one_line(folder: Path, settings: dict[str, str], error: type[Exception], message: str) -> None:
    places = {"wavlm": save_wavlm(folder)[0], "hubert": save_hubert(folder)[1]}
    settings = {key: value.format(**places) for key, value in settings.items()}
    with pytest.raises(error, match=message) as caught:
        S3prlUpstream(**settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_no_connection_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from s3prl.util import download

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(download, "_download_dir", tmp_path)
    monkeypatch.setattr(download, "_download_url_to_file", refuse)
    monkeypatch.setattr(download, "_download_url_to_file_requests", refuse)
    with pytest.raises(CheckpointError, match=r"no route to host.*model\.upstream\.name=wavlm_local") as caught:
        S3prlUpstream("wavlm_base_plus")
    assert "\n" not in str(caught.value)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3prl.hub", None)
    hub_entries.cache_clear()
    with pytest.raises(RecipeError, match="pip install s3prl"):
        S3prlUpstream("fbank")
