"""Repairs of torchaudio, made while it is imported and only where its own import fails.

transformers, s3prl and speechbrain import torchaudio as soon as it is installed. Its compiled part is linked against
one CUDA minor version: elsewhere (beside a CPU build of torch, say) the import raises, and theirs with it. Its Python
part works alone. ``import ser_toolkit`` therefore puts ``FINDER`` in front of Python's own finders. It answers for two
names and lets the usual import do the work:

- ``torchaudio``: where its import raises, it is imported once more with a stub of the compiled part, which raises when
  it is asked to work. A torchaudio that imports well is left exactly as it is.
- ``s3prl``: 0.4.18 asks torchaudio for ``set_audio_backend`` and the module ``sox_effects``, which its releases since
  2.9 lack, although no feature is computed with them. What is missing is added before s3prl is imported.

``SER_TOOLKIT_REPAIRS=0`` in the environment switches both off. Nothing is imported here but what Python itself has
imported at its start, so that ``import ser_toolkit`` takes no longer for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

VARIABLE = "SER_TOOLKIT_REPAIRS"
_OFF = ("0", "false", "no", "off")
_EXTENSION, _SOX = "torchaudio._extension", "torchaudio.sox_effects"
#: Errors that the import of a torchaudio that does not fit raises.
_FAILURES = (OSError, RuntimeError, ImportError, AttributeError)


def switched_on() -> bool:
    """Whether the environment lets imports be repaired."""
    return os.environ.get(VARIABLE, "1").strip().lower() not in _OFF


def install() -> None:
    """Put ``FINDER`` in front of the other finders, once, unless the environment switches it off."""
    if switched_on() and FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)


class _RepairingFinder:
    """Finds torchaudio and s3prl as the other finders do, and wraps their loader in one that repairs."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual spec with a repairing loader; None for any other module, and for one that is reloaded."""
        repair = _REPAIRS.get(name)
        if repair is None or target is not None:
            return None
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is None:
                continue
            if hasattr(spec.loader, "exec_module"):
                spec.loader = _RepairingLoader(spec.loader, repair)
            return spec
        return None


class _RepairingLoader:
    """A loader that runs a module by a repair; in all else the usual loader, which the module gets to keep."""

    def __init__(self, usual: Any, repair: Callable[[Any, ModuleType], None]) -> None:
        self._usual, self._repair = usual, repair

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copies and pickles ask for these before there is a usual loader
            raise AttributeError(name)
        return getattr(self._usual, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Module of the usual loader; None for Python's own kind."""
        return self._usual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code under its usual loader, repaired where that is needed."""
        module.__loader__ = self._usual
        if module.__spec__ is not None:
            module.__spec__.loader = self._usual
        self._repair(self._usual, module)


def _run_torchaudio(loader: Any, module: ModuleType) -> None:
    """Run torchaudio's code; where it fails, once more with a stub of its compiled part.

    Raises:
        ImportError: it fails with the stub, too; the message names the first reason.
    """
    before = dict(vars(module))
    try:
        loader.exec_module(module)
        return
    except _FAILURES as error:
        reason = error
    _forget_submodules(module, before)
    sys.modules[_EXTENSION] = module._extension = _stub_extension()  # type: ignore[attr-defined]
    try:
        loader.exec_module(module)
    except _FAILURES as error:
        _forget_submodules(module, before)
        if isinstance(reason, ImportError):
            raise reason from error
        raise ImportError(f"torchaudio cannot be imported: {type(reason).__name__}: {reason}", name="torchaudio") from (
            reason
        )


def _forget_submodules(module: ModuleType, before: dict[str, Any]) -> None:
    """Remove what a failed import of torchaudio left behind; the module itself stays, as Python is importing it."""
    for name in [name for name in sys.modules if name.startswith("torchaudio.")]:
        del sys.modules[name]
    vars(module).clear()
    vars(module).update(before)


def _run_s3prl(loader: Any, module: ModuleType) -> None:
    """Run s3prl's code behind a torchaudio that has all that s3prl asks for; one that is absent stays absent."""
    from importlib import import_module, util

    try:
        torchaudio = import_module("torchaudio")
    except ImportError:
        torchaudio = None
    if torchaudio is not None:
        if not hasattr(torchaudio, "set_audio_backend"):
            torchaudio.set_audio_backend = _ignore_backend  # type: ignore[attr-defined]
        if _SOX not in sys.modules and util.find_spec(_SOX) is None:
            stub = ModuleType(_SOX)
            for name in ("apply_effects_tensor", "apply_effects_file"):
                setattr(stub, name, _without_sox)
            sys.modules[_SOX] = torchaudio.sox_effects = stub  # type: ignore[attr-defined]
    loader.exec_module(module)


def _ignore_backend(backend: str | None) -> None:
    """Ignore the backend: this torchaudio has none to choose from."""


def _without_sox(*args: object, **kwargs: object) -> None:
    raise RuntimeError("SoX effects need a torchaudio before 2.9; the installed one has none.")


def _stub_extension() -> ModuleType:
    """Stand-in for torchaudio's compiled part: reports nothing as available, raises when it is called."""
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


_REPAIRS: dict[str, Callable[[Any, ModuleType], None]] = {"torchaudio": _run_torchaudio, "s3prl": _run_s3prl}
#: The finder that ``install`` puts into ``sys.meta_path``.
FINDER = _RepairingFinder()
