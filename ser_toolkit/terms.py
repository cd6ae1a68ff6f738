"""Terms of the field and phrases that every room shares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

#: Emotion dimensions, in the order of every tensor, table and report.
DIMENSIONS = ("valence", "arousal", "dominance")
#: Class index of an utterance without label.
MISSING_LABEL = -1
#: Votes or shares that differ by no more are equal.
TIE = 1e-6
#: Name of the features variant that changes nothing.
PLAIN = "plain"
#: Type of number in which an upstream computes.
Precision = Literal["float32", "bfloat16"]
#: Object of JSON, of which reports and records are made.
Json = dict[str, Any]


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key under which fold 10 comes after fold 9; names of equal numbers (1 and 01) are told apart by their text.

    >>> sorted(["fold10", "fold9", "b"], key=natural_key)
    ['b', 'fold9', 'fold10']
    """
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], name


def listed(names: Iterable[object], at_most: int = 5, separator: str = ", ", more: str = "") -> str:
    """The first names, and how many more there are.

    >>> listed("abcde", 3), listed("abcde", 3, "; "), listed("abcde", 3, more=", ..."), listed("ab", 3)
    ('a, b, c and 2 more', 'a; b; c; and 2 more', 'a, b, c, ...', 'a, b')

    Args:
        names: in order.
        at_most: number of names that are shown.
        separator: text between two names.
        more: text behind the last name where some are not shown, ``{}`` being their number.
    """
    every = [str(name) for name in names]
    more = more or ("; and {} more" if separator == "; " else " and {} more")
    return separator.join(every[:at_most]) + (more.format(len(every) - at_most) if len(every) > at_most else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "recording"), counted(0, "file"), counted(2, "class", "classes")
    ('1 recording', '0 files', '2 classes')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
