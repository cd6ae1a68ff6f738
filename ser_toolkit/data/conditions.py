"""Facts on an utterance that a model may be given besides its sound: speaker sex, language; zeros where unknown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ser_toolkit.errors import RecipeError, nearest

if TYPE_CHECKING:
    import pandas as pd


class Condition(ABC):
    """A column of the manifest as numbers: one of ``values``, one-hot; zeros where it is not known."""

    #: Column of the manifest, and key on the command line of ser-predict.
    column: str
    #: The values that it may take, in the order of the numbers.
    values: tuple[str, ...]

    @property
    @abstractmethod
    def explanation(self) -> str:
        """One sentence for the report."""

    def vector(self, value: object) -> Tensor:
        """One value -> (K,): one-hot, or zeros for None.

        Raises:
            RecipeError: the value is none of those known.
        """
        encoded = torch.zeros(len(self.values))
        if isinstance(value, str) and value:
            if value not in self.values:
                raise RecipeError(f"{self.column}={value!r} is unknown to the model. {nearest(value, self.values)}")
            encoded[self.values.index(value)] = 1.0
        return encoded


class SpeakerSex(Condition):
    """The speaker's sex: female or male, two numbers.

    Source: "gender embedding" of Diatlova et al. 2024, "Adapting WavLM for speech emotion recognition".
    """

    column = "sex"
    values = ("female", "male")

    @property
    def explanation(self) -> str:
        """One sentence for the report."""
        return "The speaker's sex is given to the model, in training and in test."


class Language(Condition):
    """The language spoken, one number for each that is listed.

    Args:
        languages: as the manifest spells them (such as "de", "en").

    Raises:
        RecipeError: none or one is listed twice.
    """

    column = "language"

    def __init__(self, languages: list[str]) -> None:
        if not languages or len(set(languages)) != len(languages):
            raise RecipeError(f"Language: languages should list each language once, found {languages}.")
        self.values = tuple(languages)

    @property
    def explanation(self) -> str:
        """One sentence for the report."""
        return f"The language ({', '.join(self.values)}) is given to the model, in training and in test."


def condition_table(conditions: Sequence[Condition], table: pd.DataFrame) -> Tensor:
    """Condition vectors of all utterances of a manifest: (N, sum of K).

    Raises:
        RecipeError: a value is none of those that a condition lists, or a condition is known of no utterance.
    """
    columns = []
    for condition in conditions:
        values = table[condition.column].tolist()
        known = {value for value in values if isinstance(value, str) and value}
        if not known:
            raise RecipeError(
                f"{type(condition).__name__}: the corpus says nothing of {condition.column} for any utterance. "
                "Leave model.conditioning out."
            )
        encoded = {value: condition.vector(value) for value in known}
        columns.append(torch.stack([encoded.get(value, condition.vector(None)) for value in values]))
    return torch.cat(columns, dim=1)


def condition_vector(conditions: Sequence[Condition], known: Mapping[str, str]) -> Tensor:
    """Condition vector of one utterance from values by column ("sex": "female"): (sum of K,); others are unknown.

    Raises:
        RecipeError: a key belongs to no condition of the model, or a value is unknown.
    """
    columns = [condition.column for condition in conditions]
    strange = sorted(set(known) - set(columns))
    if strange:
        raise RecipeError(
            f"This model is not conditioned on {', '.join(strange)}. "
            + (f"It takes {', '.join(columns)}." if columns else "It hears the sound alone.")
        )
    return torch.cat([torch.empty(0), *(condition.vector(known.get(condition.column)) for condition in conditions)])
