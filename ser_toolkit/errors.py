"""Errors that a user can mend. Each message tells what was found, what was expected, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ser_toolkit.terms import listed


class SerError(Exception):
    """A mistake that a user can mend: the command line prints it as one line and exits with code 2."""


class CorpusError(SerError):
    """A corpus folder is not what its documentation describes."""


class AudioError(SerError):
    """A recording cannot be used as it is."""


class ManifestError(SerError):
    """A table of utterances is inconsistent."""


class SplitError(SerError):
    """A split protocol cannot be applied, or would leak."""


class RecipeError(SerError):
    """A recipe, part or option is unknown or contradictory."""


class CheckpointError(SerError):
    """Stored weights do not belong to this model, or cannot be read safely."""


class StoreError(SerError):
    """Stored features are missing or damaged."""


class TrainingError(SerError):
    """Training cannot go on (a loss that is not a number, a class without examples)."""


class BusyError(SerError):
    """Another process is at work on the same files."""


class ContractError(SerError):
    """A part does not keep to what is demanded of every part of its kind."""


class ResultError(SerError):
    """Stored predictions are missing, damaged or cannot be put together."""


class RunWarning(UserWarning):
    """Warning about a run that is used: folds that are missing, or code that has changed since."""


#: Known names that an error lists: s3prl's hub alone has two hundred.
MOST_NAMES = 60


def nearest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Say which known names are nearest to an unknown one.

    >>> nearest("MaxPoolin", ["MaxPooling", "MeanPooling", "LinearHead"])
    'Did you mean MaxPooling or MeanPooling? Known: LinearHead, MaxPooling, MeanPooling.'
    """
    names = sorted(set(known))
    lowered = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=limit, cutoff=0.6)
    guess = f"Did you mean {' or '.join(lowered[match] for match in close)}? " if close else ""
    if close and len(names) > MOST_NAMES:
        return f"{guess}{len(names)} names are known."
    return f"{guess}Known: {listed(names, MOST_NAMES, more=', ... and {} more') or 'none'}."
