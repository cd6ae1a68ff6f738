"""Explanation of a wrong recipe or override: which key, what was found, what would fit, and the nearest names.

The parser's message is about types that did not accept a value; this module asks the signatures themselves, once the
parser has refused.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from ser_toolkit.config.arguments import Command
from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.parts.signatures import (
    accepts_text,
    annotations_of,
    choices_of,
    describe,
    fits,
    injected_count,
    is_needed,
    known_parts,
    load_part,
    part_bases,
)

#: Keys of no interest to a user.
_HIDDEN = {"worker", "dry_run"}
#: More known names than this are not listed.
_MANY = 40


def diagnose(parser: jsonargparse.ArgumentParser, command: Command) -> str | None:
    """The first mistake in a command that the parser refused, in one line; None when none is found.

    Args:
        parser: of the command.
        command: of the user.
    """
    schema = Schema(parser)
    try:
        for source in command.sources:
            _in_file(schema, source.path, source.content)
        for key, value in command.overrides:
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

    def __init__(self, parser: jsonargparse.ArgumentParser) -> None:
        self._hints: dict[str, Any] = {
            action.dest: action._typehint
            for action in parser._actions
            if hasattr(action, "_typehint") and not action.dest.endswith(".help")
        }
        defaults = {action.dest: action.default for action in parser._actions if action.dest in self._hints}
        self._required = {key for key, hint in self._hints.items() if defaults[key] is None and is_needed(hint)}
        self._class_of: dict[str, type | None] = {}
        self._given: dict[str, set[str]] = {}
        for key, default in defaults.items():
            if isinstance(default, jsonargparse.Namespace | dict) and "class_path" in default:
                self._class_of[key] = load_part(key, str(default["class_path"]))

    def check_tree(self, prefix: str, content: dict[str, Any]) -> None:
        """Check the nested keys of a recipe file.

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
        """Check one override, such as ``model.pooling.bottleneck_dim`` and ``64``.

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
        """Check that every option without a default was given.

        Raises:
            RecipeError: a part is not chosen, or an option of a chosen part is missing.
        """
        for key in sorted(self._required - set(self._class_of)):
            known = known_parts(part_bases(self._hints[key]))
            raise RecipeError(
                f"{key} is not given: take a recipe=NAME, or choose one with {key}=NAME. {nearest('', known)}"
            )
        for key, part in self._class_of.items():
            if part is None:
                continue
            injected = injected_count(self._hints.get(key))
            for name, parameter in list(inspect.signature(part).parameters.items())[injected:]:
                needed = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                if needed and name not in self._given.get(key, set()):
                    raise RecipeError(f"{part.__name__} needs {key}.{name}=VALUE. See --{key}.help {part.__name__}.")

    # --- one key --------------------------------------------------------------------------------------------------

    def _unknown(self, key: str) -> None:
        parent, _, name = key.rpartition(".")
        prefix = f"{parent}." if parent else ""
        siblings = {known[len(prefix) :].split(".")[0] for known in self._hints if known.startswith(prefix)}
        if not siblings:
            self._unknown(parent)
        if name in siblings:
            raise RecipeError(f"{key} holds further keys, such as {key}.{self._first_below(key)}; it takes no value.")
        where = f"in {parent} ({key})" if parent else "at the top of a recipe"
        raise RecipeError(f"There is no {name!r} {where}. {nearest(name, siblings - _HIDDEN)}")

    def _first_below(self, key: str) -> str:
        return next(known[len(key) + 1 :] for known in self._hints if known.startswith(f"{key}."))

    def _check(self, key: str, hint: Any, value: Any) -> None:
        bases = part_bases(hint)
        if isinstance(value, list) and bases:
            for number, one in enumerate(value):
                self._check(f"{key}[{number}]", hint, one)
        elif bases and isinstance(value, str) and not accepts_text(hint):
            self._choose(key, bases, value)
        elif bases and isinstance(value, dict):
            if "class_path" in value:
                self._choose(key, bases, str(value["class_path"]))
            self._check_options(key, hint, value.get("init_args", {}) or {})
        elif not bases and not fits(hint, value):
            choices = [str(choice) for choice in choices_of(hint)]
            guess = f" {nearest(str(value), choices).split('Known:')[0]}".rstrip() if choices else ""
            raise RecipeError(f"{key}={_show(value)} does not fit: expected {describe(hint)}.{guess}")

    def _choose(self, key: str, bases: list[type], name: str) -> None:
        known = known_parts(bases)
        if "." in name:
            self._class_of[key] = load_part(key, name)
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
        parameters = list(inspect.signature(part).parameters.values())[injected_count(hint) :]
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return
        known = {parameter.name: parameter for parameter in parameters}
        annotations = annotations_of(part)
        for name, value in options.items():
            if name not in known:
                raise RecipeError(
                    f"{part.__name__} has no option {name!r} ({key}.{name}). {nearest(name, known)} "
                    f"See --{key.split('[')[0]}.help {part.__name__}."
                )
            self._given.setdefault(key, set()).add(name)
            if name in annotations:
                self._check(f"{key}.{name}", annotations[name], value)


def _prefixes(key: str) -> list[str]:
    """Keys above a dotted key, longest first: ``a.b.c`` -> ``a.b``, ``a``."""
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
