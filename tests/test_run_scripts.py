"""``recipes/<corpus>/run.sh``: trains the recipes of a corpus, then prints one table; goes on where it stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_replicas import tess

from ser_toolkit.config.files import compositions, recipe_folder, shipped_corpora, shipped_recipes

SCRIPTS = sorted(recipe_folder().glob("[!_]*/run.sh"))
#: Two commands that stand for the toolkit's: they say what they were given, and leave a report as ser-train does.
TRAIN = """\
#!/usr/bin/env bash
echo "train $*"
output=runs
for word in "$@"; do
  case $word in recipe=*) recipe=${word#*=} ;; output=*) output=${word#*=} ;; name=*) name=${word#*=} ;; esac
done
[ "$recipe" != "$FAILS" ] || exit 3
case "$*" in *--dry-run*) exit ;; esac
run=$output/${name:-$recipe}/$recipe-hash
mkdir -p "$run" && touch "$run/report.json"
"""
REPORT = '#!/usr/bin/env bash\necho "report $*"\n'


def run(corpus: str, where: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(recipe_folder() / corpus / "run.sh"), *words],
        cwd=where,
        env=os.environ | {"FAILS": ""} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a folder ``data``; ser-train and ser-report there only print what they were given."""
    corpus = f'#!/bin/sh\nexec "{sys.executable}" -m ser_toolkit.cli.corpus "$@"\n'
    for name, text in (("ser-train", TRAIN), ("ser-report", REPORT), ("ser-corpus", corpus)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "data").mkdir()
    return tmp_path


def said(done: subprocess.CompletedProcess[str], word: str) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith(word)]


def test_every_corpus_has_a_script() -> None:
    assert {script.parent.name for script in SCRIPTS} >= set(shipped_corpora())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.parent.name)
def test_every_script_trains_recipes_that_there_are(script: Path, stubs: Path) -> None:
    done = run(script.parent.name, stubs, "data", "seeds=2")
    assert done.returncode == 0, done.stderr
    trained = said(done, "train ")
    names = [line.split()[1].removeprefix("recipe=") for line in trained]
    assert names and set(names) <= {*compositions(), *shipped_recipes()}
    assert all(line.endswith("data.root=data seeds=2") for line in trained)
    assert said(done, "report ") == [f"report --table {' '.join(f'runs/{name}/{name}-hash' for name in names)}"]


def test_other_models_and_overrides_are_passed_through(stubs: Path) -> None:
    words = ["--only", "wavlm_large,emodb_egemaps", "data", "output=out side", "--trainer.max_epochs=1", "a={b: c d}"]
    done = run("emodb", stubs, *words)
    assert said(done, "train ") == [
        f"train recipe={name} data.root=data output=out side --trainer.max_epochs=1 a={{b: c d}}"
        for name in ("emodb_wavlm_large", "emodb_egemaps")
    ]
    [report] = said(done, "report ")
    assert report.endswith(
        "out side/emodb_wavlm_large/emodb_wavlm_large-hash out side/emodb_egemaps/emodb_egemaps-hash"
    )


def test_only_runs_of_this_call_are_in_the_table(stubs: Path) -> None:
    old = stubs / "runs" / "savee_egemaps" / "older"
    old.mkdir(parents=True)
    (old / "report.json").touch()
    os.utime(old / "report.json", (1, 1))
    done = run("savee", stubs, "data", "--only=egemaps", "name=mine")
    assert said(done, "report ") == ["report --table runs/mine/savee_egemaps-hash"]
    done = run("savee", stubs, "data", "--only=egemaps")
    assert said(done, "report ") == ["report --table runs/savee_egemaps/savee_egemaps-hash"]
    assert not said(run("savee", stubs, "data", "--only=egemaps", "--dry-run"), "report ")


def test_it_stops_at_the_first_error_and_prints_what_is_complete(stubs: Path) -> None:
    done = run("savee", stubs, "data", "--only=egemaps,compare,byols", FAILS="savee_compare")
    assert done.returncode == 3
    assert len(said(done, "train ")) == 2
    assert said(done, "report ") == ["report --table runs/savee_egemaps/savee_egemaps-hash"]
    assert "savee_compare failed. Run the same command again to go on" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "where is the corpus? Give its folder."),
        (["gone"], "there is no folder gone."),
        (["data", "more"], "two folders are given, data and more."),
        (["data", "--only"], "--only needs models: --only egemaps,wavlm"),
        (["data", "--only="], "--only needs models: --only egemaps,wavlm"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(stubs: Path, words: list[str], message: str) -> None:
    done = run("savee", stubs, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"recipes/savee/run.sh: {message}".replace(
        "more.", "more. A setting is written as key=value."
    )
    assert not said(done, "train ")


def test_some_may_be_left_out(stubs: Path) -> None:
    trained = said(
        run("savee", stubs, "data", "--only=egemaps,compare,byols", "--skip", "savee_compare,byols"), "train "
    )
    assert [line.split()[1] for line in trained] == ["recipe=savee_egemaps"]
    odd = run("savee", stubs, "data", "--only=egemaps,byols", "--skip=wavlm")
    assert (odd.returncode, "--skip wavlm: it is none of savee_egemaps savee_byols." in odd.stderr) == (2, True)


def test_a_wrong_name_is_said_before_anything_is_trained(stubs: Path) -> None:
    done = run("savee", stubs, "data", "--only=egemaps,bylos")
    assert (done.returncode, said(done, "train ")) == (2, [])
    assert "Recipe 'savee_bylos' is unknown. Did you mean savee_byols" in done.stderr


def test_help_names_the_recipes(stubs: Path) -> None:
    done = run("savee", stubs, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(
        "usage: recipes/savee/run.sh FOLDER [--only MODEL,MODEL,...] [--skip MODEL,MODEL,...] [key=value ...]"
    )
    assert "\n  egemaps byols wavlm\n" in done.stdout


def test_without_the_toolkit_it_says_so(tmp_path: Path) -> None:
    done = run("savee", tmp_path, ".", PATH="/usr/bin:/bin")
    assert (done.returncode, "activate the environment" in done.stderr) == (2, True)


def test_a_replica_goes_from_audio_to_the_table(tmp_path: Path) -> None:
    """Without a hub and without weights: functionals, on a corpus that has no dev part."""
    pytest.importorskip("opensmile")
    tess().write(tmp_path / "audio", sound=True)
    words = ["audio", "--only", "egemaps", "data.allow_incomplete=true", "baselines=[majority]", "variants=[Plain]"]
    places = {"SER_CACHE": str(tmp_path / "cache"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = run("tess", tmp_path, *words, **places)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("== all recipes\n")[1]
    assert table.startswith("1 run on TESS\n! Incomplete copy")
    rows = [line.split()[:3] for line in table.splitlines() if " plain " in line]
    assert rows == [["tess_egemaps", "plain", "14"], ["baseline:", "majority", "class"]]
