"""RAVDESS against the documented names and counts: all 2452 names, and a small replica that is trained on."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_toolkit.cli.train import main
from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.ravdess import RAVDESS
from ser_toolkit.data.prepare import table_from_rows
from ser_toolkit.errors import CorpusError, RecipeError
from ser_toolkit.protocols.splits import OfficialFolds

# Typed from the corpus's documentation, independently of the parser: class, spoken files, sung files.
COUNTS = """
neutral 96 92
calm 192 184
happy 192 184
sad 192 184
angry 192 184
fearful 192 184
disgusted 192 0
surprised 192 0
"""
SPOKEN = {name: int(count) for name, count, _ in map(str.split, COUNTS.strip().split("\n"))}
SUNG = {name: int(count) for name, _, count in map(str.split, COUNTS.strip().split("\n")) if int(count)}
SPEECH_ZIP, SONG_ZIP = "Audio_Speech_Actors_01-24", "Audio_Song_Actors_01-24"


def documented_names(channel: str) -> list[str]:
    """All names that the documentation describes; channel is 01 (speech) or 02 (song)."""
    emotions = range(1, 9) if channel == "01" else range(1, 7)
    return [
        f"03-{channel}-{emotion:02d}-{intensity}-{statement}-{repetition}-{actor:02d}.wav"
        for actor in range(1, 25)
        for emotion, intensity, statement, repetition in product(emotions, *[("01", "02")] * 3)
        if not (emotion == 1 and intensity == "02") and not (channel == "02" and actor == 18)
    ]


def place(root: Path, names: list[str]) -> Path:
    for name in names:
        folder = root / f"Actor_{name[-6:-4]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return root


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives unpacked into the same folders."""
    return place(tmp_path_factory.mktemp("ravdess"), documented_names("01") + documented_names("02"))


@pytest.mark.parametrize(
    ("channel", "total", "classes"),
    [("speech", 1440, SPOKEN), ("song", 1012, SUNG), ("both", 2452, dict(Counter(SPOKEN) + Counter(SUNG)))],
)
def test_a_complete_copy_has_the_published_counts(complete: Path, channel: str, total: int, classes: dict) -> None:
    corpus = RAVDESS(channel)  # type: ignore[arg-type]
    rows = corpus.utterances(complete)
    assert len(rows) == total == corpus.expected.utterances
    assert Counter(row.label for row in rows) == classes == corpus.expected.classes
    assert corpus.classes == tuple(sorted(classes))
    assert deviations(rows, corpus.expected) == []


def test_counts_by_actor() -> None:
    assert RAVDESS().expected.speakers == {f"{n:02d}": 60 for n in range(1, 25)}
    assert RAVDESS("song").expected.speakers == {f"{n:02d}": 44 for n in range(1, 25) if n != 18}
    assert RAVDESS("both").expected.speakers == {f"{n:02d}": 60 if n == 18 else 104 for n in range(1, 25)}


def test_calm_is_kept_counted_as_neutral_or_dropped(complete: Path) -> None:
    merged, dropped = RAVDESS("both", calm="neutral"), RAVDESS("both", calm="drop")
    assert (len(merged.classes), len(dropped.classes)) == (7, 7)
    rows = merged.utterances(complete)
    assert Counter(row.label for row in rows)["neutral"] == 96 + 92 + 192 + 184
    assert sum(row.raw_label.startswith("02-") for row in rows) == 192 + 184  # the corpus's own code stays
    assert len(dropped.utterances(complete)) == 2452 - 192 - 184
    for corpus in (merged, dropped):
        assert deviations(corpus.utterances(complete), corpus.expected) == []


# Typed by hand from the documented meaning of the seven fields.
ROWS = [
    ("03-01-06-01-02-01-12", "12", "female", "fearful", "06-01", "02", "Dogs are sitting by the door", "2"),
    ("03-01-01-01-01-02-01", "01", "male", "neutral", "01-01", "01", "Kids are talking by the door", "1"),
    ("03-01-08-02-01-01-23", "23", "male", "surprised", "08-02", "01", "Kids are talking by the door", "3"),
    ("03-02-02-02-02-02-24", "24", "female", "calm", "02-02", "02", "Dogs are sitting by the door", "4"),
    ("03-02-05-01-01-01-16", "16", "female", "angry", "05-01", "01", "Kids are talking by the door", "5"),
    ("03-01-07-01-01-01-17", "17", "male", "disgusted", "07-01", "01", "Kids are talking by the door", "6"),
]


def test_rows_carry_what_the_name_says(complete: Path) -> None:
    rows = {row.id: row for row in RAVDESS("both").utterances(complete)}
    for name, actor, sex, label, code, sentence, words, fold in ROWS:
        row = rows[name]
        assert (row.speaker, row.sex, row.label, row.raw_label) == (actor, sex, label, code)
        assert (row.sentence, row.transcript, row.fold) == (sentence, words, fold)
        assert (row.path, row.language, row.style) == (f"Actor_{actor}/{name}.wav", "en", "acted")
    assert list(rows) == sorted(rows)


def test_the_archives_may_lie_side_by_side_or_twice(tmp_path: Path) -> None:
    spoken, sung = "03-01-03-01-01-01-02.wav", "03-02-03-01-01-01-02.wav"
    place(tmp_path / SPEECH_ZIP, [spoken])
    place(tmp_path / SONG_ZIP, [sung])
    paths = [row.path for row in RAVDESS("both").utterances(tmp_path)]
    assert paths == [f"{SPEECH_ZIP}/Actor_02/{spoken}", f"{SONG_ZIP}/Actor_02/{sung}"]
    assert [row.id for row in RAVDESS("song").utterances(tmp_path)] == ["03-02-03-01-01-01-02"]
    place(tmp_path, [spoken])  # some copies hold everything twice
    assert RAVDESS().utterances(tmp_path)[0].path == f"Actor_02/{spoken}"


@pytest.mark.parametrize(
    ("folds", "expected"),
    [
        ("emobox", {"1": 240, "2": 240, "3": 240, "4": 240, "5": 240, "6": 240}),
        ("pepino2021", {"train": 1200, "dev": 120, "test": 120}),
        ("peft_ser", {"1": 300, "2": 300, "3": 300, "4": 300, "5": 240}),
    ],
)
def test_published_folds(complete: Path, folds: str, expected: dict) -> None:
    rows = RAVDESS(folds=folds).utterances(complete)  # type: ignore[arg-type]
    assert Counter(row.fold for row in rows) == expected
    tested = OfficialFolds().folds(table_from_rows(rows))
    assert len(tested) == (1 if folds == "pepino2021" else len(expected))


def test_the_actors_of_the_published_folds(complete: Path) -> None:
    def actors(folds: str, fold: str) -> list[int]:
        rows = RAVDESS(folds=folds).utterances(complete)  # type: ignore[arg-type]
        return sorted({int(row.speaker or 0) for row in rows if row.fold == fold})

    published = [[1, 11, 20, 21], [4, 10, 12, 14], [8, 9, 19, 23], [3, 5, 7, 24], [2, 15, 16, 18], [6, 13, 17, 22]]
    assert [actors("emobox", str(k)) for k in range(1, 7)] == published
    assert (actors("pepino2021", "dev"), actors("pepino2021", "test")) == ([21, 22], [23, 24])
    assert actors("peft_ser", "5") == [21, 22, 23, 24]


@pytest.mark.parametrize(
    "name",
    [
        "03-01-09-01-01-01-01",  # no ninth emotion
        "03-01-01-02-01-01-01",  # nobody is strongly neutral
        "03-02-08-01-01-01-01",  # nobody sang surprised
        "03-02-07-01-01-01-01",
        "02-01-06-01-02-01-01",  # video without audio
        "03-01-06-01-02-03-01",
        "03-01-06-01-02-01",
        "03-01-06-01-02-01-25",
    ],
)
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "Actor_01").mkdir()
    (tmp_path / "Actor_01" / f"{name}.wav").touch()
    with pytest.raises(CorpusError, match=rf"not named like a recording of it: Actor_01/{name}\.wav.*Move what"):
        RAVDESS().utterances(tmp_path)


def test_a_file_in_another_actors_folder_is_refused(tmp_path: Path) -> None:
    place(tmp_path, ["03-01-03-01-01-01-02.wav"])
    (tmp_path / "Actor_02").rename(tmp_path / "Actor_03")
    with pytest.raises(
        CorpusError, match=r"contradict each other: Actor_03/03-01-03-01-01-01-02.wav \(it is by actor 02\)"
    ):
        RAVDESS().utterances(tmp_path)


def test_missing_files_are_counted_by_actor_and_class(complete: Path) -> None:
    rows = [row for row in RAVDESS().utterances(complete) if row.id != "03-01-08-01-01-01-07" and row.speaker != "09"]
    assert deviations(rows, RAVDESS().expected) == [
        "speaker 07: 59 utterances, expected 60",
        "speaker 09: 0 utterances, expected 60",
        *(
            f"class {name}: {SPOKEN[name] - (4 if name == 'neutral' else 8) - (name == 'surprised')} utterances, "
            f"expected {SPOKEN[name]}"
            for name in sorted(SPOKEN)
        ),
        "1379 utterances in all, expected 1440",
    ]


def test_wrong_folders_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(CorpusError, match=r"no folder Actor_01 .*found: elsewhere.*Unpack Audio_Speech_Actors_01-24"):
        RAVDESS().utterances(tmp_path)
    place(tmp_path / "a" / "b", ["03-01-03-01-01-01-02.wav"])
    with pytest.raises(CorpusError, match=r"They lie deeper: give data\.root=.*/a\.$"):
        RAVDESS().utterances(tmp_path)
    with pytest.raises(CorpusError, match=r"one actor's folder: give data\.root=.*/b\."):
        RAVDESS().utterances(tmp_path / "a" / "b" / "Actor_02")
    with pytest.raises(CorpusError, match=r"none of the 1 WAV files .* is song\..*data\.corpus\.channel"):
        RAVDESS("song").utterances(tmp_path / "a" / "b")
    with pytest.raises(CorpusError, match="no folder at"):
        RAVDESS().utterances(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel": "sung"}, "Did you mean song"),
        ({"calm": "merge"}, "drop, keep, neutral"),
        ({"folds": "x"}, "emobox"),
    ],
)
def test_unknown_options_name_the_known_ones(options: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        RAVDESS(**options)


def test_a_small_replica_is_prepared_audited_and_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """48 kHz, one file in stereo, as in copies that are passed on."""
    rng, time = np.random.default_rng(0), np.arange(9600) / 48000
    names = [name for name in documented_names("01") if name[9:17] == "01-01-01"]
    assert len(names) == 8 * 24
    place(tmp_path / "audio", names)
    for name in names:
        tone = 0.3 * np.sin(2 * np.pi * 150 * int(name[6:8]) * time) + 0.01 * rng.standard_normal(len(time))
        stereo = np.stack([tone, tone], axis=1) if name == names[5] else tone
        soundfile.write(tmp_path / "audio" / f"Actor_{name[-6:-4]}" / name, stereo, 48000, subtype="PCM_16")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "ravdess" / "_ravdess.yaml"
    (tmp_path / "tones.yaml").write_text(
        f"# Spectral and a linear head.\n_base: [{recipe}]\n"
        "data: {root: audio}\n"
        "model:\n  upstream: {class_path: Spectral, init_args: {num_mels: 8, num_mfcc: 8}}\n"
        "  layer_mix: SingleLayer\n  pooling: MeanPooling\n  head: LinearHead\n  objective: CrossEntropy\n"
        "  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}\n"
        "trainer: {max_epochs: 1}\nbaselines: [majority]\n"
    )
    assert main(["recipe=tones.yaml", "fold=2"]) == 2
    assert "24 speakers have other counts than published: 01 8 of 60, 02 8 of 60" in capfd.readouterr().err
    assert main(["recipe=tones.yaml", "fold=2", "data.allow_incomplete=true"]) == 0
    said = capfd.readouterr().out
    assert "RAVDESS, 192 utterances, 24 speakers" in said
    assert "audit: speakers: none shared" in said
    assert "1 of 6 folds" in said
    (report,) = tmp_path.glob("runs/tones/*/report.md")
    text = report.read_text(encoding="utf-8")
    assert "CC BY-NC-SA 4.0" in text
    assert "Incomplete copy of the corpus was allowed" in text
