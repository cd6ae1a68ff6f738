"""``ser-corpus``: which corpora are known, what a copy holds, what a recipe's splits share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_toolkit.cli._command import run_command
from ser_toolkit.cli._options import Parser, run_action
from ser_toolkit.errors import CorpusError, RecipeError, nearest
from ser_toolkit.terms import counted

if TYPE_CHECKING:
    import pandas as pd

    from ser_toolkit.corpora.base import Corpus
    from ser_toolkit.data.manifest import Manifest

USAGE = """\
usage: ser-corpus list                     corpora that are known, with licence and how far each parser was checked
       ser-corpus recipes [NAME]           corpora and models, of which every pair is a recipe, tasks, further recipes;
                                           with NAME (emodb_wavlm, iemocap_wavlm_vad) the files that it is made of
       ser-corpus protocols [CORPUS]       split protocols with their source, what they leak and what they select on
       ser-corpus prepare NAME ROOT [key=value ...] [--output FILE.parquet] [--allow-incomplete]
                                           check a copy against its published counts and durations and write its
                                           manifest (NAME.manifest.parquet in this folder)
       ser-corpus inspect NAME ROOT [key=value ...] [--plot FILE.png] [--allow-incomplete]
                                           the same check; print (and draw) classes, speakers, durations and raters
       ser-corpus audit recipe=NAME [data.root=PATH ...]
                                           folds of a recipe and what they share (speakers, dialogues, prompts, audio)

prepare and inspect take data.speakers=[03,08] or data.leave_out_speakers=[03] as recipes do: some speakers alone.
"""
#: Settings of a recipe that these commands take, too.
_SPEAKERS = ("data.speakers=", "data.leave_out_speakers=")
_ACCEPTED = {"data.allow_incomplete=true", "--data.allow_incomplete=true"}
AUDIT_COLUMNS = """\
speakers, dialogues, sentences, audio: a/b of test, then of dev: a of its b also occur in training (or dev)
a class: utterances in train/dev/test"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command("ser-corpus", USAGE, _corpus, arguments)


def _corpus(arguments: list[str]) -> None:
    actions = {
        "list": _list,
        "recipes": _recipes,
        "protocols": _protocols,
        "prepare": _prepare,
        "inspect": _inspect,
        "audit": _audit,
    }
    run_action("ser-corpus", actions, arguments)


def _list(arguments: list[str]) -> None:
    import ser_toolkit.corpora  # noqa: F401  (finds every corpus)
    from ser_toolkit.corpora.base import Corpus
    from ser_toolkit.parts.finding import subclasses

    for name, corpus in subclasses(Corpus).items():  # type: ignore[type-abstract]
        sys.stdout.write(
            f"{name}\n  labels    {corpus.label_rule}\n  licence   {corpus.licence}\n"
            f"  checked   {corpus.verified}\n  cite      {corpus.citation}\n"
        )


def _recipes(arguments: list[str]) -> None:
    from ser_toolkit.config.files import find_recipe, shipped_corpora, shipped_models, shipped_recipes, shipped_tasks

    if arguments:
        for source in find_recipe(arguments[0]):
            sys.stdout.write(f"{source.path}\n  {_first_line(source.path)}\n")
        return
    sys.stdout.write("Every corpus with every model is a recipe: recipe=<corpus>_<model>, such as recipe=emodb_wavlm\n")
    sys.stdout.write("and with ratings of valence, arousal, dominance, for a task: recipe=<corpus>_<model>_<task>\n")
    groups = {
        "corpora": shipped_corpora(),
        "models": shipped_models(),
        "tasks": shipped_tasks(),
        "further recipes": shipped_recipes(),
    }
    for title, files in groups.items():
        sys.stdout.write(f"\n{title}\n")
        for name, path in files.items():
            sys.stdout.write(f"  {name:<24} {_first_line(path)}\n")


def _first_line(path: Path) -> str:
    """Description of a recipe file: its first line."""
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("#").strip()


def _protocols(arguments: list[str]) -> None:
    from ser_toolkit.protocols.catalogue import described, known_protocols

    corpus, default = _corpus_and_protocol(arguments[0]) if arguments else (None, None)
    for name, part in known_protocols(corpus).items():
        sys.stdout.write(f"{name}{' (what recipes take by default)' if name == default else ''}\n")
        for what, text in described(part):
            sys.stdout.write(f"  {what:<10} {text}\n")


def _corpus_and_protocol(given: str) -> tuple[str, str | None]:
    """Name of a corpus as papers call it, and its default protocol where a parser for it is known."""
    import ser_toolkit.corpora  # noqa: F401  (finds every corpus)
    from ser_toolkit.corpora.base import Corpus
    from ser_toolkit.parts.finding import bare, subclasses
    from ser_toolkit.protocols.catalogue import known_protocols

    for short, part in subclasses(Corpus).items():  # type: ignore[type-abstract]
        if bare(given) in (bare(short), bare(part.name)):
            return part.name, part.default_protocol
    named = {name: None for protocol in known_protocols().values() for name in getattr(protocol, "corpora", ())}
    for name in named:
        if bare(given) == bare(name):
            return name, None
    raise RecipeError(f"Corpus {given!r} is unknown. {nearest(given, [*subclasses(Corpus), *named])}")  # type: ignore[type-abstract]


def _prepare(arguments: list[str]) -> None:
    from ser_toolkit.cli._inspect import remarks

    parser = Parser("ser-corpus prepare")
    parser.add_file("--output", ".parquet")
    options, corpus, manifest = _checked_copy(parser, arguments)
    path = options.output or Path(f"{type(corpus).__name__}.manifest.parquet")
    manifest.write(path)
    table = manifest.table
    size = f"{counted(len(table), 'utterance')}, {counted(table['speaker'].nunique(), 'speaker')}"
    sys.stdout.write(
        f"{corpus.name}: {size}, {table['duration'].sum() / 60:.1f} minutes, {_verdict(corpus, manifest)}\n"
        f"manifest: {manifest.content_hash} in {path}\n"
    )
    sys.stdout.writelines(f"{line}\n" for line in remarks(manifest))


def _verdict(corpus: Corpus, manifest: Manifest) -> str:
    """Result of the check: the published facts that the copy was compared with, or the number of deviations."""
    expected = corpus.expected
    facts = {
        "utterances": expected.utterances,
        "speakers": expected.speakers,
        "sessions": expected.sessions,
        "classes": expected.classes,
        "minutes": expected.minutes,
        "sampling rates": expected.sampling_rates,
        "shortest and longest": expected.seconds,
    }
    published = [name for name, fact in facts.items() if fact]
    deviations = len(manifest.facts.get("deviations", ()))
    if deviations:
        return f"with {counted(deviations, 'deviation')} from what is published"
    if manifest.facts.get("members"):
        return "each copy as its corpus is published"
    copy = "from a whole copy " if manifest.facts.get("left_out") else ""
    return f"{copy}as published ({', '.join(published)})" if published else "every file readable (no published counts)"


def _inspect(arguments: list[str]) -> None:
    from ser_toolkit.cli._inspect import PICTURES, draw, statistics

    parser = Parser("ser-corpus inspect")
    parser.add_file("--plot", *PICTURES)
    options, corpus, manifest = _checked_copy(parser, arguments)
    sys.stdout.write(statistics(corpus, manifest))
    if options.plot is not None:
        draw(manifest, options.plot)
        sys.stdout.write(f"\npicture: {options.plot}\n")


def _checked_copy(parser: Parser, arguments: list[str]) -> tuple[argparse.Namespace, Corpus, Manifest]:
    """Options of the command, and a corpus copy that is what was published, or was accepted as it is."""
    from ser_toolkit.data.prepare import manifest_of
    from ser_toolkit.data.speakers import SpeakerChoice

    action = parser.prog
    parser.add_argument("--allow-incomplete", action="store_true")
    for key in ("--data.speakers", "--data.leave_out_speakers"):
        parser.add_argument(key)
    # settings of a recipe, as messages and recipes spell them
    options, given = parser.split([f"--{one}" if one.startswith(_SPEAKERS) else one for one in arguments])
    allow_incomplete = options.allow_incomplete or not _ACCEPTED.isdisjoint(given)
    choice = SpeakerChoice.of(*(getattr(options, key.removesuffix("=")) for key in _SPEAKERS))
    given = [argument for argument in given if argument not in _ACCEPTED]
    if len(given) < 2:
        raise RecipeError(f"{action} needs a corpus name and its folder: {action} EmoDB /data/EmoDB")
    loose = [argument for argument in given[2:] if "=" not in argument]
    if loose:
        raise RecipeError(
            f"{action}: {loose[0]!r} is no key=value. Behind the name and the folder stand options alone."
        )
    corpus = _corpus_named(given[0], given[2:])
    root = Path(given[1]).expanduser()
    if not root.is_dir() and corpus.default_root is None:  # otherwise it is made
        example = f"{action} {type(corpus).__name__} /data/{type(corpus).__name__}"
        raise RecipeError(f"{corpus.name}: no folder at {root}. Give that of the corpus behind its name: {example}")
    try:
        manifest = manifest_of(corpus, root, allow_incomplete=allow_incomplete, speakers=choice)
    except CorpusError as error:  # of recipes, where the folder is a setting
        raise CorpusError(str(error).replace("give data.root=", f"{action} {type(corpus).__name__} ")) from error
    return options, corpus, manifest


def _corpus_named(name: str, overrides: list[str]) -> Corpus:
    """A corpus with options, by the parser that reads recipes: the same types, the same errors."""
    import ser_toolkit.corpora  # noqa: F401  (finds every corpus)
    from ser_toolkit.config.arguments import Command, add_working_directory
    from ser_toolkit.config.parser import RecipeParser
    from ser_toolkit.corpora.base import Corpus
    from ser_toolkit.parts.finding import by_name

    add_working_directory()
    if "." not in name:
        name = by_name(Corpus, name).__name__  # type: ignore[type-abstract]
    parser = RecipeParser(prog="ser-corpus", allow_abbrev=False)
    parser.add_argument("--data.corpus", type=Corpus)
    arguments = [f"--data.corpus={name}", *(f"--data.corpus.{o.removeprefix('--')}" for o in overrides)]
    corpus: Corpus = parser.instantiate(parser.parse_or_explain(Command.read(arguments))).data.corpus
    return corpus


def _audit(arguments: list[str]) -> None:
    from ser_toolkit.config.arguments import add_working_directory
    from ser_toolkit.config.recipe import parse_corpus
    from ser_toolkit.evaluation.reporting.copies import copy_banners
    from ser_toolkit.experiment.experiment import Experiment
    from ser_toolkit.protocols.audit import audit

    add_working_directory()
    experiment = Experiment(parse_corpus(arguments))
    data = experiment.data
    sys.stdout.write(f"{data.corpus.name}, {type(data.protocol).__name__}: {data.protocol.dev_source}\n")
    sys.stdout.writelines(f"  ! {banner}\n" for banner in copy_banners(data.manifest.facts, data.allow_incomplete))
    for sentence in data.manifest.facts.get("notes", ()):
        sys.stdout.write(f"  note: {sentence}\n")
    for sentence in experiment.audit():
        sys.stdout.write(f"  {sentence}\n")
    counts = audit(data.split_table, data.folds)
    sys.stdout.write(f"\n{AUDIT_COLUMNS}\n{_audit_table(counts).to_string(index=False)}\n")


def _audit_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Counts of the audit, a column for each kind and class: all of its numbers do not fit into a terminal."""
    from ser_toolkit.protocols.audit import SHARED

    def joined(*columns: str) -> pd.Series:
        return counts[list(columns)].astype(str).agg("/".join, axis=1)

    found = counts[["fold", "train", "dev", "test"]].copy()
    for kind in SHARED:
        if counts[[f"{kind}_{part}" for part in ("train", "dev", "test")]].any(axis=None):
            test, dev = (joined(f"{kind}_shared_{part}", f"{kind}_{part}") for part in ("test", "dev"))
            found[kind] = test + " " + dev
    for name in (column.removeprefix("train:") for column in counts.columns if column.startswith("train:")):
        found[name] = joined(f"train:{name}", f"dev:{name}", f"test:{name}")
    return found


if __name__ == "__main__":
    sys.exit(main())
