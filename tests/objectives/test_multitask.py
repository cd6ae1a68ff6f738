"""Sums of objectives: equal to their terms, learnable, and spelt on the command line."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.data.batch import Batch, Outputs, Targets
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.base import Objective
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.objectives.combined import CrossEntropyConcordance
from ser_toolkit.objectives.dimensional import ConcordanceLoss
from ser_toolkit.objectives.multitask import UncertaintyWeighted, WeightedObjectives
from ser_toolkit.objectives.regression import MeanSquaredError

COUNTS = torch.tensor([10.0, 40.0, 25.0, 5.0])


@pytest.fixture
def outputs() -> Outputs:
    torch.manual_seed(0)
    return Outputs(logits=torch.randn(8, 4, requires_grad=True), dimensions=torch.rand(8, 3, requires_grad=True))


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(4, (8,), generator=generator)
    return Batch({}, Targets(labels, torch.full((8, 4), torch.nan), torch.rand(8, 3, generator=generator)))


def made(objective: Objective) -> Objective:
    objective.set_class_counts(COUNTS)
    return objective


def test_given_weights_make_the_known_sum(outputs: Outputs, batch: Batch) -> None:
    balanced = functools.partial(CrossEntropy, class_weights="balanced")
    found, parts = made(WeightedObjectives(4, [balanced, ConcordanceLoss], [1.0, 0.3]))(outputs, batch)
    expected, known = made(CrossEntropyConcordance(4, alpha=0.3, class_weights="balanced"))(outputs, batch)
    torch.testing.assert_close(found, expected)
    # Class counts have reached the terms, and the parts are logged before their weights.
    torch.testing.assert_close(parts, known)


def test_learnt_weights_start_as_the_plain_sum(outputs: Outputs, batch: Batch) -> None:
    found, parts = made(UncertaintyWeighted(4))(outputs, batch)
    expected, _ = made(WeightedObjectives(4))(outputs, batch)
    torch.testing.assert_close(found, expected)
    assert set(parts) == {"cross_entropy", "ccc_loss", "weight_CrossEntropy", "weight_ConcordanceLoss"}
    assert parts["weight_CrossEntropy"] == parts["weight_ConcordanceLoss"] == 1


def test_learnt_weights_equal_the_formula(outputs: Outputs, batch: Batch) -> None:
    objective = UncertaintyWeighted(4)
    objective.log_variances.data = torch.tensor([0.8, -0.5])
    found, parts = objective(outputs, batch)
    sigma = torch.tensor([0.8, -0.5]).exp().sqrt()  # s = log sigma^2
    losses = torch.stack([parts["cross_entropy"], parts["ccc_loss"]])
    torch.testing.assert_close(found, (losses / sigma**2 + sigma.log()).sum())
    torch.testing.assert_close(parts["weight_ConcordanceLoss"], 1 / sigma[1] ** 2)


def test_learnt_variances_reach_twice_the_losses(outputs: Outputs, batch: Batch) -> None:
    objective = UncertaintyWeighted(4, [CrossEntropy, MeanSquaredError])
    fixed = Outputs(outputs.logits.detach(), outputs.dimensions.detach())
    optimizer = torch.optim.LBFGS(objective.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = objective(fixed, batch)[0]
        loss.backward()
        return loss

    optimizer.step(closure)
    _, parts = objective(fixed, batch)
    expected = 2 * torch.stack([parts["cross_entropy"], parts["mse"]])
    torch.testing.assert_close(objective.log_variances.exp(), expected, rtol=1e-3, atol=0)


def test_a_task_without_labels_neither_adds_nor_moves_its_weight(outputs: Outputs, batch: Batch) -> None:
    objective = UncertaintyWeighted(4)
    objective.log_variances.data = torch.tensor([0.8, -0.5])
    batch.targets.dimensions[:] = torch.nan
    loss, parts = objective(outputs, batch)
    loss.backward()
    torch.testing.assert_close(loss, parts["cross_entropy"] * torch.tensor(-0.8).exp() + 0.4)
    assert objective.log_variances.grad[0] != 0
    assert objective.log_variances.grad[1] == 0
    batch.targets.label[:] = -1
    assert objective(outputs, batch)[0] == 0


def test_needs_what_its_terms_need() -> None:
    assert WeightedObjectives(4).requires == ("logits", "dimensions")
    assert WeightedObjectives(4, [MeanSquaredError, ConcordanceLoss]).requires == ("dimensions",)
    nested = UncertaintyWeighted(4, [WeightedObjectives, CrossEntropy])
    assert nested.requires == ("logits", "dimensions")


def test_a_class_used_twice_keeps_both_parts(outputs: Outputs, batch: Batch) -> None:
    smooth = functools.partial(CrossEntropy, label_smoothing=0.5)
    loss, parts = UncertaintyWeighted(4, [CrossEntropy, smooth])(outputs, batch)
    assert set(parts) == {"cross_entropy", "cross_entropy_2", "weight_CrossEntropy", "weight_CrossEntropy_2"}
    assert parts["cross_entropy"] != parts["cross_entropy_2"]
    torch.testing.assert_close(loss, parts["cross_entropy"] + parts["cross_entropy_2"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UncertaintyWeighted(4, []), "UncertaintyWeighted: objectives must name at least one"),
        (lambda: WeightedObjectives(4, weights=[1.0]), "2 numbers >= 0, one for each of CrossEntropy, ConcordanceLoss"),
        (lambda: WeightedObjectives(4, weights=[1.0, -1.0]), r"found \[1.0, -1.0\]"),
    ],
)
def test_refuses_options_out_of_range(make, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()


def test_terms_are_chosen_on_the_command_line_and_in_a_file(tmp_path: Path) -> None:
    terms = '[{"class_path": "CrossEntropy", "init_args": {"label_smoothing": 0.2}}, "MeanSquaredError"]'
    overrides = ["model.head=MultiTaskHead", "model.objective=UncertaintyWeighted"]
    recipe = load_recipe("demo", *overrides, f"model.objective.objectives={terms}")
    (tmp_path / "again.yaml").write_text(recipe.yaml())
    for read in (recipe, load_recipe(str(tmp_path / "again.yaml"))):
        objective = read.model(["a", "b", "c"]).objective
        assert objective.names == ["CrossEntropy", "MeanSquaredError"]
        assert objective.objectives[0].label_smoothing == 0.2
        assert objective.objectives[0].num_classes == 3
        assert read.hash("manifest", "upstream") == recipe.hash("manifest", "upstream")
    # The defaults are not written out as classes, which would hash differently once they are read again.
    plain = load_recipe("demo", *overrides)
    assert plain.hash("", "") == plain.override().hash("", "")
    with pytest.raises(RecipeError, match="Did you mean CrossEntropy"):
        load_recipe("demo", *overrides, "model.objective.objectives=[CrossEntrop]")


def test_learnt_weights_are_optimised_and_stored_with_the_model() -> None:
    recipe = load_recipe("demo", "model.head=MultiTaskHead", "model.objective=UncertaintyWeighted")
    model = recipe.model(["a", "b", "c"])
    groups = model.configure_optimizers()
    optimizer = groups["optimizer"] if isinstance(groups, dict) else groups
    optimised = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert id(model.objective.log_variances) in optimised
    model.objective.log_variances.data = torch.tensor([0.3, -0.2])
    other = recipe.model(["a", "b", "c"])
    other.load_own_state(model.own_state())
    torch.testing.assert_close(other.objective.log_variances, model.objective.log_variances)
