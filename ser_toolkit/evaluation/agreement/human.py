"""Agreement of raters on the same utterances, beside which a model's figures stand.

*One rater against the others*: each answer is scored against the plurality of the other raters of its utterance, as
if that rater were a system; a model can be scored against the same references. Every utterance weighs 1, shared by
its raters, and a tie among the others is split evenly between its classes (see ``raters.plurality``).

It is no upper bound. The others' plurality is a noisy reference, and a system that always says what most people say
does better than any one of them. It is not recognition of what a speaker felt or was asked to show either; that is
*one rater against the label*, where the label is not made from the same votes.

The figures of reliability are explained in ``reliability.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.agreement.raters import (
    Answers,
    answers_of,
    coincidences,
    plurality,
    plurality_of_others,
    ratings_of,
    split_in_halves,
    weights,
    words_of,
)
from ser_toolkit.evaluation.agreement.reliability import AGREEMENT, INTERVAL, NOMINAL, SPLIT_HALF
from ser_toolkit.evaluation.predictions import class_indices
from ser_toolkit.evaluation.results import Results, System
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.evaluation.sums import FloatArray, IntArray, cluster_sums, outer_sums
from ser_toolkit.evaluation.uncertainty import CCC, Interval, Statistic, cluster_interval
from ser_toolkit.terms import DIMENSIONS, Json, natural_key

#: Random halves whose reliability is averaged, and their seed.
SPLITS, SEED = 10, 0
#: Labels that equal the plurality of the votes this often were made from them.
_MADE_FROM_VOTES = 0.98


class Panel:
    """The raters of a set of utterances.

    Args:
        table: one row an utterance: ``votes``, ``label`` and the column ``cluster_by``; ``ratings`` where known.
        classes: the only references that count; answers in other words are wrong.
        cluster_by: column whose values intervals leave out one at a time.
        level: nominal coverage of intervals.
    """

    def __init__(
        self, table: pd.DataFrame, classes: tuple[str, ...], cluster_by: str = "speaker", level: float = 0.95
    ) -> None:
        self.table = table.reset_index(drop=True)
        self.classes, self.cluster_by, self.level = classes, cluster_by, level
        known = self.table[cluster_by].notna().all()
        names = sorted(set(self.table[cluster_by]), key=natural_key) if known else []
        self.groups = max(len(names), 1)
        self.cluster: IntArray = (
            class_indices(self.table[cluster_by], names) if names else np.zeros(len(table), dtype=np.int64)
        )
        self._known = bool(known)
        # of ratings alone nobody named a word, but arrays of answers need a column
        self.words = words_of(self.table["votes"], classes) or ("",)
        found, self.left_out = answers_of(self.table["votes"], self.words, self.table.get("ratings"))
        self.answers = found.of_several()
        self.others = plurality_of_others(self.answers)

    def interval(self, sums: FloatArray, statistic: Statistic) -> Interval:
        """Interval of (R, G, ...) sums; none where a speaker is unknown."""
        found = cluster_interval(sums, statistic, self.level)
        return found if self._known else replace(found, reason=f"{self.cluster_by} is unknown for some utterances")

    def about(self) -> Json:
        """Numbers of utterances and raters, share of ties, and share of labels that are the raters' plurality."""
        raters = self.answers.raters
        several = raters[raters > 0]
        first = plurality(self.answers.totals)
        label = class_indices(self.table["label"], self.classes)
        decided = (first.max(axis=1) > 1 - 1e-9) & (label >= 0)
        same = decided & (first.argmax(axis=1) == label)
        labelled = (raters > 0) & (label >= 0)
        return {
            "utterances": len(several),
            "answers": int(several.sum()),
            "raters": {"least": int(several.min()), "median": float(np.median(several)), "most": int(several.max())},
            "left_out": self.left_out,
            "tied": float(((first > 0).sum(axis=1) > 1)[raters > 0].mean()),
            "others_tied": float(np.average((self.others > 0).sum(axis=1) > 1, weights=weights(self.answers))),
            "elsewhere": float(np.average(self.others[:, len(self.classes) :].sum(1), weights=weights(self.answers))),
            "label_is_plurality": float(same.sum() / labelled.sum()) if labelled.any() else None,
            "label_from_votes": bool(decided.any() and same.sum() / decided.sum() >= _MADE_FROM_VOTES),
            "alpha": self.alpha().to_json(),
            "split_half": self.split_half(self.answers).to_json(),
        }

    def references(self, against: str) -> FloatArray:
        """(N, C) what counts as right, a row sums to 1 (less where it is no class): ``others`` or ``label``."""
        if against == "label":
            label = class_indices(self.table["label"], self.classes)
            right = np.eye(len(self.classes) + 1)[label][:, :-1]  # -1 is the last row, which has no class
            return np.where(self.answers.raters[:, None] > 0, right, 0)
        weighted = self.others[:, : len(self.classes)] * weights(self.answers)[:, None]
        return cluster_sums(weighted, self.answers.row, len(self.table))

    def one_rater(self, against: str) -> Json:
        """UA, WA and macro-F1 of single raters."""
        weight, row = weights(self.answers)[:, None], self.answers.row
        right = self.references("label")[row] if against == "label" else self.others[:, : len(self.classes)]
        answered = self._with_elsewhere(self.answers.value)
        return self._figures(outer_sums(right * weight, answered, self.cluster[row], self.groups)[None], against)

    def system(self, runs: Iterable[pd.DataFrame], against: str) -> Json:
        """UA, WA and macro-F1 of a system's ``predicted`` against the same references; one table a run."""
        right, place = self.references(against), pd.Series(np.arange(len(self.table)), index=self.table["id"])
        sums = []
        for run in runs:
            row = place[run["id"]].to_numpy()
            answered = np.eye(len(self.classes) + 1)[class_indices(run["predicted"], self.classes)]
            sums.append(outer_sums(right[row], answered, self.cluster[row], self.groups))
        return self._figures(np.stack(sums), against)

    def alpha(self) -> Interval:
        """Krippendorff's nominal alpha over all words."""
        return self.interval(coincidences(self.answers, self.cluster, self.groups)[None], NOMINAL)

    def split_half(self, answers: Answers, splits: int = SPLITS, seed: int = SEED) -> Interval:
        """Spearman-Brown, averaged over random halves of the raters."""
        generator = np.random.default_rng(seed)
        sums = []
        for _ in range(splits):
            a, b = split_in_halves(answers, generator)
            parts = [np.ones(len(a)), (a * a).sum(1), (b * b).sum(1), (a * b).sum(1), *a.T, *b.T]
            known = ~np.isnan(a).any(axis=1)
            sums.append(cluster_sums(np.stack(parts, axis=-1)[known], self.cluster[known], self.groups))
        return self.interval(np.stack(sums), SPLIT_HALF)

    def dimension(self, name: str) -> Json | None:
        """CCC of one rater against the mean of the others, interval alpha and split halves; None without ratings."""
        if "ratings" not in self.table or len((answers := self._dimensions[name].of_several()).row) == 0:
            return None
        raters, row, x = answers.raters, answers.row, answers.value[:, 0]
        x = x - x.mean()  # neither figure changes, and the sums lose no digits
        answers = replace(answers, value=x[:, None])
        total, squares = answers.totals[:, 0], np.bincount(row, weights=x * x, minlength=len(raters))
        mean, weight = (total[row] - x) / (raters[row] - 1), weights(answers)
        pairs = np.stack([np.ones_like(x), mean, x, mean**2, x**2, mean * x], axis=-1) * weight[:, None]
        apart = 2 * (raters * squares - total**2) / np.maximum(raters - 1, 1)
        sums = np.stack([raters, total, squares, apart], axis=-1)
        return {
            "utterances": int((raters > 0).sum()),
            "ccc": self.interval(cluster_sums(pairs, self.cluster[row], self.groups)[None], CCC).to_json(),
            "alpha": self.interval(cluster_sums(sums, self.cluster, self.groups)[None], INTERVAL).to_json(),
            "split_half": self.split_half(answers).to_json(),
        }

    @cached_property
    def _dimensions(self) -> dict[str, Answers]:
        """The observers' ratings of each dimension."""
        return ratings_of(self.table["ratings"], DIMENSIONS)

    def _with_elsewhere(self, value: FloatArray) -> FloatArray:
        inside = value[:, : len(self.classes)]
        return np.concatenate([inside, value[:, len(self.classes) :].sum(axis=1, keepdims=True)], axis=1)

    def _figures(self, sums: FloatArray, against: str) -> Json:
        square = np.zeros((*sums.shape[:-2], sums.shape[-1], sums.shape[-1]))
        square[..., :-1, :] = sums  # no reference is elsewhere: the last row stays empty
        found = {s.key: self.interval(sums if s.key == "macro_f1" else square, s).to_json() for s in AGREEMENT}
        return {"against": against, "metrics": found}


def human_agreement(
    table: pd.DataFrame, classes: tuple[str, ...], cluster_by: str = "speaker", level: float = 0.95
) -> Json | None:
    """All figures of human agreement on a set of utterances, ready for JSON; None where nobody was asked twice.

    Args:
        table: one row an utterance with ``votes``, ``label``, ``cluster_by`` and, where known, ``ratings``.
        classes: class order.
        cluster_by: column whose values intervals leave out one at a time.
        level: nominal coverage of intervals.
    """
    return _agreement(Panel(table, classes, cluster_by, level), models=())


def panel_of(results: Results, cluster_by: str, level: float) -> Panel | None:
    """The raters of the test utterances of a run.

    None where the predictions hold no votes (or classes of an ontology, in which nobody voted), and the manifest no
    single ratings.
    """
    models = [system for system in results.systems if system.baseline is None]
    table = pd.concat([model.table for model in models]).drop_duplicates("id") if models else pd.DataFrame()
    if table.empty:
        return None
    ratings = manifest_column(results.run_dir, "ratings")
    table = table.assign(ratings=None if ratings is None else table["id"].map(ratings).astype(object))
    classified = bool(results.classes) and table["predicted"].notna().any()
    if not classified or not results.votes_in_classes:
        table = table.assign(votes=None)
    if table["votes"].isna().all() and table["ratings"].isna().all():
        return None
    return Panel(table, results.classes, cluster_by, level)


def beside_the_models(results: Results, panel: Panel) -> Json | None:
    """Human agreement on the test utterances of a run, and its models against the same references."""
    models = [system for system in results.systems if system.baseline is None]
    rule = results.record.labels.rule or "Intended"
    return _agreement(panel, models, made_from_votes=rule != "Intended")


def manifest_column(run_dir: Path, name: str) -> pd.Series | None:
    """A column, by id, of the manifest that lies beside a run's predictions; None where there is none.

    Raises:
        ResultError: the manifest is damaged.
    """
    path = RunFolder(run_dir).manifest
    if not path.is_file():
        return None
    try:
        with pq.ParquetFile(path) as file:
            stored = file.read(columns=["id", name]).to_pydict()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ResultError(
            f"{path} is damaged ({str(error).splitlines()[0]}). Run the same ser-train command again."
        ) from None
    return pd.Series(stored[name], index=stored["id"], dtype=object) if name in stored else None


def _agreement(panel: Panel, models: Sequence[System], made_from_votes: bool = False) -> Json | None:
    found: Json = {}
    if len(panel.answers.row):
        found = panel.about()
        found["label_from_votes"] = found["label_from_votes"] or made_from_votes
        of_label = not found["label_from_votes"] and found["label_is_plurality"] is not None
        found["rows"] = []
        for against in ("others", "label") if of_label else ("others",):
            found["rows"].append({"who": "one rater", "variant": None, **panel.one_rater(against)})
            for model in (one for one in models if one.table["predicted"].notna().any()):
                runs = [run for _, run in model.table.groupby(["seed", "draw"])]
                found["rows"].append({"who": model.name, "variant": model.variant, **panel.system(runs, against)})
    dimensions = {name: one for name in DIMENSIONS if (one := panel.dimension(name)) is not None}
    return {**found, **({"dimensions": dimensions} if dimensions else {})} or None
