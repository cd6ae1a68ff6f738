"""The error on files that are not named like a recording of a corpus, with the corpus that they are named like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ser_toolkit.corpora.base import Corpus
from ser_toolkit.errors import CorpusError
from ser_toolkit.parts.finding import subclasses
from ser_toolkit.terms import listed


def unlisted_files(corpus: type[Corpus], root: Path, reasons: Mapping[str, str], total: int, form: str) -> CorpusError:
    """Error that names files which cannot be recordings of a corpus.

    Args:
        corpus: whose copy it should be.
        root: its folder.
        reasons: how folder and name of a file contradict each other, by its path under ``root``; empty where the name
            is not that of a recording.
        total: audio files that were looked at.
        form: form of a recording's name.
    """
    contradictory = [f"{path} ({reason})" for path, reason in reasons.items() if reason]
    unknown = [path for path, reason in reasons.items() if not reason]
    by_corpus = _by_corpus(unknown, corpus)
    sentences = []
    if contradictory:
        sentences.append(
            f"folder and name contradict each other: {listed(contradictory)}. Move them back, or get them again."
        )
    if unknown:
        are = f"audio files under {root} {'is' if len(unknown) == 1 else 'are'} not named like a recording of it"
        sentences.append(
            f"{len(unknown)} of {total} {are}: {_listed(by_corpus)}. Expected {form}. {_advice(by_corpus, total)}"
        )
    return CorpusError(f"{corpus.name}: {' '.join(sentences)}")


def _listed(by_corpus: Mapping[str, Sequence[str]]) -> str:
    named = [f"{listed(paths)} (named like {name})" for name, paths in by_corpus.items() if name]
    return "; ".join([*named, *([listed(by_corpus[""])] if "" in by_corpus else [])])


def _advice(by_corpus: Mapping[str, Sequence[str]], total: int) -> str:
    """Advice: give the right corpus where all files are named like those of another one, else move them."""
    first = next(iter(by_corpus))
    if first and len(by_corpus[first]) == total:
        return f"This is a copy of {first}: give {_short_name(first)} as the corpus, or another folder."
    return "Move what belongs to no or another corpus out of the folder."


def _by_corpus(paths: Sequence[str], own: type[Corpus]) -> dict[str, list[str]]:
    """Paths by the name of the corpus that they are named like; an empty name where there is none."""
    import ser_toolkit.corpora  # noqa: F401  (finds every corpus; not at the top, it imports this module)

    others = [part for part in subclasses(Corpus).values() if part is not own]  # type: ignore[type-abstract]
    found: dict[str, list[str]] = {}
    for path in paths:
        name = next((part.name for part in others if part.names(path)), "")
        found.setdefault(name, []).append(path)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))


def _short_name(name: str) -> str:
    return next(short for short, part in subclasses(Corpus).items() if part.name == name)  # type: ignore[type-abstract]
