"""All published protocols, by name; what choosing one brings along, and how they are told to a reader."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

import ser_toolkit.protocols.benchmarks
import ser_toolkit.protocols.iemocap
import ser_toolkit.protocols.leave_out
import ser_toolkit.protocols.peers  # noqa: F401  (parts are known once they are imported)
from ser_toolkit.config.arguments import key_values, recipe_sources
from ser_toolkit.parts.finding import subclasses, summary
from ser_toolkit.parts.signatures import load_part
from ser_toolkit.protocols.folds import Protocol
from ser_toolkit.protocols.published import PublishedProtocol

__all__ = ["PublishedProtocol", "described", "known_protocols", "with_conventions"]

_NO_LEAK = "nothing: speakers of train, dev and test differ"
#: Where a protocol is named.
_PROTOCOL = ("data.protocol", "data.protocol.class_path")


def known_protocols(corpus: str | None = None) -> dict[str, type[Protocol]]:
    """Protocols by name: those that were published first, then those of one's own choice.

    Args:
        corpus: leave out what was published for other corpora.
    """
    found: dict[str, type[Protocol]] = subclasses(Protocol)  # type: ignore[type-abstract]
    fitting = {
        name: part
        for name, part in found.items()
        if corpus is None or corpus in getattr(part, "corpora", ()) or not getattr(part, "corpora", ())
    }
    return dict(sorted(fitting.items(), key=lambda item: not issubclass(item[1], PublishedProtocol)))


def with_conventions(arguments: Sequence[str]) -> list[str]:
    """A command line on which a published protocol brings the metric that weights are selected on.

    It does so wherever it is named, in a recipe file or as ``data.protocol=NAME``. Like any setting it replaces what
    comes before it: that of a file that the recipe builds on, or of the recipe when the protocol is given on the
    command line. A ``selection.monitor`` beside the protocol or after it wins.

    >>> with_conventions(["recipe=iemocap_wavlm", "data.protocol=superb_er"])[2:]
    ['--selection.monitor=dev/accuracy', '--selection.mode=max']

    Raises:
        RecipeError: a recipe is unknown, is not YAML or builds on itself.
    """
    levels = [dict(_flat(source.content)) for source in recipe_sources(arguments)]
    levels.append(dict(_flat({key: _parsed(value) for key, value in key_values(arguments)})))
    named = [(place, level[key]) for place, level in enumerate(levels) for key in _PROTOCOL if key in level]
    place, name = named[-1] if named else (0, "")
    monitor = getattr(_part(str(name)), "monitor", None)
    if monitor is None or any("selection.monitor" in level for level in levels[place:]):
        return list(arguments)
    mode = "min" if monitor == "dev/loss" else "max"
    return [*arguments, f"--selection.monitor={monitor}", f"--selection.mode={mode}"]


def _part(name: str) -> type | None:
    """A protocol by its name, or one of the user's own by its place: ``my_protocols.ours``."""
    if "." in name:
        return load_part("data.protocol", name)
    return subclasses(Protocol).get(name)  # type: ignore[type-abstract]


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their dotted keys."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _parsed(value: str) -> Any:
    """A value of a command, which may be several settings: ``{class_path: superb_er}``."""
    if not value.startswith("{"):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:  # the parser says what is wrong with it
        return value


def described(part: type[Protocol]) -> list[tuple[str, str]]:
    """Name and text of what is to be known of a protocol; what depends on its options is left out."""
    found = [("is", summary(part))]
    if issubclass(part, PublishedProtocol):
        found.append(("source", part.source))
    options = inspect.signature(part).parameters
    nothing = "what its option leak declares, else nothing" if "leak" in options else _NO_LEAK
    found.append(("leaks", part.declared_leak or nothing))
    if part.dev_source:
        found.append(("dev", part.dev_source))
    cluster = part.cluster_by.replace("_", " ")
    if "cluster_by" in options:
        cluster = f"of what its option cluster_by says ({cluster})"
    if cluster != "speaker":
        found.append(("intervals", f"leave out one {cluster} at a time"))
    if issubclass(part, PublishedProtocol):
        found += [
            ("selects on", part.selects_on),
            ("reports", part.aggregation),
            ("with", part.conventions),
            ("folds", part.exactness),
            ("sizes", "; ".join(_sizes(part))),
            ("corpora", ", ".join(part.corpora) or "any"),
        ]
    return [(name, text) for name, text in found if text]


def _sizes(part: type[PublishedProtocol]) -> list[str]:
    """Train/dev/test of each fold on the published material."""
    return [
        f"{one.corpus} ({one.total}): " + ", ".join("/".join(map(str, size)) for size in one.folds.values())
        for one in part.sizes
    ]
