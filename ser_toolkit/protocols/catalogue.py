"""All protocols, by name, and how they are described to a reader."""

from __future__ import annotations

import inspect

from ser_toolkit.parts.finding import subclasses, summary
from ser_toolkit.protocols.folds import Protocol
from ser_toolkit.protocols.published import PublishedProtocol

_NO_LEAK = "nothing: speakers of train, dev and test differ"


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
