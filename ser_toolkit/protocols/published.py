"""A published protocol: a split under its published name, with its source, its leaks and its conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd

from ser_toolkit.errors import SplitError
from ser_toolkit.protocols.folds import Fold, Protocol
from ser_toolkit.terms import counted, listed


@dataclass(frozen=True)
class Sizes:
    """Sizes that a protocol has on the material it was published for.

    Args:
        corpus: name of the corpus.
        folds: utterances in train, dev and test of each fold, by the fold's name.
        classes: utterances per class, by which the material is recognised; empty recognises it by ``utterances``.
        utterances: in all, where the classes are not counted.
    """

    corpus: str
    folds: Mapping[str, tuple[int, int, int]]
    classes: Mapping[str, int] = field(default_factory=dict)
    utterances: int | None = None

    def __post_init__(self) -> None:
        if (self.utterances is None) == (not self.classes):
            raise ValueError(f"Sizes on {self.corpus} need the utterances per class or in all, one of the two.")

    @property
    def total(self) -> int:
        """Utterances of the material."""
        return sum(self.classes.values()) if self.utterances is None else self.utterances

    def covers(self, table: pd.DataFrame) -> bool:
        """Whether a table is the published material, as far as its counts can tell."""
        if not self.classes:
            return len(table) == self.utterances
        return table["label"].value_counts().to_dict() == dict(self.classes)

    def differences(self, folds: Sequence[Fold]) -> list[str]:
        """Folds that are not of their published size."""
        found = {fold.name: (len(fold.train), len(fold.dev), len(fold.test)) for fold in folds}
        return [
            f"fold {name} has {found.get(name, 'no')} utterances in (train, dev, test), published are {size}"
            for name, size in self.folds.items()
            if found.get(name) != size
        ]


class PublishedProtocol(Protocol):
    """A protocol that has a name in the literature, and runs only under it.

    The class is called as the protocol is (``superb_er``), because parts are chosen by the name of their class.
    Whatever changes the figures besides the split is stated: what weights are selected on, how folds are put together,
    classes and heads. The metric on dev is applied wherever the protocol is named, see
    ``ser_toolkit.config.conventions``; the rest stands in the audit and is left to the recipe.
    """

    #: Paper and code, with the place in it.
    source: ClassVar[str]
    #: Names of the corpora it was published for; empty for any.
    corpora: ClassVar[tuple[str, ...]] = ()
    #: Part that the peer selects weights on, in words.
    selects_on: ClassVar[str]
    #: The same as ``selection.monitor``, where this toolkit measures it.
    monitor: ClassVar[str | None] = None
    #: Figure that the peer reports of several folds.
    aggregation: ClassVar[str]
    #: Classes, head, length of audio: what else the peer's figures depend on.
    conventions: ClassVar[str] = ""
    #: How near this is to the peer's own lists.
    exactness: ClassVar[str] = "the published folds"
    #: Sizes on the published material, which are asserted there.
    sizes: ClassVar[tuple[Sizes, ...]] = ()

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """The folds, checked; on the published material their sizes are those published.

        Raises:
            SplitError: the protocol does not fit the table, leaks what it does not declare, or gives other sizes.
        """
        folds = super().folds(table)
        for sizes in self.sizes:
            wrong = sizes.differences(folds) if sizes.covers(table) else []
            if wrong:
                raise SplitError(
                    f"{type(self).__name__} on {sizes.corpus}: {'; '.join(wrong)}. The classes are those of the "
                    "published material, so speakers or sessions are not: compare the copy with ser-corpus inspect."
                )
        return folds

    def remarks(self, table: pd.DataFrame) -> list[str]:
        """Source, leak and conventions, and whether this is the published material."""
        remarks = [f"{type(self).__name__}: {self.source}"]
        if self.declared_leak:
            remarks.append(f"warning: leak, declared by the protocol: {self.declared_leak}")
        remarks.append(f"published figures: selected on {self.selects_on}; reported: {self.aggregation}")
        if self.conventions:
            remarks.append(f"published with {self.conventions}")
        if self.exactness != PublishedProtocol.exactness:
            remarks.append(f"folds are {self.exactness}")
        known = [sizes for sizes in self.sizes if sizes.covers(table)]
        if known:
            remarks.append(f"sizes are those published for {known[0].corpus} ({known[0].total} utterances)")
        elif self.sizes:
            published = "; ".join(f"{one.corpus} ({one.total} utterances: {_shown(one.folds)})" for one in self.sizes)
            here = {fold.name: (len(fold.train), len(fold.dev), len(fold.test)) for fold in self.split(table)}
            found = f"{counted(len(table), 'utterance')} here, in train/dev/test {_shown(here)}"
            remarks.append(f"sizes: {found}; this is none of the material of which sizes are published: {published}")
        return remarks


def _shown(folds: Mapping[str, tuple[int, int, int]]) -> str:
    """Train/dev/test of different folds, each size once; of many sizes the first three."""
    sizes = list(dict.fromkeys("/".join(map(str, size)) for size in folds.values()))
    return listed(sizes, 3, more=" ...")
