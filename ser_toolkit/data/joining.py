"""Manifests of several corpora as one table: names that stay unique, ratings on one scale."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from ser_toolkit.corpora.base import Corpus
from ser_toolkit.terms import DIMENSIONS

if TYPE_CHECKING:
    from ser_toolkit.data.manifest import Manifest

#: Unique in one corpus only: speaker 03 of EmoDB is not speaker 03 of another.
_OWN_NAMES = ("id", "speaker", "session", "dialogue", "sentence")


def joined_table(manifests: Mapping[str, Manifest]) -> pd.DataFrame:
    """The rows of all manifests, in their order.

    What is unique in its corpus only gets the corpus's name in front (``EmoDB/03``), and so do single raters; paths are
    absolute; ratings are scaled from the range of their corpus to [0, 1], or left out where it has none.

    Args:
        manifests: by the name of their corpus.
    """
    return pd.concat([_qualified(name, manifest) for name, manifest in manifests.items()], ignore_index=True)


def joined_facts(manifests: Mapping[str, Manifest], corpus: Corpus) -> dict[str, Any]:
    """The facts of a combination: those of all members, each with its name."""

    def everyones(fact: str) -> list[str]:
        return [f"{name}: {one}" for name, manifest in manifests.items() for one in manifest.facts.get(fact) or ()]

    unscaled = [
        f"{name}: ratings were left out, because the corpus does not state their range"
        for name, manifest in manifests.items()
        if manifest.facts.get("dimension_range") is None and manifest.table[list(DIMENSIONS)].notna().to_numpy().any()
    ]
    return {
        "licence": corpus.licence,
        "citation": corpus.citation,
        "label_rule": corpus.label_rule,
        "verified": corpus.verified,
        "notes": [*everyones("notes"), *unscaled],
        "deviations": everyones("deviations"),
        "dimension_range": [0.0, 1.0],
        "default_protocol": corpus.default_protocol,
        "sampling_rates": _summed(manifest.facts.get("sampling_rates") or {} for manifest in manifests.values()),
        "members": {
            name: {"utterances": len(manifest), "manifest": manifest.content_hash}
            for name, manifest in manifests.items()
        },
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total.most_common())


def _qualified(corpus: str, manifest: Manifest) -> pd.DataFrame:
    table = manifest.table.copy()
    for name in _OWN_NAMES:
        table[name] = table[name].map(lambda value: None if value is None else f"{corpus}/{value}")
    folder = manifest.root.resolve()
    table["path"] = table["path"].map(lambda path: (folder / path).as_posix())
    table["corpus"] = table["corpus"].where(table["corpus"].notna(), corpus)
    bounds = manifest.facts.get("dimension_range")
    for name in DIMENSIONS:
        table[name] = _scaled(table[name], bounds)
    texts = {text: _rescaled(text, corpus, bounds) for text in table["ratings"].dropna().unique()}
    table["ratings"] = table["ratings"].map(texts).astype(object).where(table["ratings"].notna(), None)
    return table


def _scaled(value: Any, bounds: tuple[float, float] | None) -> Any:
    """A rating, or a column of them, on the scale from 0 to 1."""
    return value * float("nan") if bounds is None else (value - bounds[0]) / (bounds[1] - bounds[0])


def _rescaled(text: str, corpus: str, bounds: tuple[float, float] | None) -> str:
    """The single raters of an utterance, under the name of their corpus."""
    ratings = json.loads(text)
    for rating in ratings:
        rating["rater"] = f"{corpus}/{rating['rater']}"
        for name in DIMENSIONS:
            if rating.get(name) is not None:
                rating[name] = None if bounds is None else _scaled(rating[name], bounds)
    return json.dumps(ratings, sort_keys=True)
