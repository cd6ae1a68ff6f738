"""What a protocol brings along where it is named: on the command line, in a recipe, in a file that it builds on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_toolkit.config.arguments import Command
from ser_toolkit.config.conventions import conventions
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.errors import RecipeError


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (["data.protocol=superb_er"], ["--selection.monitor=dev/accuracy", "--selection.mode=max"]),
        (["--data.protocol", "emo_superb"], ["--selection.monitor=dev/loss", "--selection.mode=min"]),
        (
            ["data.protocol.class_path=ser_toolkit.protocols.peers.is2025"],
            ["--selection.monitor=dev/macro_f1", "--selection.mode=max"],
        ),
        (["data.protocol=superb_er", "selection.monitor=dev/uar"], []),
        (["data.protocol=ftw2v2"], []),
        (["data.protocol=LeaveOneSpeakerOut"], []),
        (["recipe=demo"], []),
    ],
)
def test_a_protocol_brings_its_metric(arguments: list[str], added: list[str]) -> None:
    assert conventions(Command.read(arguments)) == added


RECIPES = {
    "named": "_base: mini.yaml\ndata: {protocol: superb_er}\n",
    "beside": "_base: mini.yaml\ndata: {protocol: superb_er}\nselection: {monitor: dev/uar}\n",
    "builds": "_base: named.yaml\nselection: {average: 2}\n",
    "after": "_base: named.yaml\nselection: {monitor: dev/macro_f1}\n",
    "replaced": "_base: named.yaml\ndata: {protocol: LeaveOneSpeakerOut}\n",
}


@pytest.mark.parametrize(
    ("recipe", "given", "monitor"),
    [
        ("named", [], "dev/accuracy"),
        ("named", ["selection.monitor=dev/uar"], "dev/uar"),
        ("named", ["data.protocol=emo_superb"], "dev/loss"),
        ("named", ["data.protocol={class_path: is2025}"], "dev/macro_f1"),
        ("beside", [], "dev/uar"),
        ("beside", ["data.protocol=superb_er"], "dev/accuracy"),
        ("beside", ["selection={average: 5}", "data.protocol=superb_er"], "dev/accuracy"),
        ("builds", [], "dev/accuracy"),
        ("after", [], "dev/macro_f1"),
        ("replaced", [], "dev/uar"),
    ],
)
def test_a_recipe_file_brings_the_metric_of_its_protocol(
    mini: Path, recipe: str, given: list[str], monitor: str
) -> None:
    for name, text in RECIPES.items():
        (mini / f"{name}.yaml").write_text(text)
    selection = load_recipe(f"{recipe}.yaml", *given).selection
    assert (selection.monitor, selection.mode) == (monitor, "min" if monitor == "dev/loss" else "max")


def test_a_protocol_of_ones_own_brings_its_metric(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mini / "our_protocols.py").write_text(
        "from ser_toolkit.protocols.splits import LeaveOneSpeakerOut\n\n\n"
        "class ours(LeaveOneSpeakerOut):\n    'Ours.'\n\n    monitor = 'dev/macro_f1'\n"
    )
    (mini / "own.yaml").write_text("_base: mini.yaml\ndata: {protocol: our_protocols.ours}\n")
    monkeypatch.syspath_prepend(str(mini))
    assert load_recipe("own.yaml").selection.monitor == "dev/macro_f1"
    with pytest.raises(RecipeError, match="our_protocol"):
        load_recipe("mini.yaml", "data.protocol=our_protocol.ours")


def test_what_was_resolved_is_not_resolved_again(mini: Path) -> None:
    (mini / "named.yaml").write_text(RECIPES["named"])
    chosen = load_recipe("named.yaml", "selection.monitor=dev/uar")
    (mini / "config.yaml").write_text(chosen.yaml())
    assert load_recipe("config.yaml").identity() == chosen.identity()
    assert load_recipe("mini.yaml").override("data.protocol=superb_er").selection.monitor == "dev/accuracy"


def test_a_protocol_is_chosen_by_its_published_name(mini: Path) -> None:
    recipe = load_recipe("mini.yaml", "data.protocol=peft_ser")
    assert type(recipe.data().protocol).__name__ == "peft_ser"
    assert load_recipe("mini.yaml", "data.protocol=emo_superb").selection.mode == "min"
    written = mini / "again.yaml"
    written.write_text(recipe.yaml())
    assert type(load_recipe(str(written)).data().protocol).__name__ == "peft_ser"
