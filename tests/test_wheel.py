"""The wheel works outside the checkout: built, installed in an environment of its own, and the demo run from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = ("ser_toolkit", "recipes", "pyproject.toml", "README.md", "LICENSE")
#: The demo in its smallest form: every stage runs, no figure means anything.
SMALL_DEMO = (
    "recipe=demo",
    "data.corpus.num_speakers=4",
    "data.corpus.utterances_per_class=3",
    "baselines=[majority]",
    "variants=[Plain]",
    "--trainer.max_epochs=1",
)


def _run(*command: object, cwd: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SER_CACHE")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy that holds nothing but the sources."""
    copy, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, copy, cwd=copy)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of a fresh environment with the wheel, and the dependencies of the running one behind it."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet", wheel, cwd=folder)
    # After the installation, or pip would find the editable one. A folder named in a .pth file is searched, but its own
    # .pth files are not followed: the checkout stays out of sight.
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(places), encoding="utf-8")
    return folder / "bin"


def test_the_wheel_holds_what_is_needed_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        licence = archive.read(next(name for name in names if name.endswith("licenses/LICENSE")))
    assert licence == (REPOSITORY / "LICENSE").read_bytes()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ser_toolkit"}
    for folder, inside in (
        (REPOSITORY / "recipes", "ser_toolkit/recipes"),
        (REPOSITORY / "ser_toolkit", "ser_toolkit"),
    ):
        files = {file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
        missing = {f"{inside}/{file.relative_to(folder).as_posix()}" for file in files} - names
        assert not missing
    assert "ser_toolkit/recipes/_linear.yaml" in names
    assert "ser_toolkit/evaluation/reporting/templates/report.html.j2" in names


def test_the_package_comes_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    where = "import ser_toolkit; print(ser_toolkit.__file__)"
    assert Path(_run(environment / "python", "-c", where, cwd=tmp_path).strip()).is_relative_to(environment.parent)


def test_the_demo_runs_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    output = _run(environment / "ser-train", *SMALL_DEMO, cwd=tmp_path, SER_CACHE=str(tmp_path / "cache"))
    (report,) = tmp_path.glob("runs/demo/*/report.html")
    assert "4 speakers" in output
    assert report.stat().st_size > 10_000
    assert (report.parent / "report.json").is_file()
    rebuilt = _run(environment / "ser-report", report.parent, cwd=tmp_path)
    assert "majority class" in rebuilt


def test_composed_recipes_and_their_scripts_come_with_the_wheel(environment: Path, tmp_path: Path) -> None:
    files = _run(environment / "ser-corpus", "recipes", "emodb_hubert", cwd=tmp_path).splitlines()[::2]
    assert [Path(file).name for file in files][-2:] == ["_emodb.yaml", "_emodb_network.yaml"]
    assert all(Path(file).is_relative_to(environment.parent) for file in files)
    resolved = _run(environment / "ser-train", "recipe=emodb_hubert", "--print_config", cwd=tmp_path)
    assert "facebook/hubert-base-ls960" in resolved
    script = Path(files[-1]).with_name("run.sh")
    assert "emodb_wavlm_large" in _run("bash", script, "--help", cwd=tmp_path)
