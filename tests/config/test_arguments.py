from __future__ import annotations

from pathlib import Path

from ser_toolkit.config.arguments import (
    expand_arguments,
    key_values,
    recipe_name,
    recipe_sources,
)


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
