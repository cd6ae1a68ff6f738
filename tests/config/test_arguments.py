from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ser_toolkit.config.arguments import COMMAND_LINE, Command


def test_key_values_become_options_and_bare_words_stay() -> None:
    given = ["fold=2", "--trainer.max_epochs", "3", "model.pooling.dim=4", "trainer.callbacks+=A", "--dry-run"]
    assert Command.read(given).arguments == (
        "--fold=2",
        "--trainer.max_epochs",
        "3",
        "--model.pooling.dim=4",
        "--trainer.callbacks+=A",
        "--dry_run=true",
    )


def test_overrides_are_read_in_both_spellings() -> None:
    given = [
        "recipe=demo",
        "--trainer.max_epochs",
        "3",
        "fold=2",
        "--print_config",
        "trainer.callbacks+=A",
        "--dry-run",
    ]
    assert Command.read(given).overrides == (("trainer.max_epochs", "3"), ("fold", "2"), ("trainer.callbacks", "A"))


def test_the_run_is_named_after_the_last_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 1\n")
    assert Command.read(["recipe=demo", f"recipe={tmp_path / 'mine.yaml'}", "fold=1"]).name == "mine"
    assert Command.read([f"--config={tmp_path / 'mine.yaml'}"]).name == "mine"
    assert Command.read(["--recipe", "demo"]).name == "demo"
    assert Command.read(["fold=1"]).name == "custom"


def test_bases_come_first_relative_to_the_file_and_the_key_is_taken_out(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "base.yaml").write_text("a: 1\nb: 1\n")
    (tmp_path / "below" / "middle.yaml").write_text("_base: ../base.yaml\nb: 2\n")
    (tmp_path / "top.yaml").write_text("_base: [below/middle.yaml]\nc: 3\n")
    command = Command.read([f"recipe={tmp_path / 'top.yaml'}"])
    assert [source.content for source in command.sources] == [{"a": 1, "b": 1}, {"b": 2}, {"c": 3}]
    assert [source.path.name for source in command.sources] == ["base.yaml", "middle.yaml", "top.yaml"]
    given = [argument.removeprefix("--config=") for argument in command.arguments]
    assert given == ["a: 1\nb: 1\n", "b: 2\n", "c: 3\n"]


def test_values_are_told_apart_by_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "model: {pooling: {class_path: A, init_args: {dim: 1}}, head: {init_args: {}}}\n"
    )
    file, typed = Command.read([f"recipe={tmp_path / 'mine.yaml'}", "model={pooling: B}", "--fold", "2"]).levels
    assert (file.name, dict(file.values)) == ("mine.yaml", {"model.pooling": "A", "model.pooling.dim": 1})
    assert (typed.name, dict(typed.values)) == (COMMAND_LINE, {"model.pooling": "B", "fold": "2"})


def test_a_command_never_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Command.read(["fold=1"]).name = "other"  # type: ignore[misc]
