"""The manifest: every utterance of a corpus copy as one validated table with a content hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from ser_toolkit.corpora.base import OWN_DATA, Corpus, Rating, Utterance
from ser_toolkit.corpora.expected import contradicted, summarised
from ser_toolkit.data.audio.channels import MIX, different_channels
from ser_toolkit.data.audio.decode import segment_hash
from ser_toolkit.data.audio.index import AudioEntry, index_audio
from ser_toolkit.data.audio.rates import sampling_rates
from ser_toolkit.data.copy_check import audio_deviations
from ser_toolkit.data.joining import joined_facts, joined_table
from ser_toolkit.data.manifest_cells import cells_of, json_pieces, ratings_text, votes_text
from ser_toolkit.data.manifest_table import COLUMNS, FLOAT_COLUMNS, canonical, check_table
from ser_toolkit.data.speakers import SpeakerChoice
from ser_toolkit.errors import CorpusError, ManifestError
from ser_toolkit.system.progress import SILENT, Progress

__all__ = ["COLUMNS", "Manifest", "table_from_rows"]

#: Where the audio lies is not what it is: ``audio_hash`` stands for it in the content hash.
_NOT_HASHED = ("path", "duration")
#: Columns that came later than the first manifests: hashed only where something is known, so that old hashes stand.
_LATER = ("corpus",)
_METADATA_KEY = b"ser_toolkit"
_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Manifest:
    """All utterances of one corpus copy.

    Args:
        table: index 0..N-1 and ``COLUMNS``. Text columns are objects with None where nothing is known, numbers are
            float64 with NaN. ``votes`` and ``ratings`` are JSON text. ``duration`` is that of the utterance in seconds
            (not of its file), ``audio_hash`` is equal for utterances that sound the same. Columns that are left out
            are filled with "unknown".
        corpus: name of the corpus.
        classes: class order; every artefact repeats it.
        root: folder that ``path`` is relative to.
        facts: licence, citation, label_rule, verified, notes, deviations, dimension_range, default_protocol,
            sampling_rates (files by rate in hertz), left_out where some speakers were chosen, and channel where one is.
    """

    table: pd.DataFrame
    corpus: str
    classes: tuple[str, ...]
    root: Path
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", canonical(self.table))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "root", Path(self.root))

    @classmethod
    def from_corpus(
        cls,
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
                and everything is said in ``facts["deviations"]``.
            progress: files done and files in all.
            speakers: who takes part, once the whole copy was checked; None takes all.

        Raises:
            CorpusError: the folder is not this corpus, or the copy deviates.
            RecipeError: a chosen speaker is unknown.
            ManifestError: the parser's rows contradict each other.
        """
        root = Path(root)
        members = corpus.members_in(root)
        if members:
            made = {
                name: cls.from_corpus(member, folder, allow_incomplete, progress)
                for name, (member, folder) in members.items()
            }
            manifest = cls(joined_table(made), corpus.name, corpus.classes, root, joined_facts(made, corpus))
            manifest.validate()
            return manifest if speakers is None else speakers.applied(manifest)
        rows = corpus.utterances(root)
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
        if speakers is not None:  # notes are on those who take part, checks on the whole copy
            rows = [row for row, kept in zip(rows, speakers.kept(table["speaker"], corpus.name), strict=True) if kept]
        facts = {
            "licence": corpus.licence,
            "citation": corpus.citation,
            "label_rule": corpus.label_rule,
            "verified": corpus.verified,
            "notes": [*corpus.notes(rows), *contradicted(rows), *different_channels(root, used)],
            "deviations": [*found, *problems, *other],
            "dimension_range": list(corpus.dimension_range) if corpus.dimension_range else None,
            "default_protocol": corpus.default_protocol,
            "sampling_rates": sampling_rates(used.values()),
        }
        manifest = cls(table, corpus.name, corpus.classes, root, facts)
        manifest.validate()
        return manifest if speakers is None else speakers.applied(manifest)

    @property
    def channel(self) -> str | int:
        """Channel of the recordings that is used: ``mix``, ``left``, ``right`` or a number."""
        return self.facts.get("channel", MIX)

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.table)

    @cached_property
    def content_hash(self) -> str:
        """16 hexadecimal digits over rows, audio and class order; the same on every machine and in any row order."""
        digest = hashlib.blake2b(json.dumps(self.classes).encode(), digest_size=8)
        rows = self.table.sort_values("id", kind="stable")
        for name in COLUMNS:
            if name in _NOT_HASHED or (name in _LATER and rows[name].isna().all()):
                continue
            digest.update(f"\n{name}\n".encode())
            if name in FLOAT_COLUMNS:
                # Microunits as integers: immune to the last bits, to -0.0 and to the many kinds of NaN.
                scaled = np.round(rows[name].to_numpy(float) * 1e6)
                digest.update(np.where(np.isnan(scaled), np.iinfo(np.int64).min, scaled).astype("<i8").tobytes())
            else:
                for piece in json_pieces(rows[name].tolist()):
                    digest.update(piece)
        return digest.hexdigest()

    def validate(self) -> None:
        """Check that the rows make sense together.

        Raises:
            ManifestError: ids that are missing or occur twice, impossible bounds or durations, labels or votes outside
                the classes, ratings outside their range; the message names the first utterances concerned.
        """
        bounds = self.facts.get("dimension_range")
        check_table(self.table, self.classes, tuple(bounds) if bounds else None)

    def votes(self, row: int) -> dict[str, float] | None:
        """Number of observers per class for the utterance in ``row``, or None."""
        text = self._cell("votes", row)
        return None if text is None else json.loads(text)

    def ratings(self, row: int) -> tuple[Rating, ...]:
        """The single raters of the utterance in ``row``."""
        text = self._cell("ratings", row)
        found = [] if text is None else json.loads(text)
        return tuple(Rating(**{**rating, "labels": tuple(rating.get("labels", ()))}) for rating in found)

    def audio_path(self, row: int) -> Path:
        """The audio file of the utterance in ``row``."""
        return self.root / self._cell("path", row)

    def _cell(self, column: str, row: int) -> Any:
        return self.table[column].iat[row]

    def subset(self, ids: Sequence[str]) -> Manifest:
        """The utterances ``ids``, in that order.

        Raises:
            ManifestError: an id is unknown.
        """
        rows = pd.Index(self.table["id"]).get_indexer(pd.Index(list(ids), dtype=object))
        if (rows < 0).any():
            unknown = [name for name, row in zip(ids, rows, strict=True) if row < 0]
            raise ManifestError(
                f"{self.corpus} has no utterance {', '.join(unknown[:_SHOWN])} ({len(unknown)} unknown)."
            )
        return replace(self, table=self.table.iloc[rows])

    def summary(self) -> pd.DataFrame:
        """Utterances per speaker (rows) and class (columns), with minutes and a last row for all speakers."""
        speaker = self.table["speaker"].fillna("(unknown)")
        counts = pd.crosstab(speaker, self.table["label"].fillna("(no label)"))
        extra = [name for name in counts.columns if name not in self.classes]
        counts = counts.reindex(columns=[*self.classes, *extra], fill_value=0)
        counts["all"] = counts.sum(axis=1)
        counts["minutes"] = self.table["duration"].groupby(speaker).sum() / 60
        counts.loc["all"] = counts.sum()
        counts.index.name, counts.columns.name = "speaker", None
        return counts.astype({name: int for name in counts.columns if name != "minutes"})

    def write(self, path: Path) -> None:
        """Write one Parquet file, by an atomic rename.

        Raises:
            ManifestError: the file cannot be written.
        """
        about = {
            "corpus": self.corpus,
            "classes": self.classes,
            "root": str(self.root),
            "facts": self.facts,
            "content_hash": self.content_hash,
        }
        types = {name: pyarrow.float64() if name in FLOAT_COLUMNS else pyarrow.string() for name in COLUMNS}
        schema = pyarrow.schema(list(types.items()), metadata={_METADATA_KEY: json.dumps(about).encode()})
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # commands that share a run write it at once
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = [pyarrow.array(self.table[name], type=types[name], from_pandas=True) for name in COLUMNS]
            pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, schema=schema), temporary)
            temporary.replace(path)
        except OSError as error:
            raise ManifestError(f"{path}: the manifest cannot be written ({error}).") from error

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read what ``write`` wrote.

        Raises:
            ManifestError: the file is missing, damaged, not a manifest, or was changed.
        """
        try:
            stored = pyarrow.parquet.read_table(path)
            about = json.loads((stored.schema.metadata or {})[_METADATA_KEY])
        except (OSError, ValueError, KeyError) as error:
            reason = "not found" if isinstance(error, FileNotFoundError) else "not a manifest, or damaged"
            raise ManifestError(f"{path}: {reason}. Run the preparation again.") from error
        table = pd.DataFrame(
            {name: pd.Series(cells_of(stored.column(name)), dtype=object) for name in stored.column_names}
        )
        manifest = cls(table, about["corpus"], tuple(about["classes"]), Path(about["root"]), about["facts"])
        if manifest.content_hash != about["content_hash"]:
            raise ManifestError(f"{path}: the rows were changed after writing. Run the preparation again.")
        return manifest


def table_from_rows(rows: Iterable[Utterance]) -> pd.DataFrame:
    """Utterances as a table with all columns; ``duration`` and ``audio_hash`` are still unknown."""
    rows = list(rows)
    columns: dict[str, list[Any]] = {f.name: [getattr(row, f.name) for row in rows] for f in fields(Utterance)}
    columns["votes"] = [None if votes is None else votes_text(votes) for votes in columns["votes"]]
    columns["ratings"] = [ratings_text(ratings) if ratings else None for ratings in columns["ratings"]]
    return canonical(pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}))


def _with_audio(table: pd.DataFrame, entries: dict[str, AudioEntry]) -> pd.DataFrame:
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
    shown = "; ".join(one.rstrip(".") for one in found[:_SHOWN])
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    if corpus.verified == OWN_DATA:
        raise CorpusError(
            f"{corpus.name}: not all under {root} can be used: {shown}{more}. Mend these recordings or take them out, "
            "or go on without them with data.allow_incomplete=true."
        )
    raise CorpusError(
        f"{corpus.name}: the copy under {root} is not what is published: {shown}{more}. "
        "Get what is missing or was changed again, or accept the copy with data.allow_incomplete=true."
    )
