"""Files of a folder of Hugging Face ``datasets``: which of them hold rows, and which split they belong to.

Three layouts are known, as ``datasets`` itself writes or reads them (its documentation, *Create an audio dataset*,
*Structure your repository* and *Dataset.save_to_disk*):

- ``audiofolder``: ``metadata.csv``, ``.jsonl`` or ``.parquet`` beside the recordings, at the top or in split folders;
- Parquet shards as they lie on the hub: ``data/train-00000-of-00003.parquet``;
- ``save_to_disk``: ``state.json`` and ``data-00000-of-00001.arrow``, below ``dataset_dict.json`` when there are splits.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ser_toolkit.corpora.layouts.columns import some
from ser_toolkit.errors import CorpusError, nearest
from ser_toolkit.system.audio_files import is_audio

WHO = "huggingface"
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SHARD = re.compile(r"(?P<split>.+?)-(?P<number>\d{5})-of-(?P<all>\d{5})(-[0-9a-f]+)?")
#: Words that mean a split, as ``datasets`` looks for them in names of files and folders.
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


@dataclass(frozen=True)
class DataFile:
    """One file with rows.

    Args:
        file: CSV, JSON lines, Parquet, or Arrow stream.
        base: folder that names of recordings are relative to.
        split: its name, or None where there are no splits.
        first: number of the split's rows in the files before this one.
    """

    file: Path
    base: Path
    split: str | None = None
    first: int = 0

    @property
    def is_metadata(self) -> bool:
        """Whether rows name their recordings; otherwise recordings are embedded."""
        return self.file.name in _METADATA


def data_files(root: Path, wanted: Iterable[str] | None = None) -> list[DataFile]:
    """The files of a dataset, by split.

    Args:
        root: the dataset's folder.
        wanted: names of the splits to take, in any order; None takes all.

    Raises:
        CorpusError: none of the three layouts is found, shards are missing, or a split is unknown.
    """
    parts = _saved(root) or _audiofolder(root) or _shards(root)
    if not parts:
        raise _nothing(root)
    if wanted is not None:
        parts = _chosen(root, parts, set(wanted))
    _check_complete(parts)
    return parts


def _chosen(root: Path, parts: list[DataFile], wanted: set[str]) -> list[DataFile]:
    names = list(dict.fromkeys(part.split for part in parts if part.split is not None))
    for name in sorted(wanted):
        if name not in names:
            raise CorpusError(
                f"{WHO}: {root} has no split {name!r}. {nearest(name, names)} Complete the copy, or choose others."
            )
    return [part for part in parts if part.split in wanted]


def split_word(name: str) -> str | None:
    """``train``, ``validation`` or ``test`` when a name means that.

    >>> split_word("dev"), split_word("crema_d")
    ('validation', None)
    """
    return next((split for split, words in _SPLITS.items() if name.lower() in words), None)


def _saved(root: Path) -> list[DataFile]:
    """Files that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote; none where neither did."""
    if (root / "dataset_dict.json").is_file():
        splits = _json(root / "dataset_dict.json").get("splits") or []
        return [part for split in splits for part in _arrow(root / str(split), str(split))]
    return _arrow(root, None) if (root / "state.json").is_file() else []


def _arrow(folder: Path, split: str | None) -> list[DataFile]:
    state = _json(folder / "state.json")
    try:
        files = [folder / Path(entry["filename"]).name for entry in state.get("_data_files") or []]
    except (TypeError, KeyError) as error:
        raise CorpusError(f"{WHO}: {folder / 'state.json'} does not list data files. Complete the copy.") from error
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise CorpusError(f"{WHO}: {folder / 'state.json'} names {some(missing)}, not found. Complete the copy.")
    named = split or state.get("_split")
    return [DataFile(file, folder, None if named is None else str(named)) for file in files]


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{WHO}: {file} cannot be read as JSON ({error}). Complete the copy.") from error
    if not isinstance(found, dict):
        raise CorpusError(f"{WHO}: {file} holds no JSON object. Complete the copy.")
    return found


def _audiofolder(root: Path) -> list[DataFile]:
    """Files of metadata: one at the top or in ``data``, or one in each split folder; none in other layouts."""
    folders = [root, *_visible_folders(root)]
    if (root / "data").is_dir():
        folders += _visible_folders(root / "data")
    parts = []
    for folder in folders:
        files = [folder / name for name in _METADATA if (folder / name).is_file()]
        if len(files) > 1:
            raise CorpusError(f"{WHO}: {folder} has {some(file.name for file in files)}. Keep one of them.")
        parts += [
            DataFile(file, folder, None if folder.name == "data" or folder == root else folder.name) for file in files
        ]
    if len(parts) > 1 and any(part.split is None for part in parts):
        raise CorpusError(
            f"{WHO}: metadata lies in {some(str(part.file.relative_to(root)) for part in parts)}. Expected one file at "
            "the top, or one in each split folder: give the folder of one as data.root."
        )
    if len(parts) == 1 and not split_word(parts[0].split or ""):
        return [replace(parts[0], split=None)]
    return sorted(parts, key=_order)


def _shards(root: Path) -> list[DataFile]:
    """Parquet files at the top, in ``data``, or in folders that are named like splits; none in other layouts."""
    by_folder = {
        folder: files
        for folder in (root, *_visible_folders(root))
        if (files := sorted(f for f in folder.glob("*.parquet") if not f.name.startswith(".")))
    }
    if len(by_folder) > 1 and not all(split_word(folder.name) for folder in by_folder):
        raise CorpusError(
            f"{WHO}: {root} has Parquet files in {some(folder.name for folder in by_folder)}: several configurations. "
            "Give the folder of one as data.root."
        )
    parts = []
    for folder, files in by_folder.items():
        for file in files:
            found = _SHARD.fullmatch(file.stem)
            split = split_word(folder.name) or (found["split"] if found else _named(file.stem))
            parts.append(DataFile(file, root, split))
    if len({part.split for part in parts}) > 1 and any(part.split is None for part in parts):
        unnamed = [part.file.name for part in parts if part.split is None]
        raise CorpusError(f"{WHO}: no split in the name of {some(unnamed)}. Expected for example train-0.parquet.")
    return sorted(parts, key=_order)


def _named(stem: str) -> str | None:
    """The split in a file's name: ``train``, ``train-0``, ``my_test``; None where it has none."""
    words = (split_word(word) for word in re.split(r"[^A-Za-z]+", stem))
    return next((word for word in words if word), None)


def _check_complete(parts: Iterable[DataFile]) -> None:
    """Check that every shard is there (their names tell how many), of one version of the split.

    Raises:
        CorpusError: a shard is missing, or there twice.
    """
    there: dict[tuple[Path, str, int], set[int]] = defaultdict(set)
    taken: dict[tuple[Path, str, int], str] = {}
    for part in parts:
        if found := _SHARD.fullmatch(part.file.stem):
            folder, split, number = part.file.parent, found["split"], int(found["number"])
            there[folder, split, int(found["all"])].add(number)
            if other := taken.get((folder, split, number)):
                raise CorpusError(
                    f"{WHO}: {folder} has the split {split} in two versions: {other} and {part.file.name} are the same "
                    "shard, and utterances would be there twice. Remove the older files."
                )
            taken[folder, split, number] = part.file.name
    for (folder, split, total), numbers in there.items():
        missing = sorted(set(range(total)) - numbers)
        if missing:
            names = (f"{split}-{number:05d}-of-{total:05d}" for number in missing)
            raise CorpusError(f"{WHO}: {folder} lacks {some(names)}. Complete the copy, or choose other splits.")


def numbered(parts: Iterable[DataFile], lengths: Iterable[int]) -> list[DataFile]:
    """The parts with the number of rows that come before each in its split."""
    before: dict[str | None, int] = defaultdict(int)
    made = []
    for part, length in zip(parts, lengths, strict=True):
        made.append(replace(part, first=before[part.split]))
        before[part.split] += length
    return made


def _order(part: DataFile) -> tuple[int, str, str]:
    """Sort key of a file: train, validation, test, then other splits by name."""
    word = split_word(part.split or "")
    return ([*_SPLITS, None].index(word), part.split or "", part.file.name)


def _visible_folders(folder: Path) -> list[Path]:
    """Folders in a folder, without hidden ones and ``__MACOSX``, which macOS adds to archives."""
    return sorted(e for e in folder.iterdir() if e.is_dir() and e.name[0] != "." and e.name != "__MACOSX")


def _nothing(root: Path) -> CorpusError:
    folders = _visible_folders(root)
    if any(is_audio(entry) for folder in folders for entry in folder.iterdir()):
        advice = (
            "Folders of audio named by class are read by data.corpus=FolderCorpus; audio with a table by "
            "data.corpus=TableCorpus."
        )
    else:
        nested = [folder for folder in folders if _looks_right(folder)]
        advice = f"It lies one level down: give data.root={nested[0]}." if nested else "Give the folder that holds it."
    seen = some(entry.name for entry in sorted(root.iterdir()) if not entry.name.startswith("."))
    return CorpusError(
        f"{WHO}: {root} has no {', '.join(_METADATA)}, no Parquet files (also not in data/) and no state.json of "
        f"save_to_disk (found: {seen}). {advice}"
    )


def _looks_right(folder: Path) -> bool:
    names = {entry.name for entry in folder.iterdir()}
    saved = names & {*_METADATA, "state.json", "dataset_dict.json"}
    return bool(saved) or any((folder / "data").glob("*.parquet"))
