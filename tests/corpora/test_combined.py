"""Several corpora as one: names that stay unique, one scale of ratings, every copy checked by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_corpus import Tones

from ser_toolkit.corpora.base import Corpus, Expected, Listing, Rating
from ser_toolkit.corpora.combined import Combined
from ser_toolkit.corpora.synthetic import Synthetic
from ser_toolkit.data.labels import Intended, Soft
from ser_toolkit.data.manifest import COLUMNS, Manifest
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.errors import CorpusError, RecipeError


class German(Tones):
    """Rated from 1 to 5, by votes."""

    name = "German"
    dimension_range = (1.0, 5.0)

    def read(self, root: Path) -> Listing:
        rating = Rating("r1", ("sad",), valence=2.0)
        first = replace(self._rows[0], votes={"sad": 3, "angry": 1}, ratings=(rating,), valence=2.0, session="1")
        return Listing([replace(row, language="de") for row in (first, *self._rows[1:])])


class Other(Tones):
    """The same names of files and speakers; knows no range, and gives one count."""

    name = "Other-1"
    verified = "documentation only"

    @property
    def expected(self) -> Expected:
        return Expected(utterances=4)

    def read(self, root: Path) -> Listing:
        return Listing([replace(row, valence=7.0) for row in self._rows])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))


def make(root: Path) -> tuple[Corpus, Corpus]:
    german = German.write(root / "German", speakers=2, takes=1)
    other = Other.write(root / "Other-1", speakers=2, takes=1, classes=("happy", "sad"), seed=1)
    return German(german._rows), Other(other._rows, ("happy", "sad"))


def test_names_stay_unique_and_nothing_else_changes(tmp_path: Path) -> None:
    german, other = make(tmp_path)
    alone = manifest_of(german, tmp_path / "German")
    both = manifest_of(Combined([german, other]), tmp_path)
    assert both.corpus == "German+Other-1"
    assert both.classes == ("angry", "neutral", "sad", "happy")
    assert len(both) == 6 + 4
    part = both.table[both.table["corpus"] == "German"].reset_index(drop=True)
    assert part["id"].tolist() == [f"German/{name}" for name in alone.table["id"]]
    assert part["speaker"].tolist() == [f"German/{name}" for name in alone.table["speaker"]]
    assert part.loc[0, "session"] == "German/1"
    assert part.loc[1, "session"] is None
    same = [c for c in COLUMNS if c not in ("id", "path", "speaker", "session", "corpus", "valence", "ratings")]
    assert part[same].equals(alone.table[same])
    assert both.table["speaker"].nunique() == 4
    for row in range(len(both)):
        assert both.audio_path(row).is_file()
    assert both.facts["members"]["German"] == {"utterances": 6, "manifest": alone.content_hash}
    assert both.facts["verified"] == "synthetic"


def test_ratings_are_brought_to_one_scale_or_left_out_with_a_word(tmp_path: Path) -> None:
    both = manifest_of(Combined([*make(tmp_path)]), tmp_path)
    assert both.table["valence"].iloc[0] == 0.25
    assert both.table["valence"].iloc[1:].isna().all()
    (rating,) = both.ratings(0)
    assert (rating.rater, rating.valence, rating.labels) == ("German/r1", 0.25, ("sad",))
    assert both.facts["dimension_range"] == [0.0, 1.0]
    assert any(note.startswith("Other-1: ratings were left out") for note in both.facts["notes"])
    targets = Intended().targets(both)
    assert targets.dimensions[0, 0] == 0.25
    assert np.allclose(Soft().targets(both).soft[0], [0.25, 0, 0.75, 0])


def test_the_hash_knows_rows_not_places(tmp_path: Path) -> None:
    one = manifest_of(Combined([*make(tmp_path / "a")]), tmp_path / "a")
    elsewhere = make(tmp_path / "b")
    (tmp_path / "b" / "Other-1").rename(tmp_path / "moved")
    two = manifest_of(Combined([*elsewhere], roots={"Other-1": str(tmp_path / "moved")}), tmp_path / "b")
    assert one.content_hash == two.content_hash
    turned = manifest_of(Combined([*elsewhere][::-1], {"Other-1": str(tmp_path / "moved")}), tmp_path / "b")
    assert turned.content_hash != one.content_hash  # the class order is another
    one.write(tmp_path / "m.parquet")
    assert Manifest.read(tmp_path / "m.parquet").table.equals(one.table)


def test_the_hash_of_a_manifest_is_frozen(tmp_path: Path) -> None:
    german, _ = make(tmp_path)
    manifest = manifest_of(german, tmp_path / "German")
    assert manifest.table["corpus"].isna().all()
    assert manifest.content_hash == "deb35633ccd66206"


def test_every_copy_is_checked_by_itself(tmp_path: Path) -> None:
    german, other = make(tmp_path)
    incomplete = Other(other.utterances(tmp_path)[:3], ("happy", "sad"))
    with pytest.raises(CorpusError, match=r"Other-1.*3 utterances in all, expected 4"):
        manifest_of(Combined([german, incomplete]), tmp_path)
    accepted = manifest_of(Combined([german, incomplete]), tmp_path, allow_incomplete=True)
    assert accepted.facts["deviations"] == ["Other-1: 3 utterances in all, expected 4"]
    (tmp_path / "Other-1").rename(tmp_path / "gone")
    with pytest.raises(CorpusError, match=r"Other-1 is not at .*roots\.Other-1=PATH"):
        manifest_of(Combined([german, other]), tmp_path)


def test_what_cannot_be_combined_is_said(tmp_path: Path) -> None:
    german, other = make(tmp_path)
    for members in ([], [german], [german, German(())]):
        with pytest.raises(RecipeError, match="at least two different corpora"):
            Combined(members)
    with pytest.raises(RecipeError, match="Did you mean German"):
        Combined([german, other], roots={"Germany": "/x"})


def test_members_say_their_facts(tmp_path: Path) -> None:
    both = Combined([*make(tmp_path)])
    assert both.licence == "German: free; Other-1: free"
    assert both.verified == "synthetic"
    assert both.label_rule.startswith("German: the tone's height; Other-1: ")
    own = Other(())
    own.name, own.verified = "mine", "nothing published (own data)"
    assert Combined([*both.members, own]).verified == "nothing published (own data)"
    assert both.default_root is None
    assert Combined([*make(tmp_path / "x")], {"German": "a", "Other-1": "b"}).default_root == Path.cwd()


def test_a_member_that_knows_its_place_makes_it(tmp_path: Path) -> None:
    made = Synthetic(num_speakers=2, utterances_per_class=1, classes=["angry", "sad"])
    (member, *_), roots = make(tmp_path), {"Synthetic": "nowhere"}
    manifest = manifest_of(Combined([member, made]), tmp_path)
    assert set(manifest.table["corpus"]) == {member.name, "Synthetic"}
    with pytest.raises(CorpusError, match="Synthetic is not at"):
        manifest_of(Combined([member, made], roots), tmp_path)
