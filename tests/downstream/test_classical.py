"""Linear fitted heads against scikit-learn's own pipelines, with odd class sets, and by way of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from ser_toolkit.downstream.classical import LinearSVM, LogisticRegressionHead
from ser_toolkit.downstream.heads import FittedHead
from ser_toolkit.downstream.kernel import KernelSVM
from ser_toolkit.errors import RecipeError, TrainingError

HEADS = [LinearSVM, LogisticRegressionHead, KernelSVM]


def utterances(classes: list[int], count: int = 90, dim: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping classes of unequal size; features far from zero, of very different scale, one that never moves."""
    rng = np.random.default_rng(0)
    label = rng.choice(classes, size=count, p=np.arange(1, len(classes) + 1) / sum(range(1, len(classes) + 1)))
    values = rng.normal(size=(count, dim)) + 0.7 * rng.normal(size=(7, dim))[label]
    values = values * np.logspace(-2, 3, dim) + 50
    values[:, 2] = 4.2
    return torch.from_numpy(values).float(), torch.from_numpy(label)


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5 * max(1.0, np.abs(expected).max()), rtol=0)


class TestLinearSVM:
    @pytest.mark.parametrize("options", [{}, {"C": 0.01, "loss": "hinge"}, {"class_weights": "none"}])
    def test_decision_values_are_scikit_learns(self, options: dict) -> None:
        vectors, labels = utterances([0, 1, 2, 3])
        head = LinearSVM(8, 4, **options)
        head.fit(vectors, labels)
        machine = make_pipeline(
            StandardScaler(),
            LinearSVC(
                C=options.get("C", 0.1),
                loss=options.get("loss", "squared_hinge"),
                class_weight=None if "class_weights" in options else "balanced",
                random_state=0,
                max_iter=10_000,
            ),
        ).fit(vectors.double().numpy(), labels.numpy())
        close(head(vectors).logits, machine.decision_function(vectors.double().numpy()))

    def test_without_standardisation(self) -> None:
        vectors, labels = utterances([0, 1, 2])
        vectors = (vectors - vectors.mean(dim=0)) / 500
        head = LinearSVM(8, 3, standardise=False)
        head.fit(vectors, labels)
        machine = LinearSVC(C=0.1, class_weight="balanced", random_state=0, max_iter=10_000).fit(vectors, labels)
        close(head(vectors).logits, machine.decision_function(vectors.double().numpy()))

    def test_two_classes_lie_on_either_side(self) -> None:
        vectors, labels = utterances([0, 1])
        head = LinearSVM(8, 2)
        head.fit(vectors, labels)
        logits = head(vectors).logits
        assert torch.equal(logits[:, 0], -logits[:, 1])
        assert ((logits[:, 1] > 0) == (labels == 1)).float().mean() > 0.6

    def test_the_penalty_is_used(self) -> None:
        vectors, labels = utterances([0, 1, 2])
        size = []
        for strength in (1e-4, 1.0):
            head = LinearSVM(8, 3, C=strength)
            head.fit(vectors, labels)
            size.append(head.weight.norm())
        assert size[1] > 3 * size[0]


class TestLogisticRegression:
    @pytest.mark.parametrize("classes", [[0, 1, 2, 3], [0, 1]])
    def test_softmax_gives_scikit_learns_probabilities(self, classes: list[int]) -> None:
        vectors, labels = utterances(classes)
        head = LogisticRegressionHead(8, len(classes), C=0.3)
        head.fit(vectors, labels)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, class_weight="balanced", max_iter=1000))
        model.fit(vectors.double().numpy(), labels.numpy())
        found = head(vectors).logits.softmax(dim=1)
        np.testing.assert_allclose(found, model.predict_proba(vectors.double().numpy()), atol=1e-5)


@pytest.mark.parametrize("part", HEADS)
class TestAllFittedHeads:
    @pytest.mark.parametrize("present", [[1, 4], [0, 2, 3]])
    def test_a_class_without_examples_is_never_said(self, part: type[FittedHead], present: list[int]) -> None:
        vectors, labels = utterances(present)
        head, alone = part(8, 5), part(8, len(present))
        head.fit(vectors, labels)
        alone.fit(vectors, torch.searchsorted(torch.tensor(present), labels))
        logits = head(vectors).logits
        assert torch.equal(logits[:, present], alone(vectors).logits)
        missing = [number for number in range(5) if number not in present]
        assert torch.equal(logits[:, missing], torch.full((90, len(missing)), -1e4))

    @pytest.mark.parametrize("present", [[0, 1, 2, 3, 4], [1, 4]])
    def test_a_fresh_head_takes_the_weights_from_a_file(
        self, part: type[FittedHead], present: list[int], tmp_path: Path
    ) -> None:
        vectors, labels = utterances(present)
        head, fresh = part(8, 5), part(8, 5)
        head.fit(vectors, labels)
        save_file(head.state_dict(), tmp_path / "head.safetensors")
        state = load_file(tmp_path / "head.safetensors")
        fresh.match_shapes(state)
        fresh.load_state_dict(state)
        assert torch.equal(fresh(vectors).logits, head(vectors).logits)

    def test_fitting_again_forgets_the_first_time(self, part: type[FittedHead]) -> None:
        vectors, labels = utterances([0, 1, 2])
        twice, once = part(8, 3), part(8, 3)
        twice.fit(100 - 3 * vectors[:40], labels[:40].flip(0))
        twice.fit(vectors, labels)
        once.fit(vectors, labels)
        assert torch.equal(twice(vectors).logits, once(vectors).logits)

    def test_the_gradient_reaches_the_vectors(self, part: type[FittedHead]) -> None:
        vectors, labels = utterances([0, 1, 2])
        head = part(8, 3, standardise=False).double()
        values = (vectors / 100).double()
        head.fit(values, labels)
        assert torch.autograd.gradcheck(lambda x: head(x).logits, values[:3].requires_grad_())

    def test_autocast_does_not_round(self, part: type[FittedHead]) -> None:
        vectors, labels = utterances([0, 1, 2])
        head = part(8, 3)
        head.fit(vectors, labels)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(head(vectors).logits, head(vectors.clone()).logits.float())
            found = head(vectors).logits
        assert torch.equal(found, head(vectors).logits)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x, y: (x, torch.zeros_like(y)), r"at least two of the 3 classes.*\[0\] in 90"),
            (lambda x, y: (x, y + 1), r"class indices \[1, 2, 3\]"),
            (lambda x, y: (x[:, :5], y), r"\(90, 5\)"),
            (lambda x, y: (x[:7], y), r"\(7, 8\) and 90"),
            (lambda x, y: (torch.where(torch.arange(90)[:, None] == 4, torch.nan, x), y), "1 of 90.*number 4"),
        ],
    )
    def test_what_cannot_be_fitted(self, part: type[FittedHead], change: object, message: str) -> None:
        with pytest.raises(TrainingError, match=message):
            part(8, 3).fit(*change(*utterances([0, 1, 2])))

    @pytest.mark.parametrize("options", [{"C": 0.0}, {"C": float("nan")}, {"class_weights": "equal"}])
    def test_options_are_checked(self, part: type[FittedHead], options: dict) -> None:
        with pytest.raises(RecipeError, match=next(iter(options))):
            part(8, 3, **options)


def test_what_the_library_refuses_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(LinearSVC, "fit", refuse)
    with pytest.raises(TrainingError, match="LinearSVM cannot be fitted to 90 vectors of 3 classes: no luck"):
        LinearSVM(8, 3).fit(*utterances([0, 1, 2]))
