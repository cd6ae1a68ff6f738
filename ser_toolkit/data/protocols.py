"""All published protocols, by name; what choosing one brings along, and how they are told to a reader."""

from __future__ import annotations

from collections.abc import Sequence

import ser_toolkit.data.leave_out
import ser_toolkit.data.protocols_benchmarks
import ser_toolkit.data.protocols_iemocap
import ser_toolkit.data.protocols_peers  # noqa: F401  (parts are known once they are imported)
from ser_toolkit.arguments import key_values
from ser_toolkit.data.folds import Protocol
from ser_toolkit.data.published import PublishedProtocol
from ser_toolkit.parts import subclasses, summary

__all__ = ["PublishedProtocol", "described", "known_protocols", "with_conventions"]


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

    Only a protocol that is given by ``data.protocol=NAME`` does so, and only where ``selection.monitor`` is not given:
    a recipe file says by itself what it selects on.

    >>> with_conventions(["recipe=iemocap_wavlm", "data.protocol=superb_er"])[2:]
    ['--selection.monitor=dev/accuracy', '--selection.mode=max']
    """
    given = dict(key_values(arguments))
    name = given.get("data.protocol", given.get("data.protocol.class_path", "")).rpartition(".")[2]
    monitor = getattr(subclasses(Protocol).get(name), "monitor", None)  # type: ignore[type-abstract]
    if monitor is None or any(key == "selection" or key == "selection.monitor" for key in given):
        return list(arguments)
    mode = "min" if monitor == "dev/loss" else "max"
    return [*arguments, f"--selection.monitor={monitor}", f"--selection.mode={mode}"]


def described(part: type[Protocol]) -> list[tuple[str, str]]:
    """Name and text of what is to be known of a protocol; what depends on its options is left out."""
    found = [("is", summary(part))]
    if issubclass(part, PublishedProtocol):
        found.append(("source", part.source))
    found.append(("leaks", part.declared_leak or "nothing: speakers of train, dev and test differ"))
    if part.dev_source:
        found.append(("dev", part.dev_source))
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
