"""Label rules that change what another rule reads: fewer classes, votes counted again, or one rater's view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ser_toolkit.data.labels import Intended, LabelRule, LabelTargets, Soft, said, shares_of
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.ontology import ONTOLOGIES
from ser_toolkit.data.rater_answers import answers, changed, ratings_of, require_ratings, voted
from ser_toolkit.errors import ManifestError, RecipeError, nearest
from ser_toolkit.terms import DIMENSIONS, MISSING_LABEL

Ontology = Literal["big_four", "big_six", "arousal_valence"]
_COUNTED = {"first": "the first", "each": "each", "shared": "a share of one vote for each"}
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
        kept = f", of these {', '.join(self.only)}" if self.only is not None else ""
        return f"{mapped or 'the classes of the corpus'}{kept}, on {self.rule.explanation}"

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
        return label, soft, [*self._told(manifest, classes), *notes]

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

    def _told(self, manifest: Manifest, classes: tuple[str, ...]) -> list[str]:
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
        """Those of the rule that reads the votes."""
        return self.rule.classes_of(manifest)

    def _categories(self, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, list[str]]:
        require_ratings(manifest, "Recounted")
        table = manifest.table.copy()
        several: set[str] = set()
        table["votes"] = changed(table["ratings"], lambda ratings, text: self._votes(ratings, text, several))
        counted = f"with raters who named several emotions: {_COUNTED[self.ticks]} is counted"
        notes = said(table["ratings"].isin(several).to_numpy(), counted)
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
        """Whose answer it is."""
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
            *said((chosen == 0) & ~outside, f"without an answer of {who}"),
            *said(outside, f"in which {who} heard another emotion than the classes"),
            *said(chosen > 1, f"in which {who} named several classes, which keep their distribution but have no label"),
        ]
        return label, shares_of(ticked), notes

    def _words(self, ratings: list[dict[str, Any]], generator: np.random.Generator) -> list[str]:
        """What the rater said, or one of them; every utterance costs one draw, so that others keep theirs."""
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
