"""Choice of some speakers of a corpus, after the copy was checked as a whole; every report names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ser_toolkit.data.manifest import Manifest
from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.terms import counted, listed

#: Key of the facts of a manifest (and so of ``run.json``) under which the sentence on what is left out stands.
FACT = "left_out"


@dataclass(frozen=True)
class SpeakerChoice:
    """The speakers who take part, or those who do not.

    Args:
        names: of speakers, as the manifest has them.
        leave_out: whether these are left out; otherwise all others are.
    """

    names: tuple[str, ...]
    leave_out: bool = False

    @classmethod
    def of(cls, speakers: str | Sequence[str] | None, leave_out: str | Sequence[str] | None) -> SpeakerChoice | None:
        """Selection by ``data.speakers`` and ``data.leave_out_speakers``; None where neither is set.

        Args:
            speakers: names, or one text of names that are separated by commas, with or without brackets.
            leave_out: likewise.

        Raises:
            RecipeError: both are given, or one names nobody.
        """
        if speakers is not None and leave_out is not None:
            raise RecipeError("data.speakers and data.leave_out_speakers are both given: one of the two is enough.")
        given = leave_out if speakers is None else speakers
        if given is None:
            return None
        choice = cls(_names(given), speakers is None)
        if not choice.names:
            raise RecipeError(f"{choice.option} names nobody. Give names of speakers: {choice.option}=[03,08].")
        return choice

    @property
    def option(self) -> str:
        """The setting that made the choice."""
        return "data.leave_out_speakers" if self.leave_out else "data.speakers"

    def mask(self, speakers: pd.Series, corpus: str) -> np.ndarray:
        """(N,) bool: which utterances take part; those of unknown speakers only where speakers are left out.

        Args:
            speakers: (N,) names, None where unknown.
            corpus: its name, for messages.

        Raises:
            RecipeError: a name is no speaker of the corpus (the nearest are given), or nobody remains.
        """
        known = sorted(set(speakers.dropna()))
        unknown = [name for name in self.names if name not in known]
        if unknown:
            more = f" (and {len(unknown) - 1} more names)" if len(unknown) > 1 else ""
            raise RecipeError(
                f"{self.option}: {corpus} has no speaker {unknown[0]!r}{more}. {nearest(unknown[0], known)} "
                "ser-corpus inspect lists them; in a recipe file numbers need quotes, as in ['03', '08']."
            )
        mask = speakers.isin(self.names).to_numpy() != self.leave_out
        if not mask.any():
            raise RecipeError(f"{self.option} leaves nobody of {corpus}.")
        return mask

    def applied(self, manifest: Manifest) -> Manifest:
        """The utterances of the chosen speakers, with a sentence on the others among the facts.

        Raises:
            RecipeError: see ``mask``.
        """
        table = manifest.table
        mask = self.mask(table["speaker"], manifest.corpus)
        everybody, present = table["speaker"].nunique(), table.loc[mask, "speaker"].nunique()
        others = sorted(set(table.loc[~mask, "speaker"].dropna()))
        sentence = (
            f"{present} of {counted(everybody, 'speaker')} ({int(mask.sum())} of "
            f"{counted(len(table), 'utterance')}), chosen by {self.option}"
            + (f"; left out: {listed(others, 12)}" if others else "")
        )
        return replace(manifest, table=table[mask], facts={**manifest.facts, FACT: [sentence]})


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Names as text, each once. A command line arrives as one text: as YAML, speaker 010 would be the number 8."""
    parts = given.strip().removeprefix("[").removesuffix("]").split(",") if isinstance(given, str) else given
    names = (str(one).strip().strip("'\"").strip() for one in parts)
    return tuple(dict.fromkeys(name for name in names if name))
