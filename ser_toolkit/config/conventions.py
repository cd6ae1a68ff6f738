"""Settings that naming a published protocol brings along: the metric that weights are selected on."""

from __future__ import annotations

from ser_toolkit.config.arguments import Command
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import subclasses
from ser_toolkit.parts.signatures import load_part
from ser_toolkit.protocols.folds import Protocol


def conventions(command: Command) -> list[str]:
    """Arguments that a published protocol adds to a command.

    It does so wherever it is named, in a recipe file or as ``data.protocol=NAME``. Like any setting, each replaces
    one of the same key that comes before it: that of a file that the recipe builds on, or of the recipe when the
    protocol is given on the command line. A ``selection.monitor`` beside the protocol or after it wins.

    >>> conventions(Command.read(["data.protocol=superb_er"]))
    ['--selection.monitor=dev/accuracy', '--selection.mode=max']
    """
    levels = [level.values for level in command.levels]
    named = [(place, level["data.protocol"]) for place, level in enumerate(levels) if "data.protocol" in level]
    place, name = named[-1] if named else (0, "")
    monitor = getattr(_protocol(str(name)), "monitor", None)
    if monitor is None or any("selection.monitor" in level for level in levels[place:]):
        return []
    return [f"--selection.monitor={monitor}", f"--selection.mode={'min' if monitor == 'dev/loss' else 'max'}"]


def _protocol(name: str) -> type | None:
    """A protocol by its name, or one of the user's own by its place: ``my_protocols.ours``."""
    if "." not in name:
        return subclasses(Protocol).get(name)  # type: ignore[type-abstract]
    try:
        return load_part("data.protocol", name)
    except RecipeError:
        return None  # the parser refuses it with the reason
