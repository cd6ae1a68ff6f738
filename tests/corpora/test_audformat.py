from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import notes_of
from generic_replicas import AUDFORMAT_HEADER, audformat

from ser_toolkit.corpora.audformat import Audformat
from ser_toolkit.corpora.base import Rating
from ser_toolkit.errors import CorpusError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return audformat(tmp_path / "db", sound=False)


def read(root: Path, **options):
    return Audformat(**options).utterances(root)


def edit(root: Path, file: str, *changes: tuple[str, str]) -> None:
    text = (root / file).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (root / file).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_gold_standard_is_read_with_what_other_tables_say(kind: str, tmp_path: Path) -> None:
    corpus = Audformat()
    listing = corpus.read(audformat(tmp_path / kind, kind, sound=False))
    rows = listing.rows
    assert listing.classes == ("anger", "boredom", "neutral")
    assert [(r.id, r.label, r.speaker, r.sex, r.sentence, r.transcript, r.fold) for r in rows] == [
        ("wav/4", "boredom", "9", None, "a01", "Der Lappen liegt", "test"),
        ("wav/5", None, "9", None, "b02", "Das will sie", "test"),
        ("wav/0", "anger", "3", "male", "a01", "Der Lappen liegt", "train"),
        ("wav/1", "boredom", "3", "male", "b02", "Das will sie", "train"),
        ("wav/2", "neutral", "8", "female", "a01", "Der Lappen liegt", "train"),
        ("wav/3", "anger", "8", "female", "b02", "Das will sie", "train"),
    ]
    assert {(r.language, r.start, r.end, r.votes) for r in rows} == {("de", None, None, None)}


def test_a_table_can_be_chosen(root: Path) -> None:
    assert [row.fold for row in read(root, table="emotion")] == [None] * 6
    assert len(read(root, table="emotion.categories.test.*")) == 2
    assert [row.fold for row in read(root, table="emotion.categories.*")] == ["test"] * 2 + ["train"] * 4
    with pytest.raises(CorpusError, match=r"no table 'emotions' with emotion. There are: emotion, emotion.categories"):
        read(root, table="emotions")
    edit(root, "db.yaml", ("test.gold_standard", "test.raw"), ("train.gold_standard", "train.raw"))
    with pytest.raises(
        CorpusError, match=r"several tables .*: emotion, emotion.categories.\*.raw, segments. Choose with table=NAME"
    ):
        read(root)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_segments_with_raters(kind: str, tmp_path: Path) -> None:
    corpus = Audformat(table="segments", mapping={"anger": "angry"})
    listing = corpus.read(audformat(tmp_path / kind, kind, sound=False))
    rows = listing.rows
    assert [(r.id, r.start, r.end) for r in rows] == [
        ("wav/0:0-0.05", None, 0.05),
        ("wav/0:0.05-", 0.05, None),
        ("wav/2", None, None),
    ]
    assert [(r.label, r.raw_label, r.votes) for r in rows] == [
        ("angry", None, {"angry": 2.0, "boredom": 1.0}),
        (None, None, {"angry": 1.0, "boredom": 1.0}),
        ("neutral", None, {"neutral": 1.0}),
    ]
    assert [r.arousal for r in rows] == [0.375, -0.5, None]
    assert rows[0].ratings == (
        Rating("a", ("angry",), arousal=0.5),
        Rating("b", ("angry",), arousal=0.25),
        Rating("c", ("boredom",)),
    )
    assert [rating.rater for rating in rows[2].ratings] == ["a"]
    assert [(r.speaker, r.sex) for r in rows] == [("3", "male"), ("3", "male"), ("8", "female")]
    assert listing.dimension_range == (-1.0, 1.0) and corpus.dimension_range is None


def test_raters_beside_a_gold_standard_are_votes(root: Path) -> None:
    edit(root, "db.yaml", ("      emotion.a: {scheme_id: emotion, rater_id: a}", "      emotion: {rater_id: gold}"))
    edit(root, "db.yaml", ("{rater_id: gold}", "{scheme_id: emotion, rater_id: gold}"))
    edit(root, "db.segments.csv", ("emotion.a", "emotion"))
    first = read(root, table="segments")[0]
    assert (first.label, first.raw_label, first.votes) == ("anger", "anger", {"anger": 1.0, "boredom": 1.0})


def test_speakers_as_labels_of_the_header(root: Path) -> None:
    """The older way: what is known of a speaker stands in the scheme."""
    facts = "labels: {3: {gender: female, age: 31}, 8: {gender: male}, 9: {gender: male, language: eng}}"
    edit(root, "db.yaml", ("labels: speaker", facts))
    edit(root, "db.yaml", ("misc_tables:\n  speaker:\n    levels: {speaker: int}\n    columns:\n", ""))
    edit(root, "db.yaml", ("      gender: {scheme_id: gender}\n", ""))
    rows = read(root, table="emotion")
    assert [row.sex for row in rows] == ["female", "female", "male", "male", "male", "male"]
    assert [row.language for row in rows] == ["de"] * 4 + ["en"] * 2


def test_columns_can_be_named(root: Path) -> None:
    edit(root, "db.yaml", ("      speaker: {scheme_id: speaker}", "      who: {}"))
    edit(root, "db.files.csv", ("speaker", "who"))
    with pytest.raises(CorpusError, match=r"no column or scheme called speaker. Its tables: emotion \(emotion\)"):
        read(root)
    assert {row.speaker for row in read(root, speaker="who")} == {"3", "8", "9"}
    assert {row.speaker for row in read(root, unknown_speakers=True)} == {None}
    with pytest.raises(CorpusError, match=r"has a column 'whom' \(for speaker\). Did you mean who"):
        read(root, speaker="whom")
    with pytest.raises(CorpusError, match=r"no column 'mood'. Its tables: .*files \(who, transcription\)"):
        read(root, emotion="mood")
    assert {row.label for row in read(root, emotion="transcription", speaker="who")} == {"a01", "b02"}


def test_one_table_with_dimensions_alone(root: Path) -> None:
    header = AUDFORMAT_HEADER[: AUDFORMAT_HEADER.index("tables:")]
    tables = (
        "tables:\n  all:\n    type: filewise\n    columns: {speaker: , activation: {scheme_id: arousal}, valence: }\n"
    )
    (root / "db.yaml").write_text(header + tables, encoding="utf-8")
    (root / "db.all.csv").write_text("file,speaker,activation,valence\nwav/0.wav,3,0.5,-0.25\nwav/1.wav,3,,\n")
    rows = read(root)
    assert [(row.arousal, row.valence, row.dominance, row.label) for row in rows] == [
        (0.5, -0.25, None, None),
        (None, None, None, None),
    ]
    with pytest.raises(CorpusError, match=r"all.csv, row 1 has valence outside dimension_range \[0, 0.4\]"):
        read(root, dimension_range=(0.0, 0.4))


def test_bounds_that_differ_must_be_told(root: Path) -> None:
    edit(root, "db.yaml", ("  confidence:", "  valence: {dtype: float, minimum: 1, maximum: 7}\n  confidence:"))
    edit(root, "db.yaml", ("arousal.b: {scheme_id: arousal", "arousal.b: {scheme_id: valence"))
    with pytest.raises(CorpusError, match=r"different bounds \(-1 to 1, 1 to 7\). Give dimension_range"):
        read(root, table="segments")
    corpus = Audformat(table="segments", dimension_range=(-1.0, 7.0))
    listing = corpus.read(root)
    assert listing.rows[0].valence == 0.25
    assert listing.dimension_range == (-1.0, 7.0)


GOLD = "db.emotion.categories.train.gold_standard.csv"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (GOLD, ("0.wav,anger", "0.wav,fury"), r"train.gold_standard.csv, row 1 has the label 'fury', which its scheme"),
        (GOLD, ("wav/1.wav", "wav/gone.wav"), r"row 2 names the recording wav/gone.wav, which does not exist"),
        (GOLD, ("wav/1.wav", "wav/0.wav"), r"row 2 is the utterance wav/0 again"),
        (GOLD, ("wav/1.wav", "../1.wav"), r"row 2 names the file '../1.wav'"),
        (GOLD, ("wav/1.wav", "/etc/1.wav"), r"row 2 names the file '/etc/1.wav'"),
        (GOLD, ("wav/1.wav", ""), r"row 2 names no recording"),
        (GOLD, ("file,emotion,", "file,feeling,"), r"has no column emotion, which db.yaml promises"),
        ("db.files.csv", ("wav/1.wav,3", "wav/1.wav,"), r"row 2 has no speaker"),
        ("db.yaml", ("tables:", "tabels:"), r"names no tables"),
        ("db.yaml", ("schemes:", "schemes: ["), r"db.yaml cannot be read"),
        ("db.yaml", ("minimum: -1", "minimum: low"), r"db.yaml is not a header of audformat"),
    ],
)
def test_wrong_databases_are_named(root: Path, file: str, change: tuple[str, str], message: str) -> None:
    edit(root, file, change)
    with pytest.raises(CorpusError, match=message) as error:
        read(root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("0 days 00:00:00.050000,,", "early,,"), "row 2 has the start 'early'"),
        (("0 days 00:00:00.050000,,", "0 days 00:00:00.5,0 days 00:00:00.25,"), "row 2 has start 0.5 s and end 0.25 s"),
        (("0.5,0.25", "0.5,high"), "row 1: arousal.b holds 'high'"),
        (("0.5,0.25", "0.5,2.5"), "row 1 has arousal outside dimension_range"),
    ],
)
def test_wrong_segments_are_named(root: Path, change: tuple[str, str], message: str) -> None:
    edit(root, "db.segments.csv", change)
    with pytest.raises(CorpusError, match=message):
        read(root, table="segments")


def test_pickled_tables_are_never_opened(root: Path) -> None:
    (root / "db.files.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert len(read(root)) == 6, "a table beside its pickle is read"
    (root / "db.files.csv").unlink()
    with pytest.raises(CorpusError, match=r"the table files is only there as a pickle.*storage_format='parquet'"):
        read(root)
    (root / "db.files.pkl").unlink()
    with pytest.raises(CorpusError, match=r"has no db.files.csv or .parquet"):
        read(root)


def test_a_wrong_folder_is_named(root: Path) -> None:
    with pytest.raises(CorpusError, match=rf"no db.yaml. It lies one level down: give data.root={root}"):
        read(root.parent)
    with pytest.raises(CorpusError, match="no folder at"):
        read(root / "gone")


def test_times_are_read_to_the_microsecond_over_days(root: Path) -> None:
    edit(root, "db.segments.csv", ("0 days 00:00:00.050000,,", "1 days 01:02:03.000004,,"))
    assert read(root, table="segments")[1].start == 25 * 3600 + 2 * 60 + 3.000004


def test_times_may_be_whole_days(root: Path) -> None:
    """So does pandas write a column of zeros: every segment from the start of its file."""
    edit(root, "db.segments.csv", ("0 days 00:00:00.050000,,", "0 days,0 days 00:00:00.1,"))
    row = read(root, table="segments")[1]
    assert (row.start, row.end) == (None, 0.1)


def test_a_word_that_is_mapped_to_nothing_stays_a_vote(root: Path) -> None:
    """Two of three raters heard anger: without that class, the utterance is not what the third one heard."""
    corpus = Audformat(table="segments", mapping={"anger": None})
    listing = corpus.read(root)
    first, second, third = listing.rows
    assert (first.label, first.votes) == (None, {"(anger)": 2.0, "boredom": 1.0})
    assert (second.label, third.label) == (None, "neutral")
    assert listing.classes == ("neutral",)
    assert [rating.labels for rating in first.ratings] == [("(anger)",), ("(anger)",), ("boredom",)]


def test_a_mapped_word_that_nobody_said_is_noted(root: Path) -> None:
    corpus = Audformat(table="segments", mapping={"anger": "angry", "boredem": "bored"})
    assert "mapping names boredem, which no row has. Did you mean boredom?" in " ".join(notes_of(corpus, root))
    heard = Audformat(table="segments", mapping={"anger": None})  # by raters alone
    assert not any("mapping" in note for note in notes_of(heard, root))


def test_raters_outside_the_classes_are_named(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"has the label 'anger', .*map it: mapping=\{anger: CLASS\}"):
        Audformat(table="segments", classes=["boredom", "neutral"]).utterances(root)
