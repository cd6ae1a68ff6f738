"""Recipes are read, and what they describe is built and heard: every model, every corpus, every recipe with a file.

Names compose (``tests/test_recipe_files.py``): a corpus or a model stands here once or twice, not with all others.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny_models import save_tiny
from tiny_s3prl import save_hubert

from ser_toolkit.config.files import (
    BASE_KEY,
    compositions,
    find_recipe,
    recipe_folder,
    shipped_corpora,
    shipped_models,
    shipped_recipes,
)
from ser_toolkit.config.recipe import Recipe, load_recipe
from ser_toolkit.data.batch import STREAM, Batch, Targets, Waves
from ser_toolkit.downstream.heads import FittedHead

CORPORA, MODELS = list(shipped_corpora()), list(shipped_models())
#: Every model with a corpus, and every recipe with a file.
BUILT = sorted({*shipped_recipes(), *(f"emodb_{model}" for model in MODELS)})
#: Every corpus and every model, in as few pairs as there are of the more numerous kind.
PAIRS = [(CORPORA[n % len(CORPORA)], MODELS[n % len(MODELS)]) for n in range(max(len(CORPORA), len(MODELS)))]
READ = [f"{corpus}_{model}" for corpus, model in PAIRS]
#: Corpora with a page of their own (several corpora together are described elsewhere).
DESCRIBED = [corpus for corpus, path in shipped_corpora().items() if path.with_name("README.md").is_file()]
FILES = sorted(recipe_folder().rglob("*.yaml"))


#: Families of the hub as their ids spell them, with the tiny model that stands for each.
FAMILIES = {"whisper": "whisper", "hubert": "hubert", "wavlm": "wavlm", "wav2vec2": "wav2vec2"}


@pytest.fixture(scope="module")
def tiny_hub(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Hub id -> folder of a random model of the same family, with the layer norms of its size."""
    folder = tmp_path_factory.mktemp("weights")

    @functools.cache
    def stand_in(hub_id: str) -> str:
        family = next(family for word, family in FAMILIES.items() if word in hub_id)
        large = "large" in hub_id or "xls-r" in hub_id
        place = folder / hub_id.replace("/", "_")
        return str(save_tiny(family, place, "layer" if large or family == "whisper" else "group"))

    return stand_in


def _for_this_machine(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The recipe, with a tiny checkpoint in place of a hub id; skips when weights or packages are not at hand."""
    recipe, tiny = load_recipe(name), request.getfixturevalue("tiny_hub")
    config = recipe.plain_config()["model"]["upstream"]
    fused = config["class_path"].endswith(".FusedUpstreams")
    parts = config["init_args"]["upstreams"] if fused else [config]
    kinds = {part["class_path"].rsplit(".", 1)[-1] for part in parts}
    if kinds & {"BYOLS", "GE2E"}:
        monkeypatch.setenv("SER_WEIGHTS", str(request.getfixturevalue("weights_root")))
    if "OpenSmile" in kinds:
        pytest.importorskip("opensmile")
    if fused:
        for part in parts:
            if part["class_path"].endswith(".HuggingFaceUpstream"):
                part["init_args"]["name"] = tiny(part["init_args"]["name"])
        return load_recipe(name, f"model.upstream.upstreams={json.dumps(parts)}")
    if "HuggingFaceUpstream" in kinds:
        return load_recipe(name, f"model.upstream.name={tiny(config['init_args']['name'])}")
    if "S3prlUpstream" in kinds:
        checkpoint = f"model.upstream.checkpoint={save_hubert(request.getfixturevalue('tmp_path'))[1]}"
        return load_recipe(name, "model.upstream.name=hubert_local", checkpoint)
    return recipe


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
    bases = yaml.safe_load(file.read_text(encoding="utf-8")).get(BASE_KEY, [])
    for base in [bases] if isinstance(bases, str) else bases:
        if base.endswith(".yaml"):
            assert (file.parent / base).is_file(), base
        else:
            assert base in {*shipped_recipes(), *compositions()}


@pytest.mark.parametrize("name", READ)
def test_every_corpus_and_every_model_is_read(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.data().corpus.classes, "the parser of the corpus is made, the model is not: that may need weights"


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_the_resolved_recipe_reads_back(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    copy = tmp_path / f"{name}.yaml"
    copy.write_text(recipe.yaml(), encoding="utf-8")
    assert load_recipe(str(copy)).identity() == recipe.identity()
    assert recipe.name == name


@pytest.mark.parametrize("name", BUILT)
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


@pytest.mark.parametrize("corpus", DESCRIBED)
def test_a_readme_tells_names_that_there_are(corpus: str) -> None:
    text = (recipe_folder() / corpus / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(rf"`({corpus}_[a-z0-9_]+)`", text)) | set(
        re.findall(r"recipe=([a-z][a-z0-9_]*\b)(?!\.)", text)
    )
    named -= {f"{corpus}_"}  # of recipe=<corpus>_MODEL
    assert named, "no recipe is named"
    for name in named:
        find_recipe(name)  # composed of corpus, model and task, or a file
    assert f"recipe={corpus}_" in text or f"`{corpus}_egemaps`" in text


#: Frozen from 0.1.0 on: a run is found under its recipe's hash, which depends on class paths, options and defaults.
#: Another value means that runs of a release are not gone on with; CHANGELOG has to say so.
HASHES = {
    "demo": "c99e203c40",
    "cremad_cnn_blstm": "27cc4302b2",
    "cremad_timnet": "86b1a6f093",
    "cremad_byols_svm": "6fb82c8d9c",
    "emodb_wavlm": "2713b0f2fb",
    "emodb_superb": "ba10731e61",
    "emodb_whisper": "79eb806c99",
    "emodb_morais_fusion": "481cf392af",
    "iemocap_s3prl": "4c904bef53",
    "iemocap_superb_er": "ff128c930c",
    "iemocap_wavlm_finetune": "2ed899ad0e",
    "ravdess_song_byols": "1ad05d4983",
}


@pytest.mark.parametrize("name", HASHES)
def test_a_recipe_keeps_the_hash_of_its_runs(name: str) -> None:
    assert load_recipe(name).hash("manifest", "upstream") == HASHES[name]
