"""How parts are found: sibling modules are imported by a walk, classes by their base. There is no list to keep."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import TypeVar

from ser_toolkit.errors import RecipeError, nearest

PartT = TypeVar("PartT")


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


def summary(part: type) -> str:
    """The first line of a part's docstring."""
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
