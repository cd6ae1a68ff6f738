"""Recipe files: shipped ones by name, those that build on others, and names composed of a corpus and a model.

``emodb_hubert`` needs no file: where there is none, it is ``recipes/_models/hubert.yaml``, then the corpus, then what
this corpus does otherwise with such a model.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ser_toolkit.errors import RecipeError

#: Top-level key of a recipe file: files that it builds on, relative to itself, or names of recipes.
BASE_KEY = "_base"
#: Folder of the models, within that of the recipes.
MODELS = "_models"
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class Source:
    """A recipe file as it takes part in a command.

    Args:
        path: of the file.
        content: what it says, without the key ``_base``.
    """

    path: Path
    content: dict[str, Any]


def recipe_folder() -> Path:
    """Where shipped recipes lie: inside the installed package, or beside it in a checkout."""
    packaged = Path(str(resources.files("ser_toolkit"))) / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parent.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Recipes with a file of their own, by name."""
    return {path.stem: path for path in sorted(recipe_folder().glob("[!_]*/[!_]*.yaml"))}


def shipped_corpora() -> dict[str, Path]:
    """Files of corpora (class set and split protocol) by name: ``<corpus>/_<corpus>.yaml``."""
    return {path.parent.name: path for path in sorted(recipe_folder().glob("[!_]*/_*.yaml")) if _is_corpus(path)}


def shipped_models() -> dict[str, Path]:
    """Files of models (upstream, head, optimiser and selection) by name: ``_models/<model>.yaml``."""
    return {path.stem: path for path in sorted((recipe_folder() / MODELS).glob("[!_]*.yaml"))}


def compositions() -> dict[str, tuple[str, str]]:
    """Corpus and model by recipe name, of all recipes that need no file: ``<corpus>_<model>``."""
    written = shipped_recipes()
    names = {f"{corpus}_{model}": (corpus, model) for corpus in shipped_corpora() for model in shipped_models()}
    return {name: parts for name, parts in names.items() if name not in written}


def find_recipe(name: str) -> list[Source]:
    """The files of a recipe, those that it builds on first: later ones win.

    Args:
        name: path of a file (x.yaml), a shipped recipe, ``<corpus>_<model>``, or a model or a corpus by itself.

    Raises:
        RecipeError: there is none (the nearest names are given), or a file is missing, is not YAML or builds on itself.
    """
    return _find(name, ())


def _find(name: str, above: tuple[Path, ...]) -> list[Source]:
    if name.endswith(_ENDINGS):
        path = _moved(Path(name).expanduser())
        if not path.is_file():
            raise RecipeError(f"No recipe file at {path.resolve()}.")
        return _with_bases(path, above)
    composed = compositions()
    if name in composed:
        return _composed(*composed[name], above)
    files = shipped_corpora() | shipped_models() | shipped_recipes()
    if name not in files:
        raise RecipeError(f"Recipe {name!r} is unknown. {_advice(name)}")
    return _with_bases(files[name], above)


def _composed(corpus: str, model: str, above: tuple[Path, ...]) -> list[Source]:
    """The model, the corpus, then ``_<corpus>_<shared>.yaml`` for every file ``<shared>`` that the model is made of."""
    path, parts = shipped_corpora()[corpus], _with_bases(shipped_models()[model], above)
    stems = dict.fromkeys(source.path.stem.lstrip("_") for source in parts)
    exceptions = [path.with_name(f"_{corpus}_{stem}.yaml") for stem in stems]
    own = [path, *(file for file in exceptions if file.is_file())]
    return [*parts, *(source for file in own for source in _with_bases(file, above))]


def _with_bases(path: Path, above: tuple[Path, ...]) -> list[Source]:
    """A file behind everything that it builds on; ``above`` are the files that build on it."""
    if path.resolve() in above:
        raise RecipeError(f"{path} builds on itself: {' -> '.join(p.name for p in (*above, path))}. Mend {BASE_KEY}.")
    content = _read(path)
    bases = content.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise RecipeError(f"{path}: {BASE_KEY} should be a list of files or names of recipes, found {bases!r}.")
    found: list[Source] = []
    for base in bases:
        found += _base(path, base, (*above, path.resolve()))
    return [*found, Source(path, content)]


def _base(path: Path, base: str, above: tuple[Path, ...]) -> list[Source]:
    if not base.endswith(_ENDINGS):
        try:
            return _find(base, above)
        except RecipeError as error:
            raise RecipeError(f"{path} builds on {base}: {error}") from error
    file = _moved((path.parent / base).resolve())
    if not file.is_file():
        raise RecipeError(f"{path} builds on {base}, but there is no file at {file}.")
    return _with_bases(file, above)


def _moved(path: Path) -> Path:
    """Where a shared file lies now: what is in ``_models`` lay beside it, as ``_wavlm.yaml``."""
    now = path.parent / MODELS / path.name.removeprefix("_")
    return now if path.name.startswith("_") and not path.is_file() and now.is_file() else path


def _is_corpus(path: Path) -> bool:
    return path.stem == f"_{path.parent.name}"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not text in UTF-8: {error}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RecipeError(f"{path} should hold 'key: value' lines, found {type(content).__name__}.")
    return content


# --- what an unknown name may have meant ------------------------------------------------------------------------------


def _advice(name: str) -> str:
    """The nearest names; of a known corpus its models, of a known model the corpora."""
    corpora, models = shipped_corpora(), shipped_models()
    names = {**shipped_recipes(), **compositions(), **corpora, **models}
    corpus = max((c for c in corpora if name.startswith(f"{c}_")), key=len, default=None)
    model = max((m for m in models if name.endswith(f"_{m}")), key=len, default=None)
    if corpus is not None:
        own = [known for known, path in shipped_recipes().items() if path.parent.name == corpus]
        near = sorted([*own, *(known for known, parts in compositions().items() if parts[0] == corpus)])
        fitting = [known.removeprefix(f"{corpus}_") for known in near]
        return f"{_guess(name, near)}Models of {corpus}: {', '.join(fitting)}."
    if model is not None:
        return f"{_guess(name, [f'{c}_{model}' for c in corpora])}Corpora: {', '.join(corpora)}."
    return f"{_guess(name, names)}ser-corpus recipes lists all; a file is given by its path (x.yaml)."


def _guess(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(known), n=3)
    return f"Did you mean {' or '.join(close)}? " if close else ""
