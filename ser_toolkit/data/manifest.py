"""The manifest: every utterance of a corpus copy as one validated table with a content hash, and its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from ser_toolkit.corpora.utterance import Rating
from ser_toolkit.data.audio.channels import MIX
from ser_toolkit.data.manifest_cells import cells_of, json_pieces
from ser_toolkit.data.manifest_table import COLUMNS, FLOAT_COLUMNS, canonical, check_table
from ser_toolkit.errors import ManifestError
from ser_toolkit.system.files import whole

__all__ = ["COLUMNS", "Manifest"]

#: Where the audio lies is not what it is: ``audio_hash`` stands for it in the content hash.
_NOT_HASHED = ("path", "duration")
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

    @property
    def channel(self) -> str | int:
        """Channel of the recordings that is used: ``mix``, ``left``, ``right`` or a number."""
        return self.facts.get("channel", MIX)

    def __len__(self) -> int:
        """Number of utterances in the manifest."""
        return len(self.table)

    @cached_property
    def content_hash(self) -> str:
        """16 hexadecimal digits over rows, audio and class order; the same on every machine and in any row order."""
        digest = hashlib.blake2b(json.dumps(self.classes).encode(), digest_size=8)
        rows = self.table.sort_values("id", kind="stable")
        for name in COLUMNS:
            if name in _NOT_HASHED:
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
        columns = [pyarrow.array(self.table[name], type=types[name], from_pandas=True) for name in COLUMNS]
        try:
            with whole(path) as partial:
                pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, schema=schema), partial)
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
