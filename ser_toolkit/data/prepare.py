"""The manifest that an experiment asks for: a corpus where the user says it lies, with nothing that is too short."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ser_toolkit.corpora.base import Corpus
from ser_toolkit.data.audio.channels import MIX, channel_index
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.speakers import SpeakerChoice
from ser_toolkit.errors import RecipeError


def prepare(
    corpus: Corpus,
    root: str | None,
    allow_incomplete: bool,
    min_seconds: float,
    speakers: SpeakerChoice | None = None,
    channel: str | int = MIX,
) -> Manifest:
    """List and check a corpus copy.

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
    folder = Path(place).expanduser()
    manifest = Manifest.from_corpus(corpus, folder, allow_incomplete=allow_incomplete, speakers=speakers)
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
