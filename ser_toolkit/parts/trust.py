"""Whether the classes that a run's configuration names may be imported: a run may come from somebody else.

Importing a module executes it, and making an object executes its constructor. So a run loads without a word only what
its user has already: classes of ``TRUSTED`` packages, and own parts whose source, as the run keeps it, is what Python
finds here anyway (the working directory comes first). No claim of a run about itself counts. Everything else is
executed with ``--trust-code`` alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.own_sources import differences, own_module

#: Packages whose classes a run may name: this one, and those of which a recipe takes optimisers, schedulers, losses,
#: and the trainer's callbacks, loggers and strategies. Not all of torch, which can load code (``torch.hub``).
TRUSTED = ("ser_toolkit", "torch.optim", "torch.nn", "lightning.pytorch")
#: Groups of settings; text in place of one is the name of a file that holds them.
_GROUPS = ("config", "data", "features", "model", "selection", "trainer")
#: Endings of files that settings name: ``test.csv`` is no attribute of the module ``test``.
_FILES = ("ckpt", "csv", "flac", "json", "npy", "parquet", "pt", "pth", "safetensors", "tsv", "txt", "wav", "xlsx")
#: Settings that name places and never classes.
_PLACES = ("checkpoint", "name", "output", "root", "start_from", "weights")


def check_trusted(file: Path, contents: Sequence[Mapping[str, Any]], copy: Path, trust_code: bool) -> None:
    """Refuse a run's configuration that would execute code which is not the user's own; imports none of it.

    Args:
        file: that holds the configuration, for the message.
        contents: of the file and of those that it builds on, as far as they are going to be used.
        copy: folder in the run directory that holds the source of its own parts.
        trust_code: the user trusts whoever made the run.

    Raises:
        RecipeError: a class is neither of a trusted package nor one that is here as the run has it, or settings are
            taken from another file; it is named.
    """
    if trust_code:
        return
    for content in contents:
        for key in _GROUPS:
            if isinstance(content.get(key), str):
                raise RecipeError(f"{file} takes {key} from another file, {content[key]!r}. {_ways_out('that file')}")
        for name in _names(content):
            if not (_of_trusted_package(name) or _is_here(name, copy)):
                raise RecipeError(f"{file} names {name}, which {_reason(name, copy)}. {_ways_out(name)}")


def _names(value: Any, key: str = "") -> Iterator[str]:
    """Names of a configuration that a parser would import: those of classes, and text that names an object."""
    if isinstance(value, Mapping):
        for inner_key, inner in value.items():
            yield from _names(inner, str(inner_key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _names(inner, key)
    elif isinstance(value, str) and key == "class_path":
        yield from [value] if "." in value else []  # a short name is that of a class that is imported already
    elif isinstance(value, str) and _imports(value, key):
        yield value
    elif isinstance(value, str):
        yield from _names_in_text(value)


def _names_in_text(text: str) -> Iterator[str]:
    """Names in overrides (``model.pooling=my_parts.Mine model.optimizer.lr=1``) and in settings that are text."""
    for word in text.split():
        if "=" in word:
            key, _, value = word.partition("=")
            yield from _names(value, key.rpartition(".")[2])
    if "{" in text or "[" in text or ":" in text:
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):  # a date that is none is a ValueError
            return
        if not isinstance(value, str):
            yield from _names(value)


def _imports(text: str, key: str) -> bool:
    """Whether a parser that takes text for a class would execute a module; none is imported to find out.

    That is the module before the last dot with the packages around it, whatever stands behind the dot.
    """
    name, _, last = text.rpartition(".")
    root = name.split(".")[0]
    if not root or ("=" in text and root.removeprefix("--") in _GROUPS):
        return False
    if last in _FILES and (key in _PLACES or own_module(text) is None):
        return False
    path: Sequence[str] | None = None
    for length in range(1, name.count(".") + 2):
        module = ".".join(name.split(".")[:length])
        try:
            spec = find_spec(module) if path is None else PathFinder.find_spec(module, path)
        except ValueError:  # a module of the program without a specification
            return True
        if spec is None or spec.origin is not None:
            return spec is not None
        path = spec.submodule_search_locations or ()  # a folder, which may hold modules
    return False


def _of_trusted_package(name: str) -> bool:
    """Whether a name is that of a class of a trusted package, where it is defined and not only imported."""
    if not name.startswith(tuple(f"{package}." for package in TRUSTED)):
        return False
    try:
        found = _object(name)
    except (ImportError, AttributeError):
        return True  # it names nothing: the parser refuses it
    return isinstance(found, type) and f"{found.__module__}.".startswith(tuple(f"{one}." for one in TRUSTED))


def _object(name: str) -> Any:
    """The object of a trusted package: the longest beginning that is a module, then attributes."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ImportError(name)


def _is_here(name: str, copy: Path) -> bool:
    """Whether the module of a class, and all else that the run keeps the source of, is found here as the run has it."""
    return _copied(name, copy) and not differences(copy)


def _copied(name: str, copy: Path) -> bool:
    """Whether the module of a class is one of one's own that lies outside the run, which keeps its source."""
    place = own_module(name, outside=copy.parent)
    return place is not None and (copy / place).is_file()


def _reason(name: str, copy: Path) -> str:
    if own_module(name, outside=copy.parent) is not None and not _copied(name, copy):
        return f"is found here, but the run keeps no source to compare it with ({copy})"
    different = differences(copy)
    return (
        f"is not here as the run has it ({different})" if different else "is no class of the toolkit and none of yours"
    )


def _ways_out(what: str) -> str:
    return (
        "A run executes code of others only when told so. Go to the folder in which you trained it, with the files as "
        f"they were; or, where you trust whoever made this run with everything on this machine, let it load {what}: "
        "--trust-code (Python: trust_code=True)."
    )
