"""From what a user types to what the parser reads."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import yaml

from ser_toolkit.errors import RecipeError, nearest

_KEY_VALUE = re.compile(r"^[A-Za-z_][\w.]*\+?=")
#: Arguments that are written in more than one way.
_SPELLINGS = {"--dry-run": "--dry_run=true", "--dry_run": "--dry_run=true", "--help-all": "--help"}
#: Top-level key of a recipe file: files that it builds on, relative to itself.
BASE_KEY = "_base"


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
    names = [_recipe_value(argument) for argument in _joined(arguments)]
    return Path([name for name in names if name][-1]).stem if any(names) else "custom"


@dataclass(frozen=True)
class Source:
    """A recipe file as it takes part in a command.

    Args:
        path: of the file.
        content: what it says, without the key ``_base``.
    """

    path: Path
    content: dict[str, Any]


def recipe_sources(arguments: Sequence[str]) -> list[Source]:
    """The recipe files of a command, those that they build on first: later ones win.

    Raises:
        RecipeError: a file is missing, is not YAML or builds on itself.
    """
    names = [_recipe_value(argument) for argument in _joined(arguments)]
    return [source for name in names if name for source in _with_bases(find_recipe(name))]


def expand_arguments(arguments: Sequence[str]) -> list[str]:
    """``recipe=NAME`` -> ``--config=FILE`` (with the files it builds on first), ``key=value`` -> ``--key=value``.

    A recipe may build on others: ``_base: [_defaults.yaml]`` at its top, relative to itself.

    >>> expand_arguments(["fold=2", "--dry-run", "--trainer.max_epochs=3"])
    ['--fold=2', '--dry_run=true', '--trainer.max_epochs=3']

    Raises:
        RecipeError: a recipe is unknown, is not YAML or builds on itself.
    """
    expanded: list[str] = []
    for argument in _joined(arguments):
        name = _recipe_value(argument)
        if name:
            # As text: the parser does not know the key of the files that it builds on.
            expanded += [f"--config={_as_yaml(source.content)}" for source in _with_bases(find_recipe(name))]
        elif argument in _SPELLINGS:
            expanded.append(_SPELLINGS[argument])
        elif _KEY_VALUE.match(argument):
            expanded.append(f"--{argument}")
        else:
            expanded.append(argument)
    return expanded


def key_values(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Overrides of a command, key by key: ``--trainer.max_epochs 3`` and ``trainer.max_epochs=3`` are the same."""
    waiting = [argument for argument in _joined(arguments) if not _recipe_value(argument)]
    while waiting:
        argument = waiting.pop(0)
        if argument in _SPELLINGS or argument.startswith("--print_config"):
            continue
        key, equals, value = argument.removeprefix("--").partition("=")
        if not equals and argument.startswith("--") and waiting and not waiting[0].startswith("--"):
            value = waiting.pop(0)
        yield key.removesuffix("+"), value


def _joined(arguments: Sequence[str]) -> Iterator[str]:
    """``--recipe NAME`` and ``--config FILE`` as one argument each."""
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        yield f"{argument}={waiting.pop(0)}" if argument in ("--recipe", "--config") and waiting else argument


def _recipe_value(argument: str) -> str | None:
    key, _, value = argument.removeprefix("--").partition("=")
    return value if key in ("recipe", "config") else None


def _with_bases(path: Path, above: tuple[Path, ...] = ()) -> list[Source]:
    if path.resolve() in above:
        raise RecipeError(f"{path} builds on itself: {' -> '.join(p.name for p in (*above, path))}. Mend {BASE_KEY}.")
    content = _read(path)
    bases = content.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise RecipeError(f"{path}: {BASE_KEY} should be a list of files, found {bases!r}.")
    found: list[Source] = []
    for base in bases:
        file = (path.parent / base).resolve()
        if not file.is_file():
            raise RecipeError(f"{path} builds on {base}, but there is no file at {file}.")
        found += _with_bases(file, (*above, path.resolve()))
    return [*found, Source(path, content)]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not text in UTF-8: {error}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RecipeError(f"{path} should hold 'key: value' lines, found {type(content).__name__}.")
    return content


def _as_yaml(content: dict[str, Any]) -> str:
    return str(yaml.safe_dump(content, sort_keys=False))


class RecipeParser(jsonargparse.ArgumentParser):
    """jsonargparse, with errors of one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what the user did wrong instead of printing 55 lines of usage."""
        raise RecipeError(first_reason(message)) from ex

    def dump_plain(self, config: jsonargparse.Namespace) -> dict[str, Any]:
        """The configuration as plain dictionaries, lists, numbers and text."""
        return yaml.safe_load(self.dump(config, skip_unset=False))


def first_reason(message: str) -> str:
    """A parser's message in one line, without what every other type would have wanted."""
    line = " ".join(message.split())
    line = re.sub(r"Does not validate against any of the Union subtypes.*?Given value:", "unexpected value", line)
    return line if len(line) <= 400 else line[:397] + "..."


def add_working_directory() -> None:
    """Let ``model.pooling=my_pooling.MaxPooling`` find ``my_pooling.py`` where the command is run."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
