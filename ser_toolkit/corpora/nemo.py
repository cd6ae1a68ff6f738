"""nEMO: nine Polish actors speak ninety sentences in six emotions.

The label is the acted emotion. Layout (README of the release): ``data.tsv`` with the columns file_id, emotion,
raw_text, normalized_text, speaker_id, gender and age, and the recordings in ``samples``, such as
``samples/EB0_anger_1.wav``: speaker, emotion, sentence. The speakers' ids in the table have spaces around them.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from ser_toolkit.corpora.base import Corpus, Expected, Listing, Utterance, require_directory
from ser_toolkit.corpora.layouts.named_files import require_audio
from ser_toolkit.errors import CorpusError, nearest
from ser_toolkit.terms import listed

_EMOTIONS = {
    "anger": "angry",
    "fear": "fearful",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprised",
}
_COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender")
_EXPECTED = Expected(
    utterances=4481,
    speakers={
        "EB0": 539, "IC0": 540, "KD0": 540, "KS0": 540, "MK0": 450, "MP0": 256, "SM0": 538, "TP0": 539, "WR0": 539,
    },
    classes={"angry": 749, "fearful": 736, "happy": 749, "neutral": 809, "sad": 769, "surprised": 669},
)  # fmt: skip


class NEMO(Corpus):
    """nEMO: Polish, acted, 4481 utterances of 9 speakers in 6 classes."""

    name = "nEMO"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "I. Christop. nEMO: dataset of emotional speech in Polish. LREC-COLING 2024, 12111-12116. "
        "https://aclanthology.org/2024.lrec-main.1059"
    )
    homepage = "https://github.com/amu-cai/nEMO"
    verified = "real metadata"
    label_rule = "the emotion asked of the actor, from the table"
    default_protocol = "LeaveOneSpeakerOut"

    @property
    def classes(self) -> tuple[str, ...]:
        """The six acted emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Counts of the published table."""
        return _EXPECTED

    def read(self, root: Path) -> Listing:
        """One row for each line of the table, by file name.

        Raises:
            CorpusError: the table or the folder of recordings is missing, a column or emotion is unknown, or a
                recording of the table is not there.
        """
        require_directory(root, "data.tsv", "samples", corpus=self.name)
        table = root / "data.tsv"
        with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(
                    f"{self.name}: {table} has no column {', '.join(missing)}. Expected the original tab separated "
                    f"table with {', '.join(_COLUMNS)}."
                )
            rows = [self._row(line, table) for line in reader]
        require_audio(self.name, root, rows, "Get the folder samples again.")
        twice = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
        if twice:
            raise CorpusError(f"{self.name}: {table} has {listed(twice)} more than once.")
        return Listing(sorted(rows, key=lambda row: row.id))

    def _row(self, line: dict[str, str], table: Path) -> Utterance:
        cell = {column: (line[column] or "").strip() for column in _COLUMNS}
        if cell["emotion"] not in _EMOTIONS:
            raise CorpusError(
                f"{self.name}: {table} gives {cell['file_id']} the emotion {cell['emotion']!r}. "
                f"{nearest(cell['emotion'], _EMOTIONS)}"
            )
        name = cell["file_id"].removesuffix(".wav")
        return Utterance(
            id=name,
            path=f"samples/{name}.wav",
            speaker=cell["speaker_id"],
            sex=cell["gender"] or None,
            sentence=name.rpartition("_")[2],
            transcript=cell["raw_text"] or None,
            language="pl",
            style="acted",
            label=_EMOTIONS[cell["emotion"]],
            raw_label=cell["emotion"],
        )
