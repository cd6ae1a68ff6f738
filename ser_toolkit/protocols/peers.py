"""Published protocols of papers and challenges, on one corpus or a few.

Each class is called as its protocol is, because parts are chosen by the name of their class.
"""
# ruff: noqa: N801

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ser_toolkit.errors import SplitError
from ser_toolkit.protocols.facts import CREMAD, CREMAD_ACTORS, RAVDESS, RAVDESS_ACTORS
from ser_toolkit.protocols.folds import Fold
from ser_toolkit.protocols.iemocap import ALL_SESSIONS, FOUR_CLASSES, IEMOCAP, session_sizes
from ser_toolkit.protocols.published import PublishedProtocol, Sizes
from ser_toolkit.protocols.splits import LeaveOneSpeakerOut, OfficialFolds, fold_of, ids_by

IMPROV, PODCAST = "MSP-IMPROV", "MSP-Podcast"
_UNKNOWN_SPEAKERS = "part of the speakers is unknown: that the partitions share none is the corpus's word, not checked"


class loso_speaker(PublishedProtocol):
    """Leave one speaker out; one other speaker, of the other sex where known, selects."""

    source = "customary on small acted corpora; ten folds of 8/1/1 speakers on IEMOCAP in Ma et al., emotion2vec, 2023"
    dev_source = LeaveOneSpeakerOut().dev_source
    selects_on = "UA of one other speaker"
    monitor = "dev/uar"
    aggregation = "the mean over the speakers and the pooled predictions, both"
    exactness = "defined here: papers seldom say which speaker selects"

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """One fold per speaker."""
        return LeaveOneSpeakerOut().split(table)


class emo_superb(PublishedProtocol):
    """EMO-SUPERB: folds of sessions (IEMOCAP, MSP-IMPROV) or of successive actors (CREMA-D), soft labels."""

    source = (
        "Wu et al., EMO-SUPERB, arXiv 2402.13018, 2024; code EMOsuperb/EMO-SUPERB-submission (data/*/labels_consensus)"
    )
    corpora = (IEMOCAP, CREMAD, IMPROV)
    dev_source = "another session, or the next block of actors"
    selects_on = "dev loss"
    monitor = "dev/loss"
    aggregation = "the mean over folds of macro-F1 (multi-label, 1/C), itself a mean over batches of 32"
    conventions = (
        "IEMOCAP's class_set=nine and votes as labels (Soft, smoothing 0.05 over the other classes); class-balanced "
        "soft cross-entropy; SUPERB's head; audio cut at 10 s"
    )
    exactness = "the published folds; of MSP-IMPROV its lists have 8385 of 8438 turns, it is not known why"
    #: Tested session and the one that selects, fold by fold, of IEMOCAP and of MSP-IMPROV.
    _FIVE = (("4", "5"), ("3", "4"), ("2", "3"), ("1", "2"), ("5", "1"))
    _SIX = (("4", "3"), ("3", "2"), ("2", "1"), ("1", "6"), ("6", "5"), ("5", "4"))
    sizes = (
        Sizes(
            IEMOCAP,
            {
                str(k): (sum(ALL_SESSIONS) - ALL_SESSIONS[int(t) - 1] - ALL_SESSIONS[int(d) - 1],
                         ALL_SESSIONS[int(d) - 1], ALL_SESSIONS[int(t) - 1])
                for k, (t, d) in enumerate((("4", "5"), ("3", "4"), ("2", "3"), ("1", "2"), ("5", "1")), start=1)
            },
            utterances=sum(ALL_SESSIONS),
        ),
        Sizes(
            CREMAD,
            {
                "1": (4509, 1470, 1463),
                "2": (4496, 1476, 1470),
                "3": (4490, 1476, 1476),
                "4": (4409, 1557, 1476),
                "5": (4422, 1463, 1557),
            },
            utterances=7442,
        ),
        Sizes(
            IMPROV,
            {
                "1": (5512, 1765, 1108),
                "2": (5198, 1422, 1765),
                "3": (5984, 979, 1422),
                "4": (5794, 1612, 979),
                "5": (5274, 1499, 1612),
                "6": (5778, 1108, 1499),
            },
            utterances=8385,
        ),
    )  # fmt: skip

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Sessions where they are known, else blocks of 18 or 19 actors."""
        if table["session"].notna().any():
            ids = ids_by(table, "session", at_least=5, who="emo_superb")
            named = {name.lower().removeprefix("session"): name for name in ids}
            order = next((one for one in (self._FIVE, self._SIX) if {test for test, _ in one} == set(named)), None)
            if order is None:
                raise SplitError(
                    "emo_superb: expected IEMOCAP's Session1 to Session5 or MSP-IMPROV's session1 to session6, found "
                    f"{', '.join(ids)}."
                )
            return [
                fold_of(str(k), ids, dev=[named[dev]], test=[named[test]])
                for k, (test, dev) in enumerate(order, start=1)
            ]
        ids = ids_by(table, "speaker", at_least=5, who="emo_superb")
        if not set(ids) <= set(CREMAD_ACTORS):
            raise SplitError("emo_superb: no sessions, and the speakers are not CREMA-D's 1001 to 1091.")
        blocks = [CREMAD_ACTORS[start : start + 18] for start in range(0, 72, 18)] + [CREMAD_ACTORS[72:]]
        return [_of_actors(str(k + 1), ids, blocks[(k + 1) % 5], blocks[k]) for k in range(5)]


class peft_ser(PublishedProtocol):
    """PEFT-SER: folds of sessions, or fifths of the actors by number; the last of the rest selects."""

    source = "Feng and Narayanan, PEFT-SER, ACII 2023; code usc-sail/peft-ser, train_split_gen"
    corpora = (IEMOCAP, IMPROV, CREMAD, RAVDESS)
    dev_source = "the last of the remaining sessions, or the last fifth of the remaining actors"
    selects_on = "dev UAR"
    monitor = "dev/uar"
    aggregation = "mean and deviation of the folds' UAR"
    conventions = (
        "four classes, excited as happy, calm as neutral; CREMA-D by the multimodal vote; audio cut at 6 s; "
        "class-weighted loss"
    )
    exactness = "the published folds (CREMA-D and RAVDESS by the actors' numbers)"
    sizes = (Sizes(IEMOCAP, session_sizes((4, 4, 4, 4, 3)), FOUR_CLASSES),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Groups in turn; what is last among the others selects."""
        if table["session"].notna().all():
            ids = ids_by(table, "session", at_least=3, who="peft_ser")
            return [fold_of(name, ids, dev=_without(list(ids), [name])[-1:], test=[name]) for name in ids]
        ids = ids_by(table, "speaker", at_least=5, who="peft_ser")
        actors = list(CREMAD_ACTORS) if set(ids) <= set(CREMAD_ACTORS) else list(ids)
        folds, start = [], 0
        for k in range(5):
            test = actors[start : start + len(actors) // 5 + (k < len(actors) % 5)]
            rest = _without(actors, test)
            folds.append(_of_actors(str(k + 1), ids, rest[-len(rest) // 5 :], test))
            start += len(test)
        return folds


class pepino2021(PublishedProtocol):
    """Pepino et al.: leave one session out, the last other one selects; RAVDESS by actors 1-20, 21-22, 23-24."""

    source = (
        "Pepino et al., Emotion Recognition from Speech Using wav2vec 2.0 Embeddings, Interspeech 2021; code "
        "habla-liaa/ser-with-w2v2 (tasks/splits.py, seed 1234)"
    )
    corpora = (IEMOCAP, RAVDESS)
    dev_source = "the last of the other sessions, which seed 1234 draws in every fold; actors 21 and 22 in RAVDESS"
    selects_on = "dev loss, stopping after four epochs without gain"
    monitor = "dev/loss"
    aggregation = "recall of the pooled predictions of all folds, mean of five seeds"
    conventions = (
        "excited as happy, calm as neutral, speech and song of RAVDESS; audio cut at 15 s; features normalised by "
        "speaker (taken from the dialogue's name) or corpus, with statistics of the test speakers"
    )
    exactness = "the published folds; the peer also drops turns without aligned speech, so that it has fewer"
    tests_everything = False
    sizes = (
        Sizes(IEMOCAP, session_sizes((4, 4, 4, 4, 3)), FOUR_CLASSES),
        Sizes(RAVDESS, {"test": (2036, 208, 208)}, utterances=2452),
    )

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Sessions in turn where they are known, else the actors of RAVDESS."""
        if table["session"].notna().all():
            ids = ids_by(table, "session", at_least=3, who="pepino2021")
            return [fold_of(name, ids, dev=_without(list(ids), [name])[-1:], test=[name]) for name in ids]
        ids = ids_by(table, "speaker", at_least=5, who="pepino2021")
        if not set(RAVDESS_ACTORS[20:]) <= set(ids) <= set(RAVDESS_ACTORS):
            raise SplitError(
                "pepino2021: no sessions, and no actors 21 to 24 as in RAVDESS. It is of these two corpora."
            )
        return [_of_actors("test", ids, RAVDESS_ACTORS[20:22], RAVDESS_ACTORS[22:])]


class odyssey2024(PublishedProtocol):
    """The Odyssey 2024 challenge: MSP-Podcast 1.11, trained on Train, selected on Development, tested on Test3."""

    source = (
        "Goncalves et al., Odyssey 2024 - Speech Emotion Recognition Challenge, Odyssey 2024; code "
        "msplabresearch/MSP-Podcast_Challenge"
    )
    corpora = (PODCAST,)
    declared_leak = _UNKNOWN_SPEAKERS
    dev_source = "the published Development partition"
    cluster_by = "speaker_or_dialogue"
    selects_on = (
        "dev loss of the last utterance alone, by a mistake of the baseline, here dev macro-F1 (classes); mean dev "
        "CCC, which is selection.monitor=dev/ccc here (dimensions)"
    )
    monitor = "dev/macro_f1"
    aggregation = "one split; macro-F1 over eight classes (classes), mean CCC (dimensions)"
    conventions = (
        "classes angry, contemptuous, disgusted, fearful, happy, neutral, sad, surprised (O and X are dropped); WavLM "
        "large fine-tuned, attentive statistics, 1e-5, class-weighted loss; audio cut at 12 s; Test3 is blind"
    )
    exactness = (
        "the published partitions; of Test3, which is blind, ser-predict --submission writes the file (2347 "
        "recordings). Train 84030 and Development 19815, with O and X, are asserted by data.corpus.release=1.11; sizes "
        "without O and X are not published"
    )
    tests_everything = False

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """One fold for each test partition that has labels."""
        found = table["label"].dropna().unique()
        if len(found) > 8:
            raise SplitError(
                f"{type(self).__name__}: {len(found)} classes ({', '.join(sorted(found))}), the challenge scores "
                "eight. Leave out 'other' and utterances without agreement."
            )
        return OfficialFolds(dev="fold").split(table)


class is2025(odyssey2024):
    """The Interspeech 2025 challenge in naturalistic conditions: MSP-Podcast 1.12, partitions as in Odyssey 2024."""

    source = (
        "Naini et al., The Interspeech 2025 challenge on speech emotion recognition in naturalistic conditions; code "
        "msplabresearch/MSP-Podcast_Challenge_IS2025"
    )
    exactness = (
        "the published partitions of the copy; of Test3, which is blind, ser-predict --submission writes the file "
        "(3200 recordings). The sizes of release 1.12 were not found in public and are not asserted"
    )


class emo_superb_podcast(PublishedProtocol):
    """EMO-SUPERB on MSP-Podcast: the published Train, Development and Test1, with the workers' votes as labels."""

    source = emo_superb.source.replace("data/*/labels_consensus", "data/PODCAST, emo-superb/config_PODCASTP.yaml")
    corpora = (PODCAST,)
    declared_leak = _UNKNOWN_SPEAKERS
    dev_source = "the published Development partition"
    cluster_by = "speaker_or_dialogue"
    selects_on = emo_superb.selects_on
    monitor = emo_superb.monitor
    aggregation = "one split; macro-F1 (multi-label, 1/C), a mean over batches of 32"
    conventions = (
        "class_set=all and votes as labels (Soft, smoothing 0.05) of the eight classes; class-balanced soft "
        "cross-entropy; AdamW 1e-4 with a cosine; audio cut at 10 s"
    )
    exactness = (
        "Test1 is taken for its Test, which its code does not name otherwise; its configuration says release 1.10, but "
        "2626 steps of 32 an epoch are the 84030 turns of Train in 1.11"
    )
    tests_everything = False
    sizes = (Sizes(PODCAST, {"test1": (84030, 19815, 30647)}, utterances=149307),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """One fold; other test partitions are left out."""
        words = table["fold"].str.lower()
        return OfficialFolds(dev="fold").split(table[~words.isin(("test2", "test3"))])


def _of_actors(name: str, ids: dict[str, list[str]], dev: Sequence[str], test: Sequence[str]) -> Fold:
    """A fold of named actors; those whom a part of the corpus lacks are passed over."""
    return fold_of(name, ids, dev=[one for one in dev if one in ids], test=[one for one in test if one in ids])


def _without(names: list[str], left_out: Sequence[str]) -> list[str]:
    return [name for name in names if name not in left_out]
