"""KoEmoTTS: the emotional part of the Korean ``emotiontts_open_db``, fifteen speakers in four emotions.

The label is the emotion asked of the speaker, which the number in the file name tells. Layout (README of
``Dataset/SpeechCorpus/Emotional`` in github.com/emotiontts/emotiontts_open_db)::

    plain-to-emotional/ema/wav/ema00101.wav          ema00001-00100 neutral, 101-200 happy, 201-300 sad, 301-400 angry
    plain-to-emotional/ema/transcript/ema00101.txt   the words as spoken; script/ (as printed) is not used
    emotional-to-emotional/nea/wav/nea00101.wav      the same numbers

The README has the last two the other way round, 201-300 angry and 301-400 sad. Labels here are those of the recordings.
In the emotional part the words of 201-205 tell of grief (``nen00202``: an actor whom the speaker liked had an accident)
and those of 301-305 scold (``nek00302``: only playing, with the exam so near). In both parts 301-305 are spoken at a
higher pitch than 201-205 (14 of 15 speakers, median F0 by autocorrelation). Models of three other corpora take them so:
RAVDESS to KoEmoTTS, speaker-normalised, has UA 27.0 with the README's labels and 46.3 with these.

In the plain part every sentence is spoken in all four emotions: its number is the last two digits. In the emotional
part each emotion has sentences of its own, whose words fit it, so that words tell the emotion as well as voices do.
All speakers of a part read the same sentences.

The repository holds 300 of the 6000 recordings (numbers 1-5 of each hundred); the rest is given on application. The
other parts beside it (Main, Personality, children's songs in CSD) have no emotions and are not read. The corpus has no
short name of its own: it is called KoEmoTTS here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.base import Expected, Listing, Utterance
from ser_toolkit.corpora.layouts.named_files import NamedFiles
from ser_toolkit.errors import CorpusError, RecipeError, nearest
from ser_toolkit.terms import counted, listed

Part = Literal["both", "plain", "emotional"]
Release = Literal["public", "full"]

#: By hundreds of the number, after the recordings: the README has the last two the other way round (see above).
_EMOTIONS = ("neutral", "happy", "sad", "angry")
#: Note in every report.
_EXCHANGED = (
    "Files 201-300 are labelled sad and 301-400 angry, after words and voices; the README of the corpus has these two "
    "the other way round, and figures that follow it are not comparable by class or across corpora."
)
_WOMEN = {"plain": ("ema", "emb"), "emotional": ("nea", "neb", "nec", "ned", "nee")}
_MEN = {"plain": ("emf", "emg", "emh"), "emotional": ("nek", "nel", "nem", "nen", "neo")}
_SPEAKERS = {part: (*_WOMEN[part], *_MEN[part]) for part in _WOMEN}
_SEXES = {
    speaker: sex
    for sex, group in (("female", _WOMEN), ("male", _MEN))
    for speakers in group.values()
    for speaker in speakers
}
_PART_OF = {speaker: part for part, speakers in _SPEAKERS.items() for speaker in speakers}
#: Recordings of each emotion by each speaker.
_EACH = {"public": 5, "full": 100}
#: Measured on the public recordings; the length of the full corpus is not published.
_PUBLIC_MINUTES = {"both": 27.65, "plain": 11.31, "emotional": 16.33}
#: Where the emotional part lies in a copy of the repository.
_INSIDE = ("Dataset/SpeechCorpus/Emotional", "SpeechCorpus/Emotional", "Emotional")


class KoEmoTTS(NamedFiles):
    """Emotional part of emotiontts_open_db: Korean, acted, 300 public (6000 in all) utterances of 15 speakers.

    Args:
        part: ``plain`` sentences, which are spoken in all four emotions; ``emotional`` sentences, whose words fit the
            emotion; or ``both``.
        release: ``public`` is what the repository holds, ``full`` what is given on application. Only the expected
            counts differ.
    """

    name = "KoEmoTTS"
    licence = "CC BY-NC-SA by the repository's badge (no version is named); for research, not for commercial use"
    citation = (
        "KAIST, Selvas AI. Conversational speech synthesis with emotion and personality for robots: emotiontts_open_db "
        "(grant 10080667 of the Korean Ministry of Trade, Industry and Energy). Data set, 2019-2021. "
        "https://github.com/emotiontts/emotiontts_open_db"
    )
    homepage = "https://github.com/emotiontts/emotiontts_open_db"
    verified = "real audio"
    label_rule = (
        "the emotion asked of the speaker, from the number in the file name (201-300 sad, 301-400 angry: the README "
        "has these two the other way round)"
    )
    default_protocol = "LeaveOneSpeakerOut"
    form = "ema00101.wav: speaker ema, emb, emf-emh, nea-nee or nek-neo, and a number from 00001 to 00400"
    pattern = re.compile(r"(?:.*/)?(?P<speaker>[en][a-z]{2})(?P<number>\d{5})")

    def __init__(self, part: Part = "both", release: Release = "public") -> None:
        for option, value, known in (("part", part, ("both", *_SPEAKERS)), ("release", release, tuple(_EACH))):
            if value not in known:
                raise RecipeError(f"KoEmoTTS: {option} {value!r} is unknown. {nearest(value, known)}")
        self.part = part
        self.release = release

    @property
    def classes(self) -> tuple[str, ...]:
        """The four emotions in alphabetical order."""
        return tuple(sorted(_EMOTIONS))

    @property
    def expected(self) -> Expected:
        """Counts of the part and release; every speaker has each emotion equally often."""
        speakers = [speaker for speaker in _PART_OF if self._wanted(speaker)]
        each = _EACH[self.release]
        return Expected(
            utterances=4 * each * len(speakers),
            speakers=dict.fromkeys(speakers, 4 * each),
            classes=dict.fromkeys(_EMOTIONS, each * len(speakers)),
            minutes=_PUBLIC_MINUTES[self.part] if self.release == "public" else None,
        )

    def read(self, root: Path) -> Listing:
        """The recordings of the part, by name, with the words where their file is there.

        Raises:
            CorpusError: there is no such folder or no audio in it, a file has another name, or words have no recording.
        """
        inside = next((f"{name}/" for name in _INSIDE if (root / name).is_dir()), "")
        rows = [row for row in super().read(root / inside).rows if self._wanted(row.speaker or "")]
        if not rows:
            raise CorpusError(
                f"{self.name}: {root / inside} has no recording of the {self.part} part. Expected "
                f"{self.part if self.part != 'both' else 'plain'}-to-emotional with the speakers "
                f"{', '.join(speaker for speaker in _PART_OF if self._wanted(speaker))}."
            )
        rows = [replace(row, path=inside + row.path) for row in rows]
        words = _transcripts(root, rows)
        silent = sorted(words.keys() - {row.id for row in rows})
        if silent:
            raise CorpusError(
                f"{self.name}: {counted(len(silent), 'transcript')} under {root / inside} without recording: "
                f"{listed(silent)}. Copy the folders wav again."
            )
        return Listing([replace(row, transcript=words.get(row.id)) for row in rows], _notes)

    def _wanted(self, speaker: str) -> bool:
        return self.part in ("both", _PART_OF.get(speaker))

    def _row(self, found: re.Match[str], path: str) -> Utterance | None:
        speaker, number = found["speaker"], int(found["number"])
        if speaker not in _PART_OF or not 1 <= number <= 400:
            return None
        hundreds, sentence = divmod(number - 1, 100)
        part, label = _PART_OF[speaker], _EMOTIONS[hundreds]
        return Utterance(
            id=f"{speaker}{found['number']}",
            path=path,
            speaker=speaker,
            sex=_SEXES[speaker],
            # One text in all emotions in the plain part, one for each emotion in the other.
            sentence=f"plain-{sentence + 1}" if part == "plain" else f"{label}-{sentence + 1}",
            language="ko",
            style="acted",
            label=label,
            raw_label=found["number"],
        )


def _notes(rows: Sequence[Utterance]) -> list[str]:
    """Notes on labels, sentences and speakers of the parts present."""
    notes = [_EXCHANGED]
    parts = {_PART_OF[row.speaker] for row in rows if row.speaker}
    if "emotional" in parts:
        notes.append("The sentences of the emotional part fit their emotion: words tell it too (part=plain: not so).")
    if len(parts) > 1:
        notes.append(
            "Whether somebody speaks in both parts is not documented: speakers of the two are taken for different."
        )
    return notes


def _transcripts(root: Path, rows: Sequence[Utterance]) -> dict[str, str]:
    """Words by name, from the folders ``transcript`` beside the recordings' folders."""
    folders = {(root / row.path).parent.parent / "transcript" for row in rows}
    found = [file for folder in sorted(folders) if folder.is_dir() for file in sorted(folder.glob("[!.]*.txt"))]
    files = [file for file in found if KoEmoTTS.pattern.fullmatch(file.stem)]
    return {file.stem: file.read_text(encoding="utf-8-sig", errors="replace").strip() for file in files}
