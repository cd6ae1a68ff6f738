"""Protocols for several corpora at once: one corpus, or one language, is tested by models not trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import pandas as pd

from ser_toolkit.errors import SplitError
from ser_toolkit.protocols.folds import Fold, Protocol
from ser_toolkit.protocols.splits import GroupedKFold, fold_of, ids_by
from ser_toolkit.terms import natural_key


class _LeaveOneOut(Protocol):
    """Each value of a column is tested once, by a model that was trained on the others.

    Args:
        dev: ``speakers`` selects on about a tenth of the speakers of each group that is trained on, at least one;
            ``group`` on the next group in cyclic order, as far from the training part as the test is; ``none`` gives
            no dev part.
    """

    column: ClassVar[str]

    def __init__(self, dev: Literal["speakers", "group", "none"] = "speakers") -> None:
        self.dev = dev
        self.dev_source = {
            "speakers": f"about a tenth of the speakers of every {self.column} that is trained on",
            "group": f"the next {self.column}, which is not trained on",
            "none": "no dev part",
        }[dev]

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """One fold for each value of the column, in the order of their names."""
        who = type(self).__name__
        if self.column == "corpus" and table["corpus"].isna().all():
            raise SplitError(
                f"{who}: this is a single corpus. Combine several: "
                "data.corpus=Combined data.corpus.members=[EmoDB,CREMAD]"
            )
        self._check_number(set(table[self.column].dropna()))
        ids = ids_by(table, self.column, at_least=2, who=who)
        folds = self._folds(table, ids)
        self._check_classes(table, folds)
        return folds

    def _check_number(self, found: set[str]) -> None:
        needed = 3 if self.dev == "group" else 2
        if len(found) < needed:
            fewer = " dev=speakers needs one less." if self.dev == "group" else ""
            raise SplitError(
                f"{type(self).__name__}: of the utterances to which the label rule gives a target, every {self.column} "
                f"is one of {', '.join(sorted(found)) or 'none'}, at least {needed} are needed. Combine more, or take "
                f"data.labels that all of them have (Intended, the label column).{fewer}"
            )

    def _folds(self, table: pd.DataFrame, ids: dict[str, list[str]]) -> list[Fold]:
        names, folds = list(ids), []
        for place, name in enumerate(names):
            dev = [(names[place + 1 :] + names[:place])[0]] if self.dev == "group" else []
            fold = fold_of(name, ids, dev=dev, test=[name])
            folds.append(self._with_dev_speakers(table, fold) if self.dev == "speakers" else fold)
        return folds

    def _with_dev_speakers(self, table: pd.DataFrame, fold: Fold) -> Fold:
        rows = table[table["id"].isin(fold.train)]
        ids = ids_by(rows, "speaker", at_least=2, who=f"{type(self).__name__}, fold {fold.name}")
        chosen: list[str] = []
        for _, group in rows.groupby(self.column):
            speakers = sorted(set(group["speaker"]), key=natural_key)
            chosen += speakers[::10] if len(speakers) > 1 else []
        held = fold_of(fold.name, ids, dev=chosen, test=[])
        return Fold(fold.name, held.train, held.dev, fold.test)

    def _check_classes(self, table: pd.DataFrame, folds: Sequence[Fold]) -> None:
        """Refuse a class that would be tested without ever having been trained on, and say which classes can stay."""
        label = dict(zip(table["id"], table["label"], strict=True))
        everywhere = set(table["label"].dropna())
        lacking = {fold.name: everywhere - {label[name] for name in fold.train} for fold in folds}
        if not any(lacking.values()):
            return
        missing = "; ".join(f"without {name}: {', '.join(sorted(those))}" for name, those in lacking.items() if those)
        common = sorted(everywhere.difference(*lacking.values()))
        raise SplitError(
            f"{type(self).__name__}: classes that nothing is left to learn from ({missing}). Keep those that others "
            f"have too, {', '.join(common) or 'of which there are none'}: name their words in data.labels.only=[...] "
            "of data.labels=Mapped (data.labels.ontology=null where the corpora's own words are the classes, "
            "data.labels.rule for another rule than the label column), or choose an ontology whose classes all have."
        )


class LeaveOneCorpusOut(_LeaveOneOut):
    """Each corpus is tested once, by a model that was trained on the others.

    Args:
        dev: ``speakers`` selects on about a tenth of the speakers of each corpus that is trained on, at least one;
            ``group`` on the next corpus in cyclic order, as strange to the model as the test; ``none`` gives no dev
            part.
    """

    column = "corpus"


class LeaveOneLanguageOut(_LeaveOneOut):
    """Each language is tested once, by a model that was trained on the others.

    Args:
        dev: ``speakers`` selects on about a tenth of the speakers of each language that is trained on, at least one;
            ``group`` on the next language in cyclic order; ``none`` gives no dev part.
    """

    column = "language"


class WithinCorpora(Protocol):
    """Each corpus is split by itself, and the folds of all are put together: trained on all, tested on all.

    Args:
        protocol: splits each corpus, into equally many folds; None takes five folds of whole speakers.
    """

    def __init__(self, protocol: Protocol | None = None) -> None:
        self.protocol = protocol if protocol is not None else GroupedKFold(num_folds=5)
        self.declared_leak = self.protocol.declared_leak
        self.dev_source = f"in each corpus {self.protocol.dev_source}"
        self.cluster_by = self.protocol.cluster_by
        self.tests_everything = self.protocol.tests_everything

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """The k-th folds of all corpora make up the k-th fold."""
        ids_by(table, "corpus", at_least=1, who=type(self).__name__)
        folds = {str(name): self.protocol.split(rows) for name, rows in table.groupby("corpus")}
        counts = {name: len(found) for name, found in folds.items()}
        if len(set(counts.values())) > 1:
            numbers = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise SplitError(
                f"{type(self).__name__}: {type(self.protocol).__name__} gives another number of folds in each corpus "
                f"({numbers}). Use one with a fixed number, such as GroupedKFold."
            )
        width = len(str(max(counts.values())))
        together = zip(*folds.values(), strict=True)
        return [self._joined(f"{number:0{width}d}", parts) for number, parts in enumerate(together, start=1)]

    @staticmethod
    def _joined(name: str, folds: Sequence[Fold]) -> Fold:
        def everyones(part: str) -> tuple[str, ...]:
            return tuple(one for fold in folds for one in getattr(fold, part))

        return Fold(name, everyones("train"), everyones("dev"), everyones("test"))
