from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import koemotts, notes_of, touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.koemotts import KoEmoTTS
from ser_toolkit.errors import CorpusError, RecipeError

# The README's speakers, and what the first and last number of each hundred says, typed by hand: the emotions after the
# recordings (the words of 201-205 grieve, those of 301-305 scold), not after the README, which exchanges the last two.
WOMEN = ["ema", "emb", "nea", "neb", "nec", "ned", "nee"]
MEN = ["emf", "emg", "emh", "nek", "nel", "nem", "nen", "neo"]
NUMBERS = {
    "00001": "neutral",
    "00100": "neutral",
    "00101": "happy",
    "00200": "happy",
    "00201": "sad",
    "00300": "sad",
    "00301": "angry",
    "00400": "angry",
}


def recordings(numbers: list[int]) -> list[str]:
    """Names of the documented layout with these numbers."""
    folders = {"em": "plain-to-emotional", "ne": "emotional-to-emotional"}
    return [f"{folders[s[:2]]}/{s}/wav/{s}{number:05d}.wav" for s in WOMEN + MEN for number in numbers]


def test_the_number_says_the_emotion_and_the_speaker_the_sex(tmp_path: Path) -> None:
    rows = KoEmoTTS().utterances(touch(tmp_path, recordings([int(number) for number in NUMBERS])))
    assert {row.id[3:]: row.label for row in rows} == NUMBERS
    assert {row.speaker for row in rows if row.sex == "female"} == set(WOMEN)
    assert {row.speaker for row in rows if row.sex == "male"} == set(MEN)


def test_rows_say_what_names_and_transcripts_say(tmp_path: Path) -> None:
    rows = {row.id: row for row in KoEmoTTS().utterances(koemotts().write(tmp_path))}
    assert len(rows) == 16
    plain, emotional = rows["ema00105"], rows["nek00205"]
    assert plain.path == "plain-to-emotional/ema/wav/ema00105.wav"
    assert (plain.label, plain.raw_label, plain.sentence, plain.transcript) == (
        "happy",
        "00105",
        "plain-5",
        "말 ema00105",
    )
    assert (plain.language, plain.style) == ("ko", "acted")
    # The same text in all emotions there, a text of the emotion here.
    assert {rows[f"ema00{hundred}05"].sentence for hundred in range(4)} == {"plain-5"}
    assert (emotional.label, emotional.sentence) == ("sad", "sad-5")


@pytest.mark.parametrize(("part", "release", "utterances"), [
    ("both", "public", 300), ("plain", "public", 100), ("emotional", "public", 200),
    ("both", "full", 6000), ("plain", "full", 2000), ("emotional", "full", 4000),
])  # fmt: skip
def test_a_complete_copy_has_the_documented_counts(part: str, release: str, utterances: int, tmp_path: Path) -> None:
    step = 1 if release == "full" else 100
    numbers = [h + n for h in (0, 100, 200, 300) for n in (range(1, 101) if step == 1 else range(1, 6))]
    corpus = KoEmoTTS(part, release)  # type: ignore[arg-type]
    rows = corpus.utterances(touch(tmp_path, recordings(numbers)))
    assert len(rows) == utterances
    assert deviations(rows, corpus.expected) == []


def test_a_copy_of_the_repository_is_read_in_its_emotional_part_alone(tmp_path: Path) -> None:
    koemotts().write(tmp_path / "Dataset" / "SpeechCorpus" / "Emotional")
    touch(tmp_path, ["Dataset/SpeechCorpus/Main/main/lmy/wav/lmy00001.wav", "CSD/English/wav/alphabet_en_0u.wav"])
    rows = KoEmoTTS("plain").utterances(tmp_path)
    assert len(rows) == 8
    assert rows[0].path == "Dataset/SpeechCorpus/Emotional/plain-to-emotional/ema/wav/ema00005.wav"
    assert rows[0].transcript == "말 ema00005"


def test_reports_are_told_what_the_parts_mean(tmp_path: Path) -> None:
    root = koemotts().write(tmp_path)
    said = notes_of(KoEmoTTS(), root)
    assert ["words tell it too" in one for one in said] == [False, True, False]
    assert "is not documented" in said[2]
    assert notes_of(KoEmoTTS("plain"), root) == said[:1]
    assert "README of the corpus has these two the other way round" in said[0]


@pytest.mark.parametrize("name", ["emc00001", "ema00401", "ema00000", "lmy00001", "ema001"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        KoEmoTTS().utterances(touch(tmp_path, [f"plain-to-emotional/ema/wav/{name}.wav"]))


def test_bad_copies_are_named(tmp_path: Path) -> None:
    root = koemotts().write(tmp_path / "copy")
    (root / "plain-to-emotional/emf/transcript/readme.txt").touch()
    assert len(KoEmoTTS().utterances(root)) == len(koemotts().audio), "a text of another name is no transcript"
    (root / "plain-to-emotional/emf/wav/emf00205.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 transcript under .* without recording: emf00205"):
        KoEmoTTS().utterances(root)
    (root / "plain-to-emotional/emf/transcript/emf00205.txt").unlink()
    (root / "emotional-to-emotional/nea/transcript/nea00005.txt").unlink()
    rows = {row.id: row for row in KoEmoTTS().utterances(root)}
    assert rows["nea00005"].transcript is None
    assert "speaker emf: 3 utterances, expected 20" in deviations(rows.values(), KoEmoTTS().expected)
    touch(tmp_path, ["plain/plain-to-emotional/ema/wav/ema00001.wav"])
    with pytest.raises(CorpusError, match="no recording of the emotional part"):
        KoEmoTTS("emotional").utterances(tmp_path / "plain")
    with pytest.raises(CorpusError, match="no folder at"):
        KoEmoTTS().utterances(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="Did you mean plain"):
        KoEmoTTS("plan")  # type: ignore[arg-type]
