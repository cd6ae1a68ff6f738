"""Commands are files that are found, and their options are read one way."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ser_toolkit.cli._options import Parser, bare_words, names_recipe, pair, run_action
from ser_toolkit.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CLI = REPOSITORY / "ser_toolkit" / "cli"
COMMANDS = sorted(file.stem for file in CLI.glob("[!_]*.py"))


def test_every_command_is_a_script_and_every_script_a_command() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {f"ser-{name}": f"ser_toolkit.cli.{name}:main" for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_tells_its_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = import_module(f"ser_toolkit.cli.{name}")
    assert command.USAGE.startswith(f"usage: ser-{name} ")
    assert command.main(["--help"]) == 0
    assert capsys.readouterr().out == command.USAGE


def test_options_are_read_in_one_place() -> None:
    for file in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            made = isinstance(node, ast.Attribute) and node.attr == "ArgumentParser"
            assert not made or file.stem == "_options", f"{file.name}: take Parser of cli/_options.py"


def _parser() -> Parser:
    parser = Parser("ser-test", "--dry-run")
    parser.add_argument("--metric", metavar="uar")
    parser.add_argument("--table", action="store_true")
    parser.add_file("--output", ".md", ".csv")
    return parser


def test_what_belongs_to_a_recipe_is_handed_on_in_order() -> None:
    given = ["a=1", "--metric=uar", "--trainer.max_epochs=3", "--dry-run", "--name", "x", "--table", "b"]
    options, others = _parser().split(given)
    assert (options.metric, options.table, options.output) == ("uar", True, None)
    assert others == ["a=1", "--trainer.max_epochs=3", "--dry-run", "--name", "x", "b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--metrik=uar"], "--metrik: unknown. Did you mean --metric? Known: --dry-run, --metric, --output, --table."),
        (["--dryrun"], "--dryrun: unknown. Did you mean --dry-run?"),
        (["--metric"], "--metric needs a value: --metric uar. ser-test --help lists the options."),
        (["--table=x"], "--table takes no value. ser-test --help lists the options."),
        (["--output", "a.txt"], "--output needs the name of a file that ends in .md or .csv; found 'a.txt'."),
        (["--output"], "ends in .md or .csv; found none."),
    ],
)
def test_a_mistake_names_what_is_known(given: list[str], message: str) -> None:
    for read in (_parser().split, _parser().read):
        with pytest.raises(RecipeError) as error:
            read(given)
        assert message in str(error.value)


def test_operands_stand_anywhere_and_other_options_are_refused() -> None:
    parser = Parser("ser-test act")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--yes", action="store_true")
    assert parser.read(["a", "--yes", "b"]).files == ["a", "b"]
    with pytest.raises(RecipeError, match=r"ser-test act --name: unknown\. Known: --yes\."):
        parser.read(["a", "--name=b"])


def test_actions_are_found_by_name() -> None:
    found: list[list[str]] = []
    run_action("ser-test", {"list": found.append}, ["list", "a"])
    assert found == [["a"]]
    with pytest.raises(RecipeError, match=r"ser-test lst: unknown. Did you mean list\? Known: list. A hint."):
        run_action("ser-test", {"list": found.append}, ["lst"], "A hint.")


def test_recipes_and_words_are_told_apart() -> None:
    given = ["recipe=demo", "--jobs", "2", "--seed=1", "run", "--recipe", "demo", "fold=1"]
    assert [one for one in given if names_recipe(one)] == ["recipe=demo", "--recipe"]
    assert bare_words(given) == ["run"]


@pytest.mark.parametrize("text", ["excited", "=happy", "excited="])
def test_pairs_have_two_sides(text: str) -> None:
    assert pair("--map", "excited=happy", "excited=happy") == ("excited", "happy")
    with pytest.raises(RecipeError, match="--map expects excited=happy, found"):
        pair("--map", text, "excited=happy")
