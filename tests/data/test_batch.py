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
    layer_pairs,
    pad_sequences,
    parts_of,
    stack_moments,
    stack_stored,
    stream_name,
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
        Moments(torch.tensor([4, 2]), torch.zeros(2, 1, 3), torch.zeros(2, 1, 3)),
        Moments(torch.tensor([4, 2]), torch.zeros(2, 2, 3), cross=torch.zeros(2, 3, 3)),
        Moments(torch.tensor([4, 2]), torch.zeros(2, 1, 3)),
        Vectors(torch.zeros(2, 3)),
    ],
    ids=["waves", "frames", "variances", "covariances", "means", "vectors"],
)
def test_a_batch_moves_as_a_whole(stream: Waves | Frames | Moments | Vectors) -> None:
    # The device "meta" exists on every machine, so that a tensor left behind shows without a GPU.
    batch = _batch(stream)
    moved = batch.to("meta")
    assert moved.dialogue.shape == moved.turn.shape == (2,)
    found = [
        moved.speaker,
        moved.dialogue,
        moved.turn,
        *vars(moved.targets).values(),
        *vars(moved.streams["speech"]).values(),
    ]
    assert all(tensor.device.type == "meta" for tensor in found if tensor is not None)
    assert moved.ids == ["a", "b"]
    assert type(moved.streams["speech"]) is type(stream)
    assert batch.speaker.device.type == "cpu"
    assert len(moved) == 2


def test_places_in_dialogues_are_unknown_where_none_are_given() -> None:
    batch = _batch(Vectors(torch.zeros(2, 3)))
    assert batch.dialogue.tolist() == batch.turn.tolist() == [-1, -1]
    given = Batch({}, batch.targets, ["a", "b"], dialogue=torch.tensor([4, 4]), turn=torch.tensor([1, 0]))
    assert (given.to("cpu").dialogue.tolist(), given.to("cpu").turn.tolist()) == ([4, 4], [1, 0])


def test_outputs_that_a_head_left_out_stay_out_when_moved() -> None:
    moved = Outputs(logits=torch.zeros(1, 2)).to("meta")
    assert moved.logits is not None
    assert moved.logits.device.type == "meta"
    assert moved.dimensions is None


# --- what is kept of utterances, as a batch ---------------------------------------------------------------------------


@pytest.mark.parametrize("layers", range(1, 31))
def test_every_pair_of_layers_is_there_once(layers: int) -> None:
    first, second = layer_pairs(layers)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == [(one, other) for one in range(layers) for other in range(one, layers)]


def test_variances_are_told_from_second_moments_across_layers() -> None:
    cross = torch.arange(2 * 6 * 4.0).view(2, 6, 4)
    moments = Moments(torch.tensor([3, 3]), torch.zeros(2, 3, 4), cross=cross)
    # pairs (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)
    assert moments.variances is not None
    assert torch.equal(moments.variances, cross[:, [0, 3, 5]])
    one = Moments(torch.tensor(3), torch.zeros(3, 4), cross=cross[0])
    assert one.variances is not None
    assert torch.equal(one.variances, cross[0, [0, 3, 5]])
    assert Moments(torch.tensor(3), torch.zeros(3, 4)).variances is None
    own = torch.ones(3, 4)
    assert Moments(torch.tensor(3), torch.zeros(3, 4), own).variances is own


def test_utterances_become_the_streams_of_a_batch() -> None:
    frames = [torch.randn(2, length, 3) for length in (4, 1)]
    found = stack_stored(frames)["speech"]
    assert isinstance(found, Frames)
    assert found.lengths.tolist() == [4, 1]
    assert torch.equal(found.values[1, :, :1], frames[1])
    assert not found.values[1, :, 1:].any()
    vectors = stack_stored([torch.zeros(5), torch.ones(5)])["speech"]
    assert isinstance(vectors, Vectors)
    assert vectors.values.shape == (2, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_frames_stored_in_half_precision_are_trained_on_in_float32(dtype: torch.dtype) -> None:
    frames = [torch.randn(2, length, 3).to(dtype) for length in (4, 2)]
    found = stack_stored(frames)["speech"]
    assert isinstance(found, Frames)
    assert found.values.dtype == torch.float32
    assert torch.equal(found.values[0], frames[0].float())


@pytest.mark.parametrize("kept", ["means", "variances", "covariances"])
def test_moments_keep_their_entries_and_order_in_a_batch(kept: str) -> None:
    rows = [
        Moments(
            torch.tensor(count),
            torch.randn(2, 3),
            torch.randn(2, 3) if kept == "variances" else None,
            torch.randn(3, 3) if kept == "covariances" else None,
        )
        for count in (4, 1, 2)
    ]
    found = stack_moments(rows)
    assert found.count.tolist() == [4, 1, 2]
    for name in ("mean", "variance", "cross"):
        values = [getattr(row, name) for row in rows]
        whole = getattr(found, name)
        assert (whole is None) == (values[0] is None)
        assert whole is None or torch.equal(whole, torch.stack(values))
    assert isinstance(stack_stored(rows)["speech"], Moments)


def test_each_upstream_has_a_stream_of_its_own_kind() -> None:
    means = Moments(torch.tensor(2), torch.randn(2, 3))
    frames = torch.randn(1, 2, 4)
    found = stack_stored([(means, frames), (means, frames)])
    assert list(found) == [stream_name(0), stream_name(1)] == ["speech", "speech/1"]
    assert isinstance(found["speech"], Moments)
    assert isinstance(found["speech/1"], Frames)
    assert parts_of(means) == (means,)
    assert parts_of((means, frames)) == (means, frames)
