"""Search for parts: sibling modules are imported by a walk, classes by their base. There is no list to keep."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import site
import sys
import traceback
from abc import ABC
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, TypeVar

from ser_toolkit.errors import RecipeError, nearest

PartT = TypeVar("PartT")


class _ConstructorSignature:
    """Signature of a class as ``inspect.signature`` gives it: that of ``__init__``.

    Python 3.10, and 3.11 in its first releases, take that of an inherited ``__new__`` instead: ``*args``.
    """

    def __get__(self, instance: object | None, owner: type) -> inspect.Signature:
        if instance is not None:  # a part that is called has the signature of its forward
            raise AttributeError("__signature__")
        signature = inspect.signature(owner.__init__)  # type: ignore[misc]
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class Part(ABC):  # noqa: B024  (the kinds of parts have the abstract methods)
    """Base of the kinds of parts: an own class that lacks a method or takes other sizes is refused with advice."""

    __signature__ = _ConstructorSignature()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Refuse a class that cannot be made, in words.

        Raises:
            RecipeError: a method is missing, or the constructor does not take what it is given.
        """
        kind = next(base for base in reversed(cls.__mro__) if Part in base.__bases__)
        check_complete(cls)
        if args or kwargs:  # a copy is made without any
            try:
                inspect.signature(cls.__init__).bind(None, *args, **kwargs)
            except TypeError as error:
                sizes = ", ".join(_needed(kind))
                raise RecipeError(
                    f"{full_name(cls)}.__init__ cannot be called ({error}): a {kind.__name__} is given ({sizes}) and "
                    f"options of its own. Write `def __init__(self, {sizes}, option=default)` and call "
                    f"`super().__init__({sizes})` in it."
                ) from error
        return super().__new__(cls)


def check_complete(part: type) -> None:
    """Refuse a class that leaves out what its base demands.

    Raises:
        RecipeError: methods are missing; the first is described.
    """
    missing = sorted(getattr(part, "__abstractmethods__", ()))
    if missing:
        wanted = getattr(part, missing[0])
        arguments = ", ".join(inspect.signature(wanted).parameters) if callable(wanted) else "self"
        raise RecipeError(
            f"{full_name(part)} lacks {' and '.join(missing)}: write `def {missing[0]}({arguments})`. {summary(wanted)}"
        )


def own_frame(error: BaseException) -> tuple[FrameType, int] | None:
    """The last call in a user's own file that an error came through, and its line; None where there is none.

    That is the method of a part that does not ship, or anything in the working directory.
    """
    installed = {str(Path(place)) for place in (sys.prefix, sys.base_prefix, *site.getsitepackages())}
    installed |= {str(Path(__file__).resolve().parents[1]), "<"}
    found = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(tuple(installed))
        and (isinstance(frame.f_locals.get("self"), Part) or Path(frame.f_code.co_filename).is_relative_to(Path.cwd()))
    ]
    return found[-1] if found else None


def _needed(kind: type) -> list[str]:
    """Arguments without a default of a kind's constructor."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]  # type: ignore[misc]
    return [parameter.name for parameter in parameters if parameter.default is parameter.empty]


def full_name(part: type) -> str:
    """Name of a class as a user writes it: ``MeanPooling``, ``my_parts.MidRange``.

    >>> full_name(Part)
    'Part'
    """
    shipped = part.__module__.startswith(f"{__package__.partition('.')[0]}.")
    return part.__qualname__ if shipped else f"{part.__module__}.{part.__qualname__}"


def check_size(part: Any, name: str, expected: int, found: Any, axis: int = -1) -> None:
    """Compare an axis of what a part returned with the attribute that the parts behind it were made by.

    Raises:
        RecipeError: they differ, or no tensor was returned.
    """
    shape = getattr(found, "shape", None)
    if shape is not None and len(shape) and shape[axis] == expected:
        return
    what = f"a {type(found).__name__}" if shape is None else f"values of shape {tuple(shape)}"
    advice = f", or set self.{name} = {shape[axis]} in __init__" if shape else ""
    raise RecipeError(
        f"{full_name(type(part))} returned {what}, but its {name} is {expected}: return {expected} in the last "
        f"dimension{advice}."
    )


def import_siblings(package: ModuleType) -> None:
    """Import every public module of a package, so that its parts are known by their short names."""
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package.__name__}.{module.name}")


def subclasses(base: type[PartT]) -> dict[str, type[PartT]]:
    """All concrete subclasses of ``base`` that are imported now, by short name, sorted."""
    found: dict[str, type[PartT]] = {}
    waiting = list(base.__subclasses__())
    while waiting:
        part = waiting.pop()
        waiting.extend(part.__subclasses__())
        if not inspect.isabstract(part) and not part.__name__.startswith("_"):
            found[part.__name__] = part
    return dict(sorted(found.items()))


def summary(part: object) -> str:
    """The first line of the docstring of a part or method."""
    return (inspect.getdoc(part) or "").split("\n", 1)[0]


def by_name(base: type[PartT], name: str) -> type[PartT]:
    """The subclass of ``base`` called ``name``, or whose attribute ``name`` is it; case and punctuation do not count.

    Raises:
        RecipeError: there is none; the nearest names are given.
    """
    known = subclasses(base)
    for candidate, part in known.items():
        if bare(name) in (bare(candidate), bare(str(getattr(part, "name", candidate)))):
            return part
    raise RecipeError(f"{base.__name__} {name!r} is unknown. {nearest(name, known)}")


def bare(name: str) -> str:
    """A name in lower case without blanks and punctuation.

    >>> bare("CREMA-D"), bare("TurEV_DB")
    ('cremad', 'turevdb')
    """
    return re.sub(r"[\W_]", "", name.lower())
