"""Claims on the units of a run: two commands never write the same files at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ser_toolkit.errors import BusyError
from ser_toolkit.evaluation.run_folder import RunFolder
from ser_toolkit.features.claims import STALE_SECONDS, Claims
from ser_toolkit.system.processes import launched_rank

#: Seconds between two signs of life: well below the age at which a claim counts as abandoned.
RENEWAL = STALE_SECONDS / 10
_WORKER = "worker"


@contextmanager
def at_work(run: Path, units: Sequence[str], worker: bool = False) -> Iterator[None]:
    """Context in which this command alone trains the units.

    Commands that make other units of the same run (one fold in each shell, say) do not meet. A process that was killed
    blocks nobody. Of several processes of one distributed training the first claims for all.

    Args:
        run: the run directory.
        units: places in it, such as ``plain/fold=03/seed=0``, whose results are missing.
        worker: whether this process makes them for a command that has claimed them (``jobs=2``).

    Raises:
        BusyError: a living process makes one of them; it is named.
        StoreError: the run directory cannot be written to.
    """
    if not units or launched_rank() > 0:
        yield
        return
    claims = Claims(RunFolder(run).claims, "choose another place with output=PATH")
    over = threading.Event()
    signs = threading.Thread(target=_renew, args=(claims, over), daemon=True)
    try:
        for unit in units:
            _claim(claims, run, unit, worker)
        signs.start()
        yield
    finally:
        over.set()
        if signs.is_alive():
            signs.join()
        claims.release_all()


def _claim(claims: Claims, run: Path, unit: str, worker: bool) -> None:
    """Claim a unit; its command and a worker of it hold one claim each, so that one may outlive the other."""
    name = unit.replace("/", "+")
    own, other = (f"{_WORKER}+{name}", None) if worker else (name, f"{_WORKER}+{name}")
    holder = None if other is None else claims.holder(other)
    if holder is None and claims.take(own):
        return
    raise BusyError(
        f"{holder or claims.holder(own) or 'Another process'} is at work on {unit} of {run}. Wait until it has ended "
        "(the same command then reuses what it made), or end it; a process that was killed blocks nobody, on another "
        f"machine after {STALE_SECONDS / 60:.0f} minutes."
    )


def _renew(claims: Claims, over: threading.Event) -> None:
    while not over.wait(RENEWAL):
        claims.renew()
