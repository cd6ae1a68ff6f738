"""Several sequences on one time grid: equal to numpy's interpolation at the centre times, whatever lies behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ser_toolkit.data.alignment import align

NAN = float("nan")


def sequences(lengths: list[int], dim: int, seed: int, behind: float = NAN) -> tuple[Tensor, Tensor]:
    """Random frames (B, T, D) with ``behind`` behind the (B,) lengths, which are given back too."""
    noise = torch.Generator().manual_seed(seed)
    out = torch.full((len(lengths), max(lengths) + 2, dim), behind)
    for row, length in zip(out, lengths, strict=True):
        row[:length] = torch.randn(length, dim, generator=noise)
    return out, torch.tensor(lengths)


def interpolated(values: np.ndarray, hop: float, times: np.ndarray) -> np.ndarray:
    """numpy's interpolation of frames (T, D) that stand for (t + 1/2) * hop, at other times: (T', D)."""
    own = (np.arange(len(values)) + 0.5) * hop
    return np.stack([np.interp(times, own, column) for column in values.T], axis=1)


@pytest.mark.parametrize("hops", [(0.01, 0.02), (0.02, 0.01), (0.02, 0.016, 0.04), (0.02, 0.02)])
def test_frames_are_interpolated_at_the_centres_of_the_closest_frames(hops: tuple[float, ...]) -> None:
    seconds = [0.31, 0.75, 0.12]
    streams = [sequences([int(s / hop) for s in seconds], 3 + n, n) for n, hop in enumerate(hops)]
    fused, lengths = align([values for values, _ in streams], [counts for _, counts in streams], hops)
    finest = min(range(len(hops)), key=lambda index: hops[index])
    assert lengths.tolist() == streams[finest][1].tolist()
    for row, count in enumerate(lengths.tolist()):
        times = (np.arange(count) + 0.5) * hops[finest]
        expected = [
            interpolated(values[row, : counts[row]].double().numpy(), hop, times)
            for (values, counts), hop in zip(streams, hops, strict=True)
        ]
        np.testing.assert_allclose(fused[row, :count], np.concatenate(expected, axis=1), atol=2e-5)


def test_what_stands_behind_the_lengths_is_never_read_and_zero_comes_out() -> None:
    counts = ([4, 9, 1], [7, 2, 3])
    hops = (0.02, 0.01)
    found = []
    for behind in (0.0, NAN, float("inf"), -1e9):
        streams = [sequences(own, 2, seed, behind) for seed, own in enumerate(counts)]
        found.append(align([values for values, _ in streams], [own for _, own in streams], hops)[0])
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert found[0].shape == (3, 7, 4), "no longer than the longest of the grid, whatever the tensors' padding"
    for row, length in enumerate(counts[1]):
        assert not found[0][row, length:].any()
        assert found[0][row, :length].all()


def test_at_one_hop_nothing_is_interpolated_and_the_last_frame_is_held() -> None:
    (first, few), (second, many) = sequences([5, 3], 2, 0), sequences([4, 6], 3, 1)
    fused, lengths = align([first, second], [few, many], [0.02, 0.02])
    assert lengths.tolist() == [5, 3], "the first of the closest gives the grid"
    assert torch.equal(fused[0, :, :2], first[0, :5])
    assert torch.equal(fused[0, :4, 2:], second[0, :4])
    assert torch.equal(fused[0, 4, 2:], second[0, 3]), "held behind its last frame"
    assert torch.equal(fused[1, :3], torch.cat([first[1, :3], second[1, :3]], dim=1)), "surplus frames are left out"


def test_frames_are_held_before_the_first_centre() -> None:
    coarse, few = torch.tensor([[[2.0], [6.0]]]), torch.tensor([2])
    fine, many = torch.zeros(1, 8, 1), torch.tensor([8])
    fused, _ = align([fine, coarse], [many, few], [0.01, 0.04])
    # centres of the coarse frames at 20 and 60 ms, of the fine ones at 5, 15, 25, ... ms
    expected = [2, 2, 2.5, 3.5, 4.5, 5.5, 6, 6]
    assert fused[0, :, 1].tolist() == pytest.approx(expected, abs=1e-6)


def test_one_vector_an_utterance_is_repeated_wherever_it_stands_in_the_list() -> None:
    (frames, counts), (vectors, ones) = sequences([5, 2], 2, 0), sequences([1, 1], 3, 1)
    fused, lengths = align([vectors, frames], [ones, counts], [0.0, 0.02])
    assert lengths.tolist() == [5, 2]
    assert torch.equal(fused[0, :, :3], vectors[0, :1].expand(5, 3))
    assert torch.equal(fused[1, :2, :3], vectors[1, :1].expand(2, 3))
    assert torch.equal(fused[0, :, 3:], frames[0, :5])


def test_vectors_alone_stay_vectors() -> None:
    (first, ones), (second, _) = sequences([1, 1], 2, 0), sequences([1, 1], 3, 1)
    fused, lengths = align([first, second], [ones, ones], [0.0, 0.0])
    assert lengths.tolist() == [1, 1]
    assert torch.equal(fused, torch.cat([first[:, :1], second[:, :1]], dim=2))


def test_gradients_reach_every_frame_that_is_heard_and_no_other() -> None:
    values, lengths = sequences([3, 2], 2, 0, behind=0.0)
    values.requires_grad_(True)
    fine, many = sequences([9, 6], 1, 1)
    align([fine, values], [many, lengths], [0.01, 0.03])[0].sum().backward()
    assert values.grad is not None
    for row, length in enumerate(lengths.tolist()):
        assert values.grad[row, :length].all()
        assert not values.grad[row, length:].any()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_row_alone_is_the_row_in_a_batch(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 4))
    hops = data.draw(st.lists(st.sampled_from([0.0, 0.01, 0.016, 0.02, 0.04]), min_size=1, max_size=3))
    counts = [[1 if hop == 0 else data.draw(st.integers(1, 12)) for _ in range(rows)] for hop in hops]
    streams = [sequences(own, 2, seed) for seed, own in enumerate(counts)]
    fused, lengths = align([values for values, _ in streams], [own for _, own in streams], hops)
    for row, length in enumerate(lengths.tolist()):
        alone, own_length = align(
            [values[row : row + 1, : own[row]] for values, own in streams],
            [own[row : row + 1] for _, own in streams],
            hops,
        )
        assert own_length.tolist() == [length]
        assert torch.equal(alone[0], fused[row, :length])
        assert fused[row].isfinite().all()
