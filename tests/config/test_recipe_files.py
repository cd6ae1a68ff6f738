"""Recipe files: names of shipped ones, names composed of a corpus and a model, and files that build on others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ser_toolkit.config import files as recipe_files
from ser_toolkit.config.files import (
    compositions,
    find_recipe,
    shipped_corpora,
    shipped_models,
    shipped_recipes,
    shipped_tasks,
)
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.errors import RecipeError


def files_of(name: str) -> list[str]:
    return [source.path.stem for source in find_recipe(name)]


def merged(name: str) -> dict[str, object]:
    """Top-level keys of all files: later ones win."""
    return {key: value for source in find_recipe(name) for key, value in source.content.items()}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes: two corpora (the name of one begins with the other's), two models on one shared file."""
    contents = {
        "_head.yaml": "a: head\n",
        "_models/tiny.yaml": "_base: ../_head.yaml\na: tiny\nb: tiny\n",
        "_models/tiny_large.yaml": "_base: tiny.yaml\nb: large\n",
        "sea/_sea.yaml": "c: sea\n",
        "sea/_sea_head.yaml": "b: of the head in sea\n",
        "sea_bed/_sea_bed.yaml": "c: bed\n",
        "sea_bed/sea_bed_tiny.yaml": "c: own\n",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(recipe_files, "recipe_folder", lambda: tmp_path)
    return tmp_path


def test_a_composed_name_is_model_then_corpus_then_what_the_corpus_does_otherwise(shelf: Path) -> None:
    assert files_of("sea_tiny_large") == ["_head", "tiny", "tiny_large", "_sea", "_sea_head"]
    assert merged("sea_tiny_large") == {"a": "tiny", "b": "of the head in sea", "c": "sea"}
    assert files_of("sea_bed_tiny_large") == ["_head", "tiny", "tiny_large", "_sea_bed"]


def test_a_file_wins_over_a_composition(shelf: Path) -> None:
    assert merged("sea_bed_tiny") == {"c": "own"}
    assert set(compositions()) == {"sea_tiny", "sea_tiny_large", "sea_bed_tiny_large"}
    assert set(shipped_recipes()) == {"sea_bed_tiny"}


def test_a_model_and_a_corpus_are_found_by_themselves(shelf: Path) -> None:
    assert files_of("tiny") == ["_head", "tiny"]
    assert files_of("sea") == ["_sea"], "what it does otherwise belongs to compositions"


def test_a_file_may_build_on_names(shelf: Path) -> None:
    (shelf / "mine.yaml").write_text("_base: [sea_tiny]\nd: mine\n")
    assert files_of(str(shelf / "mine.yaml")) == ["_head", "tiny", "_sea", "_sea_head", "mine"]
    (shelf / "mine.yaml").write_text("_base: sea_tin\n")
    with pytest.raises(RecipeError, match=r"mine.yaml builds on sea_tin: .*Did you mean sea_tiny"):
        find_recipe(str(shelf / "mine.yaml"))


def test_a_file_of_the_name_that_it_builds_on_is_no_endless_walk(shelf: Path) -> None:
    (shelf / "sea" / "sea_tiny.yaml").write_text("_base: sea_tiny\n")
    with pytest.raises(RecipeError, match=r"builds on itself: sea_tiny.yaml -> sea_tiny.yaml"):
        find_recipe("sea_tiny")
    (shelf / "_models" / "tiny.yaml").write_text("_base: sea_tiny_large\n")
    with pytest.raises(RecipeError, match=r"builds on itself: tiny"):
        find_recipe("tiny")


@pytest.fixture
def tasks(shelf: Path) -> Path:
    """Two tasks, one of which needs ratings: sea has them; what is fitted goes with no task."""
    contents = {
        "_tasks/rate.yaml": "_needs: [ratings]\nc: rate\n",
        "_tasks/_head_rate.yaml": "d: of the head\n",
        "_tasks/plain.yaml": "c: plain\n",
        "sea/_sea.yaml": "_has: [ratings]\ndata: {corpus: Sea}\nc: sea\n",
        "sea/_sea_rate.yaml": "d: of sea\n",
        "sea_bed/_sea_bed.yaml": "data: {corpus: Bed}\nc: bed\n",
        "_models/fitted.yaml": "_tasks: []\na: fitted\n",
    }
    for name, content in contents.items():
        (shelf / name).parent.mkdir(exist_ok=True)
        (shelf / name).write_text(content, encoding="utf-8")
    return shelf


def test_a_task_comes_last_with_what_model_and_corpus_do_otherwise_in_it(tasks: Path) -> None:
    assert files_of("sea_tiny_rate") == ["_head", "tiny", "_sea", "_sea_head", "rate", "_head_rate", "_sea_rate"]
    assert {key: merged("sea_tiny_rate")[key] for key in "cd"} == {"c": "rate", "d": "of sea"}
    assert files_of("tiny_rate") == ["_head", "tiny", "rate", "_head_rate"], "a model for a table of one's own"
    assert files_of("sea_bed_tiny_plain") == ["sea_bed_tiny", "plain"], "a recipe with a file, too"
    assert merged("sea_bed_tiny_large_plain")["c"] == "plain"
    assert all(not key.startswith("_") for source in find_recipe("sea_tiny_rate") for key in source.content)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sea_bed_tiny_large_rate", r"needs ratings .* does not have. Corpora with them: sea; .*recipe=MODEL_rate"),
        ("sea_fitted_rate", r"is a model of classes alone \(fitted.yaml\).*Models for it: tiny, tiny_large"),
        ("sea_tyni_rate", r"Recipe 'sea_tyni_rate' is unknown. Did you mean sea_tiny"),
        ("sea_rate", r"'sea_rate' is unknown. rate is a task: .*recipe=CORPUS_MODEL_rate"),
        ("rate", r"'rate' is unknown. rate is a task: .*recipe=MODEL_rate"),
    ],
)
def test_what_does_not_go_with_a_task_is_refused(tasks: Path, name: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        find_recipe(name)
    assert "\n" not in str(error.value)


def test_corpora_that_have_ratings_are_those_whose_parser_states_their_scale() -> None:
    for corpus, path in shipped_corpora().items():
        found = load_recipe(corpus, "model.upstream=Spectral").data().corpus
        assert (found.dimension_range is not None) == ("_has: [ratings]" in path.read_text(encoding="utf-8")), corpus


@pytest.mark.parametrize("task", sorted(shipped_tasks()))
@pytest.mark.parametrize("name", ["demo", "iemocap_wavlm", "msp_podcast_fusion", "cmu_mosei_egemaps", "timnet"])
def test_tasks_resolve_with_networks_linear_and_fused_models(name: str, task: str) -> None:
    corpus = () if "_" in name or name == "demo" else ("data.corpus=Synthetic", "data.protocol=LeaveOneSpeakerOut")
    recipe = load_recipe(f"{name}_{task}", *corpus)
    model = recipe.plain_config()["model"]
    head = model["head"]["class_path"].rsplit(".", 1)[1]
    assert head == {"vad": "RegressionHead", "multitask": "MultiTaskHead"}[task]
    assert (recipe.selection.monitor == "dev/ccc") == (task == "vad")
    linear = model["optimizer"]["class_path"].endswith("RegularisedLBFGS")
    assert ("MeanSquaredError" in str(model["objective"])) == linear


@pytest.mark.parametrize(
    ("name", "said"),
    [("emodb_wavlm_vad", "Corpora with them: cmu_mosei, iemocap"), ("iemocap_egemaps_svm_vad", "classes alone")],
)
def test_shipped_tasks_refuse_corpora_without_ratings_and_fitted_heads(name: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        find_recipe(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sea_tyni", r"Did you mean sea_tiny\? Models of sea: tiny, tiny_large."),
        ("sea_bed_xxxxxxx", r"unknown. Models of sea_bed: tiny, tiny_large."),
        ("lake_tiny", r"Corpora: sea, sea_bed."),
        ("see_tiny", r"Did you mean sea_tiny or sea_bed_tiny\? Corpora: sea, sea_bed."),
        ("Sea_Tiny_Larg", r"Did you mean sea_tiny_large"),
        ("zzz", r"Recipe 'zzz' is unknown. ser-corpus recipes lists all; a file is given by its path"),
    ],
)
def test_an_unknown_name_is_answered_with_what_is_near(shelf: Path, name: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        find_recipe(name)


def test_a_recipe_by_itself_takes_a_model_as_second_recipe() -> None:
    with pytest.raises(RecipeError, match="demo is a recipe by itself: recipe=demo recipe=wavlm takes this model"):
        find_recipe("demo_wavlm")


@pytest.mark.parametrize("name", ["demoo", "emodb_byol"])
def test_an_unknown_recipe_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name}' is unknown. Did you mean {name[:4]}"):
        find_recipe(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("_base: r.yaml\n", "builds on itself: r.yaml -> r.yaml"),
        ("_base: gone.yaml\n", "builds on gone.yaml, but there is no file at"),
        ("_base: 3\n", "_base should be a list of files or names of recipes, found 3"),
        ("- a\n- b\n", "should hold 'key: value' lines, found list"),
        ("a: [1, 2\nb: {\n", "is not valid YAML: .* line 1, column 4"),
    ],
)
def test_a_broken_recipe_file_is_said_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(content)
    with pytest.raises(RecipeError, match=message) as error:
        find_recipe(str(tmp_path / "r.yaml"))
    assert "\n" not in str(error.value)
    assert "r.yaml" in str(error.value)


def test_a_recipe_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(RecipeError, match="is not text in UTF-8"):
        find_recipe(str(tmp_path / "r.yaml"))
    with pytest.raises(RecipeError, match=r"No recipe file at .*gone\.yaml"):
        find_recipe("gone.yaml")


# --- what is shipped --------------------------------------------------------------------------------------------------


def test_every_kind_of_model_that_is_promised_is_there() -> None:
    promised = (
        "wav2vec2 wav2vec2_large hubert hubert_large wavlm wavlm_large whisper whisper_large egemaps byols compare"
    )
    assert set(promised.split()) <= set(shipped_models())
    assert {"demo", "emodb", "iemocap", "msp_podcast"} <= {*shipped_recipes(), *shipped_corpora()}


def test_no_name_means_two_things() -> None:
    names = [f"{corpus}_{model}" for corpus in shipped_corpora() for model in shipped_models()]
    kinds = (names, list(shipped_recipes()), list(shipped_corpora()), list(shipped_models()))
    assert len(set(names)) == len(names)
    assert all(not set(one) & set(other) for one in kinds[1:] for other in kinds[1:] if one is not other)
    assert not set(names) & {*shipped_corpora(), *shipped_models()}


def test_no_file_says_what_its_name_means_anyway() -> None:
    for name, path in shipped_recipes().items():
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert set(content) != {"_base"}, f"{name} needs no file: a corpus and a model compose"


def test_what_a_corpus_does_otherwise_belongs_to_a_model_or_a_recipe_of_its_own() -> None:
    stems = {source.path.stem.lstrip("_") for model in shipped_models() for source in find_recipe(model)}
    stems |= set(shipped_tasks())
    for corpus, path in shipped_corpora().items():
        own = [name for name, file in shipped_recipes().items() if file.parent == path.parent]
        used = {source.path for name in own for source in find_recipe(name)}
        for file in path.parent.glob(f"_{corpus}_*.yaml"):
            assert file.stem.removeprefix(f"_{corpus}_") in stems or file in used, f"no recipe is made of {file}"
