"""A setting that candidates, a space or the tuning overwrite is refused; it used to have no effect without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_toolkit.cli.compare import main as compare
from ser_toolkit.cli.sweep import searching_recipe
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.errors import RecipeError

RATES = "selection: {candidates: [model.optimizer.lr=0.1, model.optimizer.lr=0.2]}\n"
NOTHING = "selection.candidates=[]"


@pytest.fixture
def searching(mini: Path) -> Path:
    (mini / "rates.yaml").write_text(f"_base: mini.yaml\n{RATES}", encoding="utf-8")
    return mini


@pytest.mark.parametrize(
    "given",
    [
        "model.optimizer.lr=0.3",
        "model.optimizer.init_args.lr=0.3",
        "model.optimizer={class_path: torch.optim.Adam, init_args: {lr: 0.3}}",
    ],
)
def test_a_key_of_the_command_line_that_the_recipes_candidates_set_is_refused(searching: Path, given: str) -> None:
    with pytest.raises(RecipeError, match=r"model\.optimizer\.lr=0\.3 would have no effect.*of rates\.yaml.*=\[\]"):
        load_recipe("rates.yaml", given)
    assert load_recipe("rates.yaml", given, NOTHING).plain_config()["model"]["optimizer"]["init_args"]["lr"] == 0.3


def test_rows_of_a_comparison_that_would_be_alike_are_refused(
    searching: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(["recipe=rates.yaml", "model.optimizer.lr=0.3,0.4", "--dry-run"]) == 2
    assert "row '0.3': model.optimizer.lr=0.3 would have no effect" in capsys.readouterr().err


def test_what_has_an_effect_is_taken(searching: Path) -> None:
    load_recipe("rates.yaml", "model.optimizer=torch.optim.AdamW", "trainer.max_epochs=3")  # lr is tried with AdamW
    own = 'selection.candidates=["model.head.dropout=0.1","model.optimizer.lr=0.1"]'
    load_recipe("rates.yaml", "model.optimizer.lr=0.3", own)  # the first candidate is trained with 0.3
    with pytest.raises(RecipeError, match="no effect"):
        load_recipe("rates.yaml", "model.optimizer.lr=0.3", 'selection.candidates=["model.optimizer.lr=0.1"]')


def test_a_file_that_builds_on_candidates_is_no_exception(searching: Path) -> None:
    mine = searching / "mine.yaml"
    mine.write_text("_base: rates.yaml\nmodel: {optimizer: {init_args: {lr: 0.3}}}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"lr=0\.3 in mine\.yaml would have no effect: .* of rates\.yaml"):
        load_recipe("mine.yaml")
    mine.write_text(f"_base: mini.yaml\nmodel: {{optimizer: {{init_args: {{lr: 0.3}}}}}}\n{RATES}", encoding="utf-8")
    load_recipe("mine.yaml")  # a value beside its own candidates holds when they are switched off


def test_a_replaced_part_takes_its_options_with_it(mini: Path) -> None:
    parts = 'selection.candidates=["model.head=LinearHead","model.head=LinearHead model.optimizer.lr=0.1"]'
    with pytest.raises(RecipeError, match=r"model\.head\.hidden_dim=9 would have no effect"):
        load_recipe("mini.yaml", "model.head.hidden_dim=9", parts)
    load_recipe("mini.yaml", "model.head.dropout=0.5", parts)  # LinearHead has that option too: it is carried over


def test_a_space_overwrites_too(mini: Path) -> None:
    space = ['selection.space={"model.optimizer.lr":"log(1e-4,1e-2)"}', "selection.trials=3"]
    with pytest.raises(RecipeError, match=r"selection\.space sets it in every fold"):
        load_recipe("mini.yaml", "model.optimizer.lr=0.3", *space)


def test_of_two_stages_the_second_takes_the_value_and_says_so(mini: Path) -> None:
    tuning = 'tuning=["model.optimizer.lr=0.1 model.upstream_lr=0.01"]'
    recipe = load_recipe("mini.yaml", "model.optimizer.lr=0.3", tuning)
    assert list(recipe.notes) == [
        "model.optimizer.lr=0.3 holds in the second stage; in the first, tuning sets model.optimizer.lr=0.1"
    ]
    with pytest.raises(RecipeError, match=r"model\.upstream_lr=0\.5 would have no effect: tuning sets"):
        load_recipe("mini.yaml", "model.upstream_lr=0.5", tuning)
    searched = 'selection.candidates=["model.head.hidden_dim=9"]'
    recipe = load_recipe("mini.yaml", "model.head.hidden_dim=7", tuning, searched)
    assert recipe.notes[0].startswith("model.head.hidden_dim=7 holds in the first stage; in the second, dev chooses")


def test_a_sweep_replaces_the_recipes_own_values_of_a_key(searching: Path) -> None:
    swept = searching_recipe(["recipe=rates.yaml", "model.optimizer.lr=0.3,0.4"])
    assert swept.selection.candidates == ["model.optimizer.lr=0.3", "model.optimizer.lr=0.4"]
    with pytest.raises(RecipeError, match=r"model\.optimizer\.lr=0\.3 would have no effect"):
        searching_recipe(["recipe=rates.yaml", "model.optimizer.lr=0.3", "model.head.dropout=0.1,0.2"])
    drawn = ["model.head.dropout=uniform(0,0.5)", "trials=2"]  # draws take the place of the recipe's candidates
    assert searching_recipe(["recipe=rates.yaml", "model.optimizer.lr=0.3", *drawn]).selection.candidates == []
