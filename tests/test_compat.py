"""A torchaudio whose compiled part does not fit is repaired; a healthy or absent one is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = 'raise OSError("libcudart.so.13: cannot open shared object file")\n'
HEALTHY = "_IS_TORCHAUDIO_EXT_AVAILABLE = True\n_IS_ALIGN_AVAILABLE = True\nfail_if_no_align = lambda f: f\n"
PACKAGE = "from . import _extension, functional\n__version__ = '2.11.0'\n"
FUNCTIONAL = (
    "from ._extension import fail_if_no_align\n"
    "@fail_if_no_align\ndef forced_align(): return 'aligned'\n"
    "def resample(): return 'resampled'\n"
)


def run(folder: Path, code: str) -> list[str]:
    """Run code in a fresh interpreter that sees the folder's packages."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\nfrom ser_toolkit.compat import repair_torchaudio\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def write(folder: Path, extension: str, package: str = PACKAGE) -> Path:
    (folder / "torchaudio" / "_extension").mkdir(parents=True)
    (folder / "torchaudio" / "__init__.py").write_text(package)
    (folder / "torchaudio" / "functional.py").write_text(FUNCTIONAL)
    (folder / "torchaudio" / "_extension" / "__init__.py").write_text(extension)
    return folder


USE = """
print(repair_torchaudio())
import torchaudio
print(torchaudio._extension._IS_ALIGN_AVAILABLE, torchaudio.functional.resample())
try:
    print(torchaudio.functional.forced_align())
except RuntimeError as error:
    print(error)
print(repair_torchaudio())
"""


def test_broken_extension_is_replaced(tmp_path: Path) -> None:
    assert run(write(tmp_path, BROKEN), USE) == [
        "True",
        "False resampled",
        "forced_align needs torchaudio's compiled part, which does not fit this torch.",
        "False",
    ]


@pytest.mark.parametrize("error", ["OSError", "RuntimeError", "ImportError"])
def test_beyond_repair_means_absent(tmp_path: Path, error: str) -> None:
    code = "print(repair_torchaudio())\nimport importlib.util\nprint(importlib.util.find_spec('torchaudio'))"
    assert run(write(tmp_path, HEALTHY, f"raise {error}('wrong CUDA')\n"), code) == ["True", "None"]


def test_healthy_torchaudio_is_left_alone(tmp_path: Path) -> None:
    assert run(write(tmp_path, HEALTHY), USE) == ["False", "True resampled", "aligned", "False"]


def test_absent_torchaudio_stays_absent(tmp_path: Path) -> None:
    code = (
        "import importlib.util\n"
        "if importlib.util.find_spec('torchaudio') is None: print(repair_torchaudio(), 'torchaudio' in sys.modules)\n"
        "else: print('False False')"
    )
    assert run(tmp_path, code) == ["False False"]
