"""All variants of a run on one other corpus: each predicted once, and one report with paired differences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_toolkit.config.recipe import Recipe
from ser_toolkit.crosscorpus.single import (
    Evaluation,
    TargetCorpus,
    TransferOptions,
    banners,
    copies,
    evaluate_on,
    own_predictions,
    report_tag,
    write_report,
)
from ser_toolkit.errors import SerError
from ser_toolkit.evaluation import confound
from ser_toolkit.evaluation.run_folder import RunFolder, find_run
from ser_toolkit.evaluation.transfer import variants as transfer_variants
from ser_toolkit.evaluation.transfer.classes import ClassMatch, class_prior
from ser_toolkit.inference.stored import units_of_run
from ser_toolkit.system.progress import SILENT, Progress
from ser_toolkit.terms import PLAIN


def evaluate_variants(
    run: str | Path, recipe: Recipe, options: TransferOptions | None = None, progress: Progress = SILENT
) -> Evaluation:
    """Predict the corpus of a recipe with every variant of a run, and put them into one report.

    A variant that cannot be had on this corpus (it needs stored features, or neutral utterances) is left out with a
    warning. Where ``options`` or the path name a variant, or there is but one, this is ``single.evaluate``.

    Args:
        run: a run directory, or a folder in it.
        recipe: sets the corpus, its root, its classes and label rule.
        options: which models, and how classes and priors are treated.
        progress: of the extraction, with sentences for the user.

    Returns:
        The report; ``table`` and ``data["scores"]`` are those of the first variant, the plain one, ``data["variants"]``
        those of all, and ``data["differences"]`` are paired.

    Raises:
        ResultError: there is no such run, no complete model in it, or fewer than two common classes.
        RecipeError: fold, variant or device is unknown.
    """
    options, target = options or TransferOptions(), TargetCorpus.of(recipe)
    names = [options.variant] if options.variant is not None else _variants(Path(run))
    found: dict[str | None, Evaluation] = {}
    lost = []
    for name in names:
        try:
            found[name] = evaluate_on(run, target, replace(options, variant=name), progress)
        except SerError as error:
            if not found:  # what the plain variant refuses is no matter of the variant
                raise
            lost.append(f"Variant {name} is left out: {error}")
    if len(found) > 1:
        return _together(run, target, options, {str(name): one for name, one in found.items()}, lost)
    first = next(iter(found.values()))
    if lost:
        first.data["banners"] += lost
        write_report(first)
    return first


def _variants(run: Path) -> list[str | None]:
    """Names of a run's variants, the plain one first; None for the folder of one variant, whose path names it."""
    folder = find_run(run)
    if folder.resolve() in run.expanduser().resolve().parents:
        return [None]
    return sorted(RunFolder(folder).record().variants or [PLAIN], key=lambda name: name != PLAIN)


def _together(
    run: str | Path, target: TargetCorpus, options: TransferOptions, found: dict[str, Evaluation], lost: list[str]
) -> Evaluation:
    first, run_dir, data = next(iter(found.values())), find_run(Path(run)), target.data
    units = units_of_run(run, options.fold, first.data["variant"], options.seed)
    tables = {name: one.table for name, one in found.items()}
    differences = []
    if first.data["scores"] is not None:
        match = ClassMatch(units.info.classes, data.classes, options.merges)
        adapted = {
            name: class_prior(own_predictions(run_dir, name), match) if options.adapt_prior else None for name in found
        }
        differences = transfer_variants.differences(tables, match, adapted)
    gains = any((one["metrics"]["uar"]["low"] or 0) > 0 for one in differences)
    record = RunFolder(run_dir).record()
    sentences = [*banners(units, run_dir, data), *copies(units, record, data)]
    sentences += confound.banners(data.split_table, data.corpus.name, record, list(found), gains)
    content: dict[str, Any] = {
        **first.data,
        "banners": [*sentences, *lost],
        "facts": [_renamed(sentence, first.data["variant"], list(found)) for sentence in first.data["facts"]],
        "variants": {name: one.data["scores"] for name, one in found.items()},
        "differences": differences,
        "variant_dimensions": {name: one.data["dimensions"] for name, one in found.items() if one.data["dimensions"]},
        "dimension_differences": transfer_variants.dimension_differences(tables) if first.data["dimensions"] else [],
    }
    path = first.folder / f"report-variants{report_tag(options)}.json"
    written = Evaluation(first.folder, path, json.loads(json.dumps(content)), first.table)
    write_report(written)
    return written


def _renamed(sentence: str, variant: str, names: list[str]) -> str:
    return sentence.replace(f"variant {variant}:", f"variants {', '.join(names)}:")
