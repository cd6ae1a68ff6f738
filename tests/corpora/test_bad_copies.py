"""Every kind of bad copy is named: what is wrong, with which file, speaker or class, what was expected, what to do.

Replicas are held against counts taken from the undamaged replica, real corpora against what is published.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_replicas import REPLICAS, Replica

import ser_toolkit.corpora  # noqa: F401  (finds every corpus)
from ser_toolkit.cli.corpus import main
from ser_toolkit.corpora.base import Corpus, Expected, Utterance
from ser_toolkit.corpora.cremad import CREMAD
from ser_toolkit.corpora.emodb import EmoDB
from ser_toolkit.corpora.esd import ESD
from ser_toolkit.corpora.expected import contradicted, deviations, summarised
from ser_toolkit.corpora.iemocap import IEMOCAP
from ser_toolkit.corpora.layouts.named_files import NamedFiles
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.errors import CorpusError
from ser_toolkit.parts.finding import subclasses

BY_NAME = sorted(part.__module__.rpartition(".")[2] for part in subclasses(NamedFiles).values())  # type: ignore[type-abstract]
BY_NAME = [name for name in BY_NAME if name in REPLICAS]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))


def part_of(name: str) -> type[Corpus]:
    (part,) = (p for p in subclasses(Corpus).values() if p.__module__ == f"ser_toolkit.corpora.{name}")  # type: ignore[type-abstract]
    return part


def error(corpus: Corpus, root: Path) -> str:
    """What is said of a copy, on one line with what to do at its end."""
    with pytest.raises(CorpusError) as caught:
        manifest_of(corpus, root)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".") and ".." not in said.replace(str(root), "")
    return said


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Corpus, Path]]:
    """A corpus whose complete copy is its own replica, made of tones of different lengths."""

    def make(name: str) -> tuple[Corpus, Path]:
        replica, corpus, root = REPLICAS[name](), part_of(name)(), tmp_path / "copy"
        replica.write(root)
        for number, path in enumerate(replica.audio):
            write_tone(root / path, 1.0 + number / 100)
        rows = corpus.utterances(root)
        seconds = manifest_of(corpus, root, allow_incomplete=True).table.set_index("id")["duration"]
        voices = [row for row in rows if row.speaker is not None]
        counts = Expected(
            utterances=len(rows),
            speakers=Counter(str(row.speaker) for row in voices),
            classes=Counter(str(row.label) for row in rows if row.label),
            cells=Counter((str(row.speaker), str(row.label)) for row in voices if row.label),
            minutes=float(seconds.sum()) / 60,
            sampling_rates=(16000,),
            seconds=(float(seconds.min()), float(seconds.max())),
            speaker_seconds={
                name: float(sum(seconds[row.id] for row in voices if row.speaker == name))
                for name in {str(row.speaker) for row in voices}
            },
        )
        monkeypatch.setattr(type(corpus), "expected", property(lambda self: counts))
        assert manifest_of(corpus, root).facts["deviations"] == []
        return corpus, root

    return make


def write_tone(path: Path, seconds: float, rate: int = 16000) -> None:
    samples = np.arange(round(seconds * rate))
    soundfile.write(path, 0.3 * np.sin(samples * 0.05), rate, subtype="PCM_16", format="WAV")


@pytest.mark.parametrize("name", sorted(REPLICAS))
def test_truncated_resampled_and_cut_files_are_named(name: str, published: Callable) -> None:
    corpus, root = published(name)
    rows = corpus.utterances(root)
    hurt = root / rows[3].path
    content = hurt.read_bytes()
    hurt.write_bytes(content[: len(content) // 2])
    said = error(corpus, root)
    assert f"1 of {len(rows)} audio files cannot be used" in said
    assert f"{hurt}: truncated, the header promises {len(content) - 44} bytes" in said
    hurt.write_bytes(content)

    info = soundfile.info(hurt)
    write_tone(hurt, info.duration, rate=8000)
    said = error(corpus, root)
    assert f"1 of {len(rows)} files are sampled at 8000 Hz, expected 16000 Hz (resampled): {rows[3].path}" in said
    assert "minutes" not in said

    for number, row in enumerate(rows):
        write_tone(root / row.path, 1.0 + number / 100, rate=8000)
    assert f"{len(rows)} of {len(rows)} files are sampled at 8000 Hz, expected 16000 Hz (resampled)" in error(
        corpus, root
    )

    if rows[0].end is not None:
        return  # segments end before their recordings do, and a recording that ends before them is refused by name
    for row in rows:
        write_tone(root / row.path, 0.5)
    said = error(corpus, root)
    assert f"{len(rows)} of {len(rows)} utterances last exactly 0.50 s (cut or padded to it)" in said
    assert f"minutes of audio, expected {corpus.expected.minutes:.1f} (cut" in said
    assert "the shortest published" in said


def test_the_speaker_whose_files_were_cut_is_named(published: Callable) -> None:
    corpus, root = published("savee")
    mine = [row for row in corpus.utterances(root) if row.speaker == "JK"]
    wanted = sum(soundfile.info(root / row.path).duration for row in mine)
    for row in mine:
        write_tone(root / row.path, soundfile.info(root / row.path).duration - 0.02)
    said = error(corpus, root)
    assert "1 speaker has all utterances, but not all seconds (cut or lengthened): JK " in said
    assert f"JK {wanted - 0.14:.1f} s of {wanted:.1f}" in said


def test_half_of_the_files_at_one_length_are_named(published: Callable) -> None:
    corpus, root = published("savee")
    rows = corpus.utterances(root)
    for row in rows[::2]:
        write_tone(root / row.path, 1.02)
    assert "14 of 28 utterances last exactly 1.02 s" in error(corpus, root)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_missing_speaker_is_named(name: str, published: Callable) -> None:
    corpus, root = published(name)
    rows = corpus.utterances(root)
    gone = rows[0].speaker
    for row in rows:
        if row.speaker == gone:
            (root / row.path).unlink()
    count = corpus.expected.speakers[gone]
    said = error(corpus, root)
    assert f"{len(rows) - count} utterances in all, expected {len(rows)}" in said
    assert f"speaker {gone}: 0 utterances, expected {count}" in said
    assert "class" not in said, "classes are short by what the speaker said of them, which is no second fault"


@pytest.mark.parametrize("name", BY_NAME)
def test_two_corpora_in_one_folder_are_told_apart(name: str, published: Callable, tmp_path: Path) -> None:
    corpus, root = published(name)
    (root / "CREMA-D" / "AudioWAV").mkdir(parents=True)
    for emotion in ("ANG", "HAP", "SAD"):
        write_tone(root / "CREMA-D" / "AudioWAV" / f"1001_DFA_{emotion}_XX.wav", 1)
    write_tone(root / "noise.wav", 1)
    said = error(corpus, root)
    total = len(REPLICAS[name]().audio) + 4
    assert f"{corpus.name}: 4 of {total} audio files under {root} are not named like a recording of it: " in said
    assert "CREMA-D/AudioWAV/1001_DFA_SAD_XX.wav (named like CREMA-D); noise.wav. Expected" in said
    assert said.endswith("Move what belongs to no or another corpus out of the folder.")


@pytest.mark.parametrize("name", BY_NAME)
def test_another_corpus_is_recognised(name: str, tmp_path: Path) -> None:
    """Names of one corpus are never taken for those of another: every replica is one corpus's alone."""
    part = part_of(name)
    for path in REPLICAS[name]().audio:
        named = {p.name for p in subclasses(Corpus).values() if p.names(path)}  # type: ignore[type-abstract]
        assert named == {part.name}, path
    corpus = part_of("savee" if name != "savee" else "tess")()
    said = error(corpus, REPLICAS[name]().write(tmp_path / "other"))
    assert f"(named like {part.name})" in said
    assert said.endswith(f"This is a copy of {part.name}: give {part.__name__} as the corpus, or another folder.")


@pytest.mark.parametrize(
    ("name", "moved", "to", "message"),
    [
        ("esd", "0001/Neutral/0001_000001.wav", "0001/Angry/0001_000001.wav", "folder Angry, but number 1 is neutral"),
        ("urdu", "Angry/SF1_F1_A01.wav", "Sad/SF1_F1_A01.wav", "folder Sad, but A is angry"),
        ("turev_db", "Sound Source/Sad/1157_hl_eger.wav", "Sound Source/Calm/1157_hl_eger.wav", "but hl is sad"),
        ("ased", "01Neutral/n1-04-01-01-01.wav", "01Neutral/n3-04-01-01-01.wav", "n is neutral, which is number 1"),
        (
            "emov_db",
            "bea_Angry/anger_1-28_0011.wav",
            "bea_Neutral/anger_1-28_0011.wav",
            "folder Neutral, but the name says angry",
        ),
    ],
)
def test_labels_against_file_names_are_named(name: str, moved: str, to: str, message: str, published: Callable) -> None:
    corpus, root = published(name)
    (root / moved).rename(root / to)
    said = error(corpus, root)
    assert f"{corpus.name}: folder and name contradict each other: {to} (" in said and message in said
    assert said.endswith("Move them back, or get them again.")


def test_edited_labels_name_speaker_and_class(published: Callable) -> None:
    corpus, root = published("savee")
    (root / "AudioData/DC/a01.wav").rename(root / "AudioData/DC/h02.wav")
    said = error(corpus, root)
    assert "class angry: 3 utterances, expected 4; class happy: 5 utterances, expected 4" in said
    assert "speaker DC: labels were changed, 0 angry (expected 1), 2 happy (expected 1)" in said
    (root / "AudioData/JE/h01.wav").rename(root / "AudioData/JE/a02.wav")  # now every sum is right
    said = error(corpus, root)
    assert "class" not in said and "speaker JE: labels were changed, 2 angry (expected 1), 0 happy" in said


def test_labels_against_votes_are_noted(published: Callable) -> None:
    rows = [Utterance(f"u{k}", "a.wav", label="sad", votes={"sad": 3.0, "angry": 1.0}) for k in range(99)]
    assert contradicted(rows) == []
    edited = [*rows, replace(rows[0], id="edited", label="angry")]
    (said,) = contradicted(edited)
    assert said.startswith("The label of 1 of 100 utterances is not the class with most votes: edited (angry, but sad")
    acted = [replace(row, label="angry") if k % 2 else row for k, row in enumerate(edited)]
    assert contradicted(acted) == [], "labels that are not made from votes contradict nothing"
    tied = [*rows, replace(rows[0], id="tied", label="angry", votes={"sad": 2.0, "angry": 2.0})]
    assert contradicted(tied) == []


IEMOCAP_TURN = "[{start:.4f} - {end:.4f}]\t{turn}\t{code}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n"


@pytest.fixture
def iemocap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five sessions of one dialogue with a turn of each class by both speakers."""
    for session in range(1, 6):
        dialogue, lines = f"Ses0{session}F_impro01", []
        folder = tmp_path / "iemocap" / f"Session{session}"
        (folder / "dialog" / "EmoEvaluation").mkdir(parents=True)
        (folder / "sentences" / "wav" / dialogue).mkdir(parents=True)
        for number, code in enumerate(("ang", "hap", "neu", "sad") * 2):
            turn = f"{dialogue}_{'FM'[number // 4]}{number:03d}"
            lines.append(IEMOCAP_TURN.format(start=number, end=number + 1, turn=turn, code=code))
            write_tone(folder / "sentences" / "wav" / dialogue / f"{turn}.wav", 1 + number / 10)
        (folder / "dialog" / "EmoEvaluation" / f"{dialogue}.txt").write_text("\n".join(lines))
    speakers = {f"Ses0{s}_{sex}": 4 for s in range(1, 6) for sex in "FM"}
    counts = Expected(
        utterances=40,
        speakers=speakers,
        sessions={f"Session{s}": 8 for s in range(1, 6)},
        classes=dict.fromkeys(("angry", "happy", "neutral", "sad"), 10),
        cells={(speaker, label): 1 for speaker in speakers for label in ("angry", "happy", "neutral", "sad")},
        sampling_rates=(16000,),
    )
    monkeypatch.setattr(IEMOCAP, "expected", property(lambda self: counts))
    return tmp_path / "iemocap"


def test_a_missing_session_is_named(iemocap: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "IEMOCAP", str(iemocap), f"--output={iemocap}/m.parquet"]) == 0
    capfd.readouterr()
    (iemocap / "Session5").rename(iemocap.parent / "away")
    assert main(["prepare", "IEMOCAP", str(iemocap)]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "32 utterances in all, expected 40" in said
    assert "session Session5: 0 utterances, expected 8; speaker Ses05_F: 0 utterances, expected 4" in said
    assert "accept the copy with data.allow_incomplete=true" in said


def test_an_edited_evaluation_file_is_named(iemocap: Path) -> None:
    file = iemocap / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt"
    file.write_text(file.read_text().replace("Ses02F_impro01_M007\tsad", "Ses02F_impro01_M007\thap"))
    said = error(IEMOCAP(), iemocap)
    assert "speaker Ses02_M: labels were changed, 2 happy (expected 1), 0 sad (expected 1)" in said


def test_one_language_of_two_is_called_so(tmp_path: Path) -> None:
    rows = [Utterance(f"{k}", f"{k}.wav", speaker=f"00{11 + k // 1750}") for k in range(17500)]
    first = summarised(rows, ESD().expected)[0]
    assert first == (
        "17500 utterances in all, expected 35000 (17500 is one of its two languages: give language=en or zh)"
    )


@pytest.mark.parametrize("name", sorted(subclasses(Corpus)))  # type: ignore[type-abstract]
def test_published_facts_agree_with_each_other(name: str) -> None:
    if name in ("CAMEO", "FolderCorpus", "TableCorpus"):
        pytest.skip("describes other people's corpora")
    try:
        expected = subclasses(Corpus)[name]().expected  # type: ignore[type-abstract]
    except TypeError:
        pytest.skip("needs options")
    for counts in (expected.speakers, expected.sessions, expected.classes):
        assert not counts or name in ("IEMOCAP",) or sum(counts.values()) == expected.utterances
    by_speaker: Counter[str] = Counter()
    by_class: Counter[str] = Counter()
    for (speaker, label), count in expected.cells.items():
        by_speaker[speaker] += count
        by_class[label] += count
    if expected.cells:
        assert by_speaker == Counter(expected.speakers) and by_class == Counter(expected.classes)
    if expected.speaker_seconds:
        assert expected.speaker_seconds.keys() == expected.speakers.keys()
        assert sum(expected.speaker_seconds.values()) / 60 == pytest.approx(expected.minutes, rel=0.005)
    if expected.seconds and expected.minutes:
        mean = 60 * expected.minutes / (expected.utterances or 1)
        assert expected.seconds[0] < mean < expected.seconds[1]


def emodb_copy(root: Path, corpora_root: Path, keep: Callable[[str], bool] = lambda name: True) -> Path:
    """The real corpus, file by file a link."""
    (root / "wav").mkdir(parents=True)
    for file in (corpora_root / "EmoDB" / "wav").iterdir():
        if keep(file.name):
            os.symlink(file, root / "wav" / file.name)
    return root


def put(file: Path, wav: np.ndarray, rate: int) -> None:
    file.unlink()
    soundfile.write(file, wav, rate, subtype="PCM_16")


@pytest.mark.corpus
def test_real_emodb_is_what_is_published(corpora_root: Path) -> None:
    assert manifest_of(EmoDB(), corpora_root / "EmoDB").facts["deviations"] == []


@pytest.mark.corpus
def test_emodb_cut_to_two_seconds_is_named(corpora_root: Path, tmp_path: Path) -> None:
    root = emodb_copy(tmp_path / "copy", corpora_root)
    for file in (root / "wav").iterdir():
        wav, rate = soundfile.read(file)
        put(file, np.pad(wav, (0, max(0, 32000 - len(wav))))[:32000], rate)
    said = error(EmoDB(), root)
    assert "17.8 minutes of audio, expected 24.8 (cut" in said
    assert "535 of 535 utterances last exactly 2.00 s (cut or padded to it)" in said
    assert "the longest utterance lasts 2.00 s, expected 8.98 s" in said


@pytest.mark.corpus
def test_emodb_in_telephone_quality_is_named(corpora_root: Path, tmp_path: Path) -> None:
    root = emodb_copy(tmp_path / "copy", corpora_root)
    for file in (root / "wav").iterdir():
        wav, _ = soundfile.read(file)
        put(file, wav[::2], 8000)
    said = error(EmoDB(), root)
    assert "535 of 535 files are sampled at 8000 Hz, expected 16000 Hz (resampled). Get what" in said


@pytest.mark.corpus
def test_edited_names_of_emodb_name_speaker_and_class(corpora_root: Path, tmp_path: Path) -> None:
    root = emodb_copy(tmp_path / "copy", corpora_root)
    (root / "wav" / "03a01Fa.wav").rename(root / "wav" / "03a01Wz.wav")
    (root / "wav" / "08a01Wa.wav").rename(root / "wav" / "08a01Fz.wav")
    said = error(EmoDB(), root)
    assert "speaker 03: labels were changed, 15 angry (expected 14), 6 happy (expected 7); speaker 08: labels" in said


@pytest.mark.corpus
def test_emodb_and_cremad_in_one_folder_are_told_apart(corpora_root: Path, tmp_path: Path) -> None:
    root = emodb_copy(tmp_path / "copy", corpora_root)
    for file in (corpora_root / "CREMA-D" / "AudioWAV").iterdir():
        os.symlink(file, root / "wav" / file.name)
    assert "EmoDB: 1288 of 1823 audio files under" in (said := error(EmoDB(), root))
    assert "and 1283 more (named like CREMA-D). Expected 03a01Fa.wav" in said
    (root / "wav").rename(root / "AudioWAV")
    assert "CREMA-D: 535 of 1823 audio files under" in (said := error(CREMAD(), root))
    assert "and 530 more (named like EmoDB). Expected 1001_IEO_ANG_HI.wav" in said


@pytest.mark.corpus
def test_the_cremad_subset_is_called_what_it_is(corpora_root: Path) -> None:
    said = error(CREMAD(), corpora_root / "CREMA-D")
    assert "1288 utterances in all, expected 7442; 45 speakers have no utterance: 1003, 1005" in said
    assert "46 speakers have other counts than published: 1001 28 of 82" in said
    facts = manifest_of(CREMAD(), corpora_root / "CREMA-D", allow_incomplete=True).facts
    assert "1288 of 1288 files are sampled at 11025 Hz, expected 16000 Hz (resampled)" in facts["deviations"]
    assert not any("minutes" in sentence for sentence in facts["deviations"]), "a mean of 46 actors is that of all"


@pytest.mark.corpus
def test_counts_of_real_copies_are_their_cells(corpora_root: Path) -> None:
    rows = EmoDB().utterances(corpora_root / "EmoDB")
    assert Counter((row.speaker, row.label) for row in rows) == Counter(EmoDB().expected.cells)
    names = (corpora_root / "CREMA-D" / "SentenceFilenames.csv").read_text().split("\n")[1:]
    clips = [line.split(",")[1].strip('"') for line in names if line]
    every = Replica([f"AudioWAV/{clip}.wav" for clip in clips])
    assert len(every.audio) == CREMAD().expected.utterances
    cells = Counter((clip[:4], clip.split("_")[2]) for clip in clips)
    codes = {"ANG": "angry", "DIS": "disgusted", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
    assert {(actor, codes[code]): n for (actor, code), n in cells.items()} == dict(CREMAD().expected.cells)
    assert deviations([], Expected()) == []
