"""Rows of different protocols: what a protocol, and the leak that it declares, is worth on the same utterances.

Two protocols train on different material, so their difference never says which model is better. It says how much of a
figure comes from the protocol: the same recipe, tested on the same utterances, once by models that know the voices and
once by models that do not. Folds play no part: an utterance is compared with itself, whatever folds tested it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import yaml

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.comparison.comparable import Run
from ser_toolkit.evaluation.reporting import wording
from ser_toolkit.evaluation.reporting.tables import NONE, Cell
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.evaluation.uncertainty import with_clusters
from ser_toolkit.terms import Json

#: Of the smaller test set, how much the other protocol must have tested too.
LEAST_SHARED = 0.5
#: Training parts whose mean sizes differ by less than this share count as of one size.
SAME_SIZE = 0.01
#: Groups of a configuration for what was trained; where it ran and what was extracted how is left out.
SETTINGS = ("data", "model", "selection", "tuning", "trainer", "start_from")
ELSEWHERE = ("data.protocol", "data.root", "data.num_workers", "trainer.logger", "trainer.default_root_dir")
_LEAK = "Leak, declared by the protocol"


def differ(runs: Sequence[Run]) -> bool:
    """Whether the runs are of different protocols: by name, or because an utterance lies in different folds."""
    first = runs[0]
    return any(_name(run) != _name(first) or _dealt_otherwise(first, run) for run in runs[1:])


def named(runs: Sequence[Run]) -> list[Run]:
    """Rows called by their protocols, where these have different names."""
    names = [_name(run) for run in runs]
    if len(set(names)) < len(names):
        return list(runs)
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def refuse_other_tests(first: Run, other: Run) -> None:
    """Check that two protocols tested mostly the same utterances, with the same truth.

    Raises:
        ResultError: they did not; the message names the differences.
    """
    seeds = first.seeds & other.seeds
    one, two = (run.of_seeds(seeds) for run in (first, other))
    for run, table in ((first, one), (other, two)):
        twice = table.loc[table.duplicated(["seed", "draw", "id"]), "id"]
        if len(twice):
            raise ResultError(
                f"{run.name} tests {twice.nunique()} utterances in several folds, first {twice.iloc[0]}: which of them "
                "is to be compared with the other protocol is not defined."
            )
    tested = [set(table["id"]) for table in (one, two)]
    shared, least = len(tested[0] & tested[1]), min(map(len, tested))
    if shared < LEAST_SHARED * least:
        raise ResultError(
            f"{first.name} and {other.name} cannot be compared: {shared} utterances were tested in both, of "
            f"{len(tested[0])} and {len(tested[1])}. The worth of a protocol needs at least half of the smaller test "
            "set: run all folds of both, or take protocols that test the same material."
        )


def alike(runs: Sequence[Run]) -> list[Run]:
    """The same predictions as one test part each, and the clusters that all of them can be resampled by.

    Where protocols resample by different columns, the one with fewer clusters is taken: it is the more careful.
    """
    runs = _with_clusters_of_all(runs)
    by = _cluster_by(runs)
    return [
        replace(
            run,
            results=replace(run.results, record=_with_cluster(run, by)),
            system=replace(run.system, table=run.system.table.assign(fold="all")),
        )
        for run in runs
    ]


def facts(run: Run, first: Run) -> Json:
    """Facts on the protocol of a row; ``trained_on`` is the mean number of utterances over its folds.

    Returns:
        ``protocol``, ``leak`` (None where none is declared), ``folds``, ``trained_on`` (None where it is not recorded),
        and how many utterances were tested in ``both`` (this row and the first), ``here_only`` and ``first_only``.
    """
    tested, before = (set(one.system.table["id"]) for one in (run, first))
    return {
        "protocol": _name(run),
        "leak": run.results.record.protocol.declared_leak,
        "folds": len(run.results.folds),
        "trained_on": _trained_on(run),
        "tested": {
            "both": len(tested & before),
            "here_only": len(tested - before),
            "first_only": len(before - tested),
        },
    }


def banners(runs: Sequence[Run]) -> list[str]:
    """Warnings: questions that the table cannot answer, and rows that differ in more than their protocol."""
    found = [
        "Different protocols: the rows were trained on different material. A difference is what the protocol is worth "
        "(its leak, its amount of training speech), not which model is better."
    ]
    for run in runs[1:]:
        keys = sorted(_other_settings(runs[0], run))
        if keys:
            found.append(
                f"{run.name} differs from {runs[0].name} in more than its protocol ({', '.join(keys)}): the difference "
                "is of all that together."
            )
    # leaks stand beside their rows, which are compared with others on purpose
    banners_of_runs = (banner for run in runs for banner in wording.banners(run.results))
    return [*found, *dict.fromkeys(banner for banner in banners_of_runs if not banner.startswith(_LEAK))]


def notes(rows: Sequence[Json]) -> list[str]:
    """Sentences on leaks, tested utterances and training sizes, from the rows of a finished comparison."""
    return [*_leaks(rows), *_coverage(rows), *_sizes(rows)]


def short_leak(leak: str | None) -> str:
    """A declared leak for a table: up to its first colon.

    >>> short_leak("speakers are shared: results do not hold for new ones"), short_leak(None)
    ('speakers are shared', 'none')
    """
    return "none" if leak is None else leak.split(":", 1)[0]


def cells(row: Sequence[Cell], facts: Json) -> list[Cell]:
    """A row of the table with what is peculiar to its protocol: folds, training size, leak."""
    size = facts["trained_on"]
    return [
        row[0],
        Cell(str(facts["folds"])),
        Cell(NONE if size is None else f"{size:.0f}"),
        *row[1:],
        Cell(short_leak(facts["leak"])),
    ]


def _leaks(rows: Sequence[Json]) -> Iterator[str]:
    declared = _grouped((row["leak"], row["name"]) for row in rows if row["leak"])
    for leak, names in declared.items():
        yield f"Leak that the protocol declares ({', '.join(names)}): {leak.rstrip('.')}."


def _coverage(rows: Sequence[Json]) -> Iterator[str]:
    first = rows[0]["name"]
    tested = _grouped((tuple(row["tested"].values()), row["name"]) for row in rows[1:])
    for (both, here_only, first_only), names in tested.items():
        here = ", ".join(names)
        text = f"{here} and {first}: {both} utterances were tested in both"
        alone = [f"{count} in {name} alone" for count, name in ((here_only, here), (first_only, first)) if count]
        only = " Only the former count in the difference; a row's own figures are over all that it tested."
        yield f"{', '.join([text, *alone])}.{only if alone else ''}"


def _grouped(pairs: Iterable[tuple[Any, str]]) -> dict[Any, list[str]]:
    """Names by what they have in common, in order."""
    found: dict[Any, list[str]] = {}
    for value, name in pairs:
        found.setdefault(value, []).append(name)
    return found


def _sizes(rows: Sequence[Json]) -> Iterator[str]:
    known = {row["name"]: row["trained_on"] for row in rows if row["trained_on"] is not None}
    if len(known) < len(rows):
        lacking = [row["name"] for row in rows if row["trained_on"] is None]
        yield (
            f"How much {', '.join(lacking)} trained on is not recorded (by a later version it is: run ser-train again, "
            "nothing is trained anew), so that the amount of training speech may be part of a difference."
        )
        return
    (first, size), *others = known.items()
    groups = _grouped((abs(other - size) <= SAME_SIZE * size, name) for name, other in others)
    found = [f"Utterances trained on, mean of the folds: {', '.join(f'{name} {n:.0f}' for name, n in known.items())}."]
    if True in groups:
        found.append(f"{', '.join(groups[True])}: as many as {first}, the difference does not come from that.")
    if False in groups:
        found.append(f"{', '.join(groups[False])}: part of the difference may come from that.")
    if True not in groups and len({row["folds"] for row in rows}) > 1 and any(row["leak"] for row in rows):
        found.append("Protocols with equal numbers of folds would separate it from the leak.")
    yield " ".join(found)


def _name(run: Run) -> str:
    return run.results.record.protocol.name or "not recorded"


def _dealt_otherwise(first: Run, other: Run) -> bool:
    one, two = (dict(zip(run.system.table["id"], run.system.table["fold"], strict=True)) for run in (first, other))
    return any(two[name] != fold for name, fold in one.items() if name in two)


def _asked(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.results.record.protocol.cluster_by for run in runs))


def _with_clusters_of_all(runs: Sequence[Run]) -> list[Run]:
    """Every run with the column that another one made for itself: speakers, or dialogues of unknown ones."""
    tables = [reduce(with_clusters, _asked(runs), run.system.table) for run in runs]
    return [replace(run, system=replace(run.system, table=table)) for run, table in zip(runs, tables, strict=True)]


def _cluster_by(runs: Sequence[Run]) -> str:
    asked = _asked(runs)
    known = [
        by for by in asked if all(by in run.system.table.columns and run.system.table[by].notna().all() for run in runs)
    ]
    return str(min(known or asked, key=lambda by: runs[0].system.table[by].nunique() if by in known else 0))


def _with_cluster(run: Run, by: str) -> RunRecord:
    record = run.results.record
    return replace(record, protocol=replace(record.protocol, cluster_by=by))


def _trained_on(run: Run) -> float | None:
    """Mean over folds of the utterances that the tested weights were fitted to: with dev where that is trained on."""
    record = run.results.record
    sizes = [train + (dev if record.selection.refit else 0) for train, dev, _ in record.protocol.parts.values()]
    return sum(sizes) / len(sizes) if sizes else None


def _other_settings(first: Run, other: Run) -> set[str]:
    """Keys of the two configurations, but for the protocol, whose values differ; none where one is not there."""
    one, two = (_settings(run) for run in (first, other))
    if not one or not two:
        return set()
    return {key for key in one.keys() | two.keys() if one.get(key) != two.get(key)}


def _settings(run: Run) -> Json:
    path = RunFolder(run.results.run_dir).config
    if not path.is_file():
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"it holds {type(config).__name__}")
    except (yaml.YAMLError, ValueError) as error:
        raise ResultError(f"{path} is damaged. Run the same ser-train command again to write it.") from error
    flat: Json = {}
    for group in SETTINGS:
        value = config.get(group)
        flat |= {f"{group}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {group: value}
    return {key: value for key, value in flat.items() if key not in ELSEWHERE}
