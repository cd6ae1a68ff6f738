"""Parts of one's own: the source of classes that are neither of the toolkit nor installed, kept with a run.

Source means the module that holds a class and every local module that it imports, wherever in the file: what lies
neither in the toolkit, nor in the standard library, nor in a folder of installed packages. Data files that code reads,
and modules that it imports by a computed name, are not seen.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from ser_toolkit.errors import RecipeError
from ser_toolkit.system.files import PARTIAL

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_NOTE = "__ser_source__"


def own_sources(config: Mapping[str, Any]) -> dict[str, bytes]:
    """Source of all own parts that a configuration names, by file.

    Args:
        config: a resolved recipe as plain data; overrides in ``tuning`` and ``selection`` are looked through, too.

    Returns:
        Source by path relative to where it is imported from (``my_parts/pooling.py``), lines ending in a line feed
        whatever the file has; empty where all parts are the toolkit's or installed.

    Raises:
        RecipeError: a class lies in the program that is run, which no other command can import.
    """
    selection = config.get("selection") or {}
    overrides = [config.get("tuning"), selection.get("candidates"), selection.get("space")]
    paths = [*_class_paths(config), *_names_in(overrides)]
    for path in paths:
        if path.startswith("__main__."):
            # importing a copy of it would run the program once more
            raise RecipeError(
                f"{path} lies in the program that is run (or in a notebook): ser-predict could not import it, and the "
                f"run could not keep its code. Move the class into a module beside it and name it my_parts.{path[9:]}."
            )
    return _with_imports(_modules(paths))


def source_identity(part: type) -> str:
    """Hash (16 hex digits) of the source behind an own class; empty for one of the toolkit or an installed package."""
    sources = _with_imports(dict.fromkeys(name for base in part.__mro__ for name in _modules([f"{base.__module__}.x"])))
    return _hash(repr(hashes(sources)).encode()) if sources else ""


def hashes(sources: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 (16 hex digits) of each source, by file."""
    return {place: _hash(text) for place, text in sorted(sources.items())}


def keep_copy(copy: Path, sources: Mapping[str, bytes]) -> None:
    """Write sources into the folder of a run's copy, all of them or none; a copy that is there already stays.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    if not sources or copy.is_dir():
        return
    partial = copy.with_name(f"{copy.name}.{os.getpid()}{PARTIAL}")
    try:
        for place, text in sources.items():
            (partial / place).parent.mkdir(parents=True, exist_ok=True)
            (partial / place).write_bytes(text)
        if not copy.is_dir():
            partial.rename(copy)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def copied_sources(copy: Path) -> dict[str, bytes]:
    """Sources of a run's copy, by file; empty where the run has none."""
    return {path.relative_to(copy).as_posix(): path.read_bytes() for path in sorted(copy.rglob("*.py"))}


def own_module(path: str, outside: Path | None = None) -> str | None:
    """File (``my_parts/pooling.py``) of the local module that a class lies in; None where there is none.

    Args:
        path: ``module.Class``.
        outside: a folder whose modules do not count.
    """
    for name in _modules([path]):
        file = _file(name)
        if file is not None and (outside is None or not file.is_relative_to(outside.resolve())):
            return _place(name, file)
    return None


def differences(copy: Path) -> str:
    """Modules of a run's copy that are not found here as they were when it was trained, in words; else empty."""
    changed, absent = [], []
    for place, text in copied_sources(copy).items():
        file = _file(_name(place))
        if file is None or file.is_relative_to(copy.parent.resolve()):
            absent.append(place)
        elif _source(_name(place), file) != text:
            changed.append(str(file))
    found = [f"{', '.join(changed)} changed since the run"] if changed else []
    found += [f"{', '.join(absent)} not found here"] if absent else []
    return "; ".join(found)


@contextmanager
def parts_of(copy: Path, trust_code: bool) -> Iterator[list[str]]:
    """Context in which the own parts of a run are imported as they were when it was trained.

    The weights of a run belong to that code. Where the code found here is the same it is imported as usual, so that a
    program's own classes stay what they are; otherwise all of it comes from the copy, and behind the context what was
    imported before is found under its name again.

    Args:
        copy: folder of the run's copy, in the run directory; where there is none nothing changes.
        trust_code: whether the copy may be executed; where not, ``parts.trust`` refuses the classes that need it.

    Yields:
        A sentence for the user where a module differs; nothing where none does.
    """
    different = differences(copy) if trust_code else ""
    if not different:
        yield []
        return
    notes = [f"own parts: {different}: the run's copy is used ({copy})"]
    roots = {_name(place).split(".")[0] for place in copied_sources(copy)}
    before = _forget_modules(roots)
    place, writes = str(copy), sys.dont_write_bytecode
    sys.path.insert(0, place)
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield notes
    finally:
        sys.path.remove(place)
        sys.dont_write_bytecode = writes
        copied = _forget_modules(roots)
        # code that imports inside a function finds the copy where there is nothing else of that name
        sys.modules.update({name: module for name, module in copied.items() if _file(name) is None} | before)


def _forget_modules(roots: Iterable[str]) -> dict[str, Any]:
    names = [name for name in sys.modules if name.split(".")[0] in roots]
    return {name: sys.modules.pop(name) for name in names}


# --- which modules ----------------------------------------------------------------------------------------------------


def _class_paths(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping):
        if isinstance(config.get("class_path"), str):
            yield config["class_path"]
        for inner in config.values():
            yield from _class_paths(inner)
    elif isinstance(config, list):
        for inner in config:
            yield from _class_paths(inner)


def _names_in(overrides: Any) -> Iterator[str]:
    """Dotted names in the values of overrides such as ``model.pooling=my_pooling.Sharp model.optimizer.lr=1``."""
    if isinstance(overrides, str):
        for one in overrides.split():
            yield from _DOTTED.findall(one.partition("=")[2] or one)
    elif isinstance(overrides, Mapping | list):
        for inner in overrides.values() if isinstance(overrides, Mapping) else overrides:
            yield from _names_in(inner)


def _modules(paths: Iterable[str]) -> dict[str, None]:
    """The local modules that hold classes; of ``package.module.Class.Inner`` it is the longest that is a module."""
    found: dict[str, None] = {}
    for path in paths:
        parts = path.split(".")
        names = (".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))
        found |= dict.fromkeys([name for name in names if _file(name) is not None][:1])
    return found


def _with_imports(modules: Iterable[str]) -> dict[str, bytes]:
    """Source of modules, of the packages around them and of all local modules that they import."""
    found: dict[str, bytes] = {}
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = None if name in seen else _file(name)
        seen.add(name)
        if file is None:
            continue
        is_package = file.name == "__init__.py"
        found[_place(name, file)] = source = _source(name, file)
        for imported in (name, *_imports(source, name if is_package else name.rpartition(".")[0])):
            parts = imported.split(".")
            waiting += [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return found


def _imports(source: bytes, package: str) -> Iterator[str]:
    """Absolute names of all modules that a source may import; some of them are names inside a module."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return  # a module that cannot be imported either
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names if module)


def _file(name: str) -> Path | None:
    """The file of a local module, imported or not; None for what is installed, is the program itself or no module."""
    if name == "__main__":
        return None
    module = sys.modules.get(name)
    if module is not None:
        return _local(getattr(module, "__file__", None))
    path, spec = None, None
    for length in range(1, name.count(".") + 2):
        try:
            spec = PathFinder.find_spec(".".join(name.split(".")[:length]), path)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None or (length <= name.count(".") and spec.submodule_search_locations is None):
            return None
        path = spec.submodule_search_locations
    return None if spec is None else _local(spec.origin)


def _local(origin: str | None) -> Path | None:
    if origin is None or not origin.endswith(".py"):
        return None
    file = Path(origin).resolve()
    inside = any(file.is_relative_to(folder) for folder in (_PACKAGE, *_STANDARD))
    return None if inside or set(_INSTALLED) & set(file.parts) or not file.is_file() else file


def _source(name: str, file: Path) -> bytes:
    """Source of a module: of an imported one as it was when it was first asked for, whatever is in the file since."""
    module = sys.modules.get(name)
    if module is None:
        return _read(file)
    spec, source = vars(module).get(_NOTE, (None, b""))
    if spec is None or spec is not module.__spec__:  # reloading a module gives it another specification
        spec, source = vars(module)[_NOTE] = module.__spec__, _read(file)
    return bytes(source)


def _read(file: Path) -> bytes:
    return file.read_bytes().replace(b"\r\n", b"\n")


def _place(name: str, file: Path) -> str:
    """File of a module: ``my_parts.pooling`` -> ``my_parts/pooling.py``, or that of a package."""
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if file.name == "__init__.py" else f"{path}.py"


def _name(place: str) -> str:
    """Name of the module in a file: ``my_parts/pooling.py`` -> ``my_parts.pooling``."""
    return place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
