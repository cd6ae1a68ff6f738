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
    start = f"import sys; sys.path.insert(0, {str(folder)!r})\nfrom ser_toolkit.compat import *"
    code = f"{start}\n{code}"
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


USE_S3PRL = """
repair_s3prl()
import torchaudio
print(torchaudio.set_audio_backend('sox_io'))
from torchaudio.sox_effects import apply_effects_tensor, apply_effects_file
try:
    print(apply_effects_tensor(1, 2, effects=[]))
except RuntimeError as error:
    print(error)
repair_s3prl()
"""


def test_what_s3prl_asks_of_torchaudio_is_there(tmp_path: Path) -> None:
    expected = ["None", "SoX effects need a torchaudio before 2.9; the installed one has none."]
    assert run(write(tmp_path, BROKEN), USE_S3PRL) == expected


def test_what_torchaudio_has_is_kept(tmp_path: Path) -> None:
    folder = write(tmp_path, HEALTHY, f"{PACKAGE}set_audio_backend = lambda name: 'own ' + name\n")
    effects = "def apply_effects_tensor(wav, rate, effects): return 'own effects'\napply_effects_file = None\n"
    (folder / "torchaudio" / "sox_effects.py").write_text(effects)
    assert run(folder, USE_S3PRL) == ["own sox_io", "own effects"]


def test_s3prl_is_left_alone_without_torchaudio(tmp_path: Path) -> None:
    code = "sys.modules['torchaudio'] = None\nrepair_s3prl()\nprint(sys.modules['torchaudio'])"
    assert run(tmp_path, code) == ["None"]


BELOW = """
import sys
only_predicts()
with loading_transformers():
    from scipy.optimize._numdiff import approx_derivative
import scipy.optimize
import scipy.optimize._differentiable_functions as another
module = sys.modules["scipy.optimize._numdiff"]
print(another.approx_derivative is approx_derivative is module.approx_derivative)
print(module.__spec__.origin == module.__file__, callable(scipy.optimize.minimize))
print([entry for entry in sys.meta_path if getattr(entry, "__name__", "") == "_BelowLater"])
"""


def test_what_lies_below_a_module_that_waits_is_imported_once(tmp_path: Path) -> None:
    assert run(tmp_path, BELOW) == ["True", "True True", "[]"]
