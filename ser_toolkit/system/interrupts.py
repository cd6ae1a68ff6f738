"""SIGINT (Ctrl-C) where an exception is lost: in a callback that C calls, in a destructor, in a library's ``except``.

Python answers SIGINT with a ``KeyboardInterrupt`` wherever the main thread happens to be. Called back from C (ctypes,
cffi), that exception is printed and dropped: the C code goes on without what the callback should have done.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any]
#: How often SIGINT was noted, and how often when the innermost ``noticed`` was entered; None outside of any.
_noted: int = 0
_before: int | None = None


@contextmanager
def held() -> Iterator[None]:
    """Hold SIGINT back while C code runs that calls back into Python; it is answered when the context is left.

    Does nothing outside the main thread, where Python raises no ``KeyboardInterrupt``, and where SIGINT is ignored.

    Raises:
        KeyboardInterrupt: SIGINT came meanwhile; what the C code has returned is complete, but not to be used.
    """
    answer = _answer()
    if answer is None:
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, answer)
        if caught:  # also behind an error, which would else stand for the recording's fault
            answer(*caught[-1])


@contextmanager
def noticed() -> Iterator[None]:
    """Note that SIGINT came, so that ``interrupted`` knows it even where the exception was dropped."""
    global _before
    outer, _before = _before, _noted
    answer = _answer()
    try:
        if answer is None:
            yield
            return
        with _noting(answer):
            yield
    finally:
        _before = outer


@contextmanager
def _noting(answer: _Handler) -> Iterator[None]:
    """Count SIGINT in this context and answer it as before."""

    def note(number: int, frame: FrameType | None) -> None:
        global _noted
        _noted += 1
        answer(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, answer)


def interrupted() -> bool:
    """Whether SIGINT came since the innermost ``noticed`` was entered in which this is called."""
    return _before is not None and _noted > _before


def stop_if_interrupted() -> None:
    """Raise the ``KeyboardInterrupt`` of a SIGINT that was dropped; to be called before anything is stored.

    Raises:
        KeyboardInterrupt: SIGINT came.
    """
    if interrupted():
        raise KeyboardInterrupt


def _answer() -> _Handler | None:
    """Handler of SIGINT; None where there is none, or where it cannot be changed."""
    if threading.current_thread() is not threading.main_thread():
        return None
    found = signal.getsignal(signal.SIGINT)
    return found if callable(found) else None
