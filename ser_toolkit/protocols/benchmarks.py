"""Published protocols of benchmarks over many corpora: EmoBox and SERAB.

Each class is called as its protocol is, because parts are chosen by the name of their class.
"""
# ruff: noqa: N801

from __future__ import annotations

import random

import numpy as np
import pandas as pd

from ser_toolkit.errors import SplitError
from ser_toolkit.protocols.facts import (
    CAFE,
    CAFE_CLASSES,
    CREMAD,
    CREMAD_ACTORS,
    CREMAD_CLASSES,
    EMOBOX_SPEAKERS,
    EMODB,
    EMODB_CLASSES,
    ESD,
    ESD_CLASSES,
    QUARTERS,
    RAVDESS,
    RAVDESS_CLASSES,
    SHEMO,
    SUBESCO,
    SUBESCO_CLASSES,
    SUBESCO_NAMES,
)
from ser_toolkit.protocols.folds import Fold
from ser_toolkit.protocols.iemocap import FOUR_CLASSES, IEMOCAP, session_sizes
from ser_toolkit.protocols.published import PublishedProtocol, Sizes
from ser_toolkit.protocols.splits import RandomKFold, fold_of, ids_by

_EMOBOX = "Ma et al., EmoBox, Interspeech 2024; code emo-box/EmoBox"
_EMOBOX_SELECTS = "nothing: its recipe scores every epoch on test; here the last epoch is tested"
_EMOBOX_HEAD = "frozen last layer, Linear 128 or 256, ReLU, masked mean, Linear; Adam 1e-4"


class emobox(PublishedProtocol):
    """EmoBox's folds where they keep speakers apart: sessions, lists of speakers, or one speaker a fold."""

    source = f"{_EMOBOX}, data and EmoBox/utils/preprocess_utils.py (write_folds)"
    corpora = (IEMOCAP, RAVDESS, CAFE, SUBESCO, ESD, "EMOVO", "SAVEE", "CASIA", "JL-Corpus")
    dev_source = "no dev part"
    selects_on = _EMOBOX_SELECTS
    aggregation = "the mean of the folds' UA, WA and macro-F1"
    conventions = _EMOBOX_HEAD
    exactness = (
        "EmoBox's test parts: its lists of speakers for RAVDESS, CaFE, SUBESCO and ESD; of one speaker a fold its "
        "numbers follow its file system, here they follow the speakers' names"
    )
    tests_everything = False
    sizes = (
        Sizes(IEMOCAP, session_sizes((None,) * 5), FOUR_CLASSES),
        Sizes(RAVDESS, {str(k): (1200, 0, 240) for k in range(1, 7)}, RAVDESS_CLASSES),
        Sizes(CAFE, {str(k): (624, 0, 312) for k in range(1, 4)}, CAFE_CLASSES),
        Sizes(SUBESCO, {str(k): (5600, 0, 1400) for k in range(1, 6)}, SUBESCO_CLASSES),
        Sizes(ESD, {str(k): (28000, 0, 7000) for k in range(1, 6)}, ESD_CLASSES),
    )

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Split by the corpus, which is recognised by its columns: speakers of a list, sessions, or 4 to 6 speakers."""
        for language, parts in EMOBOX_SPEAKERS:
            spoken = set(table["language"].dropna()) if "language" in table.columns else set()
            if set(table["speaker"].dropna()) == {name for part in parts for name in part} and spoken <= language:
                ids = ids_by(table, "speaker", at_least=4, who="emobox")
                return [fold_of(str(k), ids, dev=[], test=part) for k, part in enumerate(parts, start=1)]
        if table["session"].notna().all():
            ids = ids_by(table, "session", at_least=2, who="emobox")
            return [fold_of(name, ids, dev=[], test=[name]) for name in ids]
        ids = ids_by(table, "speaker", at_least=4, who="emobox")
        if len(ids) > 6:
            raise SplitError(
                f"emobox: {len(ids)} speakers. EmoBox deals more than six out at random without a seed, so its folds "
                "are known where it lists them: RAVDESS, CaFE, SUBESCO and ESD, complete; classes that are not "
                "balanced over speakers it splits at random (emobox_quarter, emobox_emodb). Use GroupedKFold for folds "
                "of your own."
            )
        return [fold_of(str(k), ids, dev=[], test=[name]) for k, name in enumerate(ids, start=1)]


class emobox_emodb(PublishedProtocol):
    """EmoBox's kind of folds on EmoDB: five random fifths of each class, with all speakers on both sides."""

    source = f"{_EMOBOX}, preprocess/scripts/emodb.py (lists cv_k_fold1 ... 5)"
    corpora = (EMODB,)
    declared_leak = "all ten speakers are in train and test of every fold: results do not hold for new speakers"
    dev_source = "no dev part"
    selects_on = _EMOBOX_SELECTS
    aggregation = "the mean of the folds' UA, WA and macro-F1"
    conventions = _EMOBOX_HEAD
    exactness = "the rule and the sizes; the lists have no licence, so the utterances are dealt out by seed 0"
    sizes = (Sizes(EMODB, {str(k): (428, 0, 107) for k in range(1, 6)}, EMODB_CLASSES),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Class by class, dealt out one by one."""
        return RandomKFold(num_folds=5, dev_folds=0, seed=0).split(table)


class emobox_quarter(PublishedProtocol):
    """EmoBox's rule for corpora whose speakers are not balanced: a random quarter of each class is tested."""

    source = f"{_EMOBOX}, EmoBox/utils/preprocess_utils.py (write_folds, seed 0)"
    corpora = (CREMAD, *QUARTERS)
    declared_leak = "speakers are in train and test (91 of 91 in CREMA-D): results do not hold for new speakers"
    dev_source = "no dev part"
    selects_on = _EMOBOX_SELECTS
    aggregation = "one split: UA, WA and macro-F1"
    conventions = _EMOBOX_HEAD
    exactness = "the rule, seed and sizes; EmoBox's list follows the order of its file system, here it is by name"
    tests_everything = False
    sizes = (
        Sizes(CREMAD, {"1": (5586, 0, 1856)}, CREMAD_CLASSES),
        *(Sizes(name, {"1": size}, classes) for name, (size, classes) in QUARTERS.items()),
    )

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """A quarter of each class, rounded down, drawn without replacement."""
        drawer = random.Random(0)
        groups = ids_by(table[table["label"].notna()], "label", at_least=2, who="emobox_quarter")
        tested = {one for ids in groups.values() for one in drawer.sample(ids, int(len(ids) * 0.25))}
        listed = [one for ids in groups.values() for one in ids]
        return [
            Fold("1", tuple(x for x in listed if x not in tested), (), tuple(x for x in listed if x in tested)),
        ]


class serab(PublishedProtocol):
    """SERAB: 60 % of the speakers are trained on, 20 % select, 20 % are tested (70/10/20 in CREMA-D)."""

    source = (
        "Scheidwasser-Clow et al., SERAB, ICASSP 2022; code Neclow/SERAB (tensorflow_datasets) and TensorFlow "
        "Datasets crema_d 1.0.0"
    )
    corpora = (CREMAD, EMODB, RAVDESS, "AESDD", CAFE, "EMOVO", "SAVEE", SUBESCO)
    dev_source = "a fifth of the speakers (a tenth in CREMA-D)"
    selects_on = "dev accuracy, by grid search; among kinds of classifier the best on test is reported"
    monitor = "dev/accuracy"
    aggregation = "one split; accuracy"
    conventions = "frozen utterance embeddings, classical classifiers, refitted on train and dev"
    exactness = (
        "the rule of its code, speakers by the names of their files; SUBESCO is in its code, not in its paper; four "
        "clips of CREMA-D are in no part, as in TensorFlow Datasets"
    )
    tests_everything = False
    sizes = (
        Sizes(EMODB, {"serab": (344, 107, 84)}, EMODB_CLASSES),
        Sizes(CREMAD, {"serab": (5144, 738, 1556)}, CREMAD_CLASSES),
        Sizes(SUBESCO, {"serab": (4200, 1400, 1400)}, SUBESCO_CLASSES),
    )
    #: Clips of CREMA-D that TensorFlow Datasets leaves out.
    _NOT_IN_CREMAD = ("1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX", "1040_ITH_SAD_XX")

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Speakers by name, shuffled by seed 0 and cut; in a part of CREMA-D every actor stays where he or she is."""
        ids = ids_by(table, "speaker", at_least=3, who="serab")
        shares, names = (0.6, 0.2, 0.2), sorted(ids)
        if set(ids) <= set(CREMAD_ACTORS):
            left_out = table["id"].isin(self._NOT_IN_CREMAD)
            ids = ids_by(table[~left_out], "speaker", at_least=3, who="serab")
            shares, names = (0.7, 0.1, 0.2), list(CREMAD_ACTORS)
        elif set(ids) == set(SUBESCO_NAMES):
            names = sorted(ids, key=lambda name: SUBESCO_NAMES[name])
        _, dev, test = ([name for name in part if name in ids] for part in shuffled_groups(names, shares))
        return [fold_of("serab", ids, dev=dev, test=test)]


class serab_iem4(PublishedProtocol):
    """SERAB's split of IEMOCAP, which takes the name of the dialogue for the speaker."""

    source = "Scheidwasser-Clow et al., SERAB, ICASSP 2022; code Neclow/SERAB, tensorflow_datasets/iem4"
    corpora = (IEMOCAP,)
    declared_leak = (
        "01F in Ses01F_impro01 names a dialogue in which both speakers talk: every test speaker is in train or dev too"
    )
    dev_source = "a fifth of the dialogue prefixes"
    cluster_by = "session"
    selects_on = "dev accuracy, by grid search; among kinds of classifier the best on test is reported"
    monitor = "dev/accuracy"
    aggregation = "one split; accuracy"
    conventions = "excited as happy; frozen utterance embeddings, classical classifiers, refitted on train and dev"
    tests_everything = False
    sizes = (Sizes(IEMOCAP, {"serab": (3413, 996, 1122)}, FOUR_CLASSES),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Prefixes (01F ... 05M) are shuffled by seed 0 and cut at 60 % and 80 %."""
        ids_by(table, "dialogue", at_least=3, who=type(self).__name__)
        groups = ids_by(table.assign(group=table["dialogue"].str[3:6]), "group", at_least=3, who=type(self).__name__)
        _, dev, test = shuffled_groups(sorted(groups), (0.6, 0.2, 0.2))
        return [fold_of("serab", groups, dev=dev, test=test)]


class serab_shemo(PublishedProtocol):
    """SERAB's split of ShEMO, which takes the number of the utterance for the speaker."""

    source = "Scheidwasser-Clow et al., SERAB, ICASSP 2022; code Neclow/SERAB, tensorflow_datasets/shemo"
    corpora = (SHEMO,)
    declared_leak = (
        "05 in F01N05 numbers an utterance: who has enough of them is in train, dev and test, so that results do not "
        "hold for new speakers"
    )
    dev_source = "a fifth of the utterance numbers, by the speakers of the training part"
    selects_on = serab.selects_on
    monitor = "dev/accuracy"
    aggregation = serab.aggregation
    conventions = serab.conventions
    exactness = "the rule of its code; the sizes are not published"
    tests_everything = False

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Numbers (two digits behind the emotion's letter) are shuffled by seed 0 and cut at 60 % and 80 %."""
        strange = table.loc[~table["id"].str.fullmatch(r"[FM]\d\d[AFHNSW]\d\d+"), "id"]
        if len(strange):
            raise SplitError(f"serab_shemo: {strange.iloc[0]} is no name such as F01N05. It is of ShEMO alone.")
        groups = ids_by(table.assign(group=table["id"].str[4:6]), "group", at_least=3, who=type(self).__name__)
        _, dev, test = shuffled_groups(sorted(groups), (0.6, 0.2, 0.2))
        return [fold_of("serab", groups, dev=dev, test=test)]


def shuffled_groups(names: list[str], shares: tuple[float, float, float]) -> tuple[list[str], list[str], list[str]]:
    """Sorted names, shuffled by NumPy's legacy generator with seed 0 and cut at the cumulated shares.

    Source: TensorFlow Datasets (crema_d, savee), which the SERAB data sets follow.
    """
    order = list(names)
    np.random.RandomState(0).shuffle(order)
    first = int(shares[0] * len(order))
    second = int((shares[0] + shares[1]) * len(order))
    return order[:first], order[first:second], order[second:]
