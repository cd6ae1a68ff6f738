"""The manifest on a small corpus of real files, on damaged copies, and on EmoDB itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import soundfile
from seen_progress import SeenProgress

from ser_toolkit.corpora.base import Corpus, Expected, Listing, Rating, Utterance
from ser_toolkit.data.audio import index as audio_index
from ser_toolkit.data.manifest import COLUMNS, Manifest
from ser_toolkit.data.prepare import manifest_of, table_from_rows
from ser_toolkit.errors import CorpusError, ManifestError

SECONDS = {"a": 0.5, "b": 0.25, "long": 2.0}


class Tiny(Corpus):
    """Three files, four utterances, two of them in one file."""

    name = "Tiny"
    licence = "free"
    citation = "nobody, 2026"
    dimension_range: ClassVar[tuple[float, float]] = (1.0, 5.0)

    def __init__(self, expected: Expected | None = None, rows: list[Utterance] | None = None) -> None:
        self._expected = expected or Expected()
        self._rows = rows

    @property
    def classes(self) -> tuple[str, ...]:
        return ("neutral", "angry")

    @property
    def expected(self) -> Expected:
        return self._expected

    def read(self, root: Path) -> Listing:
        return Listing(self._made() if self._rows is None else self._rows, lambda rows: ["made up"])

    def _made(self) -> list[Utterance]:
        votes = {"neutral": 2, "angry": 1.0}
        rating = Rating("r1", ("angry",), valence=2.0)
        return [
            Utterance("u1", "x/a.wav", speaker="s1", label="neutral", votes=votes, ratings=(rating,), valence=2.5),
            Utterance("u2", "x/b.wav", speaker="s1", label="angry", transcript="Grüße"),
            Utterance("u3", "long.wav", start=0.5, end=1.25, speaker="s2", label="neutral"),
            Utterance("u4", "long.wav", start=1.25, speaker="s2"),
        ]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "copy")


def make_root(root: Path) -> Path:
    (root / "x").mkdir(parents=True)
    for seed, (name, path) in enumerate({"a": "x/a.wav", "b": "x/b.wav", "long": "long.wav"}.items()):
        wav = np.random.default_rng(seed).uniform(-0.5, 0.5, round(8000 * SECONDS[name]))
        soundfile.write(root / path, wav, 8000)
    return root


def rows_with(index: int, **changes: object) -> pd.DataFrame:
    rows = Tiny().utterances(Path())
    fields = {**vars(rows[index]), **changes}
    rows[index] = Utterance(**fields)
    return table_from_rows(rows).assign(duration=[0.5, 0.25, 0.75, 0.75])


def test_manifest_of_a_corpus(root: Path) -> None:
    manifest = manifest_of(Tiny(), root)
    assert tuple(manifest.table.columns) == COLUMNS and len(manifest) == 4
    assert manifest.table["duration"].tolist() == [0.5, 0.25, 0.75, 0.75]
    hashes = manifest.table["audio_hash"]
    assert hashes.nunique() == 4 and hashes[2][:16] == hashes[3][:16] and len(hashes[0]) == 16
    assert manifest.classes == ("neutral", "angry") and manifest.corpus == "Tiny"
    assert manifest.facts["notes"] == ["made up"] and manifest.facts["deviations"] == []
    assert manifest.votes(0) == {"angry": 1.0, "neutral": 2.0} and manifest.votes(1) is None
    assert manifest.ratings(0) == (Rating("r1", ("angry",), valence=2.0),) and manifest.ratings(1) == ()
    assert manifest.audio_path(1) == root / "x" / "b.wav"
    assert manifest.table["label"].iat[3] is None and manifest.table["sex"].isna().all()


def test_hash_depends_on_content_alone(root: Path, tmp_path: Path) -> None:
    manifest = manifest_of(Tiny(), root)
    elsewhere = manifest_of(Tiny(rows=Tiny().utterances(root)[::-1]), make_root(tmp_path / "other" / "place"))
    assert manifest.content_hash == elsewhere.content_hash and len(manifest.content_hash) == 16
    different = {manifest.content_hash}
    changes = {
        "label": "angry",
        "speaker": "s9",
        "valence": 1.0,
        "votes": '{"angry": 1.0}',
        "audio_hash": "0",
        "fold": "1",
    }
    for column, value in changes.items():
        table = manifest.table.copy()
        table.loc[0, column] = value
        different.add(Manifest(table, "Tiny", manifest.classes, root).content_hash)
    different.add(Manifest(manifest.table, "Tiny", ("angry", "neutral"), root).content_hash)
    different.add(Manifest(manifest.table[:3], "Tiny", manifest.classes, root).content_hash)
    assert len(different) == 3 + len(changes)


def test_hash_is_the_same_on_every_machine() -> None:
    """Recorded once: a change breaks every stored result, and must be meant."""
    manifest = Manifest(rows_with(0).assign(audio_hash="00ff"), "Tiny", ("neutral", "angry"), Path("/anywhere"))
    assert manifest.content_hash == "f455311f4854bf27"


def test_written_manifests_read_back(root: Path, tmp_path: Path) -> None:
    manifest = manifest_of(Tiny(), root)
    path = tmp_path / "new" / "manifest.parquet"
    manifest.write(path)
    again = Manifest.read(path)
    pd.testing.assert_frame_equal(again.table, manifest.table)
    assert again.table["label"].iat[3] is None
    assert (again.corpus, again.classes, again.root, again.facts) == ("Tiny", manifest.classes, root, manifest.facts)
    assert [p.name for p in path.parent.iterdir()] == ["manifest.parquet"]  # nothing temporary is left
    stored = pd.read_parquet(path)
    assert stored["transcript"].iloc[1] == "Grüße"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ManifestError, match="damaged"):
        Manifest.read(path)
    stored.to_parquet(path)
    with pytest.raises(ManifestError, match="not a manifest"):
        Manifest.read(path)
    with pytest.raises(ManifestError, match="not found"):
        Manifest.read(tmp_path / "nowhere.parquet")


def test_changed_rows_are_noticed(root: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    path = tmp_path / "manifest.parquet"
    manifest_of(Tiny(), root).write(path)
    stored = pyarrow.parquet.read_table(path)
    position = stored.schema.get_field_index("label")
    changed = stored.set_column(position, stored.schema.field("label"), [["angry"] * 4])
    pyarrow.parquet.write_table(changed.replace_schema_metadata(stored.schema.metadata), path)
    with pytest.raises(ManifestError, match="changed after writing"):
        Manifest.read(path)


def test_deviations_are_refused_or_kept(root: Path) -> None:
    expected = Expected(utterances=5, speakers={"s1": 2, "s2": 2, **{f"x{k}": 1 for k in range(7)}}, minutes=0.05)
    with pytest.raises(
        CorpusError,
        match=r"4 utterances in all, expected 5; 7 speakers have no .*: x0, .*x4 and 2 more.*allow_incomplete=true",
    ):
        manifest_of(Tiny(expected), root)
    facts = manifest_of(Tiny(expected), root, allow_incomplete=True).facts
    assert len(facts["deviations"]) == 2
    longer = Tiny(Expected(utterances=5, minutes=0.1))  # four of five hold less than nine tenths of four fifths
    facts = manifest_of(longer, root, allow_incomplete=True).facts
    assert facts["deviations"][1].startswith("0.0 minutes of audio, expected 0.1")


@pytest.mark.parametrize(("minutes", "fits"), [(2.25, True), (2.29, True), (2.21, True), (2.31, False), (2.19, False)])
def test_minutes_must_be_within_two_percent(root: Path, minutes: float, fits: bool) -> None:
    corpus = Tiny(Expected(minutes=minutes / 60))
    if fits:
        manifest_of(corpus, root)
    else:
        with pytest.raises(CorpusError, match="minutes of audio"):
            manifest_of(corpus, root)


def test_audio_that_cannot_be_used_is_named(root: Path) -> None:
    (root / "x" / "a.wav").unlink()
    content = (root / "x" / "b.wav").read_bytes()
    (root / "x" / "b.wav").write_bytes(content[:1000])
    with pytest.raises(CorpusError, match=r"a\.wav: not found.*b\.wav: truncated"):
        manifest_of(Tiny(), root)
    manifest = manifest_of(Tiny(), root, allow_incomplete=True)
    assert manifest.table["id"].tolist() == ["u3", "u4"] and len(manifest.facts["deviations"]) == 2


def test_an_empty_corpus_is_refused(root: Path) -> None:
    with pytest.raises(CorpusError, match="no utterances"):
        manifest_of(Tiny(rows=[]), root)


def test_cache_spares_reading_until_a_file_changes(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = manifest_of(Tiny(), root)
    read: list[str] = []
    probe = audio_index.probe
    monkeypatch.setattr(audio_index, "probe", lambda path: read.append(path.name) or probe(path))
    assert manifest_of(Tiny(), root).content_hash == first.content_hash and read == []
    soundfile.write(root / "x" / "a.wav", np.random.default_rng(9).uniform(-0.5, 0.5, 4001), 8000)
    assert manifest_of(Tiny(), root).content_hash != first.content_hash and read == ["a.wav"]
    (entry,) = cache.glob("*.parquet")
    entry.write_bytes(b"damaged")
    read.clear()
    manifest_of(Tiny(), root)
    assert len(read) == 3


def test_a_cache_that_cannot_be_written_is_ignored(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "file"))
    assert len(manifest_of(Tiny(), root)) == 4


def test_progress_counts_files(root: Path) -> None:
    seen = SeenProgress()
    manifest_of(Tiny(), root, progress=seen)
    assert seen.steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("index", "changes", "message"),
    [
        (1, {"id": "u1"}, "id is not unique: utterance u1, u1"),
        (1, {"id": ""}, "no id"),
        (2, {"path": None}, "no path: utterance u3"),
        (2, {"start": -1.0}, r"start is negative: utterance u3 \(-1.0\)"),
        (2, {"end": 0.5}, r"end is not after start: utterance u3 \(0.5\)"),
        (2, {"end": 1.4}, "end is behind the end of the file: utterance u3"),
        (0, {"label": "Angry"}, r"label is none of neutral, angry: utterance u1 \(Angry\)"),
        (0, {"sex": "f"}, "sex is not female or male"),
        (0, {"arousal": 5.5}, r"arousal is not within 1 to 5: utterance u1 \(5.5\)"),
        (0, {"votes": {"neutral": -1}}, "votes are not numbers"),
        (0, {"votes": {"neutral": float("nan")}}, "votes are not numbers"),
        (0, {"votes": {"Neutral": 1}}, "votes go to Neutral, none of which is a class"),
    ],
)
def test_rows_that_make_no_sense_are_named(index: int, changes: dict[str, object], message: str) -> None:
    manifest = Manifest(rows_with(index, **changes), "Tiny", ("neutral", "angry"), Path(), {"dimension_range": (1, 5)})
    with pytest.raises(ManifestError, match=message):
        manifest.validate()


def test_sensible_rows_pass() -> None:
    facts = {"dimension_range": (1, 5)}
    Manifest(rows_with(0, votes={"neutral": 1, "surprised": 2}), "Tiny", ("neutral", "angry"), Path(), facts).validate()
    # corpora round the end of a segment: 10 ms behind the file are no contradiction
    Manifest(rows_with(2, end=1.26), "Tiny", ("neutral", "angry"), Path(), facts).validate()


def test_segments_behind_their_file_are_refused(root: Path) -> None:
    rows = [Utterance("u", "long.wav", start=start, end=end) for start, end in [(2.5, 3.0)]]
    with pytest.raises(ManifestError, match="begins behind the end of its file"):
        manifest_of(Tiny(rows=rows), root)


def test_tables_from_elsewhere_are_brought_into_form() -> None:
    table = pd.DataFrame({"id": ["a", "b"], "path": ["a.wav", "b.wav"], "label": ["x", np.nan], "valence": ["1", None]})
    manifest = Manifest(table.set_index(pd.Index([7, 3])), "mine", ("x",), Path())
    assert tuple(manifest.table.columns) == COLUMNS and manifest.table.index.tolist() == [0, 1]
    assert manifest.table["label"].tolist() == ["x", None] and manifest.table["valence"].iat[0] == 1.0
    with pytest.raises(ManifestError, match=r"'speeker' is unknown.*Did you mean speaker"):
        Manifest(table.assign(speeker="x"), "mine", ("x",), Path())
    with pytest.raises(ManifestError, match="column valence: expected numbers"):
        Manifest(table.assign(valence="high"), "mine", ("x",), Path())
    with pytest.raises(ManifestError, match="column speaker: expected text, found integer"):
        Manifest(table.assign(speaker=3), "mine", ("x",), Path())


def test_subset_and_summary(root: Path) -> None:
    manifest = manifest_of(Tiny(), root)
    part = manifest.subset(["u3", "u1"])
    assert part.table["id"].tolist() == ["u3", "u1"] and part.table.index.tolist() == [0, 1]
    assert part.facts == manifest.facts and part.content_hash != manifest.content_hash
    with pytest.raises(ManifestError, match=r"no utterance u9 \(1 unknown\)"):
        manifest.subset(["u1", "u9"])
    counts = manifest.summary()
    assert counts.columns.tolist() == ["neutral", "angry", "(no label)", "all", "minutes"]
    assert counts.loc["s1"].tolist() == [1, 1, 0, 2, 0.75 / 60] and counts.loc["all", "all"] == 4
    assert counts.loc["all", "minutes"] == pytest.approx(2.25 / 60)


def test_a_hundred_thousand_rows_take_seconds() -> None:
    rows = 100_000
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "id": [f"u{k}" for k in range(rows)],
            "path": "x.wav",
            "duration": 1.0,
            "audio_hash": [f"{k:016x}" for k in range(rows)],
            "label": rng.choice(["neutral", "angry"], rows),
            "votes": [f'{{"angry": {k}.0}}' for k in range(rows)],
            "valence": rng.uniform(1, 5, rows),
        }
    )
    manifest = Manifest(table, "big", ("neutral", "angry"), Path(), {"dimension_range": [1, 5]})
    began = time.process_time()
    manifest.validate()
    assert len(manifest.content_hash) == 16
    assert time.process_time() - began < 5


@pytest.mark.corpus
def test_emodb_is_complete(corpora_root: Path) -> None:
    from ser_toolkit.corpora.emodb import EmoDB
    from ser_toolkit.protocols.audit import audit_sentences, confounding
    from ser_toolkit.protocols.splits import LeaveOneSpeakerOut

    manifest = manifest_of(EmoDB(), corpora_root / "EmoDB")
    assert len(manifest) == 535 and manifest.facts["deviations"] == []
    assert manifest.table["duration"].sum() / 60 == pytest.approx(24.8, abs=0.05)
    assert manifest.table["audio_hash"].is_unique
    counts = manifest.summary().loc["all"]
    assert sorted(counts[list(manifest.classes)]) == [46, 62, 69, 71, 79, 81, 127]
    folds = LeaveOneSpeakerOut().folds(manifest.table)
    said = audit_sentences(manifest.table, folds)
    assert len(folds) == 10 and "speakers: none shared" in said and "identical audio: none" in said
    assert any(line.startswith("classes without a test utterance") and "fold 08" in line for line in said)
    assert confounding(manifest.table) < 0.1
