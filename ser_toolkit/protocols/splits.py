"""Split protocols: folds from speakers, sessions, other groups, or the corpus's official lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Literal

import numpy as np
import pandas as pd

from ser_toolkit.errors import SplitError
from ser_toolkit.protocols.folds import Fold, Protocol, check_folds
from ser_toolkit.terms import natural_key

__all__ = [
    "Fold",
    "GroupedKFold",
    "LeaveOneSessionOut",
    "LeaveOneSpeakerOut",
    "OfficialFolds",
    "Protocol",
    "RandomKFold",
    "check_folds",
]

_PARTITIONS = {
    "train": ("train", "training"),
    "dev": ("dev", "devel", "development", "val", "valid", "validation"),
    "test": ("test", "testing"),
}


class LeaveOneSpeakerOut(Protocol):
    """Each speaker is tested once, by a model that never heard him or her.

    Args:
        dev_speakers: how many of the other speakers select; they follow the test speaker in cyclic order, changing
            between the sexes where these are known. 0 gives no dev part.
    """

    def __init__(self, dev_speakers: int = 1) -> None:
        if dev_speakers < 0:
            raise SplitError(f"dev_speakers is {dev_speakers}, expected 0 or more")
        self.dev_speakers = dev_speakers
        self.dev_source = (
            f"{dev_speakers} other speaker{'s' * (dev_speakers > 1)} of the training part"
            if dev_speakers
            else "no dev part"
        )

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """One fold per speaker, in natural order of their names."""
        ids = ids_by(table, "speaker", at_least=self.dev_speakers + 2, who=type(self).__name__)
        sexes = dict(zip(table["speaker"], table["sex"], strict=True)) if "sex" in table.columns else {}
        names = list(ids)
        return [
            fold_of(speaker, ids, dev=self._dev(names, position, sexes), test=[speaker])
            for position, speaker in enumerate(names)
        ]

    def _dev(self, names: list[str], position: int, sexes: dict[str, object]) -> list[str]:
        waiting = names[position + 1 :] + names[:position]
        chosen: list[str] = []
        while len(chosen) < self.dev_speakers:
            last = sexes.get(chosen[-1]) if chosen else None
            others = [name for name in waiting if isinstance(last, str) and sexes.get(name) not in (last, None)]
            chosen.append((others or waiting)[0])
            waiting.remove(chosen[-1])
        return chosen


class LeaveOneSessionOut(Protocol):
    """Each recording session is tested once; its speakers occur in no other session.

    Args:
        dev: ``session`` selects on the next session in cyclic order, ``none`` gives no dev part.
    """

    cluster_by = "session"

    def __init__(self, dev: Literal["session", "none"] = "session") -> None:
        self.dev = dev
        self.dev_source = "the next session, which is not trained on" if dev == "session" else "no dev part"

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """One fold per session, in natural order of their names."""
        ids = ids_by(table, "session", at_least=3 if self.dev == "session" else 2, who=type(self).__name__)
        return _cyclic(ids, dev_folds=int(self.dev == "session"))


class GroupedKFold(Protocol):
    """Folds of whole speakers (or sessions, dialogues) that hold about equally many utterances.

    Args:
        num_folds: number of folds.
        group_by: column whose values are never divided.
        dev_folds: how many of the following folds select instead of being trained on; 0 gives no dev part.
        seed: which of the equally good assignments is taken.
    """

    def __init__(self, num_folds: int = 10, group_by: str = "speaker", dev_folds: int = 1, seed: int = 0) -> None:
        _check_counts(num_folds, dev_folds)
        self.num_folds = num_folds
        self.group_by = group_by
        self.dev_folds = dev_folds
        self.seed = seed
        self.cluster_by = "session" if group_by == "session" else "speaker"
        self.dev_source = _next_folds(dev_folds, f"with other {group_by}s")

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Deal out the groups, large ones first, each to the fold that is smallest so far."""
        ids = ids_by(table, self.group_by, at_least=self.num_folds, who=type(self).__name__)
        names = list(ids)
        order = np.random.default_rng(self.seed).permutation(len(names))
        parts: list[list[str]] = [[] for _ in range(self.num_folds)]
        for name in sorted((names[i] for i in order), key=lambda name: -len(ids[name])):
            min(parts, key=len).extend(ids[name])
        return _cyclic(_numbered(parts), self.dev_folds)


class OfficialFolds(Protocol):
    """The folds or partitions that the corpus publishes, from the ``fold`` column.

    With the words train, dev and test in that column there is one fold for each test partition; other values are
    folds of a cross-validation. Utterances without a value are left out.

    Args:
        dev: ``fold`` selects on the published dev partition, or in a cross-validation on the next fold; ``speaker``
            on about a tenth of the training speakers; ``none`` gives no dev part.
        leak: what the published list leaks (speakers in train and test, say), in one sentence for the banner. Without
            it such a list is refused.
        cluster_by: what confidence intervals resample, because its utterances go together: ``speaker``, ``session``,
            ``dialogue``, or, where some speakers are unknown, ``speaker_or_dialogue``: the speaker, and in a dialogue
            all unknown voices together. It changes no prediction, and so no run's hash.
    """

    tests_everything = False

    def __init__(
        self,
        dev: Literal["fold", "speaker", "none"] = "fold",
        leak: str | None = None,
        cluster_by: Literal["speaker", "session", "dialogue", "speaker_or_dialogue"] = "speaker",
    ) -> None:
        self.dev = dev
        self.declared_leak = leak
        self.cluster_by = cluster_by
        self.dev_source = {
            "fold": "the published dev partition, or the next published fold",
            "speaker": "about a tenth of the speakers of the published training part",
            "none": "no dev part",
        }[dev]

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Folds as the corpus publishes them."""
        who = type(self).__name__
        table = table[table["fold"].notna()]
        ids = ids_by(table, "fold", at_least=2, who=who)
        partitions = {name: _partition(name) for name in ids}
        if "test" in partitions.values() and "train" in partitions.values():
            folds = self._partitions(ids, partitions, who)
        elif any(partitions.values()):
            raise SplitError(f"{who}: the fold column needs a train and a test partition, found {', '.join(ids)}.")
        else:
            folds = _cyclic(ids, dev_folds=int(self.dev == "fold"))
        return [_hold_out_speakers(table, fold, who) for fold in folds] if self.dev == "speaker" else folds

    def _partitions(self, ids: dict[str, list[str]], partitions: dict[str, str | None], who: str) -> list[Fold]:
        def collect(part: str) -> tuple[str, ...]:
            return tuple(sorted(one for name in ids if partitions[name] == part for one in ids[name]))

        # Without a use as dev, a published dev partition stays out of training: the published sizes are kept.
        dev = collect("dev") if self.dev == "fold" else ()
        if self.dev == "fold" and not dev:
            raise SplitError(
                f"{who}: the fold column has no dev partition ({', '.join(ids)}). Use dev=speaker or none."
            )
        return [
            Fold(name, collect("train"), dev, tuple(sorted(ids[name]))) for name in ids if partitions[name] == "test"
        ]


class RandomKFold(Protocol):
    """Utterances dealt out at random, class by class: train and test share speakers, so that results are too good.

    Args:
        num_folds: number of folds.
        dev_folds: how many of the following folds select instead of being trained on; 0 gives no dev part.
        seed: of the shuffling.
    """

    declared_leak = "train, dev and test share speakers: results do not hold for new speakers"

    def __init__(self, num_folds: int = 10, dev_folds: int = 1, seed: int = 0) -> None:
        _check_counts(num_folds, dev_folds)
        self.num_folds = num_folds
        self.dev_folds = dev_folds
        self.seed = seed
        self.dev_source = _next_folds(dev_folds, "with the same speakers")

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Shuffle, sort by class, and deal out one by one."""
        ids = sorted(table["id"])
        if len(ids) < self.num_folds:
            raise SplitError(f"RandomKFold: {len(ids)} utterances are too few for {self.num_folds} folds.")
        label = dict(zip(table["id"], table["label"].where(table["label"].notna(), ""), strict=True))
        shuffled = [ids[i] for i in np.random.default_rng(self.seed).permutation(len(ids))]
        dealt = sorted(shuffled, key=lambda one: label[one])
        return _cyclic(_numbered([dealt[k :: self.num_folds] for k in range(self.num_folds)]), self.dev_folds)


def ids_by(table: pd.DataFrame, column: str, at_least: int, who: str) -> dict[str, list[str]]:
    """Sorted utterance ids per value of a column, values in natural order."""
    if column not in table.columns:
        raise SplitError(f"{who}: the table has no column {column!r}. Choose one of {', '.join(table.columns)}.")
    unknown = table.loc[table[column].isna(), "id"]
    if len(unknown):
        raise SplitError(
            f"{who}: the {column} of {len(unknown)} utterances is unknown ({', '.join(unknown.iloc[:3])}). "
            f"Fill the {column} column, or use another protocol."
        )
    groups = {str(name): sorted(ids) for name, ids in table.groupby(column)["id"]}
    if len(groups) < at_least:
        raise SplitError(
            f"{who}: {len(groups)} different values of {column} ({', '.join(sorted(groups)[:6])}), at least {at_least} "
            "are needed. Use fewer folds or a smaller dev part."
        )
    return {name: groups[name] for name in sorted(groups, key=natural_key)}


def fold_of(name: str, ids: dict[str, list[str]], dev: Sequence[str], test: Sequence[str]) -> Fold:
    """A fold from groups: what is neither dev nor test is trained on.

    The order is that of the groups and of the ids in them, whatever the order of the table's rows.
    """

    def collect(groups: Sequence[str]) -> tuple[str, ...]:
        return tuple(chain.from_iterable(ids[group] for group in groups))

    return Fold(name, collect([group for group in ids if group not in {*dev, *test}]), collect(dev), collect(test))


def _cyclic(ids: dict[str, list[str]], dev_folds: int) -> list[Fold]:
    """One fold per group; the groups that follow it in cyclic order select."""
    names = list(ids)
    if len(names) < dev_folds + 2:
        raise SplitError(f"{len(names)} folds are too few for {dev_folds} of them as dev part. Use a smaller dev part.")
    return [
        fold_of(name, ids, dev=(names[k + 1 :] + names[:k])[:dev_folds], test=[name]) for k, name in enumerate(names)
    ]


def _hold_out_speakers(table: pd.DataFrame, fold: Fold, who: str) -> Fold:
    """Move about a tenth of the training speakers, at least one, into the dev part."""
    ids = ids_by(table[table["id"].isin(fold.train)], "speaker", at_least=2, who=f"{who}, fold {fold.name}")
    dev = list(ids)[::10]
    held = fold_of(fold.name, ids, dev=dev, test=[])
    return Fold(fold.name, held.train, held.dev, fold.test)


def _partition(name: str) -> str | None:
    """train, dev or test when a value of the fold column means that (``test2`` is a test partition as well)."""
    word = re.sub(r"[\s_-]*\d*$", "", name.strip().lower())
    return next((part for part, words in _PARTITIONS.items() if word in words), None)


def _numbered(parts: list[list[str]]) -> dict[str, list[str]]:
    width = len(str(len(parts)))
    return {f"{number:0{width}d}": ids for number, ids in enumerate(parts, start=1)}


def _check_counts(num_folds: int, dev_folds: int) -> None:
    if num_folds < 2 or not 0 <= dev_folds <= num_folds - 2:
        raise SplitError(
            f"{num_folds} folds with {dev_folds} of them as dev part: "
            "expected at least 2 folds, and at least one that is left to train on"
        )


def _next_folds(dev_folds: int, which: str) -> str:
    if dev_folds == 0:
        return "no dev part"
    return f"the next {'fold' if dev_folds == 1 else f'{dev_folds} folds'}, {which}"
