"""The scripts behind the tables of parts: every row of them is a recipe that parses."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ser_toolkit.cli._grid import rows_of
from ser_toolkit.config.identity import NEUTRAL
from ser_toolkit.config.recipe import parse

SCRIPTS = sorted((Path(__file__).parent.parent / "recipes" / "tables").glob("*.sh"))


def arguments_of(script: Path, folder: Path) -> list[str]:
    """What a script hands to ser-compare."""
    stub = folder / "ser-compare"
    stub.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", encoding="utf-8")
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    environment = dict(os.environ) | {"PATH": f"{folder}:{os.environ['PATH']}", "WAVLM": "/models/wavlm"}
    command = ["bash", str(script), "emodb", "data.root=/data/EmoDB"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    given: list[str] = json.loads(done.stdout)
    return given


def test_there_is_a_script_for_each_table() -> None:
    assert [script.stem for script in SCRIPTS] == ["frames", "frontends", "heads", "poolings"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_row_is_a_recipe_of_its_own(script: Path, tmp_path: Path) -> None:
    given = arguments_of(script, tmp_path)
    named = [given[place + 1] for place, argument in enumerate(given) if argument == "--row"]
    rest, skip = [], False
    for argument in given:
        if not skip and not argument.startswith("--"):
            rest.append(argument)
        skip = argument in ("--row", "--output")
    rows = rows_of(rest, named, NEUTRAL)
    assert len(rows) >= 11
    identities = {json.dumps(parse(list(row.arguments)).identity(), sort_keys=True) for row in rows}
    assert len(identities) == len(rows)


def test_a_script_says_how_it_is_used() -> None:
    for script in SCRIPTS:
        done = subprocess.run(["bash", str(script)], capture_output=True, text=True)
        assert done.returncode != 0
        assert f"usage: recipes/tables/{script.name} CORPUS" in done.stderr
