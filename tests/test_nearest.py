"""Errors name the nearest known names, and do not drown them in a list."""

from __future__ import annotations

from ser_toolkit.errors import MOST_NAMES, nearest

MANY = [f"hubert_{number:03d}" for number in range(MOST_NAMES + 2)]


def test_a_short_list_is_given_whole() -> None:
    assert (
        nearest("MaxPoolin", ["MaxPooling", "LinearHead"]) == "Did you mean MaxPooling? Known: LinearHead, MaxPooling."
    )


def test_a_long_list_is_counted_when_something_is_near_and_cut_when_nothing_is() -> None:
    assert nearest("hubert_00", MANY).endswith(f"? {len(MANY)} names are known.")
    said = nearest("xyz", MANY)
    assert said.endswith(", ... and 2 more.")
    assert MANY[MOST_NAMES - 1] in said
    assert MANY[MOST_NAMES] not in said


def test_nothing_known_is_said() -> None:
    assert nearest("x", []) == "Known: none."
