"""Questions to signatures: the parts that a type hint takes, its description, the class that a path names."""

from __future__ import annotations

import collections.abc
import importlib
import os
import sys
import traceback
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

import jsonargparse

from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.parts.finding import check_complete, subclasses

#: Types of plain values: everything else in a signature is a part. (torch: a tensor is a number here.)
_PLAIN_MODULES = ("builtins", "datetime", "pathlib", "types", "typing", "torch")
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


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


def injected_count(hint: Any) -> int:
    """Number of first arguments of a part that the model fills in: those of ``Callable[[int], Pooling]``."""
    if get_origin(hint) is collections.abc.Callable:
        return len(get_args(hint)[0])
    return max((injected_count(argument) for argument in get_args(hint)), default=0) if _is_union(hint) else 0


def is_needed(hint: Any) -> bool:
    """Whether a part of this type has to be chosen: its type does not allow null."""
    return bool(part_bases(hint)) and type(None) not in get_args(hint)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def accepts_text(hint: Any) -> bool:
    """Whether any text is a value of this type."""
    return hint is str or (_is_union(hint) and any(accepts_text(argument) for argument in get_args(hint)))


def choices_of(hint: Any) -> list[Any]:
    """The values of a Literal, also inside a union; empty for other types."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [choice for argument in get_args(hint) for choice in choices_of(argument)] if _is_union(hint) else []


def fits(hint: Any, value: Any) -> bool:
    """Whether the parser itself takes the value for this type."""
    trial = jsonargparse.ArgumentParser(exit_on_error=False)
    try:
        trial.add_argument("--value", type=hint)
        trial.parse_object({"value": value})
    except (jsonargparse.ArgumentError, ValueError, TypeError):
        return False
    return True


def describe(hint: Any) -> str:
    """A type in words.

    >>> describe(int | None)
    'a whole number or null'
    """
    if hint in _NAMES:
        return _NAMES[hint]
    if get_origin(hint) is Literal:
        return f"one of {', '.join(str(choice) for choice in get_args(hint))}"
    if _is_union(hint):
        return " or ".join(dict.fromkeys(describe(argument) for argument in get_args(hint)))
    if get_origin(hint) in (list, collections.abc.Sequence):
        return f"a list [...] of {describe(get_args(hint)[0]).removeprefix('a ')}"
    return getattr(hint, "__name__", str(hint))


def annotations_of(part: type) -> dict[str, Any]:
    """Types of a constructor's arguments; empty where they cannot be resolved."""
    try:
        return typing.get_type_hints(part.__init__)  # type: ignore[misc]
    except (NameError, TypeError, AttributeError):
        return {}


def known_parts(bases: list[type]) -> dict[str, type]:
    """Classes that can be chosen by their short name where one of these bases is expected."""
    found: dict[str, type] = {}
    for base in bases:
        found |= subclasses(base)
        if not subclasses(base):
            found[base.__name__] = base
    return found


def load_part(key: str, path: str) -> type | None:
    """The class at ``module.Class``, or None where the path names something else.

    Raises:
        RecipeError: the module is not found or cannot be imported, or it has no such class or one that is incomplete.
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
    if not isinstance(found, type):
        return None
    check_complete(found)
    return found


def _import_failure(module: str, error: Exception) -> str:
    """Message for an error that a file raised while it was imported, with its line."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
        return f"{module} cannot be imported: {type(error).__name__}: {error.msg} ({place})."
    frames = traceback.extract_tb(sys.exc_info()[2])
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{module} cannot be imported: {type(error).__name__}: {error}{place}."
