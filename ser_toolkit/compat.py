"""Repairs for dependencies that break, or take long, when they are imported. No result of theirs is changed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
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


#: Whether this process does nothing but predict: see ``only_predicts``.
_ONLY_PREDICTS: list[bool] = []


def only_predicts() -> None:
    """Say that this process will neither train, compile nor distribute: ``loading_transformers`` then imports less."""
    _ONLY_PREDICTS[:] = [True]


@contextmanager
def loading_transformers() -> Iterator[None]:
    """In this context transformers is imported and its models are loaded; torchaudio is repaired before.

    Importing a speech encoder brings along torch's compiler, its distributed tensors and SciPy's optimisers, for
    kernels, sharding and losses of other models: more than half of the import. In a process that only predicts they
    wait until they are used. What nobody foresaw is imported as usual, and behind the context every module is found
    under its name again.
    """
    repair_torchaudio()
    if not _ONLY_PREDICTS or "transformers.modeling_utils" in sys.modules:
        yield
        return
    compiler, utils = importlib.import_module("torch.compiler"), importlib.import_module("transformers.utils")
    later = {name: _Later(name, ready) for name, ready in _FORESEEN.items() if name not in sys.modules}
    with ExitStack() as stack:
        if "torch._dynamo" in later:
            stack.enter_context(_replaced(compiler, "disable", _disable))
        for module in (utils, importlib.import_module("transformers.utils.import_utils")):
            if hasattr(module, "is_torch_distributed_available"):  # as on a torch that is built without it
                stack.enter_context(_replaced(module, "is_torch_distributed_available", lambda: False))
        sys.modules.update(later)
        sys.meta_path.insert(0, _BelowLater)
        try:
            yield
        finally:
            sys.meta_path.remove(_BelowLater)
            _import_as_usual()


@contextmanager
def _replaced(module: ModuleType, name: str, value: Callable) -> Iterator[None]:
    usual = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, usual)


class _Later(ModuleType):
    """A module that is not imported yet: what is foreseen of it is there, anything else imports it."""

    def __init__(self, name: str, ready: dict[str, Callable]) -> None:
        super().__init__(name)
        self.__dict__.update(ready)
        self.__path__: list[str] = []  # without one, nothing could be imported from below it

    def __getattr__(self, name: str) -> Any:
        if name == "__file__":  # what is asked of every module
            raise AttributeError(name)
        _import_as_usual()
        return getattr(importlib.import_module(self.__name__), name)


class _BelowLater:
    """Finds modules that lie below one that is not imported yet, by importing both as usual."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """What has already found and loaded the module; None for any other."""
        if not isinstance(sys.modules.get(name.rpartition(".")[0]), _Later):
            return None
        _import_as_usual()
        return ModuleSpec(name, _Loaded())


class _Loaded(Loader):
    """Imports a module as usual and gives that one, so that it is there once."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        module = importlib.import_module(spec.name)
        self._usual = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do but to let the module keep what it was found by."""
        module.__spec__ = self._usual


def _import_as_usual() -> None:
    """Take away every stand-in, so that the next import finds the module itself."""
    for name in [name for name, module in sys.modules.items() if isinstance(module, _Later)]:
        del sys.modules[name]


def _on_call(module: str, name: str) -> Callable:
    """A function or class that is imported when it is called."""

    def run(*args: Any, **kwargs: Any) -> Any:
        _import_as_usual()
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return run


def _disable(function: Callable | None = None, *args: Any, **kwargs: Any) -> Callable:
    """``torch.compiler.disable``, which has nothing to do as long as nobody has imported the compiler."""
    if function is None:
        return lambda given: _disable(given, *args, **kwargs)

    @functools.wraps(function)
    def run(*inputs: Any, **options: Any) -> Any:
        compiler = sys.modules.get("torch._dynamo")
        if compiler is None or isinstance(compiler, _Later):
            return function(*inputs, **options)
        return compiler.disable(function, *args, **kwargs)(*inputs, **options)

    return run


def _marked_constant(function: Callable) -> Callable:
    """``torch._dynamo.assume_constant_result``."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def _unmarked(function: Callable) -> Callable:
    """``torch._dynamo.allow_in_graph``, which matters to a compiled model only."""
    return function


_TRACING = "torch._dynamo._trace_wrapped_higher_order_op"
#: What transformers takes from slow modules while it is imported and builds a model.
_FORESEEN: dict[str, dict[str, Callable]] = {
    "scipy.optimize": {"linear_sum_assignment": _on_call("scipy.optimize", "linear_sum_assignment")},
    "torch._dynamo": {
        "allow_in_graph": _unmarked,
        "assume_constant_result": _marked_constant,
        "disable": _disable,
    },
    _TRACING: {"TransformGetItemToIndex": _on_call(_TRACING, "TransformGetItemToIndex")},
}


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
