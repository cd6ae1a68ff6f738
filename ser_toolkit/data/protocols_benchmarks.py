"""Published protocols of benchmarks over many corpora: EmoBox and SERAB.

Each class is called as its protocol is, because parts are chosen by the name of their class.
"""
# ruff: noqa: N801

from __future__ import annotations

import random

import numpy as np
import pandas as pd

from ser_toolkit.data.folds import Fold
from ser_toolkit.data.protocols_iemocap import FOUR_CLASSES, IEMOCAP, session_sizes
from ser_toolkit.data.published import PublishedProtocol, Sizes
from ser_toolkit.data.splits import RandomKFold, fold_of, ids_by
from ser_toolkit.errors import SplitError

CREMAD, EMODB, RAVDESS = "CREMA-D", "EmoDB", "RAVDESS"
#: Utterances per class of complete copies.
CREMAD_CLASSES = {"angry": 1271, "disgusted": 1271, "fearful": 1271, "happy": 1271, "neutral": 1087, "sad": 1271}
EMODB_CLASSES = {"angry": 127, "bored": 81, "disgusted": 46, "fearful": 69, "happy": 71, "neutral": 79, "sad": 62}
RAVDESS_ACTORS = tuple(f"{number:02d}" for number in range(1, 25))
CREMAD_ACTORS = tuple(str(number) for number in range(1001, 1092))
#: EmoBox's six test parts of RAVDESS: drawn once without a seed, so that only the lists say it.
EMOBOX_RAVDESS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)
_RAVDESS_SPEECH = {name: 96 if name == "neutral" else 192 for name in (
    "angry", "calm", "disgusted", "fearful", "happy", "neutral", "sad", "surprised",
)}  # fmt: skip
_EMOBOX = "Ma et al., EmoBox, Interspeech 2024; code emo-box/EmoBox"
_EMOBOX_SELECTS = "nothing: its recipe scores every epoch on test; here the last epoch is tested"
_EMOBOX_HEAD = "frozen last layer, Linear 128 or 256, ReLU, masked mean, Linear; Adam 1e-4"


class emobox(PublishedProtocol):
    """EmoBox's folds where they keep speakers apart: sessions, lists of actors, or one speaker a fold."""

    source = f"{_EMOBOX}, data and EmoBox/utils/preprocess_utils.py (write_folds)"
    corpora = (IEMOCAP, RAVDESS, "EMOVO", "SAVEE", "CASIA", "JL-Corpus")
    dev_source = "no dev part"
    selects_on = _EMOBOX_SELECTS
    aggregation = "the mean of the folds' UA, WA and macro-F1"
    conventions = _EMOBOX_HEAD
    exactness = "EmoBox's test parts (for one speaker a fold: in the order of the speakers' names)"
    tests_everything = False
    sizes = (
        Sizes(IEMOCAP, session_sizes((None,) * 5), FOUR_CLASSES),
        Sizes(RAVDESS, {str(k): (1200, 0, 240) for k in range(1, 7)}, _RAVDESS_SPEECH),
    )

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """The corpus is told by its columns: the 24 actors of RAVDESS, sessions, or 4 to 6 speakers."""
        if set(table["speaker"].dropna()) == set(RAVDESS_ACTORS):
            ids = ids_by(table, "speaker", at_least=4, who="emobox")
            return [fold_of(str(k), ids, dev=[], test=actors) for k, actors in enumerate(EMOBOX_RAVDESS, start=1)]
        if table["session"].notna().all():
            ids = ids_by(table, "session", at_least=2, who="emobox")
            return [fold_of(name, ids, dev=[], test=[name]) for name in ids]
        ids = ids_by(table, "speaker", at_least=4, who="emobox")
        if len(ids) > 6:
            raise SplitError(
                f"emobox: {len(ids)} speakers. EmoBox deals more than six out at random without a seed, so its folds "
                "are known for RAVDESS alone; classes that are not balanced over speakers it splits at random "
                "(emobox_quarter, emobox_emodb). Use GroupedKFold for folds of your own."
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
    corpora = (CREMAD, "TESS", "ShEMO", "URDU", "TurEV-DB", "ASED")
    declared_leak = "speakers are in train and test (91 of 91 in CREMA-D): results do not hold for new speakers"
    dev_source = "no dev part"
    selects_on = _EMOBOX_SELECTS
    aggregation = "one split: UA, WA and macro-F1"
    conventions = _EMOBOX_HEAD
    exactness = "the rule, seed and sizes; EmoBox's list follows the order of its file system, here it is by name"
    tests_everything = False
    sizes = (Sizes(CREMAD, {"1": (5586, 0, 1856)}, CREMAD_CLASSES),)

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
    corpora = (CREMAD, EMODB, RAVDESS, "AESDD", "CaFE", "EMOVO", "SAVEE")
    dev_source = "a fifth of the speakers (a tenth in CREMA-D)"
    selects_on = "dev accuracy, by grid search; among kinds of classifier the best on test is reported"
    monitor = "dev/accuracy"
    aggregation = "one split; accuracy"
    conventions = "frozen utterance embeddings, classical classifiers, refitted on train and dev"
    tests_everything = False
    sizes = (
        Sizes(EMODB, {"serab": (344, 107, 84)}, EMODB_CLASSES),
        Sizes(CREMAD, {"serab": (5144, 738, 1556)}, CREMAD_CLASSES),
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


def shuffled_groups(names: list[str], shares: tuple[float, float, float]) -> tuple[list[str], list[str], list[str]]:
    """Sorted names, shuffled by NumPy's legacy generator with seed 0 and cut at the cumulated shares.

    Source: TensorFlow Datasets (crema_d, savee), which the SERAB data sets follow.
    """
    order = list(names)
    np.random.RandomState(0).shuffle(order)
    first = int(shares[0] * len(order))
    second = int((shares[0] + shares[1]) * len(order))
    return order[:first], order[first:second], order[second:]
