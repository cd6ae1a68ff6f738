"""Every shipped recipe is read, and the model that it describes is built and heard, whatever recipes there are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny_models import save_tiny
from tiny_s3prl import save_hubert

from ser_toolkit.arguments import find_recipe, recipe_folder, shipped_recipes
from ser_toolkit.data.batch import STREAM, Batch, Targets, Waves
from ser_toolkit.downstream.heads import FittedHead
from ser_toolkit.recipe import Recipe, load_recipe

RECIPES = sorted(shipped_recipes())
FILES = sorted(recipe_folder().rglob("*.yaml"))


@pytest.fixture(scope="module")
def tiny_wavlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random WavLM in a folder such as the hub gives."""
    return save_tiny("wavlm", tmp_path_factory.mktemp("weights") / "wavlm")


def _for_this_machine(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The recipe, with a tiny checkpoint in place of a hub id; skips when weights or packages are not at hand."""
    recipe = load_recipe(name)
    config = recipe.plain_config()["model"]["upstream"]
    fused = config["class_path"].endswith(".FusedUpstreams")
    parts = config["init_args"]["upstreams"] if fused else [config]
    kinds = {part["class_path"].rsplit(".", 1)[-1] for part in parts}
    if "BYOLS" in kinds:
        monkeypatch.setenv("SER_WEIGHTS", str(request.getfixturevalue("weights_root")))
    if "OpenSmile" in kinds:
        pytest.importorskip("opensmile")
    if fused:
        for part in parts:
            if part["class_path"].endswith(".HuggingFaceUpstream"):
                part["init_args"]["name"] = str(request.getfixturevalue("tiny_wavlm"))
        return load_recipe(name, f"model.upstream.upstreams={json.dumps(parts)}")
    if "HuggingFaceUpstream" in kinds:
        return load_recipe(name, f"model.upstream.name={request.getfixturevalue('tiny_wavlm')}")
    if "S3prlUpstream" in kinds:
        pytest.importorskip("s3prl", reason="s3prl is not installed")
        folder = request.getfixturevalue("tiny_wavlm").parent
        checkpoint = f"model.upstream.checkpoint={save_hubert(folder)[1]}"
        return load_recipe(name, "model.upstream.name=hubert_local", checkpoint)
    return recipe


def test_the_promised_recipes_are_shipped() -> None:
    assert {"demo", "emodb_byols", "emodb_egemaps", "cremad_byols"} <= set(RECIPES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_recipe_file_says_what_it_is(file: Path) -> None:
    first = file.read_text(encoding="utf-8").split("\n", 1)[0]
    assert first.startswith("# "), "the first line is shown by ser-corpus recipes"
    assert first.endswith((".", "!"))


def test_names_are_unique() -> None:
    counts = Counter(file.stem for file in FILES if not file.stem.startswith("_"))
    assert not [name for name, count in counts.items() if count > 1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_a_recipe_builds_on_exists(file: Path) -> None:
    for base in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("_base", []):
        assert (file.parent / base).is_file(), base


@pytest.mark.parametrize("name", RECIPES)
def test_the_resolved_recipe_reads_back(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    copy = tmp_path / f"{name}.yaml"
    copy.write_text(recipe.yaml(), encoding="utf-8")
    assert load_recipe(str(copy)).identity() == recipe.identity()
    assert find_recipe(name).stem == recipe.name


@pytest.mark.parametrize("name", RECIPES)
def test_the_model_hears_speech(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, voice: np.ndarray
) -> None:
    recipe = _for_this_machine(name, request, monkeypatch)
    corpus = recipe.data().corpus
    model = recipe.model(corpus.classes).eval()
    if isinstance(model.head, FittedHead):
        labels = torch.arange(40) % len(corpus.classes)
        model.head.fit(torch.randn(40, model.head.input_dim), labels)
    rate = model.upstream.sampling_rate
    waves = Waves(torch.from_numpy(voice)[:rate].expand(2, -1).contiguous(), torch.tensor([rate, rate // 2]))
    with torch.no_grad():
        outputs = model(Batch({STREAM: waves}, _no_targets(len(corpus.classes))))
    assert outputs.logits.shape == (2, len(corpus.classes))
    assert torch.isfinite(outputs.logits).all()
    assert not torch.equal(outputs.logits[0], outputs.logits[1])


def _no_targets(num_classes: int) -> Targets:
    return Targets(torch.full((2,), -1), torch.full((2, num_classes), float("nan")), torch.full((2, 3), float("nan")))
