"""Votes that are counted again from the single raters' answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ser_toolkit.data.labels import LabelRule, Soft, note
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.rater_answers import answers, changed, require_ratings
from ser_toolkit.errors import RecipeError

_COUNTED = {"first": "the first", "each": "each", "shared": "a share of one vote for each"}


class Recounted(LabelRule):
    """Another rule on votes that are counted again from the single raters' answers; self-reports are no votes.

    Args:
        ticks: of a rater who named several emotions, ``first`` counts the first alone (the primary emotion), ``each``
            counts every one as a full vote (primary and secondary emotions), ``shared`` divides one vote among them.
        rule: reads the votes; None takes ``Soft``.
    """

    description = "the targets of another rule on votes counted again from the raters' answers"

    def __init__(self, ticks: Literal["first", "each", "shared"] = "each", rule: LabelRule | None = None) -> None:
        if ticks not in ("first", "each", "shared"):
            raise RecipeError(f"Recounted: ticks is {ticks!r}, expected first, each or shared.")
        self.ticks = ticks
        self.rule = rule if rule is not None else Soft()
        self.maps_classes = self.rule.maps_classes

    @property
    def explanation(self) -> str:
        """How votes are counted, and the rule that reads them."""
        return (
            f"votes counted again from the raters, of several emotions {_COUNTED[self.ticks]}; {self.rule.explanation}"
        )

    def classes_of(self, manifest: Manifest) -> tuple[str, ...]:
        """Classes of the rule that reads the votes."""
        return self.rule.classes_of(manifest)

    def _categories(self, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, list[str]]:
        require_ratings(manifest, "Recounted")
        table = manifest.table.copy()
        several: set[str] = set()
        table["votes"] = changed(table["ratings"], lambda ratings, text: self._votes(ratings, text, several))
        counted = f"with raters who named several emotions: {_COUNTED[self.ticks]} is counted"
        notes = note(table["ratings"].isin(several).to_numpy(), counted)
        label, soft, more = self.rule._categories(replace(manifest, table=table))
        return label, soft, [*notes, *more]

    def _votes(self, ratings: list[dict[str, Any]], text: str, several: set[str]) -> dict[str, float] | None:
        """Votes of one utterance, whose text goes to ``several`` where a rater named more than one emotion."""
        votes: dict[str, float] = {}
        for rating in answers(ratings):
            if len(rating["labels"]) > 1:
                several.add(text)
            words = rating["labels"][:1] if self.ticks == "first" else rating["labels"]
            for word in words:
                votes[word] = votes.get(word, 0.0) + (1 / len(words) if self.ticks == "shared" else 1.0)
        return votes or None
