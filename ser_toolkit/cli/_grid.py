"""Rows of a comparison from a command line: ``model.pooling=A,B`` is two rows, two such keys are all combinations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from ser_toolkit.errors import RecipeError

_KEY = re.compile(r"(?:--)?([A-Za-z_][\w.]*)\+?=")
_NAMED = re.compile(r"\s*(\S(?:[^:]*\S)?)\s*:(?:\s+(.*))?", re.DOTALL)
_BRACKETS = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True)
class GridRow:
    """One experiment of a comparison.

    Args:
        name: in the table.
        arguments: of the ``ser-train`` command that it is.
    """

    name: str
    arguments: tuple[str, ...]


def split_top(text: str, separator: str) -> list[str]:
    """Split where neither brackets nor quotes are open.

    >>> split_top("A,{x: [1, 2]},'b, c'", ",")
    ['A', '{x: [1, 2]}', "'b, c'"]

    Raises:
        RecipeError: a bracket or quote is left open.
    """
    parts, quote = [""], ""
    opened: list[str] = []
    for character in text:
        if not quote and not opened and character == separator:
            parts.append("")
            continue
        parts[-1] += character
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _BRACKETS.values():
            opened.append(character)
        elif character in _BRACKETS and (not opened or opened.pop() != _BRACKETS[character]):
            raise RecipeError(f"{text!r} closes a {character} that is not open.")
    if quote or opened:
        raise RecipeError(f"{text!r} leaves {quote or opened[-1]} open. Close it, or quote the whole in the shell.")
    return parts


def rows_of(
    arguments: Sequence[str], named: Sequence[str] = (), whole: Mapping[str, Sequence[str]] | None = None
) -> list[GridRow]:
    """The rows that a command asks for, all combinations of its comma-separated values first, then the named ones.

    Args:
        arguments: as for ``ser-train``; a value may be a spec with further overrides, separated by blanks.
        named: ``"NAME: key=value key=value"``; the keys with several values are left out of these rows.
        whole: keys whose values are never split, by their group (the top of a recipe is the empty group).

    Raises:
        RecipeError: there are fewer than two rows, two have one name, or something cannot be read.
    """
    choices = [_choices(argument, whole or {}) for argument in arguments]
    swept = [place for place, values in enumerate(choices) if len(values) > 1]
    rows = []
    if swept or not named:
        labels = _labels([_key(arguments[place]) for place in swept])
        for chosen in product(*choices):
            name = ", ".join(label + chosen[place].name for label, place in zip(labels, swept, strict=True))
            rows.append(GridRow(name, tuple(one for choice in chosen for one in choice.arguments)))
    common = [one for values in choices if len(values) == 1 for one in values[0].arguments]
    rows += [_named_row(text, common) for text in named]
    if len(rows) < 2:
        raise RecipeError(
            "There is only one row to compare. Give a key several values (model.pooling=MeanPooling,MaxPooling), or "
            'further rows with --row "NAME: key=value".'
        )
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise RecipeError(f"Two rows are called {twice[0]!r}. Give every row a name and values of its own.")
    return rows


def _choices(argument: str, whole: Mapping[str, Sequence[str]]) -> list[GridRow]:
    """Choices that an argument gives, each named by its value; most arguments give one."""
    key = _key(argument)
    if not key or _is_whole(key, whole):
        return [GridRow("", (argument,))]
    start, _, text = argument.partition("=")
    values = [value.strip() for value in split_top(text, ",")]
    if len(values) == 1:
        return [GridRow(text, tuple(_overrides(f"{start}={text}")) if " " in text else (argument,))]
    if "" in values:
        raise RecipeError(f"{argument!r} has an empty value between its commas. Bracket or quote a value with commas.")
    return [GridRow(_unquoted(value), tuple(_overrides(f"{start}={_unquoted(value)}"))) for value in values]


def _overrides(text: str) -> Iterator[str]:
    """``key=spec key2=value`` at its blanks; a blank within a value stays."""
    waiting = ""
    for part in split_top(text, " "):
        if waiting and _KEY.match(part):
            yield waiting
            waiting = part
        else:
            waiting = f"{waiting} {part}" if waiting and part else waiting or part
    if waiting:
        yield waiting


def _named_row(text: str, common: list[str]) -> GridRow:
    found = _NAMED.fullmatch(text)
    if found is None:
        raise RecipeError(f'--row {text!r} should look like "NAME: key=value key=value".')
    overrides = list(_overrides((found[2] or "").strip()))
    odd = [override for override in overrides if not _KEY.match(override)]
    if odd:
        raise RecipeError(f"--row {found[1]!r}: {odd[0]!r} is not of the form key=value.")
    return GridRow(found[1], (*common, *overrides))


def _labels(keys: list[str]) -> list[str]:
    """Prefixes of the values in a row's name: none for one key, else as much of each key as tells them apart."""
    if len(keys) < 2:
        return [""] * len(keys)
    short = [key.rsplit(".", 1)[-1] for key in keys]
    return [f"{key if short.count(end) > 1 else end}=" for key, end in zip(keys, short, strict=True)]


def _key(argument: str) -> str:
    found = _KEY.match(argument)
    return found[1] if found else ""


def _is_whole(key: str, whole: Mapping[str, Sequence[str]]) -> bool:
    names = {f"{group}.{name}".lstrip(".") for group, members in whole.items() for name in members}
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
