"""Standard output that may go away: a closed one, a pipe whose reader has left, a terminal that was closed."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

#: As a shell reports a process that ended by SIGPIPE.
BROKEN_PIPE = 141
#: Error numbers of writing to an output that is gone: a pipe without reader, a terminal, a closed file.
_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)


class Output:
    """A text stream that notices when its other end is gone.

    ``gone`` says that it is, ``dropped`` that something has been written since.

    Args:
        stream: standard output or standard error.
        goes_on: write to nowhere from then on; else the first failure is raised and ends the command.
    """

    def __init__(self, stream: TextIO, goes_on: bool) -> None:
        self._stream, self._goes_on = stream, goes_on
        self.gone = self.dropped = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop the text once the other end is gone."""
        if self.gone:
            self.dropped = True
            return len(text)
        with self._noticing():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, as long as there is somebody to read."""
        if not self.gone:
            with self._noticing():
                self._stream.flush()

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.gone = True
            self._to_nowhere()
            if not self._goes_on:
                raise

    def _to_nowhere(self) -> None:
        """Drop what the buffers hold, so that the interpreter does not complain of it when it ends."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def watched_streams(goes_on: bool) -> Iterator[Output]:
    """Standard output and standard error as :class:`Output` while a command runs; gives standard output.

    A stream that was closed before the command began (``>&-``) writes to nowhere. Its number is taken, so that no file
    that is opened later gets what was meant for a terminal.

    Args:
        goes_on: whether the command has more to do than to print.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    before = sys.stdout, sys.stderr
    # until the interpreter ends: what is printed afterwards goes the same way
    out, err = (open(os.devnull, "w", encoding="utf-8") if stream is None else stream for stream in before)  # noqa: SIM115
    output = Output(out, goes_on)
    output.gone = before[0] is None
    sys.stdout, sys.stderr = output, Output(err, True)
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = (out, err) if None in before else before
