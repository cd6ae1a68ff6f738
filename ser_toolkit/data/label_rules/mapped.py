"""Fewer classes: those of an ontology, or classes that are merged by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ser_toolkit.data.labels import Intended, LabelRule
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.ontology import ONTOLOGIES
from ser_toolkit.data.rater_answers import changed, voted
from ser_toolkit.errors import ManifestError, RecipeError, nearest

Ontology = Literal["big_four", "big_six", "arousal_valence"]
_SHOWN = 8


class Mapped(LabelRule):
    """Another rule in fewer classes: those of an ontology, or the corpus's own after merges.

    Labels, votes and raters' answers are renamed first, so that votes for excited and for happy add up before a
    majority is asked for. What has no class in the ontology is no label, and stays a vote for something else.

    Args:
        ontology: ``big_four``, ``big_six``, ``arousal_valence``, or None for the corpus's classes after the merges.
        merges: word -> word that it counts as, done first: ``{excited: happy}``.
        rule: makes the targets in the new classes; None takes the label column (``Intended``).
        only: the classes to keep, in their order (those that several corpora share, say); None keeps all.
    """

    description = "the targets of another rule in the classes of an ontology"
    maps_classes = True

    def __init__(
        self,
        ontology: Ontology | None = "big_four",
        merges: dict[str, str] | None = None,
        rule: LabelRule | None = None,
        only: list[str] | None = None,
    ) -> None:
        if ontology is not None and ontology not in ONTOLOGIES:
            raise RecipeError(f"Mapped: ontology {ontology!r} is unknown. {nearest(ontology, ONTOLOGIES)}")
        self.ontology = ontology
        self.merges = dict(merges or {})
        chained = ", ".join(sorted(set(self.merges.values()) & set(self.merges)))
        if chained:
            raise RecipeError(f"Mapped: {chained} is merged and merged into. Write the last word on the right.")
        self.rule = rule if rule is not None else Intended()
        self.only = list(only) if only is not None else None

    @property
    def explanation(self) -> str:
        """The ontology and merges, and the rule inside."""
        merges = ", ".join(f"{word} as {name}" for word, name in self.merges.items())
        mapped = " after ".join(text for text in (self.ontology, f"counting {merges}" if merges else None) if text)
        chosen = f", of these {', '.join(self.only)}" if self.only is not None else ""
        return f"{mapped or 'the classes of the corpus'}{chosen}, on {self.rule.explanation}"

    def classes_of(self, manifest: Manifest) -> tuple[str, ...]:
        """Classes that a class of the corpus belongs to: in the ontology's order, or alphabetical after merges.

        Raises:
            ManifestError: fewer than two are left.
        """
        reached = {self._class_of(name) for name in manifest.classes} - {None}
        ordered = tuple(ONTOLOGIES[self.ontology].classes) if self.ontology else sorted(map(str, reached))
        classes = tuple(name for name in ordered if name in reached)
        if self.only is not None:
            for name in set(self.only) - set(classes):
                raise ManifestError(f"{manifest.corpus}: only names {name!r}. {nearest(name, classes)}")
            classes = tuple(dict.fromkeys(self.only))
        if len(classes) < 2:
            raise ManifestError(
                f"{manifest.corpus}: of {', '.join(manifest.classes)}, {self.ontology or 'the merges'} leaves "
                f"{', '.join(classes) or 'nothing'}. Choose another ontology, or more classes."
            )
        return classes

    def _class_of(self, word: str) -> str | None:
        word = self.merges.get(word, word)
        return word if self.ontology is None else ONTOLOGIES[self.ontology].class_of.get(word)

    def _categories(self, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, list[str]]:
        self._check_merges(manifest)
        classes = self.classes_of(manifest)
        table = manifest.table.copy()
        table["label"] = table["label"].map(
            lambda word: found if isinstance(word, str) and (found := self._class_of(word)) in classes else None
        )
        table["votes"] = changed(table["votes"], lambda votes, _: self._renamed_votes(votes))
        if self.rule.reads_ratings:  # renaming them takes seconds a 100,000 utterances
            table["ratings"] = changed(table["ratings"], lambda ratings, _: self._renamed_ratings(ratings))
        renamed = replace(manifest, table=table, classes=classes)
        if self.rule.classes_of(renamed) != classes:
            raise RecipeError("Mapped: the rule inside maps classes as well. Give one ontology, with all merges.")
        label, soft, notes = self.rule._categories(renamed)
        return label, soft, [*self._mapping_notes(manifest, classes), *notes]

    def _renamed_votes(self, votes: Mapping[str, float]) -> dict[str, float]:
        made: dict[str, float] = {}
        for word, count in votes.items():
            # A word without a class keeps its name: it is a vote, only not for one of the classes.
            name = self._class_of(word) or f"({word})"
            made[name] = made.get(name, 0.0) + count
        return made

    def _renamed_ratings(self, ratings: list[dict[str, Any]]) -> list[dict[str, Any]]:
        def renamed(words: list[str]) -> list[str]:
            return list(dict.fromkeys(self._class_of(word) or f"({word})" for word in words))

        return [rating | {"labels": renamed(rating.get("labels", []))} for rating in ratings]

    def _check_merges(self, manifest: Manifest) -> None:
        known = {*manifest.classes, *voted(manifest)}
        strange = [word for word in self.merges if word not in known]
        if strange:
            raise ManifestError(
                f"{manifest.corpus}: merges names {', '.join(strange)}, which nobody said. {nearest(strange[0], known)}"
            )

    def _mapping_notes(self, manifest: Manifest, classes: tuple[str, ...]) -> list[str]:
        counts = manifest.table["label"].value_counts().to_dict()
        into = {word: self._class_of(word) for word in manifest.classes}
        merged = [
            f"{word} as {name} ({counts.get(word, 0)})"
            for word, name in into.items()
            if name in classes and name != word
        ]
        out = [f"{word} ({counts.get(word, 0)})" for word, name in into.items() if name not in classes]
        where = f"{self.ontology or 'merges'}: "
        notes = [f"{where}counted {', '.join(merged)}"] if merged else []
        return [*notes, f"{where}left out {', '.join(out)}"] if out else notes
