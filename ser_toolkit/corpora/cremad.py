"""CREMA-D: 91 actors speak 12 English sentences with six intended emotions; a crowd votes on each clip.

The label column is the emotion that the actor was asked for; ``votes`` are what listeners heard (or saw). The two are
different questions: the voice-only crowd agrees with the intention in 41.6 % of all clips. Which of them becomes the
target is chosen by the label rule of the recipe, not here.

Layout: ``AudioWAV/1001_IEO_ANG_HI.wav`` (actor, sentence, emotion, level), ``VideoDemographics.csv`` (sex by actor)
and ``processedResults/tabulatedVotes.csv`` (votes by clip and modality). Copies with audio alone are read as well;
then sex and votes are unknown, which the report notes.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.base import (
    Corpus,
    Expected,
    Listing,
    Utterance,
    other_formats,
    require_directory,
    visible_files,
)
from ser_toolkit.corpora.layouts.unlisted_files import unlisted_files
from ser_toolkit.errors import CorpusError, RecipeError

Modality = Literal["voice", "face", "multimodal"]

_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgusted",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
_SENTENCES = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
# One clip, 1040_ITH_SAD_XX, is spelt with a single X in some copies.
_FILE_NAME = re.compile(
    rf"(?P<actor>\d{{4}})_(?P<sentence>{'|'.join(_SENTENCES)})_(?P<emotion>{'|'.join(_EMOTIONS)})"
    r"_(?P<level>LO|MD|HI|XX?)"
)
_FORM = (
    f"1001_IEO_ANG_HI.wav: actor, sentence (one of {' '.join(_SENTENCES)}), emotion (one of {' '.join(_EMOTIONS)}), "
    "level (one of LO MD HI XX)"
)
# The first digit of a row number in tabulatedVotes.csv: the modality that the raters were given.
_MODALITY_DIGIT: Mapping[str, str] = {"voice": "1", "face": "2", "multimodal": "3"}
_VOTE_COLUMNS = {label[0].upper(): label for label in _EMOTIONS.values()}
_LFS_POINTER = b"version https://git-lfs"

# Every actor spoke 82 clips, but for five of them (SentenceFilenames.csv).
_FEWER_CLIPS = {"1002": 81, "1008": 76, "1009": 76, "1019": 76, "1076": 81}
# Each spoke 14 clips of every emotion but neutral (12); in these five actors' sets one clip each is missing.
_ONE_LESS = {"1002": "NEU", "1076": "NEU", **dict.fromkeys(("1008", "1009", "1019"), "ANG DIS FEA HAP NEU SAD")}
_EXPECTED = Expected(
    utterances=7442,
    speakers={str(actor): _FEWER_CLIPS.get(str(actor), 82) for actor in range(1001, 1092)},
    classes={label: 1087 if label == "neutral" else 1271 for label in _EMOTIONS.values()},
    cells={
        (str(actor), label): (12 if code == "NEU" else 14) - (code in _ONE_LESS.get(str(actor), "").split())
        for actor in range(1001, 1092)
        for code, label in _EMOTIONS.items()
    },
    # Rate and durations as EmoBox lists them.
    minutes=315.4,
    sampling_rates=(16000,),
    seconds=(1.268, 5.005),
)
_IDENTICAL_AUDIO = (
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
)
_ALMOST_SILENT = "1076_MTI_SAD_XX"


class CREMAD(Corpus):
    """Crowd-sourced Emotional Multimodal Actors Dataset: English, acted, 7442 clips of 91 speakers in 6 classes.

    Args:
        modality: what the raters were given whose votes are read: the voice alone, the silent face, or both.
    """

    name = "CREMA-D"
    licence = "Open Database License 1.0, contents under the Database Contents License 1.0"
    citation = (
        "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma. CREMA-D: Crowd-sourced Emotional "
        "Multimodal Actors Dataset. IEEE Trans. Affective Computing 5(4), 377-390, 2014. doi:10.1109/TAFFC.2014.2336244"
    )
    homepage = "https://github.com/CheyneyComputerScience/CREMA-D"
    verified = "real audio"
    label_rule = "the emotion asked of the actor, from the file name; listeners' votes are kept beside it"
    default_protocol = "GroupedKFold"
    file_name = _FILE_NAME

    def __init__(self, modality: Modality = "voice") -> None:
        if modality not in _MODALITY_DIGIT:
            raise RecipeError(f"CREMA-D: modality {modality!r} is unknown. Choose one of {', '.join(_MODALITY_DIGIT)}.")
        self.modality = modality

    @property
    def classes(self) -> tuple[str, ...]:
        """The six intended emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS.values()))

    @property
    def expected(self) -> Expected:
        """Counts of the complete corpus; a subset is reported as incomplete."""
        return _EXPECTED

    def read(self, root: Path) -> Listing:
        """One row for each clip of ``root/AudioWAV``, by name.

        Raises:
            CorpusError: the folder is missing or empty, holds Git LFS pointers in place of audio, or other files.
        """
        require_directory(root, "AudioWAV", corpus=self.name)
        files = visible_files(root / "AudioWAV", ".wav")
        if not files:
            other = other_formats(root / "AudioWAV", ".wav")
            raise CorpusError(
                f"{self.name}: no WAV file in {root / 'AudioWAV'}.{other} Expected 1001_IEO_ANG_HI.wav etc."
            )
        _refuse_pointers(files)
        demographics, tabulated = root / "VideoDemographics.csv", root / "processedResults" / "tabulatedVotes.csv"
        sexes = speaker_sexes(demographics) if demographics.is_file() else {}
        votes = tabulated_votes(tabulated, self.modality) if tabulated.is_file() else {}
        rows = {}
        strange = {}
        for file in files:
            row = _row(file, sexes, votes)
            if row is None:
                strange[f"AudioWAV/{file.name}"] = ""
            else:
                # Where both spellings of the one clip lie side by side, the longer one comes last and stays.
                rows[row.id] = row
        if strange:
            raise unlisted_files(type(self), root, strange, len(files), _FORM)
        return Listing([rows[key] for key in sorted(rows)], self._notes)

    def _notes(self, rows: Sequence[Utterance]) -> list[str]:
        """How far intention and votes agree, and which known flaws of the corpus are among the rows."""
        ids = {row.id for row in rows}
        sentences = [_agreement_note(rows, self.modality)]
        if 0 < (silent := sum(not row.votes for row in rows)) < len(rows):
            sentences.append(
                f"{silent} of {len(rows)} clips have no votes: is processedResults/tabulatedVotes.csv complete?"
            )
        if rows and all(row.sex is None for row in rows):
            sentences.append("VideoDemographics.csv is missing: the speakers' sex is unknown.")
        for first, second in _IDENTICAL_AUDIO:
            if first in ids and second in ids:
                sentences.append(f"{first} and {second} are the same recording under two labels.")
        if _ALMOST_SILENT in ids:
            sentences.append(f"{_ALMOST_SILENT} is almost silent.")
        return sentences


def speaker_sexes(table: Path) -> dict[str, str]:
    """``female`` or ``male`` for each actor, from ``VideoDemographics.csv``."""
    return {line["ActorID"]: line["Sex"].lower() for line in _lines(table, "ActorID", "Sex")}


def tabulated_votes(table: Path, modality: Modality) -> dict[str, dict[str, float]]:
    """Number of votes per class for each clip, from ``processedResults/tabulatedVotes.csv``.

    Args:
        table: the file; rows are numbered 1xxxxx (voice alone), 2xxxxx (face alone) and 3xxxxx (both).
        modality: which of them to read.
    """
    digit = _MODALITY_DIGIT[modality]
    votes = {
        line["fileName"]: {label: float(line[column]) for column, label in _VOTE_COLUMNS.items()}
        for line in _lines(table, "", "fileName", *_VOTE_COLUMNS)
        if line[""].startswith(digit)
    }
    if not votes:
        raise CorpusError(f"CREMA-D: {table} has no {modality} votes (rows numbered {digit}xxxxx).")
    return votes


def _lines(table: Path, *columns: str) -> list[dict[str, str]]:
    # Spreadsheet programs write a mark before the first column; what is no text at all has none of the columns.
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise CorpusError(
                f"CREMA-D: {table} has no column {', '.join(map(repr, missing))}. Is it the original file, or a "
                "Git LFS pointer? Get it with `git lfs pull`, or remove it to go on without."
            )
        lines = list(reader)
    cut = next((number for number, line in enumerate(lines, 1) if any(not line[column] for column in columns)), None)
    if cut is not None:
        raise CorpusError(f"CREMA-D: row {cut} of {table} is incomplete. Was the file cut? Get it again.")
    return lines


def _refuse_pointers(files: Sequence[Path]) -> None:
    # A pointer has about 130 bytes, and no clip under a kilobyte is speech: larger files need not be opened.
    pointers = [file for file in files if file.stat().st_size < 1024 and file.read_bytes().startswith(_LFS_POINTER)]
    if pointers:
        raise CorpusError(
            f"CREMA-D: {len(pointers)} of {len(files)} files in {files[0].parent} are Git LFS pointers, not audio "
            f"({pointers[0].name} is the first). Run `git lfs install && git lfs pull` in the clone."
        )


def _row(file: Path, sexes: Mapping[str, str], votes: Mapping[str, Mapping[str, float]]) -> Utterance | None:
    """The row of one clip; None when it is no recording of the corpus."""
    found = _FILE_NAME.fullmatch(file.stem)
    if found is None:
        return None
    level = "XX" if found["level"] == "X" else found["level"]
    clip = f"{found['actor']}_{found['sentence']}_{found['emotion']}_{level}"
    return Utterance(
        id=clip,
        path=f"AudioWAV/{file.name}",
        speaker=found["actor"],
        sex=sexes.get(found["actor"]),
        sentence=found["sentence"],
        transcript=_SENTENCES[found["sentence"]],
        language="en",
        style="acted",
        label=_EMOTIONS[found["emotion"]],
        raw_label=f"{found['emotion']}_{level}",
        votes=votes.get(clip),
    )


def _agreement_note(rows: Sequence[Utterance], modality: str) -> str:
    voted = [row for row in rows if row.votes]
    if not voted:
        return "processedResults/tabulatedVotes.csv is missing: there are no votes, only intended labels."
    agreed = ties = 0
    for row in voted:
        votes = row.votes or {}
        most = max(votes.values())
        winners = [label for label, count in votes.items() if count == most]
        ties += len(winners) > 1
        agreed += winners == [row.label]
    return (
        f"The most frequent {modality} vote is the intended emotion in {100 * agreed / len(voted):.1f} % of "
        f"{len(voted)} clips; {ties} are ties."
    )
