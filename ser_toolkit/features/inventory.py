"""Inventory of a folder of stores: their content, whether they are whole, and files that may be removed."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ser_toolkit.data.reduction import ORDER, Reduction
from ser_toolkit.errors import StoreError, nearest
from ser_toolkit.features import FEATURE_VERSION
from ser_toolkit.features.claims import STALE_SECONDS, Claims
from ser_toolkit.features.shards import SUFFIX, DamagedShardError
from ser_toolkit.features.store import DESCRIPTION, stores_root

#: Entries of a store's description that are read here.
_ENTRIES = ("feature_version", "fingerprint", "upstream", "what", "layer_norm", "dtype", "precision")
#: Files that are no use any more: shards that were set aside, and files of processes that were killed.
LEFTOVERS = (".damaged", ".partial")
#: Characters of an identity that are enough to name a store.
SHORTEST_NAME = 4


@dataclass(frozen=True)
class StoreInfo:
    """One store, as it lies on disk.

    Args:
        folder: where it lies; its name is the store's identity.
        upstream: class of the upstream, with the kind of model where its fingerprint names one.
        reduction: of the frames.
        dtype: of the stored numbers.
        precision: in which the upstream computed.
        version: of the features (``FEATURE_VERSION``).
        utterances: how many are stored, each sound once.
        num_layers: L; 0 while nothing is stored.
        feature_dim: D; 0 while nothing is stored.
        shards: files with features.
        unreadable: those of them that are truncated or no shards.
        leftovers: files that are no use any more, see ``LEFTOVERS``.
        leftover_size: bytes of those.
        size: bytes of everything in the folder that belongs to the store.
        last_used: seconds since 1970: when the store was last read or written by a run.
        in_use: whether a living process is extracting into it.
    """

    folder: Path
    upstream: str
    reduction: Reduction
    dtype: str
    precision: str
    version: int
    utterances: int
    num_layers: int
    feature_dim: int
    shards: tuple[Path, ...]
    unreadable: tuple[Path, ...]
    leftovers: tuple[Path, ...]
    leftover_size: int
    size: int
    last_used: float
    in_use: bool

    @property
    def identity(self) -> str:
        """Name of the store."""
        return self.folder.name

    @property
    def old(self) -> bool:
        """Whether this version of the toolkit would extract anew instead of reading it."""
        return self.version < FEATURE_VERSION


def stores(root: Path | None = None) -> list[StoreInfo]:
    """Every store of a folder, the one last used first.

    Folders that are no stores are left out, and so are links: their targets belong to somebody else.

    Args:
        root: where stores lie; ``cache_root() / "features"`` when None, which need not exist.

    Raises:
        StoreError: ``root`` is given and no folder.
    """
    if root is None and not stores_root().is_dir():
        return []
    found = [store_info(folder) for folder in _folders(root or stores_root())]
    return sorted(found, key=lambda store: (-store.last_used, store.identity))


def find_stores(names: Sequence[str], root: Path | None = None) -> list[StoreInfo]:
    """The stores of these names: an identity, its first characters (4 or more), or a store's folder.

    Raises:
        StoreError: there is no such store, or several begin alike.
    """
    root = root or stores_root()
    known = {folder.name: folder for folder in (_folders(root) if root.is_dir() else ())}
    return [store_info(_named(name, known, root)) for name in dict.fromkeys(names)]


def store_info(folder: Path) -> StoreInfo:
    """Content of a store's folder, from its description and the headers of its shards.

    Raises:
        StoreError: the folder is no store.
    """
    entries = _description(folder)
    if entries is None:
        raise StoreError(f"{folder} is no store of features: it has no {DESCRIPTION} that says what it holds.")
    reduction = Reduction(entries["what"] if entries["what"] in ORDER else "frames", bool(entries["layer_norm"]))
    shards = tuple(sorted(folder.glob(f"*{SUFFIX}")))
    keys: set[str] = set()
    rows, feature_dim = 0, 0
    unreadable = []
    for shard in shards:
        try:
            found, (rows, feature_dim) = _header(shard)
            keys.update(found)
        except FileNotFoundError:
            continue  # merged by a process that is extracting
        except DamagedShardError:
            unreadable.append(shard)
    files = list(own_files(folder))
    leftovers = tuple(path for path in files if path.suffix in LEFTOVERS)
    return StoreInfo(
        folder=folder,
        upstream=_upstream(entries),
        reduction=reduction,
        dtype=str(entries["dtype"]),
        precision=str(entries["precision"]),
        version=int(entries["feature_version"]),
        utterances=len(keys),
        num_layers=_layers(rows, reduction),
        feature_dim=feature_dim,
        shards=shards,
        unreadable=tuple(unreadable),
        leftovers=leftovers,
        leftover_size=sum(size_of(path) for path in leftovers),
        size=sum(size_of(path) for path in files),
        last_used=max((_modified(path) for path in files if path.suffix not in LEFTOVERS), default=0.0),
        in_use=in_use(folder),
    )


def in_use(folder: Path) -> bool:
    """Whether a living process is extracting into a store: it holds a claim, or has just been writing a file."""
    fresh = time.time() - STALE_SECONDS
    writing = any(_modified(path) > fresh for path in folder.glob("*.partial"))
    return writing or bool(Claims(folder / "claims").living())


def _folders(root: Path) -> list[Path]:
    """Folders of stores, without links."""
    if not root.is_dir():
        raise StoreError(f"There is no folder {root}. Stores lie in {stores_root()} unless SER_CACHE says otherwise.")
    return sorted(path for path in root.iterdir() if _description(path) is not None)


def _named(name: str, known: dict[str, Path], root: Path) -> Path:
    if os.sep in name or name in (".", ".."):
        path = Path(name).expanduser()
        if path.is_symlink():
            raise StoreError(f"{path} is a link. Give the folder that it points to.")
        return path
    found = [identity for identity in known if identity == name] or [
        identity for identity in known if len(name) >= SHORTEST_NAME and identity.startswith(name)
    ]
    if len(found) > 1:
        raise StoreError(f"Store {name!r} is not clear: {', '.join(found)} begin so. Give more characters.")
    if not found:
        raise StoreError(f"Store {name!r} is unknown in {root}. {nearest(name, known)}")
    return known[found[0]]


def _description(folder: Path) -> dict[str, Any] | None:
    """Content of a store's description file; None for a folder that is no store."""
    if folder.is_symlink() or not folder.is_dir():
        return None
    try:
        entries = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(entries, dict) and set(_ENTRIES) <= entries.keys()
    whole = whole and isinstance(entries["feature_version"], int)
    return entries if whole else None


def _upstream(entries: dict[str, Any]) -> str:
    """Name of the upstream, and the kind of model where there are many under one name."""
    fingerprint = str(entries["fingerprint"])
    name = str(entries["upstream"])
    model = fingerprint.split(":")
    return f"{name} ({model[1]})" if model[0] == "huggingface" and len(model) > 2 else name


def _header(shard: Path) -> tuple[list[str], tuple[int, int]]:
    """Keys of a shard, and rows and columns of the tensor of an utterance."""
    try:
        with safe_open(shard, framework="pt") as content:
            keys = list(content.keys())
            shape = content.get_slice(keys[0]).get_shape() if keys else [0, 0]
    except (SafetensorError, OSError) as error:
        if isinstance(error, FileNotFoundError) and not shard.exists():
            raise
        raise DamagedShardError(f"{shard}: {error}") from error
    return keys, (shape[0], shape[-1])


def _layers(rows: int, reduction: Reduction) -> int:
    """Number of layers L of an utterance whose stored tensor has so many rows."""
    if reduction.what == "covariances":
        return (math.isqrt(9 + 8 * rows) - 3) // 2  # L + L (L + 1) / 2 rows
    return rows // 2 if reduction.what == "variances" else rows


def own_files(folder: Path) -> Iterator[Path]:
    """Files that a store consists of, without others that may lie in its folder."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir() and (path.name == DESCRIPTION or path.suffix in (SUFFIX, *LEFTOVERS)):
            yield path
    claims = folder / "claims"
    if claims.is_dir() and not claims.is_symlink():
        yield from sorted(claims.glob("*.claim"))


def size_of(path: Path) -> int:
    """Bytes of a file; 0 when it is gone."""
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0


def _modified(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime
    return 0.0
