"""Options of the commands: argparse with errors of one line, and the options that several commands share.

Arguments of a recipe (``key=value``, ``--key=value``) are none of these: ``Parser.split`` returns them in their order.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ser_toolkit.errors import RecipeError, nearest


class Parser(argparse.ArgumentParser):
    """Parser of one command or action; a mistake is a ``RecipeError``, which ``run_command`` prints in one line.

    Args:
        prog: the command as it is typed, with its action: ``ser-extract prune``.
        handed_on: options that the command hands on to the recipe, such as ``--dry-run``.
    """

    def __init__(self, prog: str, *handed_on: str) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False)
        self._examples = dict.fromkeys(handed_on, "")

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an option or operand; the ``metavar`` of an option is an example of its value."""
        action = super().add_argument(*names, **settings)
        self._examples |= {name: str(action.metavar or "VALUE") for name in action.option_strings}
        return action

    def add_file(self, name: str, *endings: str, hint: str = "") -> None:
        """Add an option that names a file to be written, which ends in one of ``endings``."""

        def file(text: str) -> Path:
            if Path(text).suffix.lower() not in endings:
                found = repr(text) if text else "none"
                expected = f"the name of a file that ends in {' or '.join(endings)}"
                raise RecipeError(f"{name} needs {expected}; found {found}.{hint and ' '}{hint}")
            return Path(text).expanduser()

        self.add_argument(name, type=file, nargs="?", const="")

    def add_models(self) -> None:
        """Add the options of commands that load a run's models: ``--device``, ``--upstream`` and ``--trust-code``."""
        self.add_argument("--device", default="cpu")
        self.add_argument("--upstream")
        self.add_argument("--trust-code", action="store_true")

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Options and operands, in any order.

        Raises:
            RecipeError: an option is unknown, lacks its value, or an operand is missing.
        """
        options, others = self.parse_known_intermixed_args(arguments)
        if others:
            raise self.unknown(others[0])
        return options

    def split(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Options, and all other arguments in their order: operands, and what belongs to a recipe.

        Raises:
            RecipeError: an option lacks its value, or an argument is nearly one of the options and no key of a recipe.
        """
        options, others = self.parse_known_args(arguments)
        for other in others:
            name = other.partition("=")[0]
            if name.startswith("--") and "." not in name and self._is_misspelt(name):
                raise self.unknown(other)
        return options, others

    def _is_misspelt(self, name: str) -> bool:
        if name in self._examples or not difflib.get_close_matches(name, self._examples, cutoff=0.8):
            return False
        from ser_toolkit.config.identity import NEUTRAL

        return name.removeprefix("--") not in NEUTRAL[""]

    def unknown(self, argument: str, hint: str = "") -> RecipeError:
        """Error about an option that the parser does not know, with the nearest that it knows."""
        name = argument.partition("=")[0]
        shown = f"{self.prog} {name}" if " " in self.prog else name
        return RecipeError(f"{shown}: unknown. {nearest(name, self._examples)}{hint and ' '}{hint}")

    def error(self, message: str) -> NoReturn:
        """Raise what argparse prints below a usage.

        Raises:
            RecipeError: always.
        """
        name, _, reason = message.removeprefix("argument ").partition(": ")
        if reason.startswith("expected ") and name in self._examples:
            message = f"{name} needs a value: {name} {self._examples[name]}"
        elif reason.startswith("ignored explicit argument"):
            message = f"{name} takes no value"
        raise RecipeError(f"{message}. {self.prog.split()[0]} --help lists the options.")


def run_action(
    command: str, actions: Mapping[str, Callable[[list[str]], None]], arguments: Sequence[str], hint: str = ""
) -> None:
    """Run the action that the first argument names with the arguments behind it.

    Each action makes its own ``Parser`` where it stands, so that a command imports only what its action needs, and a
    misspelt action gets the nearest names, which argparse's own sub-parsers do not give.

    Raises:
        RecipeError: there is no such action.
    """
    name, *others = arguments
    if name not in actions:
        raise RecipeError(f"{command} {name}: unknown. {nearest(name, actions)}{hint and ' '}{hint}")
    actions[name](others)


def names_recipe(argument: str) -> bool:
    """Whether an argument gives a recipe: ``recipe=NAME``, or ``config=FILE``, as jsonargparse calls it."""
    return argument.removeprefix("--").partition("=")[0] in ("recipe", "config")


def bare_words(arguments: Sequence[str]) -> list[str]:
    """Arguments that are no option, no ``key=value`` and no value behind ``--key``."""
    before = ["", *arguments]
    return [
        one
        for one, last in zip(arguments, before, strict=False)
        if "=" not in one and not one.startswith("-") and (not last.startswith("--") or "=" in last)
    ]


def pair(option: str, text: str, example: str) -> tuple[str, str]:
    """Key and value of an option such as ``--map excited=happy``.

    Raises:
        RecipeError: it is not of this form.
    """
    key, equals, value = text.partition("=")
    if not (equals and key and value):
        raise RecipeError(f"{option} expects {example}, found {text!r}.")
    return key.strip(), value.strip()


def write_output(path: Path, text: str) -> None:
    """Write the file of ``--output``, and its folder where there is none.

    Raises:
        RecipeError: it cannot be written.
    """
    from ser_toolkit.system.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise RecipeError(f"Cannot write {path}: {error.strerror}. Choose another place with --output FILE.") from error
