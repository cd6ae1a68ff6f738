"""What all commands share: quick answers before heavy imports, and errors of one line with exit code 2."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence

from ser_toolkit import __version__
from ser_toolkit.errors import SerError

USER_ERROR = 2
#: As a shell reports a process that ended by SIGINT and SIGTERM.
INTERRUPTED, TERMINATED = 130, 143


def run_command(name: str, usage: str, work: Callable[[list[str]], None], arguments: Sequence[str] | None) -> int:
    """Answer ``--help`` and ``--version`` at once, else do the work; returns the exit code.

    Args:
        name: of the command.
        usage: text of ``--help``.
        work: what the command does with its arguments.
        arguments: the command line; ``sys.argv`` when None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        sys.stdout.write(f"{name} {__version__}\n")
        return 0
    if not given or given in (["--help"], ["-h"]):
        sys.stdout.write(usage)
        return 0 if given else USER_ERROR
    try:
        work(given)
    except SerError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return USER_ERROR
    except SystemExit as leaving:
        # The parser leaves so after --help, Lightning after it was interrupted or terminated.
        if isinstance(leaving.code, int) and not isinstance(leaving.__context__, KeyboardInterrupt):
            return leaving.code
        return _interrupted(name, INTERRUPTED if leaving.code is not None else TERMINATED)
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return _interrupted(name, INTERRUPTED)
    except OSError as error:
        if error.errno not in (28, 122):  # no space left, quota exceeded
            raise
        sys.stderr.write(
            f"{name}: {error}. Free some space and run the same command again: what is complete is kept.\n"
        )
        return USER_ERROR
    except Exception as error:
        reason = own_fault(error)
        if reason is None:
            raise
        sys.stderr.write(f"{name}: {reason}\n")
        return USER_ERROR
    return 0


def own_fault(error: Exception) -> str | None:
    """What a user's own class raised, and in which line of his file; None where only the toolkit's code was at work."""
    from ser_toolkit.parts import Part, full_name, own_frame

    place = own_frame(error)
    if place is None:
        return None
    (frame, line) = place
    code, own = frame.f_code, frame.f_locals.get("self")
    first = (str(error).strip() or "no message").splitlines()[0]
    check = f" ser-train --check {full_name(type(own))} tests it alone." if isinstance(own, Part) else ""
    return f"{code.co_filename}, line {line}, in {code.co_name}: {type(error).__name__}: {first}.{check}"


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
