"""Label rules against worked examples, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ser_toolkit.corpora.base import Utterance
from ser_toolkit.data.labels import (
    AllInclusive,
    Intended,
    LabelRule,
    Majority,
    Plurality,
    Soft,
    vote_counts,
)
from ser_toolkit.data.manifest import Manifest, table_from_rows
from ser_toolkit.errors import ManifestError
from ser_toolkit.terms import MISSING_LABEL

CLASSES = ("neutral", "angry", "sad", "happy")
X = MISSING_LABEL
NAN = float("nan")


def manifest(*votes: dict[str, float] | None, labels: list[str | None] | None = None, **facts: object) -> Manifest:
    labels = labels or [None] * len(votes)
    rows = [
        Utterance(f"u{k}", f"u{k}.wav", votes=one, label=label)
        for k, (one, label) in enumerate(zip(votes, labels, strict=True))
    ]
    return Manifest(table_from_rows(rows), "made up", CLASSES, Path(), dict(facts))


VOTED = manifest(
    {"angry": 2, "sad": 2, "neutral": 1},  # the published example (A, S, S, N, A)
    {"angry": 3, "sad": 2},
    {"happy": 2, "sad": 1, "neutral": 1},  # most, but not more than half
    {"happy": 1, "surprised": 2},  # most raters heard what is not a class
    {"surprised": 3},
    None,
    {"angry": 0.1 + 0.2, "sad": 0.3},  # a tie of fractions, which floats miss by their last bit
    {"happy": 4},
)


def test_all_inclusive_worked_example() -> None:
    rule = AllInclusive()
    targets = rule.targets(VOTED)
    np.testing.assert_allclose(targets.soft[0], [0.2, 0.4, 0.4, 0.0], atol=1e-7)
    assert rule.present(targets.soft)[0].tolist() == [False, True, True, False]
    assert targets.label.tolist() == [X, 1, 3, 3, X, X, X, 3]
    assert not rule.present(targets.soft)[5].any()  # no votes
    assert not rule.present(np.full((1, 4), 0.25, np.float32)).any()  # strictly greater than 1 / C


@pytest.mark.parametrize(
    ("rule", "labels"),
    [
        (Plurality(), [X, 1, 3, X, X, X, X, 3]),
        (Majority(), [X, 1, X, X, X, X, X, 3]),
        (Soft(), [X, 1, 3, X, X, X, X, 3]),
    ],
)
def test_labels_of_vote_rules(rule: LabelRule, labels: list[int]) -> None:
    targets = rule.targets(VOTED)
    assert targets.label.tolist() == labels
    assert targets.label.dtype == np.int64 and targets.soft.dtype == np.float32
    sums = targets.soft.sum(axis=1)
    np.testing.assert_allclose(sums[~np.isnan(sums)], 1, atol=1e-6)
    if not isinstance(rule, Soft):  # one-hot exactly where there is a label
        known = targets.label != X
        np.testing.assert_array_equal(targets.soft[known].argmax(axis=1), targets.label[known])
        assert np.isnan(targets.soft[~known]).all() and (targets.soft[known].max(axis=1) == 1).all()


def test_soft_targets_are_over_the_classes_and_smoothed() -> None:
    soft = Soft().targets(VOTED).soft
    np.testing.assert_allclose(soft[2], [0.25, 0, 0.25, 0.5])
    np.testing.assert_allclose(soft[3], [0, 0, 0, 1])  # the two other votes are dropped
    assert np.isnan(soft[[4, 5]]).all()
    smooth = Soft(smoothing=0.2).targets(VOTED).soft
    np.testing.assert_allclose(smooth[2], [0.25, 0.05, 0.25, 0.45], atol=1e-7)
    assert np.isnan(smooth[5]).all()


def test_what_is_discarded_is_said() -> None:
    assert Plurality().targets(VOTED).notes == [
        "1 of 8 utterances without votes",
        "2 of 8 utterances with tied votes",
        "2 of 8 utterances in which another emotion than the classes has most votes",
        "5 of 24.6 votes went to emotions that are not among the classes",
    ]
    assert "5 of 8 utterances in which no class has more than half of the votes" in Majority().targets(VOTED).notes


def test_votes_as_numbers() -> None:
    inside, outside = vote_counts(VOTED)
    assert inside.shape == (8, 4) and outside[:, 0].tolist() == [0, 0, 0, 2, 3, 0, 0, 0]
    assert inside[0].tolist() == [1, 2, 2, 0] and inside[5].tolist() == [0, 0, 0, 0]


def test_intended_labels() -> None:
    targets = Intended().targets(manifest(None, None, None, labels=["sad", None, "neutral"]))
    assert targets.label.tolist() == [2, X, 0]
    np.testing.assert_array_equal(targets.soft, [[0, 0, 1, 0], [NAN] * 4, [1, 0, 0, 0]])
    assert targets.notes == ["1 of 3 utterances without a label"]


def test_a_rule_without_its_material_is_refused() -> None:
    with pytest.raises(ManifestError, match="no utterance has votes, which Plurality needs"):
        Plurality().targets(manifest(None, None, labels=["sad", "sad"]))
    with pytest.raises(ManifestError, match="no utterance has a label"):
        Intended().targets(manifest({"sad": 1.0}))
    for wrong in (lambda: Soft(smoothing=1.0), lambda: Soft(smoothing=-0.1)):
        with pytest.raises(ValueError, match="expected"):
            wrong()


def test_dimensions_are_scaled_from_the_corpus_range() -> None:
    made = manifest(None, None, None, labels=["sad"] * 3, dimension_range=[1.0, 5.0])
    table = made.table.assign(valence=[1.0, 3.0, NAN], arousal=[5.0, 2.0, NAN], dominance=[3.0, NAN, NAN])
    targets = Intended().targets(Manifest(table, "made up", CLASSES, Path(), made.facts))
    np.testing.assert_array_equal(targets.dimensions, [[0, 1, 0.5], [0.5, 0.25, NAN], [NAN] * 3])
    assert targets.dimensions.dtype == np.float32
    assert targets.notes == ["2 of 3 utterances lack valence, arousal or dominance"]
    unscaled = Intended().targets(Manifest(table, "made up", CLASSES, Path(), {}))
    assert np.isnan(unscaled.dimensions).all() and "does not state their scale" in unscaled.notes[0]
