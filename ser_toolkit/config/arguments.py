"""A command line, read once: which recipe files it names, what it overrides, and where each value comes from."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ser_toolkit.config.files import Source, find_recipe
from ser_toolkit.evaluation.run_folder import RunFolder

#: How the command line is called in messages.
COMMAND_LINE = "the command line"
_KEY_VALUE = re.compile(r"^[A-Za-z_][\w.]*(\.[\w.-]+)?\+?=")
#: Arguments that are written in more than one way.
_SPELLINGS = {"--dry-run": "--dry_run=true", "--dry_run": "--dry_run=true", "--help-all": "--help"}


@dataclass(frozen=True)
class Level:
    """Settings that were given together: those of a recipe file, or of the command line.

    Args:
        name: of the file, or ``COMMAND_LINE``.
        values: value by dotted key, without ``init_args`` and ``class_path``.
    """

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Command:
    """A command line as text, before parts and types are known.

    Args:
        name: of the last recipe given, which the run directory takes; ``custom`` without one.
        sources: recipe files, those that others build on first: later ones win.
        overrides: key and value in the order of the command: ``--trainer.max_epochs 3`` and ``trainer.max_epochs=3``
            are the same.
        arguments: for the parser: ``recipe=NAME`` as the text of its files, ``key=value`` as ``--key=value``.
    """

    name: str
    sources: tuple[Source, ...]
    overrides: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...]

    @classmethod
    def read(cls, argv: Sequence[str]) -> Command:
        """Read a command line such as ``recipe=demo fold=2 --trainer.max_epochs=3``.

        A recipe may build on files (relative to itself) and recipes: ``_base: [_defaults.yaml, emodb_wavlm]`` at its
        top.

        >>> Command.read(["fold=2", "--dry-run", "--trainer.max_epochs", "3"]).arguments
        ('--fold=2', '--dry_run=true', '--trainer.max_epochs', '3')

        Raises:
            RecipeError: a recipe is unknown, a file is missing, is not YAML or builds on itself.
        """
        name, sources, arguments, others = "custom", [], [], []
        for argument in _joined(argv):
            recipe = _recipe_value(argument)
            if not recipe:
                others += [argument] if recipe is None else []
                arguments.append(_for_parser(argument))
                continue
            found = find_recipe(recipe)
            name = Path(recipe).stem
            sources += found
            arguments += _as_arguments(found)
        return cls(name, tuple(sources), tuple(_key_values(others)), tuple(arguments))

    @classmethod
    def of_files(cls, sources: Sequence[Source]) -> Command:
        """The command that names recipe files alone."""
        return cls(sources[-1].path.stem, tuple(sources), (), tuple(_as_arguments(sources)))

    @property
    def levels(self) -> list[Level]:
        """Values by their origin: recipe files in order, then the command line; later ones win."""
        given: dict[str, Any] = {}
        for key, value in self.overrides:
            given |= dict(_flat({key: _parsed(value)}))
        files = [Level(source.path.name, dict(_flat(source.content))) for source in self.sources]
        return [*files, Level(COMMAND_LINE, given)]


def plain_key(key: str) -> str:
    """A key without dashes and without the words that the parser puts between a part and its options.

    >>> plain_key("--model.optimizer.init_args.lr")
    'model.optimizer.lr'
    """
    return re.sub(r"\.(init_args|class_path)(?=\.|$)", "", key.removeprefix("--").removesuffix("+"))


def add_working_directory() -> None:
    """Let ``model.pooling=my_pooling.MaxPooling`` find ``my_pooling.py`` where the command is run.

    A run directory and the folders in it are left out: the run may be somebody else's, and a file in it that is called
    like a library (``scipy.py``) would be executed in its place.
    """
    here = Path.cwd()
    inside_run = any(RunFolder(folder).is_run for folder in (here, *here.parents))
    if str(here) not in sys.path and not inside_run:
        sys.path.insert(0, str(here))


def _joined(arguments: Sequence[str]) -> Iterator[str]:
    """Join ``--recipe NAME`` and ``--config FILE`` into one argument each."""
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        yield f"{argument}={waiting.pop(0)}" if argument in ("--recipe", "--config") and waiting else argument


def _recipe_value(argument: str) -> str | None:
    key, _, value = argument.removeprefix("--").partition("=")
    return value if key in ("recipe", "config") else None


def _for_parser(argument: str) -> str:
    if argument in _SPELLINGS:
        return _SPELLINGS[argument]
    return f"--{argument}" if _KEY_VALUE.match(argument) else argument


def _as_arguments(sources: Sequence[Source]) -> list[str]:
    # As text: the parser does not know the key of the files that a recipe builds on.
    return [f"--config={yaml.safe_dump(source.content, sort_keys=False)}" for source in sources]


def _key_values(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument in _SPELLINGS or argument.startswith("--print_config"):
            continue
        key, equals, value = argument.removeprefix("--").partition("=")
        if not equals and argument.startswith("--") and waiting and not waiting[0].startswith("--"):
            value = waiting.pop(0)
        yield key.removesuffix("+"), value


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their dotted keys; a part without options stands for itself."""
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        elif key != "init_args":
            yield plain_key(f"{above}{key}"), value


def _parsed(value: str) -> Any:
    """A value of a command, which may be several settings: ``{class_path: SGD, init_args: {lr: 0.1}}``."""
    if not value.startswith("{"):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:  # the parser explains the mistake
        return value
