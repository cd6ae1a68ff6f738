"""Synthetic speech on disk: rendered once per settings, safe against a second process and against being killed.

Every file appears under its final name whole or not at all (temporary file, then rename), and the marker comes last.
Two processes that render at once write the same bytes; one that was killed is completed by the next.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from ser_toolkit.corpora.synthesis.synthesiser import SAMPLING_RATE, AcousticTarget, synthesise
from ser_toolkit.errors import CorpusError
from ser_toolkit.system.files import write_bytes

MARKER = "complete.json"
PARAMETERS = "parameters.csv"


@dataclass(frozen=True)
class Item:
    """One audio file to render.

    Args:
        path: below the rendering's folder, with forward slashes.
        target: syllables and acoustics.
        entropy: numbers that seed this utterance's chance.
        facts: further columns of the parameter table.
    """

    path: str
    target: AcousticTarget
    entropy: tuple[int, ...]
    facts: Mapping[str, object]


def render(
    folder: Path, items: Sequence[Item], settings: Mapping[str, object], noise_snr_db: float | None = None
) -> None:
    """Make sure that ``folder`` holds all of ``items``, the parameter table and the marker.

    Args:
        folder: made when absent; it should belong to these settings alone.
        items: audio files to write as 16 kHz 16-bit WAV, unless they are there.
        settings: written into the marker, for the reader.
        noise_snr_db: see ``synthesise``.

    Raises:
        CorpusError: the folder cannot be written.
    """
    missing = [item for item in items if not (folder / item.path).is_file()]
    if not missing and (folder / MARKER).is_file() and (folder / PARAMETERS).is_file():
        return
    try:
        for item in missing:
            samples = synthesise(item.target, np.random.default_rng(item.entropy), noise_snr_db)
            write_bytes(folder / item.path, _wav(samples), durable=False)
        write_bytes(folder / PARAMETERS, _table(items), durable=False)
        marker = {"synthetic": True, "files": len(items), "settings": dict(settings)}
        write_bytes(folder / MARKER, (json.dumps(marker, indent=2) + "\n").encode(), durable=False)
    except OSError as error:
        raise CorpusError(
            f"Synthetic: cannot write the rendering to {folder} ({error.strerror or error}). Give a writable folder "
            "with free space as data.root=PATH; what is written already will be used."
        ) from error


def _wav(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    # Rounded here: how libsndfile rounds floats differs between its builds.
    soundfile.write(buffer, np.round(samples * 32767).astype(np.int16), SAMPLING_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _table(items: Sequence[Item]) -> bytes:
    rows = [
        {**item.facts, "path": item.path, **asdict(item.target), "syllables": " ".join(item.target.syllables)}
        for item in items
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
