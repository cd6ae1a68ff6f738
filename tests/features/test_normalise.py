"""Normalisation against numpy over all frames put together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ser_toolkit.data.batch import Frames, Moments, stack_moments
from ser_toolkit.data.reduction import Reduction, What, moments_of
from ser_toolkit.errors import StoreError
from ser_toolkit.features.normalise import (
    EmbeddingNormalisation,
    GlobalNormalisation,
    SpeakerNormalised,
    frame_statistics,
    parallel_statistics,
    standardised,
)


def _utterances(offset: float = 0.0, scale: float = 1.0, count: int = 7, seed: int = 0) -> list[Tensor]:
    """Utterances of 1 to ``count`` frames, 3 layers of 5 features, each layer about another value."""
    generator = torch.Generator().manual_seed(seed)
    layers = torch.arange(3.0)[:, None, None]
    return [
        (offset + 10 * layers + scale * torch.randn(3, frames + 1, 5, generator=generator)) for frames in range(count)
    ]


def _together(utterances: list[Tensor]) -> np.ndarray:
    return np.concatenate([one.double().numpy() for one in utterances], axis=1)


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1e4, 1.0), (-1e6, 10.0), (3.0, 1e-3)])
def test_statistics_are_those_of_all_frames_together(offset: float, scale: float) -> None:
    utterances = _utterances(offset, scale)
    found, frames = frame_statistics(utterances), _together(utterances)
    np.testing.assert_allclose(found.mean.double(), frames.mean(axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.std.double(), frames.std(axis=1), rtol=1e-5)


def test_statistics_stay_exact_when_the_first_utterance_is_unlike_the_others() -> None:
    utterances = [torch.full((1, 2, 2), 1e4), *(torch.randn(1, 50, 2) for _ in range(4))]
    found, frames = frame_statistics(utterances), _together(utterances)
    np.testing.assert_allclose(found.std.double(), frames.std(axis=1), rtol=1e-5)


def test_the_order_of_utterances_does_not_matter() -> None:
    utterances = _utterances(5.0)
    first, second = frame_statistics(utterances), frame_statistics(utterances[::-1])
    torch.testing.assert_close(first.mean, second.mean)
    torch.testing.assert_close(first.std, second.std)


@pytest.mark.parametrize("value", [0.0, 3.3, 1e6])
def test_a_feature_that_never_moves_is_not_blown_up(value: float) -> None:
    utterances = [torch.full((1, 4, 2), value) for _ in range(3)]
    statistics = frame_statistics(utterances)
    assert (statistics.std == 1).all()
    torch.testing.assert_close(statistics.apply(utterances[0]), torch.zeros(1, 4, 2), rtol=0, atol=1e-6)


def test_global_normalisation_standardises_each_layer_and_keeps_padding_at_zero() -> None:
    utterances = _utterances(4.0, 2.0)
    layer = GlobalNormalisation(3, 5)
    layer.fit(frame_statistics(utterances))
    lengths = torch.tensor([one.shape[1] for one in utterances])
    batch = torch.zeros(len(utterances), 3, int(lengths.max()), 5)
    for row, one in zip(batch, utterances, strict=True):
        row[:, : one.shape[1]] = one
    found = layer(Frames(batch, lengths))
    assert isinstance(found, Frames)
    assert found.lengths is lengths
    scaled = found.values
    valid = np.concatenate([row[:, :length].numpy() for row, length in zip(scaled, lengths, strict=True)], axis=1)
    np.testing.assert_allclose(valid.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(valid.std(axis=1), 1, atol=1e-5)
    assert all((row[:, length:] == 0).all() for row, length in zip(scaled, lengths, strict=True))


def test_statistics_are_saved_with_the_model() -> None:
    fitted, fresh = GlobalNormalisation(3, 5), GlobalNormalisation(3, 5)
    fitted.fit(frame_statistics(_utterances(2.0)))
    fresh.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(fresh.mean, fitted.mean, rtol=0, atol=0)
    assert not list(fitted.parameters())


@pytest.mark.parametrize("size", [4, 400])
def test_vectors_have_a_squared_norm_of_one_on_average(size: int) -> None:
    vectors = 7 + 3 * torch.randn(50, size, generator=torch.Generator().manual_seed(0))
    layer = EmbeddingNormalisation(size)
    layer.fit(vectors)
    scaled = layer(vectors)
    expected = (vectors.double() - vectors.double().mean(dim=0)) / vectors.double().std(dim=0, correction=0)
    torch.testing.assert_close(scaled.double(), expected / size**0.5, rtol=1e-4, atol=1e-5)
    assert float(scaled.square().sum(dim=1).mean()) == pytest.approx(1.0, rel=1e-4)


def test_each_speaker_is_standardised_over_their_reference() -> None:
    features = {f"{speaker}{n}": one for speaker in "ab" for n, one in enumerate(_utterances(seed=ord(speaker)))}
    features |= {name: 3 * frames + 100 for name, frames in features.items() if name.startswith("b")}
    speaker_of = {name: name[0] for name in features}
    reference = {"a": [name for name in features if name[0] == "a"], "b": ["b6", "b5"]}
    view = SpeakerNormalised(features, speaker_of, reference)
    assert list(view) == list(features) and len(view) == len(features)
    for speaker, names in reference.items():
        frames = _together([view[name] for name in names])
        np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-5, err_msg=speaker)
        np.testing.assert_allclose(frames.std(axis=1), 1, atol=1e-5, err_msg=speaker)
    # What is outside the reference is moved by the same map, not standardised by itself.
    own = _together([features["b6"], features["b5"]])
    expected = (features["b0"].double().numpy() - own.mean(axis=1)[:, None]) / own.std(axis=1)[:, None]
    np.testing.assert_allclose(view["b0"], expected, rtol=1e-4, atol=1e-4)


# --- from moments -----------------------------------------------------------------------------------------------------

RICH: list[What] = ["variances", "covariances"]


def _assert_same_moments(found: Moments, expected: Moments) -> None:
    for name, value in vars(expected).items():
        other = getattr(found, name)
        assert (other is None) == (value is None), name
        assert value is None or float((other - value).float().norm()) <= 1e-5 * float(value.float().norm()) + 1e-7, name


@pytest.mark.parametrize("what", RICH)
@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1e3, 1.0), (3.0, 0.1)])
def test_statistics_of_moments_are_those_of_their_frames(what: What, offset: float, scale: float) -> None:
    utterances = _utterances(offset, scale)
    found, frames = frame_statistics([moments_of(one, what) for one in utterances]), _together(utterances)
    np.testing.assert_allclose(found.mean.double(), frames.mean(axis=1), rtol=1e-6, atol=1e-6)
    # the means of utterances, in float32, are what the spread between them is seen by
    np.testing.assert_allclose(found.std.double(), frames.std(axis=1), rtol=1e-5 + 1e-7 * offset)


@pytest.mark.parametrize("what", RICH)
@pytest.mark.parametrize("value", [0.0, -17.77, 999.9])
def test_a_feature_that_never_moves_is_not_blown_up_from_moments_either(what: What, value: float) -> None:
    kept = [moments_of(torch.full((2, frames, 3), value), what) for frames in (1, 7, 101, 333)]
    statistics = frame_statistics(kept)
    assert (statistics.std == 1).all()
    torch.testing.assert_close(statistics.mean, torch.full((2, 3), value))


def test_long_utterances_weigh_more() -> None:
    utterances = [torch.zeros(1, 1, 1), torch.ones(1, 9, 1)]
    found = frame_statistics([moments_of(one, "variances") for one in utterances])
    assert float(found.mean) == pytest.approx(0.9)
    assert float(found.std) == pytest.approx(0.3)


def test_means_alone_give_no_statistics() -> None:
    with pytest.raises(StoreError, match="Means alone do not give the variance"):
        frame_statistics([moments_of(one, "means") for one in _utterances()])


@pytest.mark.parametrize("what", ["means", *RICH])
def test_standardised_moments_are_the_moments_of_standardised_frames(what: What) -> None:
    utterances = _utterances(2.0, 3.0)
    statistics = frame_statistics(utterances)
    kept = [moments_of(one, what) for one in utterances]
    for moments, one in zip(kept, utterances, strict=True):
        found = statistics.apply(moments)
        assert isinstance(found, Moments)
        _assert_same_moments(found, moments_of(statistics.apply(one), what))  # type: ignore[arg-type]
    layer = GlobalNormalisation(3, 5)
    layer.fit(statistics)
    batch = layer(stack_moments(kept))
    assert isinstance(batch, Moments)
    _assert_same_moments(batch, stack_moments([statistics.apply(one) for one in kept]))  # type: ignore[misc]


@pytest.mark.parametrize("what", RICH)
def test_each_speaker_is_standardised_from_moments_as_from_frames(what: What) -> None:
    features = {f"{speaker}{n}": one for speaker in "ab" for n, one in enumerate(_utterances(seed=ord(speaker)))}
    speaker_of = {name: name[0] for name in features}
    reference = {"a": [name for name in features if name[0] == "a"], "b": ["b6", "b5"]}
    expected = SpeakerNormalised(features, speaker_of, reference)
    found = SpeakerNormalised({n: Reduction(what).of(one) for n, one in features.items()}, speaker_of, reference)
    for name in features:
        moments, frames = found[name], expected[name]
        assert isinstance(moments, Moments) and isinstance(frames, Tensor)
        _assert_same_moments(moments, moments_of(frames, what))


def test_each_upstream_is_standardised_by_its_own_statistics_whatever_is_kept_of_it() -> None:
    one, other = _utterances(1.0, 2.0), _utterances(-4.0, 0.5, seed=1)
    stored = [(moments_of(a, "covariances"), b) for a, b in zip(one, other, strict=True)]
    statistics = parallel_statistics(stored)
    moments, frames = standardised(stored[3], statistics)
    assert isinstance(moments, Moments) and isinstance(frames, Tensor)
    _assert_same_moments(moments, moments_of(frame_statistics(one).apply(one[3]), "covariances"))  # type: ignore[arg-type]
    torch.testing.assert_close(frames, frame_statistics(other).apply(other[3]))


def test_half_precision_frames_are_standardised_in_float32() -> None:
    utterances = [one.half() for one in _utterances(2.0)]
    found = frame_statistics(utterances).apply(utterances[4])
    assert isinstance(found, Tensor) and found.dtype == torch.float32
    torch.testing.assert_close(
        found, frame_statistics([one.float() for one in utterances]).apply(utterances[4].float())
    )
