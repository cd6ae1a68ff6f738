"""A shorter import of transformers in a process that only predicts. No result of its models is changed."""

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

from ser_toolkit.system.repairs import switched_on

#: Whether this process does nothing but predict: see ``only_predicts``.
_ONLY_PREDICTS: list[bool] = []


def only_predicts() -> None:
    """Declare that this process will not train, compile or distribute: ``loading_transformers`` then imports less."""
    _ONLY_PREDICTS[:] = [True]


@contextmanager
def loading_transformers() -> Iterator[None]:
    """Context in which transformers is imported and its models are loaded.

    Importing a speech encoder brings along torch's compiler, its distributed tensors and SciPy's optimisers, for
    kernels, sharding and losses of other models: more than half of the import. In a process that only predicts they
    wait until they are used. What nobody foresaw is imported as usual, and behind the context every module is found
    under its name again.
    """
    _hide_useless_torchaudio()
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


def _hide_useless_torchaudio() -> None:
    """Make a torchaudio that cannot be imported, even repaired (``repairs``), look uninstalled.

    transformers asks only whether it is installed, and then imports it.
    """
    if "torchaudio" in sys.modules or not switched_on() or importlib.util.find_spec("torchaudio") is None:
        return
    try:
        importlib.import_module("torchaudio")
    except ImportError:
        sys.modules["torchaudio"] = None  # type: ignore[assignment]


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
        """Spec of a module below a postponed one, which is imported as usual here; None for any other module."""
        if not isinstance(sys.modules.get(name.rpartition(".")[0]), _Later):
            return None
        _import_as_usual()
        return ModuleSpec(name, _Loaded())


class _Loaded(Loader):
    """Imports a module as usual and gives that one, so that it is there once."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that was imported as usual."""
        module = importlib.import_module(spec.name)
        self._usual = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run no code, as the module is loaded already; it keeps the spec that it was found by."""
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
    """Stand-in for ``torch.compiler.disable``, which has nothing to do until the compiler is imported."""
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
    """Stand-in for ``torch._dynamo.assume_constant_result``: mark the function."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def _unmarked(function: Callable) -> Callable:
    """Stand-in for ``torch._dynamo.allow_in_graph``, which matters to a compiled model only."""
    return function


_TRACING = "torch._dynamo._trace_wrapped_higher_order_op"
#: Functions that transformers takes from slow modules while it is imported and builds a model.
_FORESEEN: dict[str, dict[str, Callable]] = {
    "scipy.optimize": {"linear_sum_assignment": _on_call("scipy.optimize", "linear_sum_assignment")},
    "torch._dynamo": {
        "allow_in_graph": _unmarked,
        "assume_constant_result": _marked_constant,
        "disable": _disable,
    },
    _TRACING: {"TransformGetItemToIndex": _on_call(_TRACING, "TransformGetItemToIndex")},
}
