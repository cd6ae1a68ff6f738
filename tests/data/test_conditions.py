"""What is known of an utterance besides its sound becomes numbers; unknown is zero, strange is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ser_toolkit.data.conditions import Condition, Language, SpeakerSex, condition_table, condition_vector
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import subclasses

BOTH = [SpeakerSex(), Language(["de", "en", "fr"])]


def test_a_value_is_one_hot_and_unknown_is_zero() -> None:
    assert SpeakerSex().vector("female").tolist() == [1, 0]
    assert SpeakerSex().vector("male").tolist() == [0, 1]
    assert Language(["de", "en", "fr"]).vector("en").tolist() == [0, 1, 0]
    for unknown in (None, np.nan, pd.NA, ""):
        assert SpeakerSex().vector(unknown).tolist() == [0, 0]


def test_an_unknown_value_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"sex='femal' is unknown.*female"):
        SpeakerSex().vector("femal")
    with pytest.raises(RecipeError, match=r"language='it' is unknown.*de, en"):
        Language(["de", "en"]).vector("it")


@pytest.mark.parametrize("languages", [[], ["de", "de"]])
def test_languages_are_listed_once_each(languages: list[str]) -> None:
    with pytest.raises(RecipeError, match="list each language once"):
        Language(languages)


def test_a_manifest_becomes_rows_in_its_order() -> None:
    table = pd.DataFrame(
        {"sex": ["male", None, "female", np.nan], "language": ["fr", "de", None, "de"]}, index=[7, 3, 5, 1]
    )
    assert condition_table(BOTH, table).tolist() == [
        [0, 1, 0, 0, 1],
        [0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
    ]


def test_a_corpus_that_says_nothing_or_something_strange_is_refused() -> None:
    table = pd.DataFrame({"sex": [None, None], "language": ["de", "it"]})
    with pytest.raises(RecipeError, match=r"SpeakerSex: the corpus says nothing of sex.*Leave model.conditioning out"):
        condition_table([SpeakerSex()], table)
    with pytest.raises(RecipeError, match="language='it' is unknown"):
        condition_table([Language(["de", "en"])], table)


def test_what_is_said_of_one_utterance_goes_by_column() -> None:
    assert condition_vector(BOTH, {"language": "de"}).tolist() == [0, 0, 1, 0, 0]
    assert condition_vector(BOTH, {"language": "fr", "sex": "male"}).tolist() == [0, 1, 0, 0, 1]
    assert condition_vector(BOTH, {}).tolist() == [0] * 5
    assert torch.equal(condition_vector([], {}), torch.empty(0))


def test_what_the_model_is_not_told_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"not conditioned on age. It takes sex, language"):
        condition_vector(BOTH, {"age": "30", "sex": "male"})
    with pytest.raises(RecipeError, match=r"not conditioned on sex. It hears the sound alone"):
        condition_vector([], {"sex": "male"})


def test_every_condition_reads_a_column_of_the_manifest_and_explains_itself() -> None:
    made = {"SpeakerSex": BOTH[0], "Language": BOTH[1]}
    shipped = {name for name, part in subclasses(Condition).items() if part.__module__.startswith("ser_toolkit.")}
    assert shipped == set(made), "a new condition needs an example here"
    for condition in made.values():
        assert condition.column in condition.explanation
        assert condition.explanation.endswith(".")
