"""What is wrong with a recipe or an override: which key, what was found, what would fit, and the nearest names.

The parser says what no type accepted; this asks the signatures themselves. It runs only when the parser has refused.
"""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import os
import sys
import traceback
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import jsonargparse
import yaml

from ser_toolkit.arguments import RecipeParser, key_values, recipe_sources
from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.parts import subclasses

#: Types of plain values: everything else in a signature is a part.
_PLAIN_MODULES = ("builtins", "datetime", "pathlib", "types", "typing")
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
_MANY = 40


def diagnose(parser: RecipeParser, arguments: Sequence[str]) -> str | None:
    """The first mistake in a command that the parser refused, in one line; None when none is found.

    Args:
        parser: of the command.
        arguments: as the user typed them.
    """
    schema = Schema(parser)
    try:
        for source in recipe_sources(arguments):
            _in_file(schema, source.path, source.content)
        for key, value in key_values(arguments):
            schema.check_key(key, value)
        schema.check_complete()
    except RecipeError as error:
        return str(error)
    return None


def _in_file(schema: Schema, path: Path, content: dict[str, Any]) -> None:
    try:
        schema.check_tree("", content)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


class Schema:
    """Keys of a parser with their types, and what has been chosen for them so far.

    Args:
        parser: of the command.
    """

    def __init__(self, parser: RecipeParser) -> None:
        self._hints: dict[str, Any] = {
            action.dest: action._typehint
            for action in parser._actions
            if hasattr(action, "_typehint") and not action.dest.endswith(".help")
        }
        self._required: set[str] = set(getattr(parser, "required_args", ()))
        self._class_of: dict[str, type | None] = {}
        self._given: dict[str, set[str]] = {}
        for action in parser._actions:
            default = action.default
            if action.dest in self._hints and isinstance(default, jsonargparse.Namespace | dict):
                self._class_of[action.dest] = _load(action.dest, str(default["class_path"]))

    def check_tree(self, prefix: str, content: dict[str, Any]) -> None:
        """Nested keys of a recipe file.

        Raises:
            RecipeError: a key or a value does not fit.
        """
        for name, value in content.items():
            key = f"{prefix}{name}"
            if key in self._hints:
                self._check(key, self._hints[key], value)
            elif isinstance(value, dict) and any(known.startswith(f"{key}.") for known in self._hints):
                self.check_tree(f"{key}.", value)
            else:
                self._unknown(key)

    def check_key(self, key: str, text: str) -> None:
        """One override, such as ``model.pooling.bottleneck_dim`` and ``64``.

        Raises:
            RecipeError: the key or the value does not fit.
        """
        value = _read(text)
        groups = [known for known in self._hints if known.startswith(f"{key}.")]
        if key in self._hints:
            self._check(key, self._hints[key], value)
        elif groups and isinstance(value, dict):
            self.check_tree(f"{key}.", value)
        else:
            part = next((p for p in _prefixes(key) if p in self._hints and part_bases(self._hints[p])), None)
            if part is None:
                self._unknown(key)
                return
            options = value
            for name in reversed(key[len(part) + 1 :].split(".")):
                options = {name: options}
            if set(options) & {"class_path", "init_args", "help"}:
                self._check(part, self._hints[part], options)
            else:
                self._check(part, self._hints[part], {"init_args": options})

    def check_complete(self) -> None:
        """Whether everything without a default was given.

        Raises:
            RecipeError: a part is not chosen, or an option of a chosen part is missing.
        """
        for key in sorted(self._required - set(self._class_of)):
            known = _known(part_bases(self._hints.get(key)))
            raise RecipeError(f"{key} is not given. Choose one with {key}=NAME. {nearest('', known)}")
        for key, part in self._class_of.items():
            if part is None:
                continue
            injected = _injected(self._hints.get(key))
            for name, parameter in list(inspect.signature(part).parameters.items())[injected:]:
                if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                    if name not in self._given.get(key, set()):
                        raise RecipeError(
                            f"{part.__name__} needs {key}.{name}=VALUE ({_describe(parameter.annotation)})."
                        )

    # --- one key --------------------------------------------------------------------------------------------------

    def _unknown(self, key: str) -> None:
        parent, _, name = key.rpartition(".")
        prefix = f"{parent}." if parent else ""
        siblings = {known[len(prefix) :].split(".")[0] for known in self._hints if known.startswith(prefix)}
        if not siblings:
            self._unknown(parent)
        where = f"in {parent}" if parent else "at the top of a recipe"
        if not parent and key.startswith("-"):
            raise RecipeError(f"Option {key!r} is unknown. {nearest(key.lstrip('-'), siblings)}")
        raise RecipeError(f"{key!r} is unknown: there is no {name!r} {where}. {nearest(name, siblings)}")

    def _check(self, key: str, hint: Any, value: Any) -> None:
        bases = part_bases(hint)
        if isinstance(value, list) and bases:
            for number, one in enumerate(value):
                self._check(f"{key}[{number}]", hint, one)
        elif bases and isinstance(value, str) and not _accepts_text(hint):
            self._choose(key, bases, value)
        elif bases and isinstance(value, dict):
            if "class_path" in value:
                self._choose(key, bases, str(value["class_path"]))
            self._check_options(key, hint, value.get("init_args", {}) or {})
        elif not bases and not _fits(hint, value):
            choices = [str(choice) for choice in _choices(hint)]
            guess = f" {nearest(str(value), choices).split('Known:')[0]}".rstrip() if choices else ""
            raise RecipeError(f"{key}={_show(value)} does not fit: expected {_describe(hint)}.{guess}")

    def _choose(self, key: str, bases: list[type], name: str) -> None:
        known = _known(bases)
        if "." in name:
            self._class_of[key] = _load(key, name)
        elif name in known:
            self._class_of[key] = known[name]
        else:
            guess = nearest(name, known)
            if len(known) > _MANY:
                guess = guess.split("Known:")[0]
            raise RecipeError(
                f"{key}={name} is unknown. {guess}{'' if guess.endswith(' ') else ' '}"
                "A class of yours is given as module.Class."
            )

    def _check_options(self, key: str, hint: Any, options: dict[str, Any]) -> None:
        part = self._class_of.get(key)
        if part is None or not isinstance(options, dict):
            return
        parameters = list(inspect.signature(part).parameters.values())[_injected(hint) :]
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return
        known = {parameter.name: parameter for parameter in parameters}
        annotations = _annotations(part)
        for name, value in options.items():
            if name not in known:
                raise RecipeError(
                    f"{part.__name__} has no option {name!r} ({key}.{name}). {nearest(name, known)} "
                    f"See --{key.split('[')[0]}.help {part.__name__}."
                )
            self._given.setdefault(key, set()).add(name)
            if name in annotations:
                self._check(f"{key}.{name}", annotations[name], value)


# --- types --------------------------------------------------------------------------------------------------------


def part_bases(hint: Any) -> list[type]:
    """Base classes of the parts that a type hint takes; empty for plain values.

    >>> part_bases(int | None)
    []
    """
    if get_origin(hint) is collections.abc.Callable:
        return part_bases(get_args(hint)[1])
    if get_origin(hint) is Literal:
        return []
    if get_origin(hint) is not None:
        return [base for argument in get_args(hint) for base in part_bases(argument)]
    return [hint] if isinstance(hint, type) and hint.__module__ not in _PLAIN_MODULES else []


def _injected(hint: Any) -> int:
    """How many first arguments of a part the model fills in: those of ``Callable[[int], Pooling]``."""
    if get_origin(hint) is collections.abc.Callable:
        return len(get_args(hint)[0])
    return max((_injected(argument) for argument in get_args(hint)), default=0) if _is_union(hint) else 0


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _accepts_text(hint: Any) -> bool:
    return hint is str or (_is_union(hint) and any(_accepts_text(argument) for argument in get_args(hint)))


def _choices(hint: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [choice for argument in get_args(hint) for choice in _choices(argument)] if _is_union(hint) else []


def _fits(hint: Any, value: Any) -> bool:
    """Whether the parser itself takes the value for this type."""
    trial = jsonargparse.ArgumentParser(exit_on_error=False)
    try:
        trial.add_argument("--value", type=hint)
        trial.parse_object({"value": value})
    except (jsonargparse.ArgumentError, ValueError, TypeError):
        return False
    return True


def _describe(hint: Any) -> str:
    """A type in words.

    >>> _describe(int | None)
    'a whole number or null'
    """
    if hint in _NAMES:
        return _NAMES[hint]
    if get_origin(hint) is Literal:
        return f"one of {', '.join(str(choice) for choice in get_args(hint))}"
    if _is_union(hint):
        return " or ".join(dict.fromkeys(_describe(argument) for argument in get_args(hint)))
    if get_origin(hint) in (list, collections.abc.Sequence):
        return f"a list [...] of {_describe(get_args(hint)[0]).removeprefix('a ')}"
    return getattr(hint, "__name__", str(hint))


def _annotations(part: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(part.__init__)  # type: ignore[misc]
    except (NameError, TypeError, AttributeError):
        return {}


# --- names and values ---------------------------------------------------------------------------------------------


def _known(bases: list[type]) -> dict[str, type]:
    found: dict[str, type] = {}
    for base in bases:
        found |= subclasses(base)
        if not inspect.isabstract(base):
            found.setdefault(base.__name__, base)
    return found


def _load(key: str, path: str) -> type | None:
    """The class at ``module.Class``, or None where the path names something else.

    Raises:
        RecipeError: the module is not found or cannot be imported, or it has no such class.
    """
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise RecipeError(f"{key}={path}: {_import_failure(module_name, error)}") from error
        raise RecipeError(
            f"{key}={path}: there is no module {error.name!r}. A part of yours is looked for in {os.getcwd()} "
            "and in what is installed."
        ) from error
    except Exception as error:  # whatever a user's own file raises
        raise RecipeError(f"{key}={path}: {_import_failure(module_name, error)}") from error
    found = getattr(module, name, None)
    if found is None:
        own = [n for n, value in vars(module).items() if isinstance(value, type) and not n.startswith("_")]
        raise RecipeError(f"{key}={path}: {module_name} has no {name!r}. {nearest(name, own)}")
    return found if isinstance(found, type) else None


def _import_failure(module: str, error: Exception) -> str:
    """What a file raised while it was imported, and in which line."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
        return f"{module} cannot be imported: {type(error).__name__}: {error.msg} ({place})."
    frames = traceback.extract_tb(sys.exc_info()[2])
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{module} cannot be imported: {type(error).__name__}: {error}{place}."


def _prefixes(key: str) -> list[str]:
    """Longest first: ``a.b.c`` -> ``a.b``, ``a``."""
    parts = key.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]


def _read(text: str) -> Any:
    try:
        return yaml.safe_load(text) if text else text
    except yaml.YAMLError:
        return text


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
    return text if len(text) <= 60 else f"{text[:57]}..."
