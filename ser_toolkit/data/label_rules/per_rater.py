"""Label rule that takes the answers of one rater."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ser_toolkit.data.labels import LabelRule, LabelTargets, note, shares_of
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.rater_answers import answers, ratings_of, require_ratings
from ser_toolkit.errors import ManifestError
from ser_toolkit.terms import DIMENSIONS, MISSING_LABEL

_SHOWN = 8


class PerRater(LabelRule):
    """The answer of one rater: a named one, or for every utterance one of its raters, drawn at random.

    Several emotions of one rater share the distribution and leave the label missing. A named rater's valence, arousal
    and dominance replace the means; utterances that he or she did not rate have no targets.

    Args:
        rater: name of a rater as in the corpus, or its part behind the last hyphen, which takes ``C-E2`` (categories)
            and ``A-E2`` (dimensions) together, with or without the corpus in front (``IEMOCAP/C-E2``); None draws.
        seed: of the draws, which do not depend on the order of the utterances.
    """

    description = "the answer of one rater, named or drawn for each utterance"

    def __init__(self, rater: str | None = None, seed: int = 0) -> None:
        self.rater = rater
        self.seed = seed

    @property
    def explanation(self) -> str:
        """The rater whose answers are the labels, for reports."""
        return (
            f"the answer of rater {self.rater}" if self.rater else f"the answer of one rater drawn by seed {self.seed}"
        )

    def targets(self, manifest: Manifest) -> LabelTargets:
        """Targets of every utterance, with the rater's own dimensions where one is named."""
        return super().targets(manifest if self.rater is None else self._own_dimensions(manifest))

    def _categories(self, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, list[str]]:
        require_ratings(manifest, "PerRater")
        place = {name: number for number, name in enumerate(manifest.classes)}
        ticked, outside = np.zeros((len(manifest), len(place))), np.zeros(len(manifest), bool)
        generator = np.random.default_rng(self.seed)
        texts = manifest.table["ratings"].to_numpy(dtype=object)
        for row in np.argsort(manifest.table["id"].to_numpy(dtype=str), kind="stable"):
            words = self._words(ratings_of(texts[row], self.rater), generator)
            inside = [place[word] for word in words if word in place]
            ticked[row, inside] = 1
            outside[row] = bool(words) and not inside
        chosen = ticked.sum(axis=1)
        if not chosen.any():
            self._refuse(manifest)
        label = np.where(chosen == 1, ticked.argmax(axis=1), MISSING_LABEL)
        who = self.rater or "the drawn rater"
        notes = [
            *note((chosen == 0) & ~outside, f"without an answer of {who}"),
            *note(outside, f"in which {who} heard another emotion than the classes"),
            *note(chosen > 1, f"in which {who} named several classes, which keep their distribution but have no label"),
        ]
        return label, shares_of(ticked), notes

    def _words(self, ratings: list[dict[str, Any]], generator: np.random.Generator) -> list[str]:
        """Answer of the rater, or of one drawn; every utterance costs one draw, so that others keep theirs."""
        number = generator.random()
        if self.rater is not None:
            return [word for rating in ratings if self._is(rating) for word in rating.get("labels", [])]
        named = answers(ratings)
        return named[int(number * len(named))]["labels"] if named else []

    def _is(self, rating: Mapping[str, Any]) -> bool:
        name = rating["rater"]
        own = name.partition("/")[2] or name  # of several corpora, raters have their corpus in front
        return self.rater in (name, own, own.rpartition("-")[2])

    def _own_dimensions(self, manifest: Manifest) -> Manifest:
        values = np.full((len(manifest), len(DIMENSIONS)), np.nan)
        for row, text in enumerate(manifest.table["ratings"]):
            for rating in ratings_of(text, self.rater):
                for column, name in enumerate(DIMENSIONS):
                    if self._is(rating) and rating.get(name) is not None:
                        values[row, column] = rating[name]
        table = manifest.table.assign(**{name: values[:, k] for k, name in enumerate(DIMENSIONS)})
        return replace(manifest, table=table)

    def _refuse(self, manifest: Manifest) -> None:
        counts: dict[str, int] = {}
        for text in manifest.table["ratings"]:
            for rating in ratings_of(text):
                if rating.get("labels"):
                    counts[rating["rater"]] = counts.get(rating["rater"], 0) + 1
        busiest = sorted(counts, key=lambda name: (-counts[name], name))
        raise ManifestError(
            f"{manifest.corpus}: {self.rater or 'no rater'} named none of the classes. Raters with most answers: "
            f"{', '.join(f'{name} ({counts[name]})' for name in busiest[:_SHOWN])}."
        )
