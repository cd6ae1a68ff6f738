"""What every conditioning must keep to, and what each does: concatenation, feature-wise modulation."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ser_toolkit.data.conditions import Language, SpeakerSex
from ser_toolkit.downstream.conditioning import ConcatenateCondition, Conditioning, FeatureWiseModulation
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import subclasses, summary

DIM, ROWS = 6, 9
BOTH = [Language(["de", "en"]), SpeakerSex()]
FEMALE, MALE, UNKNOWN = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2)

BASE: type = Conditioning
SHIPPED: dict[str, type] = subclasses(BASE)
OPTIONS: list[tuple[str, dict[str, Any]]] = [("default", {}), ("both", {"conditions": BOTH, "hidden": 0.5})]
PARTS = [
    pytest.param(part, options, id=f"{part.__name__}-{name}")
    for part in SHIPPED.values()
    if part.__module__.startswith("ser_toolkit.")
    for name, options in OPTIONS
]
contract = pytest.mark.parametrize(("part", "options"), PARTS)


def shaken(module: Conditioning) -> Conditioning:
    """The module with every weight away from its start value, in evaluation mode."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module.eval()


def inputs(module: Conditioning, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    """Vectors (B, E) and conditions (B, K): every row another combination, the last ones unknown."""
    noise = torch.Generator().manual_seed(0)
    known = torch.zeros(rows, module.condition_dim)
    for row in range(rows - 2):
        place = 0
        for condition in module.conditions:
            known[row, place + row % len(condition.values)] = 1.0
            place += len(condition.values)
    return torch.randn(rows, DIM, generator=noise), known


class TestContract:
    """Every conditioning, found by the walk."""

    @contract
    def test_shape_finite_and_rows_alone(self, part: type, options: dict[str, Any]) -> None:
        module = shaken(part(DIM, **options))
        vectors, known = inputs(module)
        found = module(vectors, known)
        assert found.shape == (ROWS, module.output_dim)
        assert found.isfinite().all()
        alone = torch.cat([module(one[None], own[None]) for one, own in zip(vectors, known, strict=True)])
        torch.testing.assert_close(found, alone)
        assert module.condition_dim == known.shape[1]
        assert module.conditions[-1].column == "sex", "without conditions it is told the speaker's sex"

    @contract
    def test_what_is_known_changes_the_vector(self, part: type, options: dict[str, Any]) -> None:
        module = shaken(part(DIM, **options))
        vectors, known = inputs(module)
        told, untold = module(vectors, known), module(vectors, torch.zeros_like(known))
        assert ((told - untold).abs().sum(dim=1)[: ROWS - 2] > 1e-3).all()
        assert torch.equal(told[ROWS - 2 :], untold[ROWS - 2 :])
        assert (told[0] - module(vectors[:1], known[1:2])[0]).abs().max() > 1e-3, "one value is not another"

    @contract
    def test_unknown_leaves_the_vector_as_it_is(self, part: type, options: dict[str, Any]) -> None:
        module = shaken(part(DIM, **options))
        vectors, known = inputs(module)
        found = module(vectors, torch.zeros_like(known))
        torch.testing.assert_close(found[:, :DIM], vectors)
        assert not found[:, DIM:].any()

    @contract
    def test_gradients_reach_every_parameter_and_the_vector(self, part: type, options: dict[str, Any]) -> None:
        module = shaken(part(DIM, **options)).double()
        vectors, known = (value.double() for value in inputs(module, 4))
        vectors.requires_grad_(True)
        (module(vectors, known) * torch.linspace(-1, 1, module.output_dim)).square().sum().backward()
        assert vectors.grad is not None
        assert vectors.grad.any()
        assert all(p.grad is not None and p.grad.any() for p in module.parameters())
        assert list(module.parameters())
        assert torch.autograd.gradcheck(lambda value: module(value, known), (vectors,))

    @contract
    def test_conditions_are_hidden_in_training_alone_and_replayably(self, part: type, options: dict[str, Any]) -> None:
        module = shaken(part(DIM, **options | {"hidden": 0.4}))
        vectors, known = inputs(module, 2000)
        known[-2:] = known[0]
        shown, unknown = module(vectors, known), module(vectors, torch.zeros_like(known))
        assert torch.equal(module(vectors, known), shown)
        module.train()
        torch.manual_seed(5)
        first = module(vectors, known)
        hidden = (first - unknown).abs().sum(dim=1) == 0
        # a whole utterance's conditions are hidden or shown together
        assert torch.equal(first[~hidden], shown[~hidden])
        assert float(hidden.float().mean()) == pytest.approx(0.4, abs=4 * math.sqrt(0.24 / 2000))
        torch.manual_seed(5)
        assert torch.equal(module(vectors, known), first), "the step's seed replays it"
        assert not torch.equal(module(vectors, known), first)

    @contract
    def test_nothing_is_hidden_at_zero_and_no_random_number_is_drawn(self, part: type, options: dict[str, Any]) -> None:
        module = shaken(part(DIM, **options | {"hidden": 0.0}))
        vectors, known = inputs(module)
        expected = module(vectors, known)
        state = torch.get_rng_state()
        assert torch.equal(module.train()(vectors, known), expected)
        assert torch.equal(torch.get_rng_state(), state)

    @contract
    def test_save_load_and_copy(self, part: type, options: dict[str, Any]) -> None:
        module = shaken(part(DIM, **options))
        buffer = io.BytesIO()
        torch.save(module.state_dict(), buffer)
        buffer.seek(0)
        other = part(DIM, **options).eval()
        other.load_state_dict(torch.load(buffer, weights_only=True))
        vectors, known = inputs(module)
        assert torch.equal(other(vectors, known), module(vectors, known))
        assert torch.equal(copy.deepcopy(module)(vectors, known), module(vectors, known))

    @contract
    def test_bf16_autocast(self, part: type, options: dict[str, Any]) -> None:
        module = shaken(part(DIM, **options))
        vectors, known = inputs(module)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = module(vectors, known)
        torch.testing.assert_close(found.float(), module(vectors, known), atol=0.05, rtol=0.05)

    @contract
    def test_wrong_options_and_help(self, part: type, options: dict[str, Any]) -> None:
        with pytest.raises(RecipeError, match="at least one condition, each once"):
            part(DIM, conditions=[])
        with pytest.raises(RecipeError, match=r"each once, found \['sex', 'sex'\]"):
            part(DIM, conditions=[SpeakerSex(), SpeakerSex()])
        for hidden in (-0.1, 1.0, float("nan")):
            with pytest.raises(RecipeError, match=r"hidden must be in \[0, 1\)"):
                part(DIM, hidden=hidden)
        assert summary(part) not in ("", summary(BASE))


def test_the_walk_finds_both() -> None:
    assert {case.values[0] for case in PARTS} >= {ConcatenateCondition, FeatureWiseModulation}


def test_concatenation_puts_the_rows_of_its_embedding_behind_the_vector() -> None:
    module = ConcatenateCondition(3, dim=4).eval()
    assert (module.output_dim, [tuple(p.shape) for p in module.parameters()]) == (7, [(4, 2)])
    vector = torch.tensor([[1.0, 2.0, 3.0]])
    for known, column in ((FEMALE, 0), (MALE, 1)):
        assert torch.equal(module(vector, known)[0, :3], vector[0])
        assert torch.equal(module(vector, known)[0, 3:], module.embedding.weight[:, column])
    with pytest.raises(RecipeError, match="dim must be at least 1"):
        ConcatenateCondition(3, dim=0)


def test_modulation_changes_nothing_at_first_then_scales_and_shifts() -> None:
    module = FeatureWiseModulation(3).eval()
    vector = torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.equal(module(vector, FEMALE), vector)
    with torch.no_grad():
        module.scale.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.5, 2.0]]))
        module.shift.weight.copy_(torch.tensor([[0.0, 10.0], [7.0, 0.0], [0.0, -1.0]]))
    assert module(vector, FEMALE).tolist() == [[2.0, 7.0, 4.5]]
    assert module(vector, MALE).tolist() == [[11.0, 2.0, 8.0]]
    assert torch.equal(module(vector, UNKNOWN), vector)
