"""``ser-extract status``, ``verify`` and ``prune``: what is stored is shown, checked and cleaned."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.features.estimate import readable
from ser_toolkit.features.inventory import StoreInfo, find_stores, stores
from ser_toolkit.features.store import stores_root
from ser_toolkit.features.upkeep import remove, verify

#: Seconds of what follows a number in ``--unused-for``.
UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
HEADINGS = ("store", "upstream", "kept", "layers", "type", "utterances", "shards", "size", "last used", "remarks")
#: Columns of numbers, which stand to the right.
NUMBERS = (5, 6, 7)
#: What is kept, in a word.
SHORT = {"means": "means", "variances": "variances", "covariances": "second moments", "frames": "frames"}
IN_USE = "in use, a process is extracting into it or was until a few minutes ago"


def status(arguments: Sequence[str]) -> None:
    """One table of all stores.

    Raises:
        RecipeError: more than a folder is given.
        StoreError: it is no folder.
    """
    if len(arguments) > 1 or (arguments[:1] and arguments[0].startswith("-")):
        raise RecipeError(f"ser-extract status takes one folder, found {' '.join(arguments)}.")
    root = Path(arguments[0]).expanduser() if arguments else None
    if root is not None and (root / "features").is_dir():
        root = root / "features"  # the cache folder itself was given
    found = stores(root)
    if not found:
        sys.stdout.write(f"no stores in {root or stores_root()}\n")
        return
    sys.stdout.write(table([HEADINGS, *(_row(store) for store in found)]))
    utterances, size = sum(store.utterances for store in found), sum(store.size for store in found)
    sys.stdout.write(
        f"{_many(len(found), 'store')}, {_many(utterances, 'utterance')}, {readable(size)} in {root or stores_root()}\n"
    )


def verify_stores(arguments: Sequence[str]) -> None:
    """Read every shard; leaves with exit code 1 when one was damaged.

    Raises:
        RecipeError: an option is unknown.
        StoreError: a store is unknown.
    """
    from ser_toolkit.experiment.console import Console

    unknown = [argument for argument in arguments if argument.startswith("-")]
    if unknown:
        raise RecipeError(f"ser-extract verify takes stores, found {unknown[0]}.")
    chosen, damaged = find_stores(arguments) if arguments else stores(), 0
    if not chosen:
        sys.stdout.write(f"no stores in {stores_root()}\n")
    console = Console()
    for store in chosen:
        name = f"{store.identity}  {store.upstream}, {_kept(store)}"
        if store.version < 2:
            sys.stdout.write(f"{name}: of the first format, which has no checksums (ser-extract prune --old)\n")
            continue
        with console.reading(store.identity) as progress:
            aside = verify(store, progress)
        damaged += len(aside)
        lost = f", {len(aside)} of them damaged: {', '.join(path.name for path in aside)}" if aside else ""
        sys.stdout.write(
            f"{name}: {_many(len(store.shards), 'shard')}, {readable(store.size)}{lost or ', as written'}\n"
        )
    if damaged:
        sys.stdout.write(
            f"{_many(damaged, 'damaged shard')} set aside; what was in there counts as missing. Run ser-extract "
            "recipe=NAME or ser-train again: it is extracted anew. Then remove the files: ser-extract prune --damaged. "
            "Damage that comes back is a matter of the disk.\n"
        )
        raise SystemExit(1)


def prune(arguments: Sequence[str]) -> None:
    """Say what would go, and remove it when told so.

    Raises:
        RecipeError: an option is unknown or nothing says what should go.
        StoreError: a store is unknown.
    """
    names, given = _options(arguments)
    if not names and not given.keys() - {"--yes"}:
        raise RecipeError(
            "Prune what? Name stores (ser-extract status lists them), or give --unused-for, --old or --all."
        )
    chosen = _chosen(names, given)
    if not chosen:
        sys.stdout.write("nothing to remove\n")
        return
    only_leftovers = "--damaged" in given
    for store in chosen:
        size = store.leftover_size if only_leftovers else store.size
        what = f"{_many(len(store.leftovers), 'file')} of no use in " if only_leftovers else ""
        kept = f"kept: {IN_USE}" if store.in_use else f"{readable(size)}, last used {_day(store.last_used)}"
        sys.stdout.write(f"{what}{store.identity}  {store.upstream}, {_kept(store)}: {kept}\n")
    free = [store for store in chosen if not store.in_use]
    freed = sum(store.leftover_size if only_leftovers else store.size for store in free)
    if not _agreed(len(free), freed, "--yes" in given):
        return
    done = [remove(store, only_leftovers) for store in free]
    sys.stdout.write(f"removed, {readable(sum(done))} freed\n")
    for store in free:
        if not only_leftovers and store.folder.exists():
            sys.stdout.write(f"{store.folder} stays: it holds files that belong to no store\n")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of text, the first one being headings."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if number in NUMBERS else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def age(text: str) -> float:
    """Seconds of ``30d``, ``12h`` or ``4w``.

    >>> age("2d")
    172800.0

    Raises:
        RecipeError: it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text)
    if found is None:
        raise RecipeError(f"--unused-for {text}: expected a number with h, d or w, such as 30d.")
    return float(found[1]) * UNITS[found[2]]


def _options(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Names of stores, and options with their values."""
    names, given, waiting = [], {}, list(arguments)
    while waiting:
        argument, equals, value = waiting.pop(0).partition("=")
        if not argument.startswith("-"):
            names.append(argument + equals + value)
        elif argument == "--unused-for":
            if not equals and not waiting:
                raise RecipeError("--unused-for needs an age, such as 30d.")
            given[argument] = value if equals else waiting.pop(0)
        elif argument in ("--old", "--damaged", "--all", "--yes") and not equals:
            given[argument] = ""
        else:
            known = ("--unused-for", "--old", "--damaged", "--all", "--yes")
            raise RecipeError(f"ser-extract prune {argument}: unknown. {nearest(argument, known)}")
    return names, given


def _chosen(names: Sequence[str], given: dict[str, str]) -> list[StoreInfo]:
    """Stores that fulfil everything that was asked for."""
    if names and "--all" in given:
        raise RecipeError(f"--all takes every store, but {', '.join(names)} is named too. Give one or the other.")
    chosen = find_stores(names) if names else stores()
    if "--unused-for" in given:
        limit = time.time() - age(given["--unused-for"])
        chosen = [store for store in chosen if store.last_used < limit]
    if "--old" in given:
        chosen = [store for store in chosen if store.old]
    if "--damaged" in given:
        chosen = [store for store in chosen if store.leftovers]
    return chosen


def _agreed(count: int, freed: float, yes: bool) -> bool:
    if not count:
        sys.stdout.write("nothing to remove\n")
        return False
    if yes:
        return True
    if sys.stdin is not None and sys.stdin.isatty():
        sys.stdout.write(f"This frees {readable(freed)}. Remove? [y/N] ")
        sys.stdout.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    sys.stdout.write(f"This would free {readable(freed)}. Nothing was removed; add --yes to remove it.\n")
    return False


def _row(store: StoreInfo) -> tuple[str, ...]:
    computed = "" if store.precision == "float32" else f" ({store.precision})"
    return (
        store.identity,
        store.upstream,
        _kept(store),
        f"{store.num_layers} x {store.feature_dim}" if store.utterances else "-",
        f"{store.dtype}{computed}",
        str(store.utterances),
        str(len(store.shards)),
        readable(store.size),
        _day(store.last_used),
        ", ".join(_remarks(store)),
    )


def _remarks(store: StoreInfo) -> list[str]:
    damaged = len(store.unreadable) + sum(path.suffix == ".damaged" for path in store.leftovers)
    partial = sum(path.suffix == ".partial" for path in store.leftovers)
    found = ["in use"] if store.in_use else []
    found += [f"old (version {store.version})"] if store.old else []
    found += [f"{damaged} damaged"] if damaged else []
    return found + ([f"{partial} half-written"] if partial else [])


def _kept(store: StoreInfo) -> str:
    return SHORT[store.reduction.what] + (", layer-normalised" if store.reduction.layer_norm else "")


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
