"""Repairs for dependencies that break when they are imported. Nothing here changes what a healthy library does."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_EXTENSION = "torchaudio._extension"
_SOX = "torchaudio.sox_effects"


def repair_torchaudio() -> bool:
    """Make ``import torchaudio`` work, or look absent, whatever CUDA its wheel was built for.

    transformers, s3prl and speechbrain import torchaudio as soon as it is installed. Its compiled part is linked
    against one CUDA minor version: elsewhere (a CPU build of torch, say) the import raises, and theirs with it. The
    Python part works alone, so the compiled part is replaced by a stub that says that it is missing. Call this before
    any transformers model class is imported. Nothing happens when torchaudio is absent or imports well.

    Returns:
        Whether a repair was needed.
    """
    if "torchaudio" in sys.modules or importlib.util.find_spec("torchaudio") is None:
        return False
    try:
        importlib.import_module("torchaudio")
        return False
    except (OSError, RuntimeError, ImportError):
        _forget_torchaudio()
    sys.modules[_EXTENSION] = _stub_extension()
    try:
        importlib.import_module("torchaudio")
    except (OSError, RuntimeError, ImportError, AttributeError):
        # A torchaudio that cannot be repaired is worth less than none: ``None`` makes it look uninstalled.
        _forget_torchaudio()
        sys.modules["torchaudio"] = None  # type: ignore[assignment]
    return True


def repair_s3prl() -> None:
    """Make ``import s3prl.hub`` work with a torchaudio that no longer reads audio.

    s3prl 0.4.18 asks torchaudio for two things that its releases since 2.9 lack: ``set_audio_backend``, called when
    some of s3prl's modules are imported, and the module ``sox_effects``, of which it imports names. Neither is used to
    compute features from waveforms. What torchaudio has is left alone; without torchaudio nothing happens.
    """
    repair_torchaudio()
    try:
        torchaudio = importlib.import_module("torchaudio")
    except ImportError:
        return
    if not hasattr(torchaudio, "set_audio_backend"):
        torchaudio.set_audio_backend = _ignore_backend  # type: ignore[attr-defined]
    if _SOX not in sys.modules and importlib.util.find_spec(_SOX) is None:
        stub = ModuleType(_SOX)
        for name in ("apply_effects_tensor", "apply_effects_file"):
            setattr(stub, name, _without_sox)
        sys.modules[_SOX] = torchaudio.sox_effects = stub  # type: ignore[attr-defined]


def _ignore_backend(backend: str | None) -> None:
    """Nothing to choose: this torchaudio has no audio backends."""


def _without_sox(*args: object, **kwargs: object) -> None:
    raise RuntimeError("SoX effects need a torchaudio before 2.9; the installed one has none.")


def _forget_torchaudio() -> None:
    """Remove what a failed import left behind, so that the next one starts afresh."""
    for name in [name for name in sys.modules if name == "torchaudio" or name.startswith("torchaudio.")]:
        del sys.modules[name]


def _stub_extension() -> ModuleType:
    """A stand-in for torchaudio's compiled part: nothing is available, and it says so when it is asked to work."""
    stub = ModuleType(_EXTENSION)
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    stub._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    stub.fail_if_no_align = _unavailable  # type: ignore[attr-defined]
    return stub


def _unavailable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replace a function that needs the compiled part by one that raises when it is called."""

    def raising(*args: object, **kwargs: object) -> None:
        raise RuntimeError(f"{function.__name__} needs torchaudio's compiled part, which does not fit this torch.")

    return raising
