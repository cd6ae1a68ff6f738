"""A part is one file: in every folder of parts, a walk imports what lies there, and no list names it."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOLDERS = ("corpora", "data.label_rules", "downstream", "objectives", "protocols", "upstreams")
WALK = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = {f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
print(*sorted(names - sys.modules.keys()))
"""


@pytest.mark.parametrize("folder", FOLDERS)
def test_importing_a_folder_of_parts_imports_every_file_in_it(folder: str) -> None:
    command = [sys.executable, "-c", WALK, f"ser_toolkit.{folder}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == ""
