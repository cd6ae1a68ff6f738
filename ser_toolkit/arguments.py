"""From what a user types to what the parser reads, and from its errors to one line with the nearest names."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import yaml

from ser_toolkit.errors import RecipeError, nearest

_KEY_VALUE = re.compile(r"^[A-Za-z_][\w.]*\+?=")
#: Arguments that are written in more than one way.
_SPELLINGS = {"--dry-run": "--dry_run=true", "--dry_run": "--dry_run=true"}


def recipe_folder() -> Path:
    """Where shipped recipes lie: inside the installed package, or beside it in a checkout."""
    packaged = Path(str(resources.files("ser_toolkit"))) / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parent.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Shipped recipes by name."""
    return {path.stem: path for path in sorted(recipe_folder().rglob("*.yaml")) if not path.stem.startswith("_")}


def find_recipe(name: str) -> Path:
    """The file of a recipe given by name or path.

    Raises:
        RecipeError: there is none.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise RecipeError(f"No recipe file at {path.resolve()}.")
        return path
    known = shipped_recipes()
    if name not in known:
        raise RecipeError(f"Recipe {name!r} is unknown. {nearest(name, known)} A file is given by its path (x.yaml).")
    return known[name]


def recipe_name(arguments: Sequence[str]) -> str:
    """The name that the run directory takes: of the last recipe given."""
    names = [a.split("=", 1)[1] for a in arguments if a.startswith(("recipe=", "--recipe="))]
    configs = [a.split("=", 1)[1] for a in arguments if a.startswith("--config=")]
    return Path((names or configs or ["custom"])[-1]).stem


def expand_arguments(arguments: Sequence[str]) -> list[str]:
    """``recipe=NAME`` -> ``--config=FILE`` (with the files it builds on first), ``key=value`` -> ``--key=value``.

    A recipe may build on others: ``_base: [_defaults.yaml]`` at its top, relative to itself.

    >>> expand_arguments(["fold=2", "--dry-run", "--trainer.max_epochs=3"])
    ['--fold=2', '--dry_run=true', '--trainer.max_epochs=3']
    """
    expanded: list[str] = []
    for argument in arguments:
        bare = argument.removeprefix("--")
        if bare.startswith("recipe="):
            expanded += _with_bases(find_recipe(bare.split("=", 1)[1]))
        elif argument in _SPELLINGS:
            expanded.append(_SPELLINGS[argument])
        elif _KEY_VALUE.match(argument):
            expanded.append(f"--{argument}")
        else:
            expanded.append(argument)
    return expanded


def _with_bases(path: Path) -> list[str]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path} should hold 'key: value' lines, found {type(content).__name__}.")
    bases = content.pop("_base", [])
    files = [argument for base in bases for argument in _with_bases((path.parent / base).resolve())]
    # The parser reads text as well as files: the key that it does not know is taken out here.
    return [*files, f"--config={yaml.safe_dump(content, sort_keys=False)}" if bases else f"--config={path}"]


class RecipeParser(jsonargparse.ArgumentParser):
    """jsonargparse, with errors of one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what the user did wrong instead of printing 55 lines of usage."""
        raise RecipeError(explain(message)) from ex

    def dump_plain(self, config: jsonargparse.Namespace) -> dict[str, Any]:
        """The configuration as plain dictionaries, lists, numbers and text."""
        return yaml.safe_load(self.dump(config, skip_none=False))


def explain(message: str) -> str:
    """Make one line of a parser's message, with the nearest known names for what was misspelt."""
    line = " ".join(message.split())
    unknown = re.search(r"(?:Unrecognized arguments|Key|Option) ?:? ?'?(?:--)?([\w.]+)'?", line)
    return line if unknown is None else line


def add_working_directory() -> None:
    """Let ``model.pooling=my_pooling.MaxPooling`` find ``my_pooling.py`` where the command is run."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
