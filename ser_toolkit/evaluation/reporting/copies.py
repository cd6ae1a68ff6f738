"""Banners on figures of a part of the published corpus: a copy that deviates, speakers who were left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ser_toolkit.terms import listed


def copy_banners(corpus: Mapping[str, Any], allowed: bool = False, of: str = "") -> list[str]:
    """Warnings on the copy of a corpus that stands behind figures.

    Args:
        corpus: facts of its manifest, or ``corpus`` of a run's record: ``deviations`` and ``left_out`` count.
        allowed: whether an incomplete copy was asked for, which is noted even where nothing deviates.
        of: name of the corpus, where several are talked about.
    """
    deviations, left_out = ([str(item) for item in corpus.get(key) or ()] for key in ("deviations", "left_out"))
    begin, found = f"{of}: " if of else "", []
    if deviations or allowed:
        what = listed(deviations, 6, "; ") if deviations else "no deviation from the published counts was found"
        found.append(f"{begin}Incomplete copy of the corpus was allowed: {what}.")
    return found + [f"{begin}Part of the corpus: {sentence}." for sentence in left_out]


def whole_or_part(corpus: Mapping[str, Any], name: str, utterances: int) -> str:
    """``all of NAME (N utterances)``, or that it is not all of it.

    Args:
        corpus: facts of its manifest.
        name: of the corpus.
        utterances: in the manifest.
    """
    why = [
        word for key, word in (("deviations", "incomplete copy"), ("left_out", "chosen speakers")) if corpus.get(key)
    ]
    return (
        f"{utterances} utterances of {name} ({', '.join(why)})" if why else f"all of {name} ({utterances} utterances)"
    )
