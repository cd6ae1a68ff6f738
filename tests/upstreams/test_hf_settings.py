"""A Hugging Face upstream is known by what its frames depend on: other entries of its files may change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny

from ser_toolkit.config.recipe import Recipe, load_recipe
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.errors import CheckpointError, RecipeError
from ser_toolkit.experiment.experiment import Experiment
from ser_toolkit.experiment.stages.sequence import Unit
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.plan import store_key
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.store import FeatureStore
from ser_toolkit.features.variants import Plain
from ser_toolkit.model.identity import check_identity, is_same, plain_settings
from ser_toolkit.upstreams.encoders.settings import TRAINING, frame_settings
from ser_toolkit.upstreams.fused import FusedUpstreams
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

#: Entries that change no frame, with values that no configuration has.
WITHOUT_EFFECT: dict[str, Any] = {
    "suppress_tokens": [1, 2],
    "begin_suppress_tokens": [3],
    "use_cache": False,
    "id2label": {"0": "x", "1": "y", "2": "z"},
    "label2id": {"x": 0, "y": 1, "z": 2},
    "decoder_layerdrop": 0.3,
    "median_filter_width": 9,
    "classifier_proj_size": 17,
    "attention_dropout": 0.4,
    "mask_time_length": 3,
    "max_target_positions": 99,
    "transformers_version": "0.0.1",
    "_name_or_path": "elsewhere",
    "architectures": ["Other"],
    "eos_token_id": 5,
}


def edit(path: Path, **values: Any) -> None:
    """Change a file of settings."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random checkpoint of each kind of encoder."""
    root = tmp_path_factory.mktemp("encoders")
    return {family: save_tiny(family, root / family, "group") for family in ("hubert", "whisper")}


@pytest.mark.parametrize("family", ["hubert", "whisper"])
def test_what_changes_no_frame_changes_no_fingerprint(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    before = HuggingFaceUpstream(str(folders[family]))
    copied = Path(shutil.copytree(folders[family], tmp_path / family))
    # a decoder's own sizes would not fit its weights
    values = {key: value for key, value in WITHOUT_EFFECT.items() if key != "max_target_positions"}
    edit(copied / "config.json", **values)
    edit(copied / "preprocessor_config.json", processor_class="Other")
    after = HuggingFaceUpstream(str(copied))
    assert after.fingerprint() == before.fingerprint()
    wav, lengths = torch.randn(1, 8000), torch.tensor([8000])
    assert torch.equal(after(wav, lengths)[0], before(wav, lengths)[0])


@pytest.mark.parametrize("key", sorted({*WITHOUT_EFFECT, *TRAINING}))
def test_entries_without_effect_are_left_out(key: str) -> None:
    assert frame_settings({key: 1, "layer_norm_eps": 1e-5}, {}) == {"config.layer_norm_eps": 1e-5}


def test_what_nobody_knows_counts() -> None:
    assert frame_settings({"novel": 1}, {"dither": 0.1}) == {"config.novel": 1, "extractor.dither": 0.1}


def test_fine_tuning_depends_on_dropout(folders: dict[str, Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folders["hubert"], tmp_path / "hubert"))
    edit(copied / "config.json", attention_dropout=0.4)
    one, two = (HuggingFaceUpstream(str(place), frozen=False) for place in (folders["hubert"], copied))
    assert one.fingerprint() == two.fingerprint() and one.training_settings != two.training_settings
    assert HuggingFaceUpstream(str(copied)).training_settings == {}


def test_the_fingerprint_of_earlier_versions_is_known(folders: dict[str, Path]) -> None:
    upstream = HuggingFaceUpstream(str(folders["hubert"]))
    (former,) = upstream.former_fingerprints
    assert former != upstream.fingerprint() and is_same(upstream, former)
    assert not is_same(upstream, former[:-1])
    fused = FusedUpstreams([upstream, upstream])
    assert is_same(fused, f"{former} + {upstream.fingerprint()}") and not is_same(fused, former)
    check_identity(("a",), upstream, ("a",), former)


def test_settings_that_differ_are_named(folders: dict[str, Path]) -> None:
    upstream = HuggingFaceUpstream(str(folders["hubert"]))
    settings = plain_settings(upstream) | {"config.layer_norm_eps": 0.5, "layers": [1]}
    with pytest.raises(
        CheckpointError, match=r"config.layer_norm_eps was 0.5, is 1e-05; layers was \[1\], is \[0, 1, 2"
    ):
        check_identity(("a",), upstream, ("a",), "huggingface:hubert:0:0", settings)
    with pytest.raises(CheckpointError, match="its settings are the same, its weights differ"):
        check_identity(("a",), upstream, ("a",), "huggingface:hubert:0:0", plain_settings(upstream))
    upstream.frozen = False
    with pytest.raises(CheckpointError, match=r"fine-tuned upstream with other settings.*layer_norm_eps was 0.5"):
        check_identity(("a",), upstream, ("a",), None, settings)


def test_a_store_of_an_earlier_version_is_used(folders: dict[str, Path], tmp_path: Path) -> None:
    upstream, reduction, settings = HuggingFaceUpstream(str(folders["hubert"])), Reduction("means"), FeatureSettings()

    def fingerprint() -> str:
        return store_key(upstream, reduction, settings, "cpu", tmp_path).fingerprint

    assert fingerprint() == upstream.fingerprint()
    (former,) = upstream.former_fingerprints
    FeatureStore(StoreKey(former, reduction), tmp_path).folder.mkdir(parents=True)
    assert fingerprint() == former
    FeatureStore(StoreKey(upstream.fingerprint(), reduction), tmp_path).folder.mkdir(parents=True)
    assert fingerprint() == upstream.fingerprint()


def encoder_recipe(folder: Path) -> Recipe:
    """One fold of the mini recipe on a tiny encoder."""
    settings = ("fold=1", "baselines=[]", "trainer.max_epochs=1", f"output={folder.parent / 'runs'}")
    parts = ("model.upstream=HuggingFaceUpstream", f"model.upstream.name={folder}", "model.pooling=MeanPooling")
    return load_recipe("mini.yaml", *parts, *settings)


def test_a_run_of_an_earlier_version_is_gone_on_with(mini: Path, folders: dict[str, Path]) -> None:
    experiment = Experiment(encoder_recipe(folders["hubert"]))
    model = experiment.probe_model()
    now = experiment.folder(model)
    (former,) = model.upstream.former_fingerprints
    earlier = now.with_name(experiment.recipe.hash(experiment.data.manifest.content_hash, former))
    earlier.mkdir(parents=True)
    assert now != earlier == experiment.folder(model)


def test_a_configuration_that_is_rewritten_in_mid_run(mini: Path, folders: dict[str, Path]) -> None:
    place = Path(shutil.copytree(folders["hubert"], mini / "hubert"))
    experiment = Experiment(encoder_recipe(place))
    data = experiment.data
    unit = Unit(experiment.recipe, data, Plain(), data.folds[0], 0, mini / "unit", experiment.features())
    unit.use()
    edit(place / "config.json", use_cache=False, attention_dropout=0.4)
    unit.model()
    edit(place / "config.json", layer_norm_eps=0.5)
    with pytest.raises(RecipeError, match="The upstream's files have changed since its features were taken"):
        unit.model()
