"""Variants: from which utterances a speaker's statistics come, and which may then not be scored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from ser_toolkit.data.batch import Moments
from ser_toolkit.data.reduction import What, moments_of
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.variants import Enrolment, NeutralReference, PerCorpus, Plain, Transductive, Variant


@pytest.fixture
def table() -> pd.DataFrame:
    """Three speakers with 6 utterances each, two of them neutral; rows in no particular order."""
    labels = ["neutral", "angry", "sad", "neutral", "happy", "angry"]
    rows = [(f"{s}{number}", s, label) for s in "cab" for number, label in enumerate(labels)]
    return pd.DataFrame(rows, columns=["id", "speaker", "label"]).sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture
def features(table: pd.DataFrame) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: ord(name[0]) + torch.randn(2, 4, 3, generator=generator) for name in table["id"]}


def _frames(view: object, names: list[str]) -> np.ndarray:
    return np.concatenate([view[name].double().numpy() for name in names], axis=1)  # type: ignore[index]


def _of(table: pd.DataFrame, speaker: str) -> list[str]:
    return table.loc[table["speaker"] == speaker, "id"].tolist()


def test_plain_leaves_features_alone_and_scores_everything(table: pd.DataFrame, features: dict[str, Tensor]) -> None:
    variant = Plain()
    assert variant.normalised_features(features, table) is features
    assert variant.normalised_vectors(features, table) is features
    assert variant.excluded(table, 0) == set()


def test_transductive_uses_all_of_a_speaker_without_labels(table: pd.DataFrame, features: dict[str, Tensor]) -> None:
    variant = Transductive()
    view = variant.normalised_features(features, table)
    for speaker in "abc":
        frames = _frames(view, _of(table, speaker))
        np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(frames.std(axis=1), 1, atol=1e-5)
    assert variant.excluded(table, 0) == set()
    shuffled = table.assign(label=table["label"].sample(frac=1, random_state=1).to_numpy())
    again = variant.normalised_features(features, shuffled)
    assert all(torch.equal(again[name], view[name]) for name in features)


@pytest.mark.parametrize("what", ["variances", "covariances"])
@pytest.mark.parametrize("variant", [Transductive(), Enrolment(2), NeutralReference()], ids=lambda one: one.name)
def test_moments_are_normalised_as_their_frames_are(
    variant: Variant, what: What, table: pd.DataFrame, features: dict[str, Tensor]
) -> None:
    # nearer to zero: a mean of 99 in float32 is known to 1e-5 of the spread
    features = {name: frames - 97 for name, frames in features.items()}
    expected = variant.normalised_features(features, table)
    found = variant.normalised_features({name: moments_of(frames, what) for name, frames in features.items()}, table)
    assert list(found) == list(expected)
    for name in features:
        moments, frames = found[name], expected[name]
        assert isinstance(moments, Moments) and isinstance(frames, Tensor)
        own = moments_of(frames, what)
        torch.testing.assert_close(moments.mean, own.mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(moments.variances, own.variances, rtol=1e-5, atol=1e-6)


def test_transductive_of_utterances_standardises_vectors_and_leaves_frames(
    table: pd.DataFrame, features: dict[str, Tensor]
) -> None:
    variant = Transductive(level="utterance")
    assert variant.normalised_features(features, table) is features
    vectors = {name: frames.mean(dim=1).reshape(-1) for name, frames in features.items()}
    found = variant.normalised_vectors(vectors, table)
    for speaker in "abc":
        own = np.stack([vectors[name].double().numpy() for name in _of(table, speaker)])
        expected = (own - own.mean(axis=0)) / own.std(axis=0)
        np.testing.assert_allclose(np.stack([found[name] for name in _of(table, speaker)]), expected, atol=1e-4)
    # With frames as the level the frames are standardised already: the vectors are not touched a second time.
    assert Transductive().normalised_vectors(vectors, table) is vectors


def test_enrolment_draws_depend_on_speaker_and_draw_alone(table: pd.DataFrame) -> None:
    variant = Enrolment(utterances=2, draws=3)
    assert variant.name == "enrolment-2-draws-3" and variant.draws == 3
    draws = [variant.reference(table, draw) for draw in range(20)]
    assert [variant.reference(table.iloc[::-1], draw) for draw in range(20)] == draws
    # The other speakers in the table, hence the fold, do not matter.
    assert variant.reference(table[table["speaker"] == "b"], 1) == {"b": draws[1]["b"]}
    for reference in draws:
        for speaker, ids in reference.items():
            assert len(set(ids)) == 2 and set(ids) <= set(_of(table, speaker))
    for speaker in "abc":
        assert len({tuple(reference[speaker]) for reference in draws}) > 5
        assert {name for reference in draws for name in reference[speaker]} == set(_of(table, speaker))
    assert len({tuple(name[1] for name in draws[0][speaker]) for speaker in "abc"}) > 1


def test_enrolment_statistics_come_from_what_is_not_scored(table: pd.DataFrame, features: dict[str, Tensor]) -> None:
    variant = Enrolment(utterances=2)
    for draw in (0, 1):
        reference = variant.reference(table, draw)
        assert variant.excluded(table, draw) == {name for ids in reference.values() for name in ids}
        view = variant.normalised_features(features, table, draw)
        for ids in reference.values():
            frames = _frames(view, ids)
            np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-5)
            np.testing.assert_allclose(frames.std(axis=1), 1, atol=1e-5)


def test_enrolment_needs_one_utterance_more_than_it_draws(table: pd.DataFrame) -> None:
    assert len(Enrolment(utterances=5).excluded(table, 0)) == 15
    with pytest.raises(RecipeError, match="speaker a has 6 utterances, more than 6 are needed"):
        Enrolment(utterances=6).reference(table, 0)


@pytest.mark.parametrize("options", [{"utterances": 0}, {"draws": 0}])
def test_enrolment_of_nothing_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="Enrolment needs"):
        Enrolment(**options)


def test_neutral_reference_uses_neutral_speech_and_does_not_score_it(
    table: pd.DataFrame, features: dict[str, Tensor]
) -> None:
    variant = NeutralReference()
    neutral = set(table.loc[table["label"] == "neutral", "id"])
    assert variant.reference(table, 0) == {s: sorted(neutral & set(_of(table, s))) for s in "abc"}
    assert variant.excluded(table, 0) == neutral
    view = variant.normalised_features(features, table)
    for speaker in "abc":
        frames = _frames(view, sorted(neutral & set(_of(table, speaker))))
        np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-5)
    assert "label" in variant.explanation


def test_a_speaker_without_neutral_speech_is_named(table: pd.DataFrame) -> None:
    table.loc[table["speaker"] == "b", "label"] = "sad"
    with pytest.raises(RecipeError, match="no 'neutral' utterance of speaker b"):
        NeutralReference().reference(table, 0)
    assert NeutralReference("sad").excluded(table, 0) >= set(_of(table, "b"))


@pytest.mark.parametrize("variant", [Transductive(), Enrolment(1), NeutralReference()], ids=lambda v: v.name)
def test_unknown_speakers_cannot_be_normalised(
    variant: Variant, table: pd.DataFrame, features: dict[str, Tensor]
) -> None:
    table.loc[3:6, "speaker"] = None
    with pytest.raises(RecipeError, match=r"need a speaker for every utterance"):
        variant.normalised_features(features, table)


def test_per_corpus_takes_away_what_a_corpus_has_in_common(table: pd.DataFrame, features: dict[str, Tensor]) -> None:
    table = table.assign(corpus=table["speaker"].map({"a": "one", "b": "one", "c": "two"}))
    view = PerCorpus().normalised_features(features, table)
    for speakers in ("ab", "c"):
        frames = _frames(view, [name for speaker in speakers for name in _of(table, speaker)])
        assert np.allclose(frames.mean(axis=1), 0, atol=1e-5)
        assert np.allclose(frames.std(axis=1), 1, atol=1e-5)
    apart = _frames(view, _of(table, "a")).mean() - _frames(view, _of(table, "b")).mean()
    assert abs(apart) > 0.5  # the speakers of a corpus stay different
    assert PerCorpus().excluded(table, 0) == set()


def test_a_corpus_that_is_alone_is_one_corpus(table: pd.DataFrame, features: dict[str, Tensor]) -> None:
    view = PerCorpus("utterance").normalised_vectors(
        {name: frames[0, 0] for name, frames in features.items()}, table.assign(corpus=None)
    )
    vectors = np.stack([view[name].numpy() for name in table["id"]])
    assert np.allclose(vectors.mean(axis=0), 0, atol=1e-5)
    assert {PerCorpus().name, PerCorpus("utterance").name} == {"per-corpus", "per-corpus-utterance"}
