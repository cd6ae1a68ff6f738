"""Overlap of a run's corpus and the corpus that it is tested on: reported, and left out of several corpora."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.errors import ManifestError
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.terms import listed


def without_own(run_dir: Path, own: str, tested: str, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Drop predictions on those of several corpora that the run was trained on; also returns a sentence about it.

    Where it was trained on all of them nothing is left out: then it is its own corpus, as the audit notes.

    Args:
        run_dir: of the run.
        own: name of its corpus.
        tested: name of the corpus that it is tested on.
        table: predictions there.
    """
    try:
        trained = {own, *Manifest.read(RunFolder(run_dir).manifest).table["corpus"].dropna()}
    except ManifestError:
        trained = {own}
    known = sorted(trained & set(table["corpus"].dropna()))
    others = table[~table["corpus"].isin(trained)].reset_index(drop=True)
    if not known or others.empty:
        return table, []
    scored = ", ".join(sorted(set(others["corpus"].dropna())))
    return others, [f"warning: of {tested}, {scored} alone is scored: the run was trained on {', '.join(known)}"]


def audit_corpora(run_dir: Path, name: str, data: CorpusData) -> list[str]:
    """Sentences about speakers and audio that the run's corpus and the test corpus share; a warning begins so."""
    try:
        source = Manifest.read(RunFolder(run_dir).manifest).table
    except ManifestError:
        return ["shared speakers and audio: not known, the run holds no manifest"]
    tested = data.manifest.table
    sentences = []
    for kind, column, means in (
        ("speaker names", "speaker", "the same people, unless both corpora merely number theirs"),
        ("recordings", "audio_hash", "identical audio: the models may have heard it in training"),
    ):
        here = _known_as(tested, column, source)
        there = set(here)
        shared = sorted(there & set(_known_as(source, column, tested)))
        if not there:
            sentences.append(f"shared {kind}: not known")
        elif not shared:
            sentences.append(f"shared {kind}: none")
        else:
            names = shared if column == "speaker" else tested.loc[here[here.isin(shared)].index, "id"].tolist()
            sentences.append(
                f"warning: {len(shared)} of {len(there)} {kind} of {data.corpus.name} are also in the run's corpus "
                f"{name} ({listed(names, 4, more=' ...')}): {means}"
            )
    return sentences


def _known_as(table: pd.DataFrame, column: str, other: pd.DataFrame) -> pd.Series:
    """A column where it is known; speakers of several corpora without their corpus, unless both tables name it."""
    known = table.loc[table[column].notna(), [column, "corpus"]]
    if column != "speaker" or known["corpus"].isna().all() or other["corpus"].notna().any():
        return known[column]
    bare = [name.removeprefix(f"{corpus}/") for name, corpus in known.itertuples(index=False)]
    return pd.Series(bare, known.index, dtype=object)
