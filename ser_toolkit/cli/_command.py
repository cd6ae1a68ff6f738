"""The frame of all commands: quick answers before heavy imports, and errors of one line with exit code 2."""

from __future__ import annotations

import errno
import logging
import sys
import warnings
from collections.abc import Callable, Sequence

from ser_toolkit.cli._streams import BROKEN_PIPE, watched_streams
from ser_toolkit.errors import SerError
from ser_toolkit.system.interrupts import interrupted, noticed
from ser_toolkit.system.version import VERSION

USER_ERROR = 2
#: As a shell reports a process that ended by SIGINT and SIGTERM.
INTERRUPTED, TERMINATED = 130, 143


def run_command(
    name: str,
    usage: str,
    work: Callable[[list[str]], None],
    arguments: Sequence[str] | None,
    trains: bool = False,
) -> int:
    """Answer ``--help`` and ``--version`` at once, else do the work; returns the exit code.

    Args:
        name: of the command.
        usage: text of ``--help``.
        work: what the command does with its arguments.
        arguments: the command line; ``sys.argv`` when None.
        trains: whether the command goes on to its end when nobody reads its output any more; others end quietly, as
            by SIGPIPE.
    """
    closed = sys.stdout is None  # before the command began: >&-
    with watched_streams(trains) as output:
        try:
            code = _run(name, usage, work, list(sys.argv[1:] if arguments is None else arguments))
            output.flush()
        except OSError:
            if not output.gone:
                raise
            code = 0
        if trains or code or not output.gone:
            return code
        if closed and output.dropped:
            sys.stderr.write(f"{name}: standard output is closed, so nothing could be printed.\n")
        return BROKEN_PIPE if not closed else int(output.dropped)


def _run(name: str, usage: str, work: Callable[[list[str]], None], given: list[str]) -> int:
    if given in (["--version"], ["-V"]):
        sys.stdout.write(f"{name} {VERSION}\n")
        return 0
    if not given or "--help" in given or "-h" in given:
        sys.stdout.write(usage)
        return 0 if given else USER_ERROR
    with noticed():
        return _answered(name, work, given)


def _answered(name: str, work: Callable[[list[str]], None], given: list[str]) -> int:
    """Run the command and return its exit code, with one line on stderr where that is not 0."""
    try:
        work(given)
    except SerError as error:
        if interrupted():  # a library turned it into another error, such as a failed import
            return _interrupted(name, INTERRUPTED)
        sys.stderr.write(f"{name}: {error}\n")
        return USER_ERROR
    except SystemExit as leaving:
        # The parser leaves so after --help, Lightning after it was interrupted or terminated.
        if isinstance(leaving.code, int) and not isinstance(leaving.__context__, KeyboardInterrupt):
            return leaving.code
        return _interrupted(name, INTERRUPTED if leaving.code is not None else TERMINATED)
    except KeyboardInterrupt:
        return _interrupted(name, INTERRUPTED)
    except OSError as error:
        if interrupted():
            return _interrupted(name, INTERRUPTED)
        if getattr(sys.stdout, "gone", False):
            raise
        sys.stderr.write(f"{name}: {own_fault(error) or _reason(error)}\n")
        return USER_ERROR
    except Exception as error:
        if interrupted():
            return _interrupted(name, INTERRUPTED)
        reason = own_fault(error)
        if reason is None:
            raise
        sys.stderr.write(f"{name}: {reason}\n")
        return USER_ERROR
    return _interrupted(name, INTERRUPTED) if interrupted() else 0


def own_fault(error: Exception) -> str | None:
    """Message about an exception from a user's own class, with file and line; None where only toolkit code ran."""
    from ser_toolkit.parts.finding import Part, full_name, own_frame

    place = own_frame(error)
    if place is None:
        return None
    (frame, line) = place
    code, own = frame.f_code, frame.f_locals.get("self")
    first = (str(error).strip() or "no message").splitlines()[0]
    check = f" ser-train --check {full_name(type(own))} tests it alone." if isinstance(own, Part) else ""
    return f"{code.co_filename}, line {line}, in {code.co_name}: {type(error).__name__}: {first}.{check}"


def _reason(error: OSError) -> str:
    """Message about an OSError: the reason and the file, in one line."""
    text = " ".join(str(error).split())
    if error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{text}. Free some space and run the same command again: what is complete is kept."
    advice = {errno.EACCES: "who may read and write there", errno.EPERM: "who may read and write there"}
    advice |= {errno.EROFS: "where results go, with output=PATH", errno.EMFILE: "the limit of open files (ulimit -n)"}
    return f"{text}. Check {advice[error.errno]}." if error.errno in advice else f"{text}."


def _interrupted(name: str, code: int) -> int:
    sys.stderr.write(f"{name}: interrupted; what is complete is kept, the same command goes on from there.\n")
    return code


def quiet_libraries() -> None:
    """Silence hardware banners, advertisements and advice about loaders: they say nothing about a result.

    To be called once lightning is imported, because importing it sets its loggers' levels anew.
    """
    for library in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(library).setLevel(logging.ERROR)
    for message in (
        r".*does not have many workers.*",
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*Experiment logs directory .* exists and is not empty.*",
        r".*smaller than the logging interval.*",
        r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
        r".*GPU available but not used.*",
        r".*It is recommended to use `self.log\(.*sync_dist=True.*",  # dev and test figures are gathered already
        r".*module\(s\) in eval mode at the start of training.*",
        r".*You defined a `validation_step` but have no.*",
        r".*LightningDataModule.* was already called.*",
    ):
        warnings.filterwarnings("ignore", message=message)
