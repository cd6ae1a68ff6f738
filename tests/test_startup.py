"""What answers at once imports nothing heavy. Modules are counted, not seconds: seconds depend on the machine."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

import pytest

HEAVY = {"torch", "lightning", "pandas", "transformers", "sklearn", "matplotlib", "pyarrow", "scipy", "soundfile"}
COMMANDS = sorted(
    entry.value.split(":")[0]
    for entry in metadata.distribution("ser-toolkit").entry_points
    if entry.group == "console_scripts"
)


def _imported(*arguments: str) -> tuple[set[str], str]:
    """Run Python with these arguments; the top-level names of all that it imported, and what it printed."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE)}, done.stdout


def test_the_package_imports_nothing_but_the_standard_library() -> None:
    bare, _ = _imported("-c", "from __future__ import annotations; import typing, importlib")
    imported, _ = _imported("-c", "import ser_toolkit")
    assert "ser_toolkit" in imported
    assert imported - bare == {"ser_toolkit"}, "a module more takes time at every start"


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_version(command: str, option: str) -> None:
    imported, output = _imported("-m", command, option)
    assert not imported & {*HEAVY, "numpy", "jsonargparse"}
    name = command.split(".")[-1]
    assert f"ser-{name}" in output
    assert option == "--help" or re.search(rf"ser-{name} \d+\.\d+", output)


@pytest.mark.parametrize(("action", "expected"), [("list", "EmoDB"), ("recipes", "demo")])
def test_listings(action: str, expected: str) -> None:
    imported, output = _imported("-m", "ser_toolkit.cli.corpus", action)
    assert expected in output
    assert not imported & HEAVY
