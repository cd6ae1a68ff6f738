"""Ctrl-C: one line and exit code 130 wherever it comes, also where Python drops the exception."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from ser_toolkit.cli._command import INTERRUPTED, run_command
from ser_toolkit.errors import RecipeError
from ser_toolkit.system.interrupts import held, interrupted, noticed, stop_if_interrupted

LINE = "ser-x: interrupted; what is complete is kept, the same command goes on from there.\n"
#: SIGINT to the own process group while C calls back into Python.
SCRIPT = """
import ctypes, os, signal, sys
from ser_toolkit.cli._command import run_command
from ser_toolkit.system.interrupts import held

def pressed(number):
    os.killpg(0, signal.SIGINT)
    return number + 1

def work(given):
    with held():
        answer = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(pressed)(1)
        print("answer", answer, flush=True)
    print("stored")

sys.exit(run_command("ser-x", "", work, ["go"]))
"""


def test_a_process_group_that_gets_sigint_while_c_calls_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, start_new_session=True)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "answer 2\n", LINE)


def _press() -> None:
    signal.raise_signal(signal.SIGINT)


def _plainly(given: list[str]) -> None:
    _press()


def _turned_into_an_error(given: list[str]) -> None:
    try:
        _press()
    except KeyboardInterrupt:
        raise RecipeError("openSMILE is not installed") from None


def _turned_into_a_surprise(given: list[str]) -> None:
    try:
        _press()
    except KeyboardInterrupt:
        raise ImportError("initialisation failed") from None


def _beside_an_error(given: list[str]) -> None:
    with suppress(RecipeError), held():  # ser-predict --keep-going, where a recording cannot be used
        _press()
        raise RecipeError("not audio")


def _dropped_in_c(given: list[str]) -> None:
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: _press() or 0)(1)


@pytest.mark.parametrize(
    "work", [_plainly, _turned_into_an_error, _turned_into_a_surprise, _beside_an_error, _dropped_in_c]
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_way_ends_in_one_line_and_130(
    work: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("ser-x", "", work, ["go"]) == INTERRUPTED
    assert capsys.readouterr().err == LINE
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (
        run_command("ser-x", "", lambda given: stop_if_interrupted(), ["go"]) == 0
    )  # the next one knows nothing of it


def test_a_command_within_a_command_hides_no_interruption_of_either() -> None:
    with noticed():
        with noticed():
            with suppress(KeyboardInterrupt):
                _press()
            assert interrupted()
        with noticed():
            assert not interrupted()
        assert interrupted()
    assert not interrupted()


def test_errors_that_are_no_interruption_stay_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    def surprise(given: list[str]) -> None:
        raise RecipeError("something else")

    assert run_command("ser-x", "", surprise, ["go"]) == 2
    assert capsys.readouterr().err == "ser-x: something else\n"


def test_an_ignored_signal_stays_ignored_and_other_threads_change_nothing() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and the background of a shell do
    try:
        with noticed(), held():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            _press()
        stop_if_interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
    seen: list[object] = []

    def elsewhere() -> None:
        with held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
