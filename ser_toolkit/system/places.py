"""Where derived data and downloaded weights lie on this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_root() -> Path:
    """Derived data (features, audio index, synthetic speech): ``SER_CACHE``, or ``~/.cache/ser_toolkit``."""
    if chosen := os.environ.get("SER_CACHE"):
        return Path(chosen).expanduser()
    try:
        return Path.home() / ".cache" / "ser_toolkit"
    except RuntimeError:  # a user without a home directory, as in some containers
        return Path(tempfile.gettempdir()) / "ser_toolkit"


def weight_folders() -> list[Path]:
    """Where relative paths of weights are looked for, in order.

    The working directory, ``SER_WEIGHTS``, ``weights`` and ``../shared/weights`` beside it, and the cache folder.
    """
    given = os.environ.get("SER_WEIGHTS")
    folders = [Path(given).expanduser()] if given else []
    return [Path.cwd(), *folders, Path("weights"), Path("..") / "shared" / "weights", cache_root() / "weights"]


def searched() -> str:
    """The folders of ``weight_folders`` in words, as they are on this machine; for messages."""
    folders = dict.fromkeys(str(folder.resolve()) for folder in weight_folders())
    return f"{', '.join(folders)}; SER_WEIGHTS is {os.environ.get('SER_WEIGHTS') or 'not set'}"


def find_weights(name: str) -> Path | None:
    """The first existing file or folder of that name, or None."""
    path = Path(os.path.expanduser(os.path.expandvars(name)))
    if path.is_absolute():
        return path if path.exists() else None
    return next((folder / path for folder in weight_folders() if (folder / path).exists()), None)
