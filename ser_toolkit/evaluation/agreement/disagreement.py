"""Models beside what knows nothing of the speech, and beside listeners, against the distribution of the votes.

*Mean votes*: for every test utterance the mean shares of the utterances that its fold does not test, the constant that
comes nearest to them by KL. *Uniform*: 1/C for every class. *Half of the raters*: the votes of a random half against
those of the other, averaged over 10 draws, and the models against exactly the same halves; what half a panel reaches
is no bound, because a model may know the whole panel better than half of it does. KL is not given there: a half in
which nobody named a class that the other half names is infinitely far from it.

None of this needs the model or the audio: probabilities and votes stand in the predictions, other votes in the manifest
that a run keeps.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ser_toolkit.evaluation.agreement.human import SEED, SPLITS, Panel, manifest_column
from ser_toolkit.evaluation.agreement.raters import split_in_halves
from ser_toolkit.evaluation.distributions import (
    VOTE_FIGURES,
    VOTE_STATISTICS,
    VOTES,
    distribution_sums,
    vote_shares,
)
from ser_toolkit.evaluation.predictions import probability_columns
from ser_toolkit.evaluation.results import Results, System
from ser_toolkit.evaluation.rows import Scored
from ser_toolkit.evaluation.scores import Scorer
from ser_toolkit.evaluation.sums import FloatArray
from ser_toolkit.terms import Json


def against_the_votes(results: Results, scores: Json, panel: Panel) -> Json | None:
    """Rows of the table, ready for JSON; None where no system has distributions over classes with votes.

    Args:
        results: the run.
        scores: its figures (``Scorer.scores``); those of its systems are repeated, not computed again.
        panel: the raters of its test utterances.
    """
    systems = [system for system in results.systems if VOTE_FIGURES[0] in _entry(scores, system)["metrics"]]
    models = [system for system in systems if system.baseline is None]
    if not models:
        return None
    scorer = Scorer(results, scores["level"])
    mean = _constant(models[0], "mean votes", _mean_votes(results, models[0]))
    known = mean.table[probability_columns(results.classes)].notna().all(axis=None)
    rows = [_of_system(scorer, scores, system, mean if known else None) for system in systems]
    uniform = np.full((len(models[0].table), len(results.classes)), 1 / len(results.classes))
    constants = [*([mean] if known else []), _constant(models[0], "uniform", uniform)]
    rows += [{**_row(one, scorer.system(one), results.classes), "variant": None} for one in constants]
    return {"rows": [*rows, *_halves(results, models, panel)]}


def _entry(scores: Json, system: System) -> Json:
    entry: Json = next(one for one in scores["systems"] if one["key"] == system.key)
    return entry


def _of_system(scorer: Scorer, scores: Json, system: System, mean: System | None) -> Json:
    row = _row(system, _entry(scores, system), scorer.results.classes)
    difference = None if mean is None or system.baseline is not None else scorer.difference(system, mean)
    return row if difference is None else {**row, "difference": difference["metrics"][VOTE_FIGURES[0]]}


def _row(system: System, scored: Json, classes: tuple[str, ...]) -> Json:
    known = Scored.of(system.table, classes, votes=True).distributions()[2]
    metrics = {key: scored["metrics"][key] for key in VOTE_FIGURES}
    row = {"against": "votes", "who": system.name, "variant": system.variant, "model": system.baseline is None}
    return row | {"utterances": int(system.table.loc[known, "id"].nunique()), "metrics": metrics}


def _constant(model: System, name: str, probabilities: FloatArray) -> System:
    """A system that predicts these distributions for the model's utterances."""
    table = model.table.copy()
    for place, column in enumerate(c for c in table.columns if c.startswith("probability/")):
        table[column] = probabilities[:, place]
    return System(model.variant, name, table)


def _mean_votes(results: Results, model: System) -> FloatArray:
    """(N, C) mean shares of the utterances outside the test part of each row's fold; NaN where nobody voted there."""
    table = model.table
    everything = manifest_column(results.run_dir, "votes")
    if everything is None:  # an old run: what other folds test
        everything = table.drop_duplicates("id").set_index("id")["votes"]
    shares = pd.DataFrame(vote_shares(everything, results.classes), index=everything.index)
    found = np.full((len(table), len(results.classes)), np.nan)
    for fold, tested in table.groupby("fold")["id"]:
        others = shares[~shares.index.isin(tested)].mean()
        found[(table["fold"] == fold).to_numpy()] = others.to_numpy()
    return found


def _halves(results: Results, models: list[System], panel: Panel) -> list[Json]:
    """Half of the raters, and the models, against the other half; nothing where nobody was asked twice."""
    if not len(panel.answers.row):
        return []
    generator, size = np.random.default_rng(SEED), len(results.classes)
    drawn = [split_in_halves(panel.answers, generator) for _ in range(SPLITS)]
    halves = [(_inside(a, size), _inside(b, size)) for a, b in drawn]
    rows = [_half_row(panel, "the other half", None, [_sums(panel, a, b) for a, b in halves])]
    for model in models:
        runs = [_in_order(panel, run, results.classes) for _, run in model.table.groupby(["seed", "draw"])]
        sums = [_sums(panel, a, run, b) for run in runs for a, b in halves]
        rows.append(_half_row(panel, model.name, model.variant, sums))
    return rows


def _inside(shares: FloatArray, classes: int) -> FloatArray:
    """Mean answers (N, K) of a half as shares of the classes, NaN where it named none."""
    inside = shares[:, :classes]
    total = inside.sum(axis=1, keepdims=True)
    return np.where(total > 0, inside / np.where(total > 0, total, 1), np.nan)


def _in_order(panel: Panel, run: pd.DataFrame, classes: tuple[str, ...]) -> FloatArray:
    """(N, C) probabilities of a run in the panel's order, NaN where it has none."""
    given = run.set_index("id")[probability_columns(classes)].reindex(panel.table["id"]).to_numpy(dtype=float)
    return np.asarray(given / given.sum(axis=1, keepdims=True))


def _sums(panel: Panel, reference: FloatArray, given: FloatArray, other: FloatArray | None = None) -> FloatArray:
    """Sums of one against the other, on utterances where both halves named a class."""
    known = ~np.isnan(np.hstack([reference, given, *([] if other is None else [other])])).any(axis=1)
    return distribution_sums(reference[known], given[known], panel.cluster[known], panel.groups)


def _half_row(panel: Panel, who: str, variant: str | None, sums: list[FloatArray]) -> Json:
    stacked = np.stack(sums)
    found = {f"{s.key}_{VOTES}": panel.interval(stacked, s).to_json() for s in VOTE_STATISTICS if s.key != "kl"}
    utterances = round(float(stacked[..., 0].sum(axis=1).mean()))
    row = {"against": "half", "who": who, "variant": variant, "model": variant is not None}
    return row | {"utterances": utterances, "metrics": found}
