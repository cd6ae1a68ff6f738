"""``ser-extract status``, ``verify`` and ``prune``: what is stored is shown, checked and cleaned."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ser_toolkit.cli._options import Parser
from ser_toolkit.errors import RecipeError
from ser_toolkit.evaluation.reporting.tables import Cell, Table
from ser_toolkit.features.estimate import readable
from ser_toolkit.features.inventory import StoreInfo, find_stores, stores
from ser_toolkit.features.store import stores_root
from ser_toolkit.features.upkeep import remove, verify
from ser_toolkit.terms import counted

#: Seconds of what follows a number in ``--unused-for``.
UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
HEADINGS = ("store", "upstream", "kept", "layers", "type", "utterances", "shards", "size", "last used", "remarks")
#: Columns of numbers, which stand to the right.
NUMBERS = (5, 6, 7)
#: Stored reductions of frames, in a word.
SHORT = {"means": "means", "variances": "variances", "covariances": "second moments", "frames": "frames"}
IN_USE = "in use, a process is extracting into it or was until a few minutes ago"


def status(arguments: Sequence[str]) -> None:
    """Print one table of all stores.

    Raises:
        RecipeError: more than a folder is given.
        StoreError: it is no folder.
    """
    folders = _operands("status", arguments)
    if len(folders) > 1:
        raise RecipeError(f"ser-extract status takes one folder, found {' '.join(folders)}.")
    root = Path(folders[0]).expanduser() if folders else None
    if root is not None and (root / "features").is_dir():
        root = root / "features"  # the cache folder itself was given
    found = stores(root)
    if not found:
        sys.stdout.write(f"no stores in {root or stores_root()}\n")
        return
    table = Table(HEADINGS, [[Cell(text) for text in _row(store)] for store in found], numbers=NUMBERS)
    sys.stdout.write(table.text(most=len(found)) + "\n")
    utterances, size = sum(store.utterances for store in found), readable(sum(store.size for store in found))
    counts = f"{counted(len(found), 'store')}, {counted(utterances, 'utterance')}"
    sys.stdout.write(f"{counts}, {size} in {root or stores_root()}\n")


def verify_stores(arguments: Sequence[str]) -> None:
    """Read every shard; leaves with exit code 1 when one was damaged.

    Raises:
        RecipeError: an option is unknown.
        StoreError: a store is unknown.
    """
    from ser_toolkit.experiment.console import Console

    names = _operands("verify", arguments)
    chosen, damaged = find_stores(names) if names else stores(), 0
    if not chosen:
        sys.stdout.write(f"no stores in {stores_root()}\n")
    console = Console()
    for store in chosen:
        name = f"{store.identity}  {store.upstream}, {_reduction(store)}"
        with console.reading(store.identity) as progress:
            aside = verify(store, progress)
        damaged += len(aside)
        lost = f", {len(aside)} of them damaged: {', '.join(path.name for path in aside)}" if aside else ""
        sys.stdout.write(
            f"{name}: {counted(len(store.shards), 'shard')}, {readable(store.size)}{lost or ', as written'}\n"
        )
    if damaged:
        sys.stdout.write(
            f"{counted(damaged, 'damaged shard')} set aside; what was in there counts as missing. Run ser-extract "
            "recipe=NAME or ser-train again: it is extracted anew. Then remove the files: ser-extract prune --damaged. "
            "Damage that comes back is a matter of the disk.\n"
        )
        raise SystemExit(1)


def prune(arguments: Sequence[str]) -> None:
    """Print which stores would be removed, and remove them with ``--yes`` or after a question.

    Raises:
        RecipeError: an option is unknown or nothing says what should go.
        StoreError: a store is unknown.
    """
    parser = Parser("ser-extract prune")
    parser.add_argument("stores", nargs="*")
    parser.add_argument("--unused-for", type=age, metavar="30d")
    for option in ("--old", "--damaged", "--all", "--yes"):
        parser.add_argument(option, action="store_true")
    options = parser.read(arguments)
    if not (options.stores or options.unused_for is not None or options.old or options.damaged or options.all):
        raise RecipeError(
            "Prune what? Name stores (ser-extract status lists them), or give --unused-for, --old or --all."
        )
    chosen = _chosen(options)
    if not chosen:
        sys.stdout.write("nothing to remove\n")
        return
    only_leftovers = options.damaged
    for store in chosen:
        size = store.leftover_size if only_leftovers else store.size
        what = f"{counted(len(store.leftovers), 'file')} of no use in " if only_leftovers else ""
        state = f"kept: {IN_USE}" if store.in_use else f"{readable(size)}, last used {_day(store.last_used)}"
        sys.stdout.write(f"{what}{store.identity}  {store.upstream}, {_reduction(store)}: {state}\n")
    free = [store for store in chosen if not store.in_use]
    freed = sum(store.leftover_size if only_leftovers else store.size for store in free)
    if not _agreed(len(free), freed, options.yes):
        return
    done = [remove(store, only_leftovers) for store in free]
    sys.stdout.write(f"removed, {readable(sum(done))} freed\n")
    for store in free:
        if not only_leftovers and store.folder.exists():
            sys.stdout.write(f"{store.folder} stays: it holds files that belong to no store\n")


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


def _operands(action: str, arguments: Sequence[str]) -> list[str]:
    parser = Parser(f"ser-extract {action}")
    parser.add_argument("operands", nargs="*")
    return parser.read(arguments).operands


def _chosen(options: argparse.Namespace) -> list[StoreInfo]:
    """Stores that fulfil all options."""
    if options.stores and options.all:
        raise RecipeError(
            f"--all takes every store, but {', '.join(options.stores)} is named too. Give one or the other."
        )
    chosen = find_stores(options.stores) if options.stores else stores()
    if options.unused_for is not None:
        limit = time.time() - options.unused_for
        chosen = [store for store in chosen if store.last_used < limit]
    if options.old:
        chosen = [store for store in chosen if store.old]
    if options.damaged:
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
        _reduction(store),
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


def _reduction(store: StoreInfo) -> str:
    return SHORT[store.reduction.what] + (", layer-normalised" if store.reduction.layer_norm else "")


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
