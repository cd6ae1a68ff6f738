"""Recipe files: shipped ones by name, those that build on others, and names composed of a corpus, a model and a task.

``emodb_hubert`` needs no file: where there is none, it is ``recipes/_models/hubert.yaml``, then the corpus, then what
this corpus does otherwise with such a model. ``iemocap_hubert_vad`` is ``iemocap_hubert``, then
``recipes/_tasks/vad.yaml``, then what such a model and this corpus do otherwise in this task.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ser_toolkit.errors import RecipeError

#: Top-level key of a recipe file: files that it builds on, relative to itself, or names of recipes.
BASE_KEY = "_base"
#: Folders of the models and of the tasks, within that of the recipes.
MODELS, TASKS = "_models", "_tasks"
#: Top-level keys about tasks: what a corpus has beside classes (``ratings``), what of it a task needs, and which tasks
#: a model goes with (all where it names none).
HAS_KEY, NEEDS_KEY, TASKS_KEY = "_has", "_needs", "_tasks"
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class Source:
    """A recipe file as it takes part in a command.

    Args:
        path: of the file.
        content: its settings, without the keys that begin with an underscore.
        about: those keys, but for ``_base``.
    """

    path: Path
    content: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)


def recipe_folder() -> Path:
    """Where shipped recipes lie: inside the installed package, or beside it in a checkout."""
    packaged = Path(str(resources.files("ser_toolkit"))) / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "recipes"


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


def shipped_tasks() -> dict[str, Path]:
    """Files of tasks (head, objective and selection) by name: ``_tasks/<task>.yaml``."""
    return {path.stem: path for path in sorted((recipe_folder() / TASKS).glob("[!_]*.yaml"))}


def find_recipe(name: str) -> list[Source]:
    """The files of a recipe, those that it builds on first: later ones win.

    Args:
        name: path of a file (x.yaml), a shipped recipe, ``<corpus>_<model>``, or a model or a corpus by itself; behind
            each but the corpus ``_<task>``.

    Raises:
        RecipeError: there is none (the nearest names are given), a file is missing, is not YAML or builds on itself, or
            corpus or model do not go with the task.
    """
    return _find(name, ())


def _find(name: str, above: tuple[Path, ...]) -> list[Source]:
    if name.endswith(_ENDINGS):
        path = Path(name).expanduser()
        if not path.is_file():
            raise RecipeError(f"No recipe file at {path.resolve()}.")
        return _with_bases(path, above)
    composed = compositions()
    if name in composed:
        return _composed(*composed[name], above)
    files = shipped_corpora() | shipped_models() | shipped_recipes()
    if name in files:
        return _with_bases(files[name], above)
    task = next((task for task in shipped_tasks() if name.endswith(f"_{task}")), None)
    rest = name.removesuffix(f"_{task}")
    if task is not None and (rest in composed or rest in shipped_models() | shipped_recipes()):
        return _for_task(rest, task, above)
    if name in shipped_tasks() or (task is not None and rest in shipped_corpora()):
        alone = name if task is None else task
        raise RecipeError(
            f"Recipe {name!r} is unknown. {alone} is a task: write it behind a model, "
            f"recipe=CORPUS_MODEL_{alone} or recipe=MODEL_{alone}."
        )
    raise RecipeError(f"Recipe {name!r} is unknown. {_advice(rest) if task else _advice(name)}")


def _for_task(name: str, task: str, above: tuple[Path, ...]) -> list[Source]:
    """A recipe, the task, then ``_tasks/_<shared>_<task>.yaml`` and ``_<corpus>_<task>.yaml`` where there are such."""
    sources, path = _find(name, above), shipped_tasks()[task]
    own = _with_bases(path, above)
    _check_task(name, task, sources, own)
    places = [path.with_name(f"_{stem}_{task}.yaml") for stem in _stems(sources)]
    folders = dict.fromkeys(source.path.parent for source in sources)
    places += [folder / f"_{folder.name}_{task}.yaml" for folder in folders]
    return [*sources, *own, *(one for file in places if file.is_file() for one in _with_bases(file, above))]


def _check_task(name: str, task: str, sources: list[Source], own: list[Source]) -> None:
    """Refuse a task that corpus or model do not go with; a model alone waits for its corpus."""
    for source in sources:
        allowed = source.about.get(TASKS_KEY)
        if allowed is not None and task not in allowed:
            others = [model for model in shipped_models() if _goes_with(model, task)]
            raise RecipeError(
                f"{name} is a model of classes alone ({source.path.name}), so that there is no {name}_{task}. Models "
                f"for it: {', '.join(others)}."
            )
    has = {word for source in sources for word in source.about.get(HAS_KEY, [])}
    lacking = [word for source in own for word in source.about.get(NEEDS_KEY, []) if word not in has]
    if lacking and any((source.content.get("data") or {}).get("corpus") for source in sources):
        rated = [one for one, path in shipped_corpora().items() if set(lacking) <= set(_read(path).get(HAS_KEY, []))]
        raise RecipeError(
            f"{name}_{task} needs {' and '.join(lacking)} of valence, arousal or dominance, which this corpus does not "
            f"have. Corpora with them: {', '.join(rated)}; a table of your own: recipe=MODEL_{task}."
        )


def _goes_with(model: str, task: str) -> bool:
    given = [source.about[TASKS_KEY] for source in _find(model, ()) if TASKS_KEY in source.about]
    return all(task in allowed for allowed in given)


def _stems(sources: Iterable[Source]) -> list[str]:
    """Names of the files that a recipe is made of, each once."""
    return list(dict.fromkeys(source.path.stem.lstrip("_") for source in sources))


def _composed(corpus: str, model: str, above: tuple[Path, ...]) -> list[Source]:
    """The model, the corpus, then ``_<corpus>_<shared>.yaml`` for every file ``<shared>`` that the model is made of."""
    path, parts = shipped_corpora()[corpus], _with_bases(shipped_models()[model], above)
    exceptions = [path.with_name(f"_{corpus}_{stem}.yaml") for stem in _stems(parts)]
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
    about = {key: content.pop(key) for key in (HAS_KEY, NEEDS_KEY, TASKS_KEY) if key in content}
    return [*found, Source(path, content, about)]


def _base(path: Path, base: str, above: tuple[Path, ...]) -> list[Source]:
    if not base.endswith(_ENDINGS):
        try:
            return _find(base, above)
        except RecipeError as error:
            raise RecipeError(f"{path} builds on {base}: {error}") from error
    file = (path.parent / base).resolve()
    if not file.is_file():
        raise RecipeError(f"{path} builds on {base}, but there is no file at {file}.")
    return _with_bases(file, above)


def _is_corpus(path: Path) -> bool:
    return path.stem == f"_{path.parent.name}"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not text in UTF-8: {error}.") from error
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
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
    whole = name.removesuffix(f"_{model}")
    if model is not None and whole in shipped_recipes():
        return f"{whole} is a recipe by itself: recipe={whole} recipe={model} takes this model."
    if model is not None:
        return f"{_guess(name, [f'{c}_{model}' for c in corpora])}Corpora: {', '.join(corpora)}."
    return f"{_guess(name, names)}ser-corpus recipes lists all; a file is given by its path (x.yaml)."


def _guess(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(known), n=3)
    return f"Did you mean {' or '.join(close)}? " if close else ""
