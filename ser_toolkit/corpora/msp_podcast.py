"""MSP-Podcast: speaking turns from podcasts, rated by a crowd; the largest corpus of natural emotional speech.

The label is the plurality of the workers' primary emotions. Layout (readme of release 1.12; 1.11 is alike)::

    Labels/labels_consensus.csv (or .json)   FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
    Labels/labels_detailed.csv (or .json)    each worker's answer
    Audios/MSP-PODCAST_0001_0008.wav         16 kHz (Audio in some copies)

``EmoClass`` is A angry, S sad, H happy, U surprise, F fear, D disgust, C contempt, N neutral, O other, or X where no
plurality agreed. Activation (arousal), valence and dominance go from 1 to 7. A worker's answer is the text ``WORKER...;
Neutral; Neutral,Concerned; A:4.0; V:5.0; D:4.0;`` in a column ``EmoDetail``, or stands in columns of its own
(``EmoClass_Major``, other releases). Secondary emotions, transcripts and forced alignments are not used.

``Split_Set`` is Train, Development (Validation before), Test1 or Test2. Test3 is blind: its recordings have no row in
the consensus file. ``Partitions.txt`` (``Test3; MSP-PODCAST_...wav``) lists them; the challenges' baselines take the
files with test3 in their name, such as ``MSP-PODCAST_test3_0001.wav``. Part of the speakers is Unknown: a split by
speakers does not fit this corpus, and whether the partitions share one cannot be told of these turns. Test1 and Test2
share speakers with each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ser_toolkit.corpora.annotations.msp_podcast import (
    CODES,
    NO_AGREEMENT,
    blind_files,
    label_file,
    read_consensus,
    read_ratings,
)
from ser_toolkit.corpora.base import (
    Corpus,
    Expected,
    Listing,
    Rating,
    Utterance,
    require_directory,
    turns_left_out,
    visible_files,
)
from ser_toolkit.corpora.layouts.named_files import require_audio
from ser_toolkit.errors import CorpusError, RecipeError, nearest

ClassSet = Literal["eight", "four", "all"]
Release = Literal["any", "1.11"]

_CLASS_SETS = {
    "eight": tuple(sorted(label for label in CODES.values() if label != "other")),
    "four": ("angry", "happy", "neutral", "sad"),
    "all": tuple(sorted(CODES.values())),
}
_PARTITIONS = {
    "Train": "train",
    "Development": "dev",
    "Validation": "dev",
    "Test1": "test1",
    "Test2": "test2",
    "Test3": "test3",
}
_BLIND = "Test3"
#: Turns in each partition of a release, without the blind one (the corpus's page).
_SIZES = {"1.11": {"train": 84030, "dev": 19815, "test1": 30647, "test2": 14815}}
_UNKNOWN = ("", "unknown", "unknow", "nan")
_LOW, _HIGH = 1.0, 7.0


class MSPPodcast(Corpus):
    """MSP-Podcast: English, natural, speaking turns of podcasts with primary emotions and dimensions, official split.

    Args:
        class_set: ``eight`` primary emotions as in the Odyssey 2024 and Interspeech 2025 challenges; ``four``: angry,
            happy, neutral, sad; ``all`` adds other, and keeps turns without agreement, without a label, for rules that
            use votes.
        release: refuse a copy whose partitions do not have this release's sizes.
        raters: keep each worker's answer, for rules that use single raters; else only the number of votes is kept.
        test3: add the recordings of the blind partition, without labels, in the fold ``test3``.
    """

    name = "MSP-Podcast"
    licence = "by licence agreement with the University of Texas at Dallas; not to be passed on"
    citation = (
        "R. Lotfian, C. Busso. Building naturalistic emotionally balanced speech corpus by retrieving emotional speech "
        "from existing podcast recordings. IEEE Trans. Affective Computing 10(4), 471-483, 2019. "
        "doi:10.1109/TAFFC.2017.2736999; C. Busso et al. The MSP-Podcast corpus. arXiv:2509.09791, 2025"
    )
    homepage = "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html"
    verified = "documentation only"
    label_rule = "the workers' plurality of primary emotions, as the corpus gives it"
    dimension_range = (_LOW, _HIGH)
    file_name = re.compile(r"MSP-PODCAST_(?:\d+|test3)_\d+\w*")
    default_protocol = "OfficialFolds"

    def __init__(
        self, class_set: ClassSet = "eight", release: Release = "any", raters: bool = False, test3: bool = False
    ) -> None:
        for option, value, known in (
            ("class set", class_set, tuple(_CLASS_SETS)),
            ("release", release, ("any", *_SIZES)),
        ):
            if value not in known:
                raise RecipeError(f"MSP-Podcast: {option} {value!r} is unknown. {nearest(value, known)}")
        self.class_set = class_set
        self.release = release
        self.raters = raters
        self.test3 = test3

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the class set in alphabetical order."""
        return _CLASS_SETS[self.class_set]

    @property
    def expected(self) -> Expected:
        """The rate, and the number of labelled turns where the release is given and nothing is left out."""
        known = self.release != "any" and self.class_set == "all" and not self.test3
        utterances = sum(_SIZES[self.release].values()) if known else None
        return Expected(utterances=utterances, sampling_rates=(16000,))

    def read(self, root: Path) -> Listing:
        """The turns of the class set in the order of the consensus file, then those of the blind partition.

        Raises:
            CorpusError: the consensus file or an audio file is missing, a cell cannot be read, or the partitions have
                other sizes than the release.
        """
        audio = _audio_folder(root)
        consensus = label_file(root, "consensus")
        if consensus is None:
            raise CorpusError(
                f"{self.name}: {root / 'Labels'} has no labels_consensus.csv or labels_consensus.json. Copy the labels "
                "of the release there."
            )
        votes, ratings = self._answers(root)
        rows: list[Utterance] = []
        listed: set[str] = set()
        left_out: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for file, cells in read_consensus(consensus):
            listed.add(file)
            _check_cells(file, cells, consensus)
            row = _row(file, cells, audio, votes.get(file, {}), ratings.get(file, ()))
            sizes[row.fold or ""] += 1
            if self.class_set != "all" and row.label not in self.classes:
                left_out[row.label or "no agreement"] += 1
            else:
                rows.append(row)
        self._check_release(consensus, sizes)
        if self.test3:
            rows += _blind(root, audio, listed)
        require_audio(self.name, root, rows, f"Copy {root / audio} again.")
        return Listing(rows, lambda chosen: [*_notes(chosen, sizes), *turns_left_out(self.class_set, left_out)])

    def blind(self, root: Path) -> list[Utterance]:
        """The turns of the blind partition alone, by name; no other recording has to be there.

        Raises:
            CorpusError: there is none, or an audio file is missing.
        """
        audio, consensus = _audio_folder(root), label_file(root, "consensus")
        listed = {file for file, _ in read_consensus(consensus)} if consensus else set()
        rows = _blind(root, audio, listed)
        require_audio(self.name, root, rows, f"Copy {root / audio} again.")
        return rows

    def _answers(self, root: Path) -> tuple[dict[str, dict[str, int]], dict[str, list[Rating]]]:
        """Votes of each file, and the single answers where they are wanted; empty without the detailed file."""
        votes: dict[str, dict[str, int]] = {}
        ratings: dict[str, list[Rating]] = {}
        detailed = label_file(root, "detailed")
        for file, rating in read_ratings(detailed, dimensions=self.raters) if detailed else ():
            counts = votes.setdefault(file, {})
            for label in rating.labels:
                counts[label] = counts.get(label, 0) + 1
            if self.raters:
                ratings.setdefault(file, []).append(rating)
        return votes, ratings

    def _check_release(self, file: Path, sizes: Mapping[str, int]) -> None:
        if self.release != "any" and sizes != _SIZES[self.release]:
            wrong = [
                f"{part} has {sizes[part]}, expected {count}"
                for part, count in _SIZES[self.release].items()
                if sizes[part] != count
            ]
            raise CorpusError(
                f"{self.name}: {file} is not that of release {self.release}: {'; '.join(wrong)}. Give the copy of that "
                "release, or leave release=any."
            )


def _notes(rows: Sequence[Utterance], sizes: Mapping[str, int]) -> list[str]:
    """Sentences on the partitions of the whole copy, and on unknown speakers and answers among the rows."""
    parts = ", ".join(f"{count} {part}" for part, count in sorted(sizes.items()))
    release = next((name for name, known in _SIZES.items() if known == sizes), None)
    notes = [f"Partitions: {parts}: {f'release {release}' if release else 'the sizes of no release known here'}."]
    nameless = Counter(row.fold for row in rows if row.speaker is None)
    if nameless:
        parts = ", ".join(f"{count} in {part}" for part, count in sorted(nameless.items(), key=str))
        notes.append(f"The speaker of {nameless.total()} of {len(rows)} utterances is unknown ({parts}).")
    if 0 < (silent := sum(not row.votes for row in rows)) < len(rows):
        notes.append(f"{silent} of {len(rows)} utterances have no answers of workers: is the detailed file complete?")
    return notes


def _audio_folder(root: Path) -> str:
    require_directory(root, "Labels", corpus="MSP-Podcast")
    if (root / "Audio").is_dir() and not (root / "Audios").is_dir():
        return "Audio"
    require_directory(root, "Audios", corpus="MSP-Podcast")
    return "Audios"


def _row(
    file: str, cells: Mapping[str, str], audio: str, votes: Mapping[str, int], ratings: Sequence[Rating]
) -> Utterance:
    name = file.removesuffix(".wav")
    podcast, _, turn = name.removeprefix("MSP-PODCAST_").partition("_")
    sex = cells["Gender"].lower()
    arousal, valence, dominance = (float(cells[column]) for column in ("EmoAct", "EmoVal", "EmoDom"))
    return Utterance(
        id=name,
        path=f"{audio}/{name}.wav",
        speaker=None if cells["SpkrID"].lower() in _UNKNOWN else cells["SpkrID"],
        sex=sex if sex in ("female", "male") else None,
        dialogue=podcast,
        turn=turn,
        language="en",
        style="natural",
        label=CODES.get(cells["EmoClass"]),
        raw_label=cells["EmoClass"],
        votes={label: float(count) for label, count in votes.items()} or None,
        ratings=tuple(ratings),
        valence=valence,
        arousal=arousal,
        dominance=dominance,
        fold=_PARTITIONS[cells["Split_Set"]],
    )


def _check_cells(file: str, cells: Mapping[str, str], table: Path) -> None:
    code, part = cells["EmoClass"], cells["Split_Set"]
    if code not in (*CODES, NO_AGREEMENT) or part not in _PARTITIONS:
        raise CorpusError(
            f"MSP-Podcast: {table} gives {file} the class {code!r} and the partition {part!r}. Expected one of "
            f"{', '.join(CODES)}, {NO_AGREEMENT} and one of {', '.join(_PARTITIONS)}."
        )
    for column in ("EmoAct", "EmoVal", "EmoDom"):
        try:
            good = _LOW <= float(cells[column]) <= _HIGH
        except ValueError:
            good = False
        if not good:
            raise CorpusError(
                f"MSP-Podcast: {table} gives {file} {column} {cells[column]!r}. Expected a number from 1 to 7."
            )


def _blind(root: Path, audio: str, listed: set[str]) -> list[Utterance]:
    """Recordings that the list of partitions or their names call blind; where neither does, those without a label."""
    names = blind_files(root, _BLIND)
    if not names:
        there = [file.name for file in visible_files(root / audio, ".wav")]
        called = [name for name in there if _BLIND.lower() in name.lower()]
        names = called or (there if names is None else [])
    names = sorted({name.removesuffix(".wav") for name in names if name not in listed})
    if not names:
        raise CorpusError(
            f"MSP-Podcast: {root} has no recording of the blind partition {_BLIND}: every file has a row in the "
            f"consensus file. Copy them to {audio}, or leave test3=false."
        )
    return [
        Utterance(id=name, path=f"{audio}/{name}.wav", language="en", style="natural", fold=_BLIND.lower())
        for name in names
    ]
