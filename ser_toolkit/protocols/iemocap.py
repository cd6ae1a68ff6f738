"""Published protocols on IEMOCAP: the same features and head score several points apart under them.

Each class is called as its protocol is, because parts are chosen by the name of their class.
"""
# ruff: noqa: N801

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from ser_toolkit.errors import SplitError
from ser_toolkit.protocols.folds import Fold
from ser_toolkit.protocols.published import PublishedProtocol, Sizes
from ser_toolkit.protocols.splits import LeaveOneSessionOut, fold_of, ids_by

IEMOCAP = "IEMOCAP"
#: Utterances of the four classes, with excited as happy.
FOUR_CLASSES: Mapping[str, int] = MappingProxyType({"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084})
#: Of these, by session and by speaker; and all turns of the release by session.
SESSIONS = (1085, 1023, 1151, 1031, 1241)
SPEAKERS = (528, 557, 481, 542, 522, 629, 528, 503, 590, 651)
ALL_SESSIONS = (1819, 1811, 2136, 2103, 2170)
_NAMES = tuple(f"Session{number}" for number in range(1, 6))
_VOICES = tuple(f"Ses0{number}_{letter}" for number in range(1, 6) for letter in "FM")

# In what order s3prl lists the dialogues of a session: that of a file system, once, and kept in its lists ever since.
# Fs02_2 is Ses01F_script02_2, Mi04 is Ses01M_impro04. Inside a dialogue the order is that of the names.
_S3PRL_ORDER = """
Fs02_2 Fi07 Fs03_2 Mi02 Fi06 Fs01_3 Ms02_1 Mi04 Ms01_1 Fi01 Fs01_1 Fi05 Ms01_2 Ms02_2 Fs02_1 Ms03_2 Mi05 Mi01 Fi03 \
Mi03 Ms01_3 Fs03_1 Mi07 Fi02 Mi06 Ms03_1 Fi04 Fs01_2
Fi03 Fs03_2 Ms03_2 Mi04 Mi05 Fs02_1 Fs02_2 Ms02_2 Mi08 Mi07 Fs03_1 Ms01_3 Fi06 Fi01 Fi04 Fs01_2 Mi02 Mi03 Fs01_3 \
Fi05 Fs01_1 Mi06 Ms02_1 Fi08 Fi02 Ms01_1 Mi01 Ms01_2 Ms03_1 Fi07
Fs02_1 Mi04 Ms03_2 Mi05b Mi02 Fi05 Ms02_2 Mi08b Fi07 Ms01_1 Ms02_1 Mi05a Mi07 Ms03_1 Fs03_1 Mi01 Fs01_1 Fi04 Fs02_2 \
Fs01_3 Ms01_3 Mi06 Fi01 Fi03 Ms01_2 Mi08a Mi03 Fs03_2 Fs01_2 Fi08 Fi06 Fi02
Fs03_1 Fi01 Ms02_1 Ms02_2 Fs01_3 Mi05 Fs02_1 Fi07 Fi02 Fi03 Mi02 Fs01_1 Ms01_1 Fs03_2 Mi06 Fs02_2 Mi01 Mi04 Fi05 \
Fs01_2 Fi08 Fi06 Mi03 Ms01_3 Ms01_2 Ms03_1 Ms03_2 Mi07 Fi04 Mi08
Ms01_3 Fi04 Ms02_2 Fs01_3 Fs01_2 Fi06 Mi06 Mi01 Fs03_1 Fi07 Fs03_2 Ms01_1b Fi05 Ms01_1 Fi08 Ms03_1 Mi05 Fi01 Fi02 \
Mi03 Fs01_1 Mi04 Ms02_1 Fi03 Fs02_2 Fs02_1 Ms03_2 Mi08 Mi02 Mi07 Ms01_2
"""


def session_sizes(dev: tuple[int | None, ...], counts: tuple[int, ...] = SESSIONS) -> dict[str, tuple[int, int, int]]:
    """Sizes by session when each is tested and another one (by its place, or None) selects."""
    made = {}
    for place, chosen in enumerate(dev):
        held = 0 if chosen is None else counts[chosen]
        made[_NAMES[place]] = (sum(counts) - counts[place] - held, held, counts[place])
    return made


def _random_sizes(share: float) -> dict[str, tuple[int, int, int]]:
    rest = {name: sum(SESSIONS) - tested for name, tested in zip(_NAMES, SESSIONS, strict=True)}
    train = {name: int(share * count) for name, count in rest.items()}
    return {n: (train[n], rest[n] - train[n], tested) for n, tested in zip(_NAMES, SESSIONS, strict=True)}


def _partner_sizes() -> dict[str, tuple[int, int, int]]:
    return {
        name: (sum(SPEAKERS) - SPEAKERS[place] - SPEAKERS[place ^ 1], SPEAKERS[place ^ 1], SPEAKERS[place])
        for place, name in enumerate(_VOICES)
    }


class superb_er(PublishedProtocol):
    """SUPERB's emotion recognition: leave one session out, a random fifth of the other four selects."""

    source = (
        "Yang et al., SUPERB: Speech processing Universal PERformance Benchmark, Interspeech 2021; "
        "s3prl 0.4.18, downstream/emotion (dataset.py, expert.py, meta_data)"
    )
    corpora = (IEMOCAP,)
    declared_leak = "the dev part has the speakers and dialogues of the training part: selection sees familiar voices"
    dev_source = "a random 20 % of the training sessions, drawn with seed 0 as s3prl draws it"
    cluster_by = "session"
    selects_on = "dev accuracy every 1,000 of 30,000 steps"
    monitor = "dev/accuracy"
    aggregation = "the mean of the five sessions' accuracies (WA), no UA"
    conventions = (
        "excited as happy; learned layer weights, Linear 256, mean over time, Linear; Adam 1e-4 (searched per upstream)"
    )
    sizes = (Sizes(IEMOCAP, _random_sizes(1 - 0.2), FOUR_CLASSES),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Sessions in turn; what is left is listed in s3prl's order, permuted by torch's generator, and cut at 80 %."""
        import torch  # heavy, and needed nowhere else in the data room's splits

        listed = _in_s3prl_order(table)
        folds = []
        for session, tested in listed.items():
            rest = [one for other, ids in listed.items() if other != session for one in ids]
            drawn = torch.randperm(len(rest), generator=torch.Generator().manual_seed(0)).tolist()
            size = int((1 - 0.2) * len(rest))
            parts = (tuple(rest[k] for k in drawn[:size]), tuple(rest[k] for k in drawn[size:]))
            folds.append(Fold(session, *parts, tuple(tested)))
        return folds


class loso_session(PublishedProtocol):
    """Leave one session out; the next session selects, so that no voice is ever familiar."""

    source = "the strict form of leave-one-session-out on IEMOCAP; see Antoniou et al., arXiv 2304.00860, 2023"
    corpora = (IEMOCAP, "MSP-IMPROV")
    dev_source = LeaveOneSessionOut().dev_source
    cluster_by = "session"
    selects_on = "UA of another session"
    monitor = "dev/uar"
    aggregation = "the mean over the sessions and the pooled predictions, both"
    exactness = "defined here: papers differ in which session selects, and many do not say"
    sizes = (Sizes(IEMOCAP, session_sizes((1, 2, 3, 4, 0)), FOUR_CLASSES),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Sessions in turn, the next one in cyclic order as dev part."""
        return LeaveOneSessionOut().split(table)


class loso_session_speaker(PublishedProtocol):
    """Each speaker is tested once, the other speaker of the session selects, the other sessions are trained on."""

    source = (
        "SpeechBrain, recipes/IEMOCAP with ten folds of speakers (test_spk_id); customary in ten-fold papers on IEMOCAP"
    )
    corpora = (IEMOCAP, "MSP-IMPROV")
    dev_source = "the other speaker of the test session, who talks to the one that is tested"
    cluster_by = "session"
    selects_on = "the other speaker of the test session"
    monitor = "dev/accuracy"
    aggregation = "the mean over the ten speakers"
    sizes = (Sizes(IEMOCAP, _partner_sizes(), FOUR_CLASSES),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """One fold per speaker; a session must have exactly two."""
        ids = ids_by(table, "speaker", at_least=4, who=type(self).__name__)
        ids_by(table, "session", at_least=2, who=type(self).__name__)  # none may be unknown
        of = {str(session): sorted(voices.unique()) for session, voices in table.groupby("session")["speaker"]}
        alone = [f"{session} ({len(voices)})" for session, voices in of.items() if len(voices) != 2]
        if alone:
            raise SplitError(
                f"{type(self).__name__}: expected two speakers in a session, found other numbers in "
                f"{', '.join(alone[:6])}. Use loso_session or loso_speaker."
            )
        partner = {one: other for pair in of.values() for one, other in (pair, pair[::-1])}
        return [fold_of(name, ids, dev=[partner[name]], test=[name]) for name in ids]


class ftw2v2(PublishedProtocol):
    """Leave one session out without any validation: the last epoch is tested."""

    source = "Chen and Rudnicky, arXiv 2110.06309, 2021 (V-FT, TAPT, P-TAPT); code FT-w2v2-ser"
    corpora = (IEMOCAP,)
    dev_source = "no dev part"
    cluster_by = "session"
    selects_on = "nothing: the last of 15 epochs"
    aggregation = "the mean of five sessions and five runs (UA), with the deviation over runs"
    conventions = "excited as happy; audio cut at 10 s; masked mean that drops the last frame; class-weighted loss"
    sizes = (Sizes(IEMOCAP, session_sizes((None,) * 5), FOUR_CLASSES),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Sessions in turn, without a dev part."""
        return LeaveOneSessionOut(dev="none").split(table)


class speechbrain_random(PublishedProtocol):
    """SpeechBrain's default: a random 80/10/10 of the utterances, whoever speaks."""

    source = "SpeechBrain, recipes/IEMOCAP/emotion_recognition, iemocap_prepare.py (split_sets, seed 12)"
    corpora = (IEMOCAP,)
    declared_leak = "all speakers are in train, dev and test: results do not hold for new speakers"
    dev_source = "a random tenth of the utterances, by the speakers of the training part"
    selects_on = "dev error rate"
    monitor = "dev/accuracy"
    aggregation = "one split; the best and the mean of several runs"
    conventions = "excited as happy; statistics over time, Linear without bias; encoder 1e-5, head 1e-4"
    exactness = "the rule, seed and sizes; the peer's list follows the order of its file system, here it is by name"
    tests_everything = False
    sizes = (Sizes(IEMOCAP, {"random": (4424, 553, 554)}, FOUR_CLASSES),)

    def split(self, table: pd.DataFrame) -> list[Fold]:
        """Shuffle once, then cut at 80 % and 90 %."""
        ids = sorted(table["id"])
        random.Random(12).shuffle(ids)
        train, dev = int(len(ids) * 80 / 100), int(len(ids) * 10 / 100)
        return [Fold("random", tuple(ids[:train]), tuple(ids[train : train + dev]), tuple(ids[train + dev :]))]


def _in_s3prl_order(table: pd.DataFrame) -> dict[str, list[str]]:
    """Ids by session in the order of s3prl's lists."""
    place = {
        f"Ses0{number}{code[0]}_{'script' if code[1] == 's' else 'impro'}{code[2:]}": position
        for number, line in enumerate(_S3PRL_ORDER.strip().split("\n"), start=1)
        for position, code in enumerate(line.split())
    }
    ids = ids_by(table, "session", at_least=2, who="superb_er")
    ids_by(table, "dialogue", at_least=2, who="superb_er")  # none may be unknown
    dialogue = dict(zip(table["id"], table["dialogue"], strict=True))
    strange = sorted({name for name in dialogue.values() if name not in place})
    if strange:
        raise SplitError(
            f"superb_er: s3prl's lists have no dialogue {', '.join(strange[:3])} ({len(strange)} unknown); they are of "
            "IEMOCAP alone. Use loso_session, or GroupedKFold for other corpora."
        )
    return {session: sorted(listed, key=lambda one: (place[dialogue[one]], one)) for session, listed in ids.items()}
