"""What is kept of frames: moments against numpy in double precision, and what can be made from what."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ser_toolkit.data.batch import Moments, layer_pairs
from ser_toolkit.data.reduction import ORDER, Reduction, What, moments_of

MOMENTS: tuple[What, ...] = ("means", "variances", "covariances")


def frames(layers: int, count: int, dim: int, offset: float = 0.0, seed: int = 0) -> Tensor:
    """Frames (L, T, D) with a spread of about 1 that lie ``offset`` from zero, each layer a little farther."""
    noise = torch.Generator().manual_seed(seed)
    mixed = torch.randn(layers, layers, generator=noise) + torch.eye(layers)
    white = torch.randn(layers, count, dim, generator=noise)
    values = torch.einsum("lm,mtd->ltd", mixed / mixed.norm(dim=1, keepdim=True), white)
    return values + offset * torch.linspace(1, 2, layers)[:, None, None]


def by_numpy(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean (L, D) and second moments (L, L, D) in double precision, as they are written in books."""
    exact = values.double().numpy()
    mean = exact.mean(axis=1)
    centred = exact - mean[:, None]
    return mean, np.einsum("ltd,mtd->lmd", centred, centred) / exact.shape[1]


def assert_near(found: Tensor, expected: np.ndarray, tolerance: float = 2e-6, rounding: float = 0.0) -> None:
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    apart = np.linalg.norm(found.double().numpy() - expected)
    assert apart <= tolerance * np.linalg.norm(expected) + rounding + 1e-12


@settings(deadline=None, max_examples=40)
@given(
    layers=st.integers(1, 7),
    count=st.integers(1, 50),
    dim=st.integers(1, 5),
    offset=st.sampled_from([0.0, 1.0, -30.0, 1e3]),
    seed=st.integers(0, 1000),
)
def test_moments_are_those_of_double_precision(layers: int, count: int, dim: int, offset: float, seed: int) -> None:
    values = frames(layers, count, dim, offset, seed)
    mean, second = by_numpy(values)
    first, other = layer_pairs(layers)
    # a mean near 0 is the difference of large sums: rounding follows the size of what is added up, not that of the mean
    rounding = torch.finfo(torch.float32).eps * float(np.linalg.norm(np.abs(values.numpy()).mean(axis=1)))
    for what in MOMENTS:
        found = moments_of(values, what)
        assert int(found.count) == count
        assert_near(found.mean, mean, rounding=rounding)
        assert (found.variances is None) == (what == "means")
    variances, crossed = moments_of(values, "variances"), moments_of(values, "covariances")
    assert variances.variance is not None and variances.cross is None
    assert crossed.variance is None and crossed.cross is not None
    assert_near(variances.variance, second[range(layers), range(layers)], 1e-5)
    assert_near(crossed.cross, second[first.numpy(), other.numpy()], 1e-5)
    assert_near(crossed.variances, second[range(layers), range(layers)], 1e-5)
    if count == 1:
        assert not variances.variance.any() and not crossed.cross.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("what", MOMENTS)
def test_moments_of_any_type_are_taken_in_float32(dtype: torch.dtype, what: What) -> None:
    # 3,000 frames: sums in half precision would be off by some percent, or infinite
    values = (frames(3, 3000, 4, offset=30.0)).to(dtype)
    mean, second = by_numpy(values)
    found = moments_of(values, what)
    assert_near(found.mean, mean)
    if found.variances is not None:
        assert_near(found.variances, second[range(3), range(3)], 1e-5)


def test_what_is_kept_of_an_utterance_does_not_hold_on_to_its_batch() -> None:
    batch = torch.randn(8, 3, 100, 4)
    for what in MOMENTS:
        kept = Reduction(what).of(batch[0, :, :5])
        assert isinstance(kept, Moments)
        for tensor in (kept.mean, kept.variances):
            assert tensor is None or tensor.untyped_storage().nbytes() < batch[0].nbytes


# --- what can be made from what ---------------------------------------------------------------------------------------

ALL = [Reduction(what, norm) for what in ORDER for norm in (False, True)]


@pytest.mark.parametrize(
    ("richer", "poorer"), list(itertools.product(ALL, ALL)), ids=lambda one: f"{one.what}{one.layer_norm:d}"
)
def test_whatever_covers_can_really_be_made(richer: Reduction, poorer: Reduction) -> None:
    values = frames(3, 9, 8, offset=2.0)
    expected = poorer.of(values)
    kept = richer.of(values)
    assert richer.covers(poorer) == (
        ORDER.index(richer.what) >= ORDER.index(poorer.what)
        and (richer.layer_norm == poorer.layer_norm or (richer.what == "frames" and poorer.layer_norm))
    )
    if not richer.covers(poorer):
        return
    if isinstance(kept, Moments):
        found: Tensor | Moments = poorer.less(kept)
    else:
        found = poorer.of(kept, layer_norm=poorer.layer_norm and not richer.layer_norm)
    assert type(found) is type(expected)
    if isinstance(found, Tensor):
        torch.testing.assert_close(found, expected)
        return
    assert isinstance(expected, Moments)
    for name, value in vars(expected).items():
        if value is None:
            assert getattr(found, name) is None
        else:
            torch.testing.assert_close(getattr(found, name), value)


def test_layer_norm_is_that_of_each_frame_without_parameters() -> None:
    values = frames(2, 5, 16, offset=3.0)
    exact = values.double().numpy()
    expected = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    kept = Reduction("frames", layer_norm=True).of(values)
    assert isinstance(kept, Tensor)
    np.testing.assert_allclose(kept, expected, atol=1e-5)
    assert Reduction("frames").of(values) is values
    again = Reduction("means", layer_norm=True).of(kept, layer_norm=False)
    assert isinstance(again, Moments)
    np.testing.assert_allclose(again.mean, expected.mean(axis=1), atol=1e-5)


def test_the_richer_of_two_covers_both() -> None:
    for one, other in itertools.product(ALL[::2], ALL[::2]):
        joined = one.joined(other)
        assert joined.covers(one) and joined.covers(other)
        assert joined in (one, other)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("what", ORDER)
def test_numbers_are_counted_before_anything_is_computed(what: What, layer_norm: bool) -> None:
    kept = Reduction(what, layer_norm).of(frames(4, 7, 3))
    tensors = [kept] if isinstance(kept, Tensor) else [kept.mean, kept.variance, kept.cross]
    assert Reduction(what).values(4, 3, 7) == sum(tensor.numel() for tensor in tensors if tensor is not None)


def test_the_reason_is_for_people_and_no_part_of_what_is_kept() -> None:
    assert Reduction("means", reason="a") == Reduction("means", reason="b")
    assert hash(Reduction("means", reason="a")) == hash(Reduction("means", reason="b"))
    assert Reduction("means") != Reduction("means", layer_norm=True)
    words = [one.words for one in ALL]
    assert len(set(words)) == len(words)
