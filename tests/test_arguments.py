from __future__ import annotations

from pathlib import Path

import pytest

from ser_toolkit.arguments import (
    expand_arguments,
    find_recipe,
    key_values,
    recipe_name,
    recipe_sources,
    shipped_recipes,
)
from ser_toolkit.errors import RecipeError


def test_key_values_become_options_and_bare_words_stay() -> None:
    given = ["fold=2", "--trainer.max_epochs", "3", "model.pooling.dim=4", "trainer.callbacks+=A", "--dry-run"]
    assert expand_arguments(given) == [
        "--fold=2",
        "--trainer.max_epochs",
        "3",
        "--model.pooling.dim=4",
        "--trainer.callbacks+=A",
        "--dry_run=true",
    ]


def test_key_values_are_read_in_both_spellings() -> None:
    given = [
        "recipe=demo",
        "--trainer.max_epochs",
        "3",
        "fold=2",
        "--print_config",
        "trainer.callbacks+=A",
        "--dry-run",
    ]
    assert list(key_values(given)) == [("trainer.max_epochs", "3"), ("fold", "2"), ("trainer.callbacks", "A")]


def test_every_shipped_recipe_is_found_by_name_and_hidden_ones_are_not() -> None:
    known = shipped_recipes()
    assert "demo" in known
    assert not [name for name in known if name.startswith("_")]
    assert all(find_recipe(name) == path for name, path in known.items())


@pytest.mark.parametrize("name", ["demoo", "emodb_byol"])
def test_an_unknown_recipe_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name}' is unknown. Did you mean {name[:4]}"):
        find_recipe(name)


def test_the_run_is_named_after_the_last_recipe() -> None:
    assert recipe_name(["recipe=demo", "recipe=dir/mine.yaml", "fold=1"]) == "mine"
    assert recipe_name(["--config=a/b.yaml"]) == "b"
    assert recipe_name(["--recipe", "demo"]) == "demo"
    assert recipe_name(["fold=1"]) == "custom"


def test_bases_come_first_relative_to_the_file_and_the_key_is_taken_out(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "base.yaml").write_text("a: 1\nb: 1\n")
    (tmp_path / "below" / "middle.yaml").write_text("_base: ../base.yaml\nb: 2\n")
    (tmp_path / "top.yaml").write_text("_base: [below/middle.yaml]\nc: 3\n")
    sources = recipe_sources([f"recipe={tmp_path / 'top.yaml'}"])
    assert [source.content for source in sources] == [{"a": 1, "b": 1}, {"b": 2}, {"c": 3}]
    assert [source.path.name for source in sources] == ["base.yaml", "middle.yaml", "top.yaml"]
    expanded = expand_arguments([f"recipe={tmp_path / 'top.yaml'}"])
    assert [argument.removeprefix("--config=") for argument in expanded] == ["a: 1\nb: 1\n", "b: 2\n", "c: 3\n"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("_base: r.yaml\n", "builds on itself: r.yaml -> r.yaml"),
        ("_base: gone.yaml\n", "builds on gone.yaml, but there is no file at"),
        ("_base: 3\n", "_base should be a list of files, found 3"),
        ("- a\n- b\n", "should hold 'key: value' lines, found list"),
        ("a: [1, 2\nb: {\n", "is not valid YAML: .* line 1, column 4"),
    ],
)
def test_a_broken_recipe_file_is_said_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(content)
    with pytest.raises(RecipeError, match=message) as error:
        expand_arguments([f"recipe={tmp_path / 'r.yaml'}"])
    assert "\n" not in str(error.value)
    assert "r.yaml" in str(error.value)


def test_a_recipe_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(RecipeError, match="is not text in UTF-8"):
        expand_arguments([f"recipe={tmp_path / 'r.yaml'}"])
    with pytest.raises(RecipeError, match=r"No recipe file at .*gone\.yaml"):
        expand_arguments(["recipe=gone.yaml"])
