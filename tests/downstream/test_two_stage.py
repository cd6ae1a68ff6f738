"""The two-stage SVM against two machines of scikit-learn in a row, and the search for its root class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ser_toolkit.downstream.two_stage import TwoStageSVM
from ser_toolkit.errors import RecipeError, TrainingError

CLASSES = ["angry", "happy", "neutral", "sad"]


def utterances(apart: int | None = None, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """160 vectors of four classes that overlap; one may lie apart from the others."""
    rng = np.random.default_rng(0)
    label = np.arange(160) % 4
    centres = spread * rng.normal(size=(4, 6))
    if apart is not None:
        centres[apart] += 6
    return (centres[label] + rng.normal(size=(160, 6))).astype(np.float32), label


@pytest.mark.parametrize("root", CLASSES)
def test_decisions_are_those_of_two_machines_in_a_row(root: str) -> None:
    vectors, label = utterances()
    head = TwoStageSVM(6, 4, root=root, C=3.0, gamma=0.1)
    head.set_classes(CLASSES)
    head.fit(torch.from_numpy(vectors[:120]), torch.from_numpy(label[:120]))
    values = StandardScaler().fit(vectors[:120].astype(float)).transform(vectors.astype(float))
    options = {"C": 3.0, "gamma": 0.1, "class_weight": "balanced", "break_ties": True}
    place, train = CLASSES.index(root), label[:120]
    first = SVC(C=3.0, gamma=0.1, class_weight="balanced").fit(values[:120], train == place)
    second = SVC(**options, decision_function_shape="ovr").fit(values[:120][train != place], train[train != place])
    expected = np.where(first.predict(values), place, second.predict(values))
    found = head(torch.from_numpy(vectors)).logits
    np.testing.assert_array_equal(found.argmax(dim=1).numpy(), expected)
    assert (expected == place).any()
    assert len(set(expected.tolist())) == 4
    np.testing.assert_allclose(found[:, place].numpy(), first.decision_function(values), atol=1e-4)


@pytest.mark.parametrize("apart", [1, 3])
def test_the_root_is_the_class_that_one_machine_recalls_best(apart: int) -> None:
    vectors, label = utterances(apart, spread=0.3)
    head = TwoStageSVM(6, 4)
    head.fit(torch.from_numpy(vectors), torch.from_numpy(label))
    assert int(head.root_index) == apart


def test_a_stored_state_gives_the_same_decisions() -> None:
    vectors, label = (torch.from_numpy(values) for values in utterances())
    head, other = TwoStageSVM(6, 4), TwoStageSVM(6, 4)
    head.fit(vectors, label)
    other.match_shapes(head.state_dict())
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(vectors).logits, head(vectors).logits)


@pytest.mark.parametrize("absent", [0, 2])
def test_a_class_without_examples_is_never_chosen(absent: int) -> None:
    vectors, label = utterances()
    kept = torch.from_numpy(label != absent)
    head = TwoStageSVM(6, 4, root="sad")
    head.set_classes(CLASSES)
    head.fit(torch.from_numpy(vectors)[kept], torch.from_numpy(label)[kept])
    found = head(torch.from_numpy(vectors)).logits.argmax(dim=1)
    assert set(found.tolist()) == {0, 1, 2, 3} - {absent}


def test_what_cannot_be_told_apart_in_two_stages_is_refused() -> None:
    with pytest.raises(RecipeError, match="at least 3 classes"):
        TwoStageSVM(6, 2)
    head = TwoStageSVM(6, 4, root="calm")
    with pytest.raises(RecipeError, match=r"'calm' is not among the classes \(angry"):
        head.set_classes(CLASSES)
    vectors, label = (torch.from_numpy(values) for values in utterances())
    head = TwoStageSVM(6, 4, root="sad")
    head.set_classes(CLASSES)
    with pytest.raises(TrainingError, match="root class"):
        head.fit(vectors[label < 3], label[label < 3])
    with pytest.raises(TrainingError, match="two others"):
        TwoStageSVM(6, 4).fit(vectors[label < 2], label[label < 2])


def test_a_class_of_one_example_does_not_shift_the_recalls_of_the_others() -> None:
    vectors, label = utterances(2, spread=0.3)
    few = np.flatnonzero((label != 0) | (np.arange(len(label)) == 0))
    head = TwoStageSVM(6, 4)
    head.fit(torch.from_numpy(vectors[few]), torch.from_numpy(label[few]))
    assert int(head.root_index) == 2
