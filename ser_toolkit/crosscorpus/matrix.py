"""Every run on every run's corpus: the table train x test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ser_toolkit.config.recipe import Recipe, parse_run
from ser_toolkit.corpora.base import Corpus
from ser_toolkit.crosscorpus.single import TargetCorpus, TransferOptions, banners, copies, evaluate_on, own_predictions
from ser_toolkit.errors import RecipeError, ResultError, nearest
from ser_toolkit.evaluation import confound
from ser_toolkit.evaluation.reporting.copies import copy_banners
from ser_toolkit.evaluation.run_folder import RunFolder, find_run
from ser_toolkit.evaluation.transfer import matrix as transfer_matrix
from ser_toolkit.evaluation.transfer.classes import ClassMatch, check_merges, class_prior, score_transfer
from ser_toolkit.inference.stored import StoredRun, units_of_run
from ser_toolkit.parts.own_sources import parts_of
from ser_toolkit.system.files import whole, write_json, write_text
from ser_toolkit.system.progress import SILENT, Progress

Scope = Literal["shared", "pairwise"]
PICTURE = "matrix.png"


@dataclass(frozen=True)
class Matrix:
    """A table train x test that was written.

    Args:
        folder: with ``matrix.json``, ``matrix.md`` and ``matrix.png``.
        data: the content of ``matrix.json``.
    """

    folder: Path
    data: dict[str, Any]

    @property
    def markdown_path(self) -> Path:
        """Path of the matrix as Markdown."""
        return self.folder / "matrix.md"

    def text(self) -> str:
        """The summary for a terminal."""
        return transfer_matrix.text(self.data)


@dataclass(frozen=True)
class _Row:
    """A run, the column of its own corpus, and the members of that corpus where it is several."""

    folder: Path
    units: StoredRun
    name: str
    own: int
    members: tuple[str, ...] = ()


def matrix(
    runs: Sequence[str | Path],
    output: str | Path | None = None,
    options: TransferOptions | None = None,
    scope: Scope = "shared",
    roots: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
    on: Sequence[Recipe] = (),
) -> Matrix:
    """Test every run on every run's corpus, as the runs' own configurations describe the corpora, and on further ones.

    A run on its own corpus, or on a member of several, is scored on its cross-validated predictions; on any other all
    its models are averaged.

    Args:
        runs: run directories; several may share a corpus.
        output: folder for the table and its picture; beside the first recipe's runs when None.
        options: variant, names of classes, priors and device; fold and seed have no meaning here.
        scope: score every cell on the classes that all runs and corpora share, so that cells can be compared, or on
            those that each pair shares (``pairwise``).
        roots: where corpora lie now, by the name of the corpus; otherwise where the run had them.
        progress: of the extraction, with sentences for the user.
        on: recipes of further corpora, which no run need have been trained on; their data alone count.

    Raises:
        ResultError: fewer than two runs and corpora, a run is not there or has no complete model, or too few classes
            are common.
        RecipeError: ``roots`` names an unknown corpus.
    """
    options = replace(options or TransferOptions(), fold=None, seed=None)
    if not runs or len(runs) + len(on) < 2:
        raise ResultError(
            f"A matrix needs two runs or more, found {len(runs)}; or further corpora: --on recipe=NAME data.root=PATH."
        )
    if scope not in ("shared", "pairwise"):
        raise RecipeError(f"--classes {scope} is unknown: expected shared or pairwise.")
    rows, targets = _read(runs, options, roots or {})
    for row in rows:
        if "logits" not in row.units.info.outputs:
            raise ResultError(
                f"The matrix is one of UA, and {row.name} predicts no classes. Score valence, arousal and dominance "
                "corpus by corpus: ser-evaluate RUN --on recipe=NAME."
            )
    for further in map(TargetCorpus.of, on):
        targets += [further] if further.identity not in [target.identity for target in targets] else []
    sets = [*(row.units.info.classes for row in rows), *(target.data.classes for target in targets)]
    check_merges(options.merges, sorted({name for names in sets for name in names}))
    within = _shared(sets, options.merges) if scope == "shared" else None
    cells, audit = [], []
    for row in rows:
        found = [_cell(row, number, target, options, within, progress) for number, target in enumerate(targets)]
        cells.append([cell for cell, _ in found])
        audit += [f"{row.name}: {line}" for _, lines in found for line in lines if line.startswith("warning")]
    data = {
        "runs": [row.name for row in rows],
        "run_folders": [f"{row.units.info.recipe}/{row.units.info.hash}" for row in rows],
        "corpora": _distinct([target.data.corpus.name for target in targets]),
        "classes": None if within is None else list(within),
        "variant": options.variant or rows[0].units.info.variant,
        "map": dict(options.merges),
        "adapt_prior": options.adapt_prior,
        "banners": _banners(rows, targets),
        "audit": audit or ["no two corpora share speaker names or recordings"],
        "cells": cells,
        "averages": transfer_matrix.averages(cells),
    }
    return _written(_folder(output, rows, data), json.loads(json.dumps(data)))


def _read(
    runs: Sequence[str | Path], options: TransferOptions, roots: Mapping[str, str]
) -> tuple[list[_Row], list[TargetCorpus]]:
    """Read runs and their corpora, each once."""
    targets: list[TargetCorpus] = []
    rows: list[_Row] = []
    folders = list(dict.fromkeys(find_run(Path(run)) for run in runs))
    trust = options.trust_code
    units = [replace(units_of_run(folder, None, options.variant), trust_code=trust) for folder in folders]
    names = _distinct([one.info.recipe for one in units])
    for folder, one, name in zip(folders, units, names, strict=True):
        target = _target(folder, roots, trust)
        known = [known.identity for known in targets]
        if target.identity not in known:
            targets.append(target)
        own = known.index(target.identity) if target.identity in known else len(known)
        rows.append(_Row(folder, one, name, own, tuple(_names(target.data.corpus)[1:])))
    found = list(dict.fromkeys(name for target in targets for name in _names(target.data.corpus)))
    unknown = sorted(set(roots) - set(found))
    if unknown:
        raise RecipeError(f"--root {unknown[0]}: no run has this corpus. {nearest(unknown[0], found)}")
    return rows, targets


def _target(folder: Path, roots: Mapping[str, str], trust_code: bool) -> TargetCorpus:
    """The corpus that a run was trained on."""
    path = RunFolder(folder).config
    if not path.is_file():
        raise ResultError(f"{path} is missing: the run does not say where its corpus is. Copy the run as a whole.")
    with parts_of(RunFolder(folder).own_parts, trust_code):
        recipe = parse_run(path, folder, trust_code)
        corpus = recipe.data().corpus
        whole, *members = _names(corpus)
        moved = [f"data.root={roots[whole]}"] if whole in roots else []
        places = {name: Path(roots[name]).expanduser().absolute() for name in members if name in roots}
        moved += [f"data.corpus.roots.{name}={place}" for name, place in places.items()]
        return TargetCorpus.of(recipe.override(*moved) if moved else recipe)


def _names(corpus: Corpus) -> list[str]:
    """Names of a corpus that ``roots`` may use: its own, then those of its members where it is several."""
    return [corpus.name, *(member.name for member in getattr(corpus, "members", ()))]


def _shared(sets: Sequence[Sequence[str]], merges: Mapping[str, str]) -> tuple[str, ...]:
    """Classes that all sets have, in the order of the first set."""
    renamed = [[merges.get(name, name) for name in names] for names in sets]
    found = tuple(name for name in dict.fromkeys(renamed[0]) if all(name in names for names in renamed))
    if len(found) < 2:
        raise ResultError(
            f"The runs and corpora together have {len(found)} common class{'' if len(found) == 1 else 'es'}, two are "
            "needed. Score each pair on its own with --classes pairwise, or say which belong together: --map "
            "excited=happy."
        )
    return found


def _cell(
    row: _Row,
    column: int,
    target: TargetCorpus,
    options: TransferOptions,
    within: tuple[str, ...] | None,
    progress: Progress,
) -> tuple[dict[str, Any], list[str]]:
    """Score one cell; returns the cell and the sentences of its audit."""
    info = row.units.info
    known = {*info.classes, *target.data.classes}
    merges = {name: other for name, other in options.merges.items() if name in known}
    match = ClassMatch(info.classes, target.data.classes, merges, within)
    member = target.data.corpus.name if target.data.corpus.name in row.members else None
    inside = row.own == column or member is not None
    audit: list[str] = []
    if inside:
        table = own_predictions(row.folder, info.variant)
        table = table if member is None else table[table["corpus"] == member].reset_index(drop=True)
        if table.empty:
            raise ResultError(
                f"{row.name} has tested nothing of {member} yet: run ser-train again for its other folds."
            )
    else:
        progress.note(f"{row.name} on {target.data.corpus.name}")
        found = evaluate_on(row.folder, target, replace(options, merges=merges, adapt_prior=False), progress)
        table, audit = found.table, found.data["audit"]
    prior = None
    if options.adapt_prior and not inside:  # within the corpus the prior is that of the predictions themselves
        prior = class_prior(own_predictions(row.folder, info.variant), match)
    return {"in_corpus": inside, "scores": score_transfer(table, match, prior)}, audit


def _banners(rows: Sequence[_Row], targets: Sequence[TargetCorpus]) -> list[str]:
    """Banners of all runs and corpora, each once, behind the names of the runs where it is not about all of them."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for banner in banners(row.units, row.folder, targets[row.own].data):
            found.setdefault(banner, []).append(row.name)
    named = [one if len(names) == len(rows) else f"{', '.join(names)}: {one}" for one, names in found.items()]
    records = [RunFolder(row.folder).record() for row in rows]
    pairs = zip(rows, records, strict=True)
    of_corpora = [one for row, record in pairs for one in copies(row.units, record, targets[row.own].data)]
    for data in (target.data for target in targets):
        of_corpora += copy_banners(data.manifest.facts, data.allow_incomplete, of=data.corpus.name)
        of_corpora += confound.banners(data.split_table, data.corpus.name, records[0], [rows[0].units.info.variant])
    return list(dict.fromkeys([*named, *of_corpora]))


def _distinct(names: Sequence[str]) -> list[str]:
    """Make names distinct: ``mini (2)`` for the second of two."""
    found: list[str] = []
    for number, name in enumerate(names):
        before = list(names[:number]).count(name)
        found.append(name if before == 0 else f"{name} ({before + 1})")
    return found


def _folder(output: str | Path | None, rows: Sequence[_Row], data: Mapping[str, Any]) -> Path:
    if output is not None:
        return Path(output).expanduser()
    keys = ("run_folders", "classes", "variant", "map", "adapt_prior")
    identity = json.dumps([data[key] for key in keys])
    return rows[0].folder.parent.parent / f"matrix-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def _written(folder: Path, data: dict[str, Any]) -> Matrix:
    found = Matrix(folder, data)
    try:
        with whole(folder / PICTURE) as partial:
            transfer_matrix.heat_map(partial, data)
        write_json(folder / "matrix.json", data)
        write_text(found.markdown_path, transfer_matrix.markdown(data, PICTURE))
    except OSError as error:
        raise ResultError(
            f"Cannot write {folder}: {error.strerror}. Choose another place with --output DIR."
        ) from error
    return found
