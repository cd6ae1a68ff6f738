"""A torchaudio whose compiled part does not fit is repaired while it is imported; any other is left exactly alone."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ser_toolkit  # noqa: F401  (installs the repairs)

BROKEN = 'raise OSError("libcudart.so.13: cannot open shared object file")\n'
HEALTHY = "_IS_TORCHAUDIO_EXT_AVAILABLE = True\n_IS_ALIGN_AVAILABLE = True\nfail_if_no_align = lambda f: f\n"
PACKAGE = "from . import _extension, functional\n__version__ = '2.11.0'\n"
FUNCTIONAL = (
    "from ._extension import fail_if_no_align\n"
    "@fail_if_no_align\ndef forced_align(): return 'aligned'\n"
    "def resample(): return 'resampled'\n"
)


def run(folder: Path, code: str, **environment: str) -> list[str]:
    """Run code in a fresh interpreter that sees the folder's packages and has imported ser_toolkit."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\nimport ser_toolkit\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def write(folder: Path, extension: str, package: str = PACKAGE) -> Path:
    (folder / "torchaudio" / "_extension").mkdir(parents=True)
    (folder / "torchaudio" / "__init__.py").write_text(package)
    (folder / "torchaudio" / "functional.py").write_text(FUNCTIONAL)
    (folder / "torchaudio" / "_extension" / "__init__.py").write_text(extension)
    return folder


USE = """
import torchaudio
print(torchaudio._extension._IS_ALIGN_AVAILABLE, torchaudio.functional.resample())
try:
    print(torchaudio.functional.forced_align())
except RuntimeError as error:
    print(error)
"""


def test_broken_extension_is_replaced(tmp_path: Path) -> None:
    assert run(write(tmp_path, BROKEN), USE) == [
        "False resampled",
        "forced_align needs torchaudio's compiled part, which does not fit this torch.",
    ]


SOUND = """
import importlib, importlib.util, inspect, threading
before = importlib.util.find_spec("torchaudio")
print(before.name, before.origin.endswith("torchaudio/__init__.py"), "torchaudio" in sys.modules)
print("_extension" in before.loader.get_source("torchaudio"), before.loader.is_package("torchaudio"))
found = []
def take():
    import torchaudio.functional
    found.append(torchaudio)
threads = [threading.Thread(target=take) for _ in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
import torchaudio
print(len(found), all(module is torchaudio is sys.modules["torchaudio"] for module in found))
print(type(torchaudio.__spec__.loader).__name__, type(torchaudio.__loader__).__name__)
print(importlib.util.find_spec("torchaudio") is torchaudio.__spec__, "import" in inspect.getsource(torchaudio))
print(importlib.reload(torchaudio) is torchaudio, torchaudio.functional.resample())
"""


@pytest.mark.parametrize("extension", [BROKEN, HEALTHY], ids=["broken", "healthy"])
def test_specs_threads_and_reload_stay_sound(tmp_path: Path, extension: str) -> None:
    assert run(write(tmp_path, extension), SOUND) == [
        "torchaudio True False",
        "True True",
        "8 True",
        "SourceFileLoader SourceFileLoader",
        "True True",
        "True resampled",
    ]


def test_healthy_torchaudio_is_left_alone(tmp_path: Path) -> None:
    everything = (
        "\nprint(sorted(vars(torchaudio)), sorted(vars(torchaudio.__spec__)), sorted(vars(torchaudio._extension)))"
    )
    folder = write(tmp_path, HEALTHY)
    repaired = run(folder, USE + everything)
    assert repaired[:2] == ["True resampled", "aligned"]
    assert repaired == run(folder, USE + everything, SER_TOOLKIT_REPAIRS="0")


@pytest.mark.parametrize("value", ["0", "off"])
def test_the_environment_switches_repairs_off(tmp_path: Path, value: str) -> None:
    code = "try: import torchaudio\nexcept OSError as error: print(error)\nprint(len(sys.meta_path))"
    bare = run(tmp_path, "print(len(sys.meta_path))", SER_TOOLKIT_REPAIRS="1")
    shown = run(write(tmp_path, BROKEN), code, SER_TOOLKIT_REPAIRS=value)
    assert shown == ["libcudart.so.13: cannot open shared object file", str(int(bare[0]) - 1)]


def test_installed_once(tmp_path: Path) -> None:
    code = (
        "import importlib\nbefore = list(sys.meta_path)\nimportlib.reload(ser_toolkit)\nprint(before == sys.meta_path)"
    )
    assert run(tmp_path, code) == ["True"]


@pytest.mark.parametrize("error", ["OSError", "RuntimeError", "ImportError"])
def test_beyond_repair_is_an_import_error_and_absent_to_transformers(tmp_path: Path, error: str) -> None:
    code = """
try: import torchaudio
except ImportError as error: print(error)
print([name for name in sys.modules if name.startswith("torchaudio")])
from ser_toolkit.system.dependencies import _hide_useless_torchaudio
_hide_useless_torchaudio()
import importlib.util
print(importlib.util.find_spec("torchaudio"))
"""
    message = "wrong CUDA" if error == "ImportError" else f"torchaudio cannot be imported: {error}: wrong CUDA"
    assert run(write(tmp_path, HEALTHY, f"raise {error}('wrong CUDA')\n"), code) == [message, "[]", "None"]


def test_absent_torchaudio_stays_absent(tmp_path: Path) -> None:
    code = """
import importlib.util
sys.meta_path[:] = [f for f in sys.meta_path if "PathFinder" not in str(f)]
print(importlib.util.find_spec("torchaudio"))
try: import torchaudio
except ModuleNotFoundError as error: print(error)
"""
    assert run(tmp_path, code) == ["None", "No module named 'torchaudio'"]


S3PRL = (
    "import torchaudio\ntorchaudio.set_audio_backend('sox_io')\nfrom torchaudio.sox_effects import apply_effects_file\n"
)
USE_S3PRL = """
import s3prl, torchaudio
print(torchaudio.set_audio_backend('sox_io'))
try:
    print(torchaudio.sox_effects.apply_effects_tensor(1, 2, effects=[]))
except RuntimeError as error:
    print(error)
"""


def write_s3prl(folder: Path) -> Path:
    (folder / "s3prl.py").write_text(S3PRL)
    return folder


def test_what_s3prl_asks_of_torchaudio_is_there(tmp_path: Path) -> None:
    expected = ["None", "SoX effects need a torchaudio before 2.9; the installed one has none."]
    assert run(write_s3prl(write(tmp_path, BROKEN)), USE_S3PRL) == expected


def test_what_torchaudio_has_is_kept(tmp_path: Path) -> None:
    folder = write_s3prl(write(tmp_path, HEALTHY, f"{PACKAGE}set_audio_backend = lambda name: 'own ' + name\n"))
    effects = "def apply_effects_tensor(wav, rate, effects): return 'own effects'\napply_effects_file = None\n"
    (folder / "torchaudio" / "sox_effects.py").write_text(effects)
    assert run(folder, USE_S3PRL) == ["own sox_io", "own effects"]


def test_torchaudio_alone_is_not_changed_for_s3prl(tmp_path: Path) -> None:
    code = "import torchaudio\nprint(hasattr(torchaudio, 'set_audio_backend'), 'torchaudio.sox_effects' in sys.modules)"
    assert run(write(tmp_path, HEALTHY), code) == ["False False"]


def test_s3prl_is_left_alone_without_torchaudio(tmp_path: Path) -> None:
    (tmp_path / "s3prl.py").write_text("print('s3prl')\n")
    code = "sys.modules['torchaudio'] = None\nimport s3prl\nprint(sys.modules['torchaudio'])"
    assert run(tmp_path, code) == ["s3prl", "None"]


def test_the_installed_torchaudio_is_usable() -> None:
    """As it is here: in an environment whose torchaudio does not fit, this fails without the repair."""
    if importlib.util.find_spec("torchaudio") is None:
        pytest.skip("torchaudio is not installed")
    import torchaudio

    assert torchaudio.functional.create_dct(2, 4, "ortho").shape == (4, 2)


@pytest.mark.slow
@pytest.mark.parametrize("code", ["from transformers import WavLMModel", "import s3prl.hub"])
def test_what_imports_torchaudio_can_be_imported(tmp_path: Path, code: str) -> None:
    assert run(tmp_path, f"{code}\nprint(1)")[-1] == "1"
