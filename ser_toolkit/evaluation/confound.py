"""Speakers who are heard in one emotion alone: how much of a corpus is theirs, and what normalised figures then mean.

Statistics of such a speaker are statistics of the emotion: standardising by them takes the emotion out with the voice.
The measure is the share of utterances by these speakers, which is reported. An association over the whole corpus
(Cramer's V) is no such measure: BAVED has 0.30, and only a ninth of its utterances are by such speakers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ser_toolkit.evaluation.results import Results
from ser_toolkit.evaluation.run_record import RunRecord
from ser_toolkit.terms import PLAIN

#: A speaker counts as heard in nearly one class from this share of his or her utterances on ...
NEARLY = 0.75
#: ... where the odds of the class are so many times those in the corpus: most speakers of MELD are mostly neutral.
ODDS_RATIO = 4.0
#: Share of the utterances below which there is no sentence.
LEAST = 0.05
#: From this share on, the figures are no measure of the whole corpus.
MOST = 0.5


@dataclass(frozen=True)
class Confound:
    """Confounding of speakers and classes in a table of utterances.

    Args:
        speakers: who have a labelled utterance.
        one: how many of them are heard in one class alone.
        nearly: how many more are heard in nearly one class.
        share_one: share of the labelled utterances, 0 to 1, by speakers of one class.
        share_nearly: share by speakers of nearly one class.
    """

    speakers: int
    one: int
    nearly: int
    share_one: float
    share_nearly: float

    @classmethod
    def of(cls, table: pd.DataFrame) -> Confound:
        """Count over ``speaker`` and ``label``; rows without either do not count, an ``id`` counts once."""
        known = table.drop_duplicates("id") if "id" in table.columns else table
        known = known[known["speaker"].notna() & known["label"].notna()]
        counts = pd.crosstab(known["speaker"], known["label"]).to_numpy(dtype=float)
        if counts.size == 0 or counts.shape[1] < 2:
            return cls(len(counts), 0, 0, 0.0, 0.0)
        total, top, column = counts.sum(axis=1), counts.max(axis=1), counts.argmax(axis=1)
        everywhere = (counts.sum(axis=0) / counts.sum())[column]
        one = top == total
        # odds p / (1 - p) of the speaker and of the corpus, compared as products: p = 1 has no odds
        often = top * (1 - everywhere) >= ODDS_RATIO * (total - top) * everywhere
        nearly = ~one & (top >= NEARLY * total) & often
        shares = [float(total[rows].sum() / total.sum()) for rows in (one, nearly)]
        return cls(len(counts), int(one.sum()), int(nearly.sum()), *shares)

    @property
    def share(self) -> float:
        """Share of the utterances, 0 to 1, by speakers of one class or nearly one."""
        return self.share_one + self.share_nearly

    @property
    def matters(self) -> bool:
        """Whether the confounding is large enough for a sentence."""
        return self.share >= LEAST

    @property
    def counted(self) -> str:
        """Number of speakers in one class alone, and their share of the corpus, in words."""
        shares = f"({100 * self.share_one:.1f} % of the utterances)"
        single = f"{self.one} of {self.speakers} speakers {shares} are heard in one emotion alone"
        if not self.nearly:
            return single
        more = f"{self.nearly} more ({100 * self.share_nearly:.1f} %)" if self.one else ""
        if more:
            return f"{single}, {more} nearly so"
        shares = f"({100 * self.share_nearly:.1f} % of the utterances)"
        return f"{self.nearly} of {self.speakers} speakers {shares} are heard in nearly one emotion alone"

    def sentence(self, of: str, variants: Sequence[str], gains: bool = False) -> str:
        """Meaning of the confounding for speaker-normalised figures, as a sentence.

        Args:
            of: name of the corpus.
            variants: names of those that stand beside this sentence.
            gains: whether they show a gain over plain ones whose interval lies above zero.
        """
        lead = f"{of}: {self.counted}. Speaker normalisation takes the emotion of these utterances out with the voice:"
        which = ", ".join(variants)
        if gains:
            return f"{lead} what {which} gains over plain, it gains in spite of that."
        if self.share < MOST:
            return f"{lead} {which} says little about them."
        return f"{lead} {which} is no measure of how well emotion is recognised here."


def speaker_normalised(record: RunRecord, variants: Iterable[str]) -> list[str]:
    """Variants of a run that standardise by statistics of a speaker's utterances of all classes."""
    known = record.variants
    return [name for name in variants if name in known and known[name].normalises == "speaker"]


def run_banners(results: Results, differences: Sequence[dict[str, Any]]) -> list[str]:
    """The sentence of a run's report: none without speaker-normalised figures.

    Args:
        results: the run.
        differences: of its systems, see ``Scorer.scores``.
    """
    variants = speaker_normalised(results.record, results.variants())
    if not variants:
        return []
    table = pd.concat([system.table[["id", "speaker", "label"]] for system in results.systems])
    of = results.record.corpus.name or "The corpus"
    return banners(table, of, results.record, variants, any(_gain(one, variants) for one in differences))


def banners(table: pd.DataFrame, of: str, record: RunRecord, variants: Iterable[str], gains: bool = False) -> list[str]:
    """The sentence on a table of utterances (``speaker``, ``label``) beside figures of a run's variants, if any.

    See ``Confound.sentence`` for the arguments; variants that are not speaker-normalised are left out.
    """
    named = speaker_normalised(record, variants)
    found = Confound.of(table)
    return [found.sentence(of, named, gains)] if named and found.matters else []


def _gain(difference: dict[str, Any], variants: Sequence[str]) -> bool:
    """Whether a difference is a speaker-normalised model's over the plain one, with UA clear above zero."""
    ends = difference.get("metrics", {}).get("uar", {})
    sides = [f"{name}/model" for name in variants]
    return difference["of"] in sides and difference["against"] == f"{PLAIN}/model" and (ends.get("low") or 0) > 0


def audit_sentences(table: pd.DataFrame, association: float, confounded: float) -> list[str]:
    """Line of the audit on confounding, before anything is trained.

    Args:
        table: with ``speaker`` and ``label``.
        association: bias-corrected Cramer's V between the two.
        confounded: from which V on the two are said to go together.
    """
    found, measured = Confound.of(table), f"Cramer's V {association:.2f}"
    if found.matters:
        return [
            f"warning: {found.counted} ({measured}): where train and test share speakers a model can tell emotions by "
            "voices, and speaker normalisation takes their emotion out with the voice"
        ]
    if association > confounded:
        return [f"speakers differ in how often they are heard in which emotion ({measured})"]
    return []
