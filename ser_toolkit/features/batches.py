"""Batches of utterances that go through an upstream together, found from the manifest alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class ExtractionBatch:
    """Utterances that go through the upstream together, longest first."""

    rows: tuple[dict, ...]

    @property
    def keys(self) -> list[str]:
        """Audio hashes of the utterances."""
        return [row["audio_hash"] for row in self.rows]

    @property
    def seconds(self) -> float:
        """Audio seconds without padding."""
        return float(sum(row["duration"] for row in self.rows))

    @property
    def name(self) -> str:
        """Name of the claim on this batch: 16 hexadecimal digits that depend on its utterances."""
        return hashlib.sha256("".join(self.keys).encode()).hexdigest()[:16]


def extraction_batches(table: pd.DataFrame, batch_seconds: float) -> list[ExtractionBatch]:
    """Batches of similar length, at most so many padded seconds each; every sound once, longest first.

    They depend on the manifest alone, never on stored features: results do not depend on interruptions or on the
    number of processes. Longest first, because then memory is short at once or never.
    """
    rows = table.drop_duplicates("audio_hash").sort_values(["duration", "audio_hash"], ascending=False)
    found: list[list[dict]] = []
    for row in rows.to_dict("records"):
        if not found or found[-1][0]["duration"] * (len(found[-1]) + 1) > batch_seconds:
            found.append([])
        found[-1].append(row)
    return [ExtractionBatch(tuple(batch)) for batch in found]
