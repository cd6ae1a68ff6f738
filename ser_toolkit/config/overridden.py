"""Settings that would have no effect, because what is tried inside the folds sets the same keys afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ser_toolkit.config.arguments import COMMAND_LINE, Command, Level, plain_key
from ser_toolkit.config.selection import Selection
from ser_toolkit.errors import RecipeError

#: Keys that only the stage with a trained upstream reads: in a run of two stages, the first.
_FIRST_STAGE_ONLY = ("model.upstream_lr",)


def check_effect(
    command: Command, selection: Selection, tuning: Sequence[str], applied: Callable[[str], Mapping[str, Any]]
) -> list[str]:
    """Refuse a setting that ``selection.candidates``, ``selection.space`` or ``tuning`` overwrites in every unit.

    A setting counts as overwritten when it was given after what is tried: on the command line or in a file that
    builds on the recipe with the candidates. A file may give a value beside its own candidates (it holds once they are
    switched off), and a command may give one that some of its own candidates leave alone.

    Args:
        command: of the user.
        selection: as the arguments resolve it.
        tuning: overrides of the first of two stages, likewise; nothing is searched there.
        applied: the resolved configuration, as plain data, with overrides (separated by blanks) on top.

    Returns:
        Sentences on settings of the command line that hold in one of two stages alone.

    Raises:
        RecipeError: a setting has no effect; it, what overwrites it, and what to do instead are named.
    """
    levels, first_stage = command.levels, _keys(" ".join(tuning))
    notes = []
    for level, key, refusal in _searched(levels, selection, applied):
        if not tuning or key in first_stage:
            raise RecipeError(refusal)
        notes.append(f"{key}={level.values[key]} holds in the first stage; in the second, dev chooses another value")
    given = levels[-1].values
    for key, value in first_stage.items():
        if key in given and key in _FIRST_STAGE_ONLY:
            raise RecipeError(
                f"{key}={given[key]} would have no effect: tuning sets {key}={value} in the first stage, and the "
                "second does not train the upstream. Leave it out, or give tuning=[...] with your value."
            )
        if key in given:
            notes.append(f"{key}={given[key]} holds in the second stage; in the first, tuning sets {key}={value}")
    return notes


def _searched(
    levels: Sequence[Level], selection: Selection, applied: Callable[[str], Mapping[str, Any]]
) -> Iterator[tuple[Level, str, str]]:
    """Settings that candidates, space or tuning overwrite: level, key, and the explanation."""
    if not selection.searches:
        return
    trials = [_keys(candidate) for candidate in selection.candidates] or [dict(selection.space)]
    what = "selection.candidates" if selection.candidates else "selection.space"
    place = max((n for n, level in enumerate(levels) if _gives(level, what)), default=0)
    for level in levels[place:]:
        own = level is levels[place]
        if own and level.name != COMMAND_LINE:
            continue
        for key, value in level.values.items():
            changed = [_overwrites(trial, key, applied) for trial in trials]
            if all(changed) if own else any(changed):
                yield level, key, _refusal(level, key, value, what, levels[place].name, trials)


def without_keys(candidates: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Candidates without their overrides of keys (and of what lies below them), each once.

    >>> without_keys(["model.head.C=1 trainer.max_epochs=2", "model.head.C=2 trainer.max_epochs=2"], ["model.head"])
    ['trainer.max_epochs=2']
    """
    plain = [plain_key(key) for key in keys]

    def is_other(override: str) -> bool:
        own = plain_key(override.partition("=")[0])
        return not any(own == key or own.startswith(f"{key}.") for key in plain)

    return list(dict.fromkeys(" ".join(filter(is_other, candidate.split())) for candidate in candidates))


def _gives(level: Level, what: str) -> bool:
    return any(key == what or key.startswith(f"{what}.") for key in level.values)


def _overwrites(trial: Mapping[str, str], key: str, applied: Callable[[str], Mapping[str, Any]]) -> bool:
    """Whether a trial sets the key, or replaces the part that the key is an option of, so that its value is lost."""
    if key in trial:
        return True
    above = [f"{name}={value}" for name, value in trial.items() if key.startswith(f"{name}.")]
    # an option that the new part has too is carried over to it
    return bool(above) and _value(applied(" ".join(above)), key) != _value(applied(""), key)


def _value(config: Mapping[str, Any], key: str) -> Any:
    found: Any = config
    for name in key.split("."):
        if isinstance(found, Mapping) and name not in found and "init_args" in found:
            found = found["init_args"]
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _refusal(level: Level, key: str, value: Any, what: str, source: str, trials: Sequence[Mapping[str, str]]) -> str:
    where = "" if level.name == COMMAND_LINE else f" in {level.name}"
    of = "" if source == COMMAND_LINE else f" of {source}"
    tried = [f"{name}={text}" for trial in trials for name, text in trial.items() if f"{key}.".startswith(f"{name}.")]
    listed = ", ".join(dict.fromkeys(tried[:4])) + (", ..." if len(tried) > 4 else "")
    none = "selection.candidates=[]" if what.endswith("candidates") else "selection.space={} selection.trials=null"
    return (
        f"{key}={value}{where} would have no effect: {what}{of} sets it in every fold ({listed}). Leave it out, or "
        f"search nothing with {none}; to search among other values give {what}=... anew, or ser-sweep {key}=A,B."
    )


def _keys(overrides: str) -> dict[str, str]:
    """Overrides separated by blanks, by key."""
    pairs = (override.partition("=") for override in overrides.split())
    return {plain_key(key): value for key, _, value in pairs}
