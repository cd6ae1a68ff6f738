"""The manifest that an experiment asks for: a corpus where the user says it lies, with nothing that is too short."""

from __future__ import annotations

from pathlib import Path

from ser_toolkit.corpora.base import Corpus
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.speakers import SpeakerChoice
from ser_toolkit.errors import RecipeError


def prepare(
    corpus: Corpus,
    root: str | None,
    allow_incomplete: bool,
    min_seconds: float,
    speakers: SpeakerChoice | None = None,
) -> Manifest:
    """List and check a corpus copy.

    Args:
        corpus: the parser, with its options.
        root: the copy's folder; None where the corpus knows it.
        allow_incomplete: accept a copy that deviates from what is published.
        min_seconds: shorter utterances are refused.
        speakers: who takes part; None takes all.

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
    return manifest
