"""Lists of parts: complete, one line each, and questions about what does not exist."""

from __future__ import annotations

import pytest

from ser_toolkit.config.listing import KINDS, answer, list_parts
from ser_toolkit.config.schema import make_parser
from ser_toolkit.errors import RecipeError
from ser_toolkit.parts.finding import subclasses, summary


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_part_of_a_kind_has_its_line(kind: str) -> None:
    lines = list_parts(kind).splitlines()
    assert lines[0] == f"{kind} (choose with {kind}=NAME; options with --{kind}.help NAME):"
    assert lines[1] == ""
    known: dict[str, type] = subclasses(KINDS[kind])
    assert [line.split()[0] for line in lines[2:]] == list(known)
    assert all(summary(part) in line for line, part in zip(lines[2:], known.values(), strict=True))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_is_a_key_of_the_parser_and_its_short_names_are_understood(kind: str) -> None:
    parser = make_parser()
    assert kind in {action.dest for action in parser._actions}
    assert subclasses(KINDS[kind])


def test_shipped_parts_say_what_they_are() -> None:
    for kind, base in KINDS.items():
        for name, part in subclasses(base).items():
            if part.__module__.startswith("ser_toolkit."):
                assert len(summary(part)) > 10, f"{kind} {name} has no summary"
                assert summary(part).endswith((".", ":")), f"{kind} {name}: {summary(part)}"


def test_questions() -> None:
    assert answer(["recipe=demo", "fold=2"]) is None
    assert answer(["--trainer.logger.help"]) is None, "the parser answers"
    assert answer(["--model.pooling.help", "MaxPooling"]) is None, "the parser answers"
    assert answer(["--model.pooling.help=maxpooling"]) is None
    listed = list_parts("model.pooling")
    assert answer(["--model.pooling.help"]) == listed
    assert answer(["--model.pooling.help", "recipe=demo"]) == listed
    assert answer(["recipe=demo", "--model.pooling.help"]) == listed
    with pytest.raises(RecipeError, match="Did you mean MaxPooling"):
        answer(["--model.pooling.help", "MaxPoolin"])
    with pytest.raises(RecipeError, match=r"Did you mean model\.pooling"):
        answer(["--model.poolin.help"])
