"""Contract checks of context stages."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_toolkit.contracts.common import (
    DIM,
    Make,
    equal_again,
    gradients_are_right,
    gradients_reach,
    reloaded,
    require,
    same,
    shaken,
)
from ser_toolkit.parts.finding import check_size

#: Two dialogues of four and two turns, their rows mixed, and two utterances whose dialogue is unknown.
DIALOGUE = torch.tensor([7, 3, 7, -1, 7, 3, -1, 7])
TURN = torch.tensor([2, 0, 0, -1, 5, 1, -1, 1])


def _vectors() -> Tensor:
    return torch.randn(len(DIALOGUE), DIM, generator=torch.Generator().manual_seed(0))


def the_vectors_have_the_promised_size(make: Make) -> None:
    """(B, E) vectors give (B, output_dim)."""
    stage = shaken(make())
    found = stage(_vectors(), DIALOGUE, TURN)
    check_size(stage, "output_dim", stage.output_dim, found)
    require(found.shape == (len(DIALOGUE), stage.output_dim), f"shape {tuple(found.shape)}, expected (B, output_dim).")


def the_order_of_rows_never_changes_a_vector(make: Make) -> None:
    """Turns are taken in the order of ``turn``, wherever their rows stand in the batch."""
    stage = shaken(make())
    order = torch.tensor([5, 0, 7, 3, 1, 6, 4, 2])
    found = stage(_vectors()[order], DIALOGUE[order], TURN[order])
    advice = "Sort the rows of a dialogue by turn, and put the results back into their places."
    same(found, stage(_vectors(), DIALOGUE, TURN)[order], "vectors of a batch in another order", advice=advice)


def other_dialogues_never_change_a_vector(make: Make) -> None:
    """A dialogue alone gives what it gives beside longer and shorter ones; its index is a name, no number."""
    stage, vectors = shaken(make()), _vectors()
    together = stage(vectors, DIALOGUE, TURN)
    for number in (7, 3):
        rows = DIALOGUE.eq(number).nonzero()[:, 0]
        alone = stage(vectors[rows], torch.zeros_like(DIALOGUE[rows]), TURN[rows])
        same(together[rows], alone, "vectors of a dialogue beside others, against the dialogue alone")


def an_utterance_without_a_dialogue_stands_alone(make: Make) -> None:
    """A row of dialogue -1 gives what a dialogue of this one utterance gives."""
    stage, vectors = shaken(make()), _vectors()
    together = stage(vectors, DIALOGUE, TURN)
    for row in DIALOGUE.lt(0).nonzero()[:, 0].tolist():
        alone = stage(vectors[row : row + 1], torch.tensor([-1]), torch.tensor([-1]))
        single = stage(vectors[row : row + 1], torch.tensor([0]), torch.tensor([0]))
        same(together[row : row + 1], alone, "the vector of an utterance of no dialogue, against it alone")
        same(alone, single, "the vector of an utterance of no dialogue, against a dialogue of this turn")


def every_weight_gets_a_gradient(make: Make) -> None:
    """No parameter is left out of the result."""
    gradients_reach(shaken(make()), _vectors(), DIALOGUE, TURN)


def gradients_are_those_of_finite_differences(make: Make) -> None:
    """Gradients equal finite differences in float64."""
    stage, vectors = shaken(make()).double(), _vectors().double().requires_grad_()
    gradients_are_right(lambda x: stage(x, DIALOGUE, TURN), vectors, fast=True)


def stored_weights_give_the_same_vectors(make: Make) -> None:
    """Saved and loaded, it gives the same bits."""
    stage = shaken(make())
    equal_again(reloaded(stage, make)(_vectors(), DIALOGUE, TURN), stage(_vectors(), DIALOGUE, TURN))


CHECKS = (
    the_vectors_have_the_promised_size,
    the_order_of_rows_never_changes_a_vector,
    other_dialogues_never_change_a_vector,
    an_utterance_without_a_dialogue_stands_alone,
    every_weight_gets_a_gradient,
    gradients_are_those_of_finite_differences,
    stored_weights_give_the_same_vectors,
)
