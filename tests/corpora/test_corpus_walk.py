"""Every corpus that ships a replica: manifest, audit, one epoch of its own recipe, report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_replicas import REPLICAS, Replica
from mini_recipe import QUICK_MODEL

from ser_toolkit.cli.train import main
from ser_toolkit.config.files import recipe_folder
from ser_toolkit.corpora.base import Corpus
from ser_toolkit.parts.finding import subclasses

pytestmark = pytest.mark.usefixtures("no_pictures")

TONES = """\
# A quick model on a replica.
_base: [_model.yaml, _corpus.yaml]
data: {root: audio, allow_incomplete: true}
"""


def _walk(where: Path, monkeypatch: pytest.MonkeyPatch, recipe: str) -> str:
    """Run one fold of a recipe on ``where/audio``; the report's text."""
    monkeypatch.chdir(where)
    monkeypatch.setenv("SER_CACHE", str(where / "cache"))
    (where / "_corpus.yaml").write_text(f"# A corpus.\n{recipe}", encoding="utf-8")
    (where / "_model.yaml").write_text(QUICK_MODEL, encoding="utf-8")
    (where / "tones.yaml").write_text(TONES, encoding="utf-8")
    assert main(["recipe=tones.yaml", "fold=1"]) == 0
    (report,) = where.glob("runs/tones/*/report.md")
    return report.read_text(encoding="utf-8")


@pytest.mark.parametrize("corpus", sorted(REPLICAS))
def test_a_replica_goes_all_the_way_to_a_report(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    replica = REPLICAS[corpus]()
    replica.write(tmp_path / "audio", sound=True)
    report = _walk(tmp_path, monkeypatch, f"_base: [{recipe_folder() / corpus / f'_{corpus}.yaml'}]\n")
    assert "Incomplete copy of the corpus was allowed" in report
    said = capfd.readouterr().out
    assert f"{len(replica.audio)} utterances" in said
    assert "audit: speakers" in said


@pytest.mark.parametrize("corpus", sorted(REPLICAS))
def test_a_corpus_says_where_it_comes_from_and_its_readme_how_far_it_was_checked(corpus: str) -> None:
    readme = (recipe_folder() / corpus / "README.md").read_text(encoding="utf-8")
    (part,) = (p for p in subclasses(Corpus).values() if p.__module__ == f"ser_toolkit.corpora.{corpus}")  # type: ignore[type-abstract]
    made = part()
    assert made.verified in ("documentation only", "real metadata", "real audio")
    assert f"**How far this was checked: {made.verified}.**" in readme
    assert readme.startswith(f"# {made.name}\n")
    assert made.homepage.startswith("http")
    assert made.homepage.rpartition("://")[2].rstrip("/") in readme
    assert made.licence
    assert re.search(r"\b(19|20)\d\d\b", made.citation)
    assert "not measured" in readme
    assert all(label == label.lower() for label in made.classes)
    assert (recipe_folder() / corpus / "run.sh").stat().st_mode & 0o111


NEW_CORPUS = r'''
"""Four voices in one folder."""
import re
from ser_toolkit.corpora.layouts.named_files import NamedFiles
from ser_toolkit.corpora.base import Utterance


class Mine(NamedFiles):
    """My own corpus: four speakers, two classes."""

    name, licence, citation, form = "mine", "mine", "me", "a_sad_1.wav"
    pattern = re.compile(r"(?P<speaker>[a-d])_(?P<label>sad|happy)_\d")
    classes = ("happy", "sad")

    def _row(self, found, path):
        return Utterance(path, path, speaker=found["speaker"], label=found["label"])
'''


WALK = """\
import sys
import ser_toolkit.corpora as room
from ser_toolkit.corpora.base import Corpus
from ser_toolkit.parts.finding import import_siblings, subclasses

room.__path__.append(sys.argv[1])
import_siblings(room)
print(*(f"{part.__module__}.{name}" for name, part in subclasses(Corpus).items()))
"""


def test_one_file_in_the_room_is_found_by_the_walk_and_sub_rooms_hold_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "new_corpus.py").write_text(NEW_CORPUS, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", WALK, str(tmp_path)], capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert "ser_toolkit.corpora.new_corpus.Mine" in found and len(found) > 20
    assert all(name.count(".") == 3 for name in found), found


def test_a_new_corpus_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_own_corpus.py").write_text(NEW_CORPUS, encoding="utf-8")
    Replica([f"{s}_{label}_1.wav" for s in "abcd" for label in ("sad", "happy")]).write(tmp_path / "audio", sound=True)
    _walk(tmp_path, monkeypatch, "data: {corpus: my_own_corpus.Mine, protocol: LeaveOneSpeakerOut}\n")
