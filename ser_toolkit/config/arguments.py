"""From what a user types to what the parser reads."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import yaml

from ser_toolkit.config.files import Source, find_recipe
from ser_toolkit.errors import RecipeError

_KEY_VALUE = re.compile(r"^[A-Za-z_][\w.]*(\.[\w.-]+)?\+?=")
#: Arguments that are written in more than one way.
_SPELLINGS = {"--dry-run": "--dry_run=true", "--dry_run": "--dry_run=true", "--help-all": "--help"}


def recipe_name(arguments: Sequence[str]) -> str:
    """The name that the run directory takes: of the last recipe given."""
    names = [_recipe_value(argument) for argument in _joined(arguments)]
    return Path([name for name in names if name][-1]).stem if any(names) else "custom"


def recipe_sources(arguments: Sequence[str]) -> list[Source]:
    """The recipe files of a command, those that they build on first: later ones win.

    Raises:
        RecipeError: a file is missing, is not YAML or builds on itself.
    """
    names = [_recipe_value(argument) for argument in _joined(arguments)]
    return [source for name in names if name for source in find_recipe(name)]


def expand_arguments(arguments: Sequence[str]) -> list[str]:
    """``recipe=NAME`` -> ``--config=FILE`` (with the files it builds on first), ``key=value`` -> ``--key=value``.

    A recipe may build on files (relative to itself) and recipes: ``_base: [_defaults.yaml, emodb_wavlm]`` at its top.

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
            expanded += [f"--config={_as_yaml(source.content)}" for source in find_recipe(name)]
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
