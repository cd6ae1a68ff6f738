"""From a corpus to its manifest: a copy is listed, checked against what is published and against its own audio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_toolkit.corpora.base import OWN_DATA, Corpus
from ser_toolkit.corpora.expected import contradicted, summarised
from ser_toolkit.corpora.utterance import Utterance
from ser_toolkit.data.audio.channels import MIX, channel_index
from ser_toolkit.data.audio.decode import segment_hash
from ser_toolkit.data.audio.index import AudioEntry, index_audio
from ser_toolkit.data.audio.notes import different_channels, sampling_rates
from ser_toolkit.data.copy_check import audio_deviations
from ser_toolkit.data.joining import joined_facts, joined_table
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.manifest_cells import ratings_text, votes_text
from ser_toolkit.data.manifest_table import canonical
from ser_toolkit.data.speakers import SpeakerChoice
from ser_toolkit.errors import CorpusError, RecipeError
from ser_toolkit.system.progress import SILENT, Progress
from ser_toolkit.terms import listed

_SHOWN = 6


def prepare(
    corpus: Corpus,
    root: str | None,
    allow_incomplete: bool,
    min_seconds: float,
    speakers: SpeakerChoice | None = None,
    channel: str | int = MIX,
) -> Manifest:
    """Manifest for an experiment: a checked copy without too short utterances, of one channel.

    Args:
        corpus: the parser, with its options.
        root: the copy's folder; None where the corpus knows it.
        allow_incomplete: accept a copy that deviates from what is published.
        min_seconds: shorter utterances are refused.
        speakers: who takes part; None takes all.
        channel: which channel of its recordings is used.

    Raises:
        RecipeError: there is no folder, a speaker is unknown, or utterances are too short; the first ones are named.
        CorpusError: the folder is not this corpus, or the copy deviates.
    """
    place = root or corpus.default_root
    if place is None:
        raise RecipeError(f"{corpus.name}: where is the corpus? Give its folder with data.root=PATH.")
    manifest = manifest_of(corpus, Path(place).expanduser(), allow_incomplete=allow_incomplete, speakers=speakers)
    short = manifest.table[manifest.table["duration"] < min_seconds]
    if len(short):
        raise RecipeError(
            f"{len(short)} utterances are shorter than data.min_seconds={min_seconds}: "
            f"{', '.join(short['id'].head(5))}. Remove them from the corpus table or lower the limit."
        )
    if channel_index(channel) is None:
        return manifest
    note = f"Of recordings with several channels, one is used: data.channel={channel}."
    facts = manifest.facts | {"channel": channel, "notes": [*manifest.facts.get("notes", ()), note]}
    return replace(manifest, facts=facts)


def manifest_of(
    corpus: Corpus,
    root: Path,
    allow_incomplete: bool = False,
    progress: Progress = SILENT,
    speakers: SpeakerChoice | None = None,
) -> Manifest:
    """List a corpus copy, and check it against what is published and against its own audio.

    Args:
        corpus: the parser, with its options.
        root: the copy's folder.
        allow_incomplete: accept a copy that deviates. Utterances whose audio cannot be used are then left out,
            and ``facts["deviations"]`` has a sentence on each deviation.
        progress: files done and files in all.
        speakers: who takes part, once the whole copy was checked; None takes all.

    Raises:
        CorpusError: the folder is not this corpus, or the copy deviates.
        RecipeError: a chosen speaker is unknown.
        ManifestError: the parser's rows contradict each other.
    """
    root = Path(root)
    members = {
        name: manifest_of(member, folder, allow_incomplete, progress)
        for name, (member, folder) in corpus.members_in(root).items()
    }
    if members:
        classes = tuple(dict.fromkeys(name for member in members.values() for name in member.classes))
        manifest = Manifest(joined_table(members), corpus.name, classes, root, joined_facts(members, corpus))
    else:
        manifest = _listed(corpus, root, allow_incomplete, progress, speakers)
    manifest.validate()
    return manifest if speakers is None else speakers.applied(manifest)


def _listed(
    corpus: Corpus, root: Path, allow_incomplete: bool, progress: Progress, speakers: SpeakerChoice | None
) -> Manifest:
    """Manifest of all utterances of a copy that is checked; its notes are on those of the chosen speakers alone."""
    listing = corpus.read(root)
    rows = list(listing.rows)
    if not rows:
        raise CorpusError(f"{corpus.name}: no utterances under {root}. Check data.root.")
    found = summarised(rows, corpus.expected)
    _refuse(corpus, root, found, allow_incomplete)
    entries = index_audio(root, (row.path for row in rows), progress)
    problems = [entry.problem for entry in entries.values() if entry.problem is not None]
    _refuse(corpus, root, _unusable(problems, len(entries)), allow_incomplete)
    rows = [row for row in rows if entries[row.path].problem is None]
    table = _with_audio(table_from_rows(rows), entries)
    used = {path: entries[path] for path in table["path"]}
    other = audio_deviations(table, entries, corpus.expected)
    _refuse(corpus, root, other, allow_incomplete)
    if speakers is not None:
        rows = [row for row, chosen in zip(rows, speakers.mask(table["speaker"], corpus.name), strict=True) if chosen]
    bounds = listing.dimension_range or corpus.dimension_range
    facts = {
        "licence": corpus.licence,
        "citation": corpus.citation,
        "label_rule": corpus.label_rule,
        "verified": corpus.verified,
        "notes": [*listing.notes(rows), *contradicted(rows), *different_channels(root, used)],
        "deviations": [*found, *problems, *other],
        "dimension_range": list(bounds) if bounds else None,
        "default_protocol": corpus.default_protocol,
        "sampling_rates": sampling_rates(used.values()),
    }
    classes = corpus.classes if listing.classes is None else listing.classes
    return Manifest(table, corpus.name, classes, root, facts)


def table_from_rows(rows: Iterable[Utterance]) -> pd.DataFrame:
    """Utterances as a table with all columns; ``duration`` and ``audio_hash`` are still unknown."""
    rows = list(rows)
    columns: dict[str, list[Any]] = {f.name: [getattr(row, f.name) for row in rows] for f in fields(Utterance)}
    columns["votes"] = [None if votes is None else votes_text(votes) for votes in columns["votes"]]
    columns["ratings"] = [ratings_text(ratings) if ratings else None for ratings in columns["ratings"]]
    return canonical(pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}))


def _with_audio(table: pd.DataFrame, entries: Mapping[str, AudioEntry]) -> pd.DataFrame:
    """Fill in duration and audio hash; an end that lies a rounding error behind its file stays as the corpus has it."""
    whole = table["path"].map({path: entry.duration for path, entry in entries.items()}).to_numpy(dtype=float)
    start = table["start"].fillna(0.0).to_numpy()
    end = table["end"].to_numpy()
    hashes = table["path"].map({path: entry.hash for path, entry in entries.items()})
    bounds = zip(hashes, table["start"], table["end"], strict=True)
    last = np.where(np.isnan(end), whole, end)
    return table.assign(duration=np.minimum(last, whole) - start, audio_hash=[segment_hash(*one) for one in bounds])


def _unusable(problems: Sequence[str], files: int) -> list[str]:
    return [f"{len(problems)} of {files} audio files cannot be used", *problems] if problems else []


def _refuse(corpus: Corpus, root: Path, found: Sequence[str], allow_incomplete: bool) -> None:
    if not found or allow_incomplete:
        return
    shown = listed((one.rstrip(".") for one in found), _SHOWN, "; ")
    if corpus.verified == OWN_DATA:
        raise CorpusError(
            f"{corpus.name}: not all under {root} can be used: {shown}. Mend these recordings or take them out, "
            "or go on without them with data.allow_incomplete=true."
        )
    raise CorpusError(
        f"{corpus.name}: the copy under {root} is not what is published: {shown}. "
        "Get what is missing or was changed again, or accept the copy with data.allow_incomplete=true."
    )
