"""Check of the names in a table: classes or speakers that differ in case or blanks alone are most likely one."""

from __future__ import annotations

from collections import Counter, defaultdict

import pandas as pd

from ser_toolkit.terms import counted, listed

#: Columns that are compared: their plural, and the harm that two spellings do.
_KINDS = {"label": ("classes", "a model learns to tell them apart"), "speaker": ("speakers", "a split may part them")}


def lookalikes(table: pd.DataFrame) -> list[str]:
    """Sentences on names that are equal but for case and blanks.

    Args:
        table: a manifest's; the columns ``label`` and ``speaker`` are compared where it has them.

    Returns:
        One sentence for classes and one for speakers, where there are such.
    """
    sentences = []
    for column, (what, danger) in _KINDS.items():
        counts = Counter(table[column].dropna()) if column in table.columns else Counter()
        groups: dict[str, list[str]] = defaultdict(list)
        for name in sorted(counts):
            groups["".join(str(name).casefold().split())].append(f"{name!r} ({counted(counts[name], 'utterance')})")
        alike = [" and ".join(names) for names in groups.values() if len(names) > 1]
        if alike:
            sentences.append(
                f"{what} that differ in upper and lower case or blanks alone: {listed(alike, 3, '; ')}. "
                f"If they are one, {danger}: spell them alike"
            )
    return sentences
