"""Streams, targets and batches: padding with lengths, and moving to another device as a whole."""

from __future__ import annotations

import pytest
import torch

from ser_toolkit.data.batch import (
    Batch,
    Frames,
    Moments,
    Outputs,
    Targets,
    Vectors,
    Waves,
    pad_sequences,
    valid_mask,
)


def _batch(stream: Waves | Frames | Moments | Vectors) -> Batch:
    targets = Targets(torch.tensor([0, 1]), torch.zeros(2, 2), torch.zeros(2, 3))
    return Batch({"speech": stream}, targets, ["a", "b"], torch.tensor([0, 1]))


@pytest.mark.parametrize("dim", [0, 1])
def test_padding_keeps_every_value_and_puts_zeros_behind(dim: int) -> None:
    sequences = [torch.randn(*([length] if dim == 0 else [3, length, 2])) + 5 for length in (4, 1, 7)]
    padded, lengths = pad_sequences(sequences, dim)
    assert lengths.tolist() == [4, 1, 7]
    assert lengths.dtype == torch.long
    assert padded.shape == (3, 7) if dim == 0 else (3, 3, 7, 2)
    for row, sequence, length in zip(padded, sequences, lengths.tolist(), strict=True):
        torch.testing.assert_close(row.narrow(dim, 0, length), sequence, rtol=0, atol=0)
        assert (row.narrow(dim, length, 7 - length) == 0).all()


def test_padding_keeps_the_type_of_the_values() -> None:
    assert pad_sequences([torch.ones(2, dtype=torch.float64)])[0].dtype == torch.float64


def test_mask_is_true_on_valid_positions_only() -> None:
    assert valid_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


@pytest.mark.parametrize(
    "stream",
    [
        Waves(torch.zeros(2, 5), torch.tensor([5, 3])),
        Frames(torch.zeros(2, 1, 4, 3), torch.tensor([4, 2])),
        Moments(torch.tensor([4, 2]), torch.zeros(2, 1, 3), torch.zeros(2, 1, 1, 3)),
        Moments(torch.tensor([4, 2]), torch.zeros(2, 1, 3)),
        Vectors(torch.zeros(2, 3)),
    ],
    ids=["waves", "frames", "moments", "means", "vectors"],
)
def test_a_batch_moves_as_a_whole(stream: Waves | Frames | Moments | Vectors) -> None:
    # The device "meta" exists on every machine, so that a tensor left behind shows without a GPU.
    batch = _batch(stream)
    moved = batch.to("meta")
    found = [moved.speaker, *vars(moved.targets).values(), *vars(moved.streams["speech"]).values()]
    assert all(tensor.device.type == "meta" for tensor in found if tensor is not None)
    assert moved.ids == ["a", "b"]
    assert type(moved.streams["speech"]) is type(stream)
    assert batch.speaker.device.type == "cpu"
    assert len(moved) == 2


def test_outputs_that_a_head_left_out_stay_out_when_moved() -> None:
    moved = Outputs(logits=torch.zeros(1, 2)).to("meta")
    assert moved.logits is not None
    assert moved.logits.device.type == "meta"
    assert moved.dimensions is None
