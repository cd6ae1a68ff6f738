r"""Scoring on another corpus: which classes both have, what is counted out, and how the figures come about.

A model of classes A meets a corpus of classes B. It is scored on the utterances whose true class is in both; the
probabilities of its other classes are left out and the rest is scaled to sum to 1. For one model this is what its
logits without theirs would give; where several models are averaged, their mean is scaled. Utterances of a class that
the model does not know cannot be recognised by it: they are counted, class by class, and stand in every report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ser_toolkit.errors import ResultError, nearest
from ser_toolkit.evaluation.metrics import summarise_confusion
from ser_toolkit.evaluation.predictions import probability_columns
from ser_toolkit.evaluation.rows import Scored
from ser_toolkit.evaluation.sums import FloatArray
from ser_toolkit.evaluation.uncertainty import (
    CLASS_STATISTICS,
    METHOD,
    SPEAKER_OR_DIALOGUE,
    Interval,
    Statistic,
    cluster_interval,
    with_clusters,
)
from ser_toolkit.terms import Json, natural_key

#: UA, WA and macro-F1; the weighted F1 adds nothing to WA.
FIGURES = CLASS_STATISTICS[:3]
#: The EM of ``shifted_prior`` ends when no class moves by more, or after so many steps.
TOLERANCE, STEPS = 1e-7, 10_000


@dataclass(frozen=True)
class ClassMatch:
    """Common classes of a model and a corpus, and those that only one of them has.

    Args:
        model: classes of the model, in their order.
        corpus: classes of the corpus, in their order.
        merges: another name for a class of either, for example ``{"excited": "happy"}``.
        within: when given, the classes that may be scored at most (those that a whole matrix has in common).

    Raises:
        ResultError: a name in ``merges`` is a class of neither, or fewer than two classes are common.
    """

    model: tuple[str, ...]
    corpus: tuple[str, ...]
    merges: Mapping[str, str] = field(default_factory=dict)
    within: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.within is None:
            check_merges(self.merges, [*self.model, *self.corpus])
        if len(self.common) < 2:
            raise ResultError(
                f"{_number(len(self.common))} common to the model ({', '.join(self.model)}) and the corpus "
                f"({', '.join(self.corpus)}); two are needed. Say which belong together: --map excited=happy."
            )

    @property
    def common(self) -> tuple[str, ...]:
        """Classes that both have, in the model's order."""
        there = set(self.renamed(self.corpus)) & set(
            self.within if self.within is not None else self.renamed(self.model)
        )
        return tuple(dict.fromkeys(name for name in self.renamed(self.model) if name in there))

    @property
    def only_model(self) -> tuple[str, ...]:
        """Classes of the model that are left out."""
        return tuple(name for name in self.model if self.name(name) not in self.common)

    def name(self, label: str | None) -> str | None:
        """A class under its common name."""
        return label if label is None else self.merges.get(label, label)

    def renamed(self, names: Sequence[str]) -> list[str]:
        """Classes of a model or corpus under their common names."""
        return [self.merges.get(name, name) for name in names]

    def probabilities(self, values: FloatArray) -> FloatArray:
        """Probabilities of the model's classes (N, M) -> of the common ones (N, K), rows that sum to 1.

        Those of merged classes are added up. A row without any probability for a common class becomes uniform.
        """
        shared = np.zeros((len(values), len(self.common)))
        for column, name in enumerate(self.renamed(self.model)):
            if name in self.common:
                shared[:, self.common.index(name)] += values[:, column]
        total = shared.sum(axis=1, keepdims=True)
        return np.divide(shared, total, out=np.full_like(shared, 1 / shared.shape[1]), where=total > 0)


def _number(count: int) -> str:
    return "No class is" if count == 0 else "Only one class is"


def check_merges(merges: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuse merges of classes that nobody has.

    Raises:
        ResultError: the class is unknown; the nearest names are given.
    """
    for name in merges:
        if name not in names:
            raise ResultError(f"--map {name}={merges[name]}: {name!r} is no class here. {nearest(name, names)}")


def shifted_prior(posteriors: FloatArray, training_prior: FloatArray) -> tuple[FloatArray, FloatArray]:
    r"""Class priors of a test set by EM, and the posteriors that go with them.

    .. math:: \hat p^{(s)}(\omega_i | x_k) = \frac{w_i^{(s)} \hat p_t(\omega_i | x_k)}{\sum_j w_j^{(s)} \hat
        p_t(\omega_j | x_k)}, \quad w_i^{(s)} = \frac{\hat p^{(s)}(\omega_i)}{\hat p_t(\omega_i)}, \quad
        \hat p^{(s+1)}(\omega_i) = \frac{1}{N} \sum_k \hat p^{(s)}(\omega_i | x_k)

    It is transductive: the whole test set is looked at, without its labels.

    Args:
        posteriors: (N, K) under the training prior, rows that sum to 1.
        training_prior: (K,) that sums to 1, above 0.

    Returns:
        The prior of the test set (K,), and the posteriors under it (N, K).

    Source:
        M. Saerens, P. Latinne and C. Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori
        Probabilities: A Simple Procedure", Neural Computation 14(1), 2002, equation 2.9.
    """
    if not (training_prior > 0).all():
        raise ResultError("A common class has no probability in the run's own predictions, so its prior is unknown.")
    prior, found = training_prior, posteriors
    for _ in range(STEPS):
        weighted = posteriors * (prior / training_prior)
        found = weighted / weighted.sum(axis=1, keepdims=True)
        moved, prior = np.abs(found.mean(axis=0) - prior).max(), found.mean(axis=0)
        if moved < TOLERANCE:
            break
    return prior, found


def class_prior(table: pd.DataFrame, match: ClassMatch) -> FloatArray:
    """The prior that a model works with: the mean of its cross-validated probabilities over the common classes, (K,).

    Unlike the label counts of the training part it is right for models that were trained on balanced classes, too.
    """
    table = table[table["label"].map(match.name, na_action="ignore").isin(match.common)]
    if table.empty:
        raise ResultError("The run's own predictions hold no utterance of a common class, so its prior is unknown.")
    return match.probabilities(_values(table, match)).mean(axis=0)


def score_transfer(
    table: pd.DataFrame, match: ClassMatch, training_prior: FloatArray | None = None, level: float = 0.95
) -> Json:
    """Figures on the common classes, with intervals over speakers (and dialogues, where speakers are unknown).

    Args:
        table: predictions (see ``evaluation/predictions.py``) that hold the probabilities of the model's classes.
        match: of the classes.
        training_prior: (K,) see ``class_prior``; when given, predictions are corrected for the shift of priors.
        level: nominal coverage of the intervals.

    Raises:
        ResultError: no utterance has a common class.
    """
    scored, priors = scored_rows(table, match, training_prior)
    counted = table.drop_duplicates("id")
    unknown = counted.loc[counted["label"].notna() & ~counted["id"].isin(scored["id"]), "label"].value_counts()
    by = clusters_of(scored)
    rows = Scored.of(with_clusters(scored, by), match.common)
    confusion = rows.sums("", ["all"], None)[:, 0].sum(axis=0)
    summary = summarise_confusion(confusion)
    once = scored.drop_duplicates("id")["label"].value_counts()
    return {
        "classes": list(match.common),
        "map": dict(match.merges),
        "model_only": list(match.only_model),
        "utterances": len(counted),
        "scored": int(scored["id"].nunique()),
        "unlabelled": int(counted["label"].isna().sum()),
        "unknown_class": {str(name): int(count) for name, count in unknown.items()},
        "without_probability": int(scored["_lost"].sum()),
        "speakers": int(scored["speaker"].nunique()),
        "chance": 1 / int((once > 0).sum()),
        "metrics": {one.key: _interval(rows, one, by, level).to_json() for one in FIGURES},
        "recall": summary["recall"],
        "support": [int(once.get(name, 0)) for name in match.common],
        "confusion": summary["confusion"],
        "runs": rows.runs,
        "intervals": METHOD,
        "cluster_by": by,
        "adapted_prior": priors,
    }


def scored_rows(
    table: pd.DataFrame, match: ClassMatch, training_prior: FloatArray | None = None
) -> tuple[pd.DataFrame, Json | None]:
    """Rows of a common class, labels under their common names, with the class that each row is given.

    Args:
        table: see ``score_transfer``.
        match: of the classes.
        training_prior: see ``score_transfer``.

    Returns:
        The rows, and the priors behind the classes given where they were adapted.

    Raises:
        ResultError: no utterance has a common class.
    """
    names = table["label"].map(match.name, na_action="ignore")
    inside = names.isin(match.common)
    if not inside.any():
        raise ResultError(f"No utterance has one of the common classes {', '.join(match.common)}; nothing is scored.")
    return _predicted(table[inside].assign(label=names[inside]).reset_index(drop=True), match, training_prior)


def clusters_of(table: pd.DataFrame) -> str:
    """Clusters of the intervals: speakers, or dialogues where a speaker is unknown."""
    return "speaker" if table["speaker"].notna().all() else SPEAKER_OR_DIALOGUE


def _values(table: pd.DataFrame, match: ClassMatch) -> FloatArray:
    return table[probability_columns(match.model)].to_numpy(dtype=float)


def _predicted(
    table: pd.DataFrame, match: ClassMatch, training_prior: FloatArray | None
) -> tuple[pd.DataFrame, Json | None]:
    """The class that each row is given, and the priors behind it where they were adapted."""
    raw = _values(table, match)
    values, priors = match.probabilities(raw), None
    columns = [number for number, name in enumerate(match.renamed(match.model)) if name in match.common]
    lost = ~(raw[:, columns].sum(axis=1) > 0)
    if training_prior is not None:
        found = []
        for rows in table.groupby(["seed", "draw"], sort=True).indices.values():
            prior, values[rows] = shifted_prior(values[rows], training_prior)
            found.append(prior)
        both = (training_prior, np.mean(found, axis=0))
        names = ("training", "estimated")
        priors = {
            name: dict(zip(match.common, map(float, one), strict=True)) for name, one in zip(names, both, strict=True)
        }
    predicted = np.array(match.common, dtype=object)[values.argmax(axis=1)]
    return table.assign(predicted=predicted, _lost=lost), priors


def _interval(rows: Scored, one: Statistic, by: str, level: float) -> Interval:
    """Over speakers, and dialogues of unknown ones; none where neither is known."""
    unknown = int(rows.table.loc[rows.table[by].isna(), "id"].nunique())
    if unknown:
        found = cluster_interval(rows.sums("", ["all"], None), one, level)
        return replace(found, clusters=0, reason=f"speaker and dialogue are unknown for {unknown} utterances")
    return cluster_interval(rows.sums("", sorted(set(rows.table[by]), key=natural_key), by), one, level)
