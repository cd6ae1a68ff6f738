"""Normalisation against numpy over all frames put together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ser_toolkit.data.batch import Frames
from ser_toolkit.features.normalise import (
    EmbeddingNormalisation,
    GlobalNormalisation,
    SpeakerNormalised,
    frame_statistics,
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
