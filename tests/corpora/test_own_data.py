"""Own data all the way: every command of docs/own_corpora.md on replicas, and what their reports say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from generic_replicas import CLASSES, ROWS, audformat, audiofolder, hub, saved_splits, tone
from mini_recipe import QUICK_MODEL
from test_cameo import rows as cameo_rows

from ser_toolkit.cli import corpus as corpus_command
from ser_toolkit.cli import train
from ser_toolkit.corpora.base import Corpus
from ser_toolkit.parts.finding import by_name

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_corpora.md"


def commands() -> list[str]:
    """Lines of the page that start with a command of the toolkit, with continuations joined."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [re.sub(r"\s+#\s.*$", "", line) for line in lines if line.startswith("ser-")]


def _folders(root: Path) -> None:
    for row in ROWS:
        for label in CLASSES:
            (root / label).mkdir(parents=True, exist_ok=True)
            (root / label / f"{row['speaker_id']}_{row['text'][-1]}.wav").write_bytes(tone(int(row["text"][-1])))


def _table(root: Path) -> None:
    audiofolder(root)
    (root / "metadata.csv").rename(root / "utterances.csv")


def _database(root: Path) -> None:
    """More speakers who say something in all classes, so that one of them can select."""
    audformat(root)
    train = root / "db.emotion.categories.train.gold_standard.csv"
    for number, (speaker, emotion) in enumerate(product((10, 11, 12), ("anger", "boredom", "neutral")), start=6):
        (root / "wav" / f"{number}.wav").write_bytes(tone(number))
        for file, cells in ((train, f"{emotion},1.0"), (root / "db.files.csv", f"{speaker},a01")):
            file.write_text(f"{file.read_text()}wav/{number}.wav,{cells}\n")


def _cameo(root: Path) -> None:
    for name, language in (("cafe", "French"), ("oreau", "French"), ("nemo", "Polish")):
        speakers = [f"{name}_{number}" for number in range(3)]
        hub(root, cameo_rows(name, language, speakers, ["anger", "sadness"]), 1, name)


REPLICAS: dict[str, Callable[[Path], object]] = {
    "my_folders": _folders,
    "my_table": _table,
    "my_database": _database,
    "my_audiofolder": audiofolder,
    "my_shards": hub,
    "my_saved": saved_splits,
    "CAMEO": _cameo,
}


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None) -> Path:
    """A folder with one replica of each kind, named as on the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    for name, make in REPLICAS.items():
        make(tmp_path / name)
    (tmp_path / "quick.yaml").write_text(QUICK_MODEL, encoding="utf-8")  # openSMILE is tested elsewhere
    return tmp_path


def run(command: str) -> None:
    """Run a command in this process; its model is replaced by a small one, and one fold is enough."""
    program, *arguments = shlex.split(command)
    models = {"recipe=egemaps": ["recipe=quick.yaml"], "recipe=cameo_egemaps": ["recipe=cameo", "recipe=quick.yaml"]}
    arguments = [small for one in arguments for small in models.get(one, [one])]
    accepted = ["data.allow_incomplete=true"] if "CAMEO" in command else []  # the replica is not all of it
    if program == "ser-train":
        assert train.main([*arguments, *accepted, "fold=1"]) == 0
    else:
        assert corpus_command.main([*arguments, *accepted]) == 0


def test_the_page_shows_every_kind_of_data() -> None:
    text = " ".join(commands())
    for name in REPLICAS:
        assert re.search(rf"\b{name}\b", text), f"{name} is in no command of the page"
    assert sum(line.startswith("ser-train") for line in commands()) >= 4


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_page_works(command: str, where: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(command)
    said = capfd.readouterr().out
    assert "utterances" in said
    for report in where.glob("runs/*/*/report.md"):
        text = report.read_text(encoding="utf-8")
        assert "nobody spoke here" not in text, "real people spoke in somebody's own data"
        assert "model" in text


@pytest.mark.parametrize("name", ["TableCorpus", "FolderCorpus", "Audformat", "HuggingFaceAudio", "CAMEO"])
def test_own_data_is_not_called_synthetic(name: str) -> None:
    assert by_name(Corpus, name).verified != "synthetic"  # type: ignore[type-abstract]


def test_a_mistake_is_one_line(where: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert corpus_command.main(["inspect", "HuggingFaceAudio", "my_shards", "emotion=mood"]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "no column 'mood' (for label)" in said
