"""``ser-train --KIND.help NAME``: works for every shipped part, and says what each of its options means."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io

import docstring_parser
import pytest

from ser_toolkit.config.listing import KINDS
from ser_toolkit.config.parser import RecipeParser
from ser_toolkit.config.schema import make_parser
from ser_toolkit.downstream.pooling import MeanPooling
from ser_toolkit.parts.finding import subclasses, summary

#: Arguments that the model fills in: they are documented, but no option.
INJECTED = {
    "model.conditioning": {"input_dim"},
    "model.context": {"input_dim"},
    "model.frames": {"input_dim"},
    "model.fusion": {"shapes", "layer_mix", "frames", "pooling"},
    "model.head": {"input_dim", "num_classes"},
    "model.layer_mix": {"num_layers", "feature_dim"},
    "model.objective": {"num_classes"},
    "model.optimizer": {"params"},
    "model.pooling": {"input_dim"},
}
#: The one kind that may be null: jsonargparse lists what is injected where a type is ``Callable[...] | None``.
SHOWN = "model.conditioning"


@functools.cache
def parser() -> RecipeParser:
    return make_parser()


def shipped() -> list:
    parser()  # imports every sibling module
    found = []
    for kind, base in KINDS.items():
        known: dict[str, type] = subclasses(base)
        own = {name: part for name, part in known.items() if part.__module__.startswith("ser_toolkit.")}
        found += [pytest.param(kind, part, id=f"{kind}-{name}") for name, part in own.items()]
    return found


def options(kind: str, part: type) -> list[str]:
    """The constructor's arguments that a recipe sets."""
    return [name for name in inspect.signature(part).parameters if name not in INJECTED.get(kind, set())]


def described(part: type) -> dict[str, str]:
    """What the docstring says of each argument."""
    said = docstring_parser.parse(inspect.getdoc(part) or "").params
    return {one.arg_name: one.description or "" for one in said}


def squeezed(text: str) -> str:
    """Without white space, which depends on the width of the terminal."""
    return "".join(text.split())


def help_of(kind: str, name: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as left:
        parser().parse_args([f"--{kind}.help", name])
    assert left.value.code in (0, None)
    return said.getvalue()


def test_there_are_parts_of_every_kind_but_torchs_own() -> None:
    kinds = {param.values[0] for param in shipped()}
    assert set(KINDS) - kinds == {"model.lr_scheduler"}


@pytest.mark.parametrize(("kind", "part"), shipped())
def test_the_docstring_describes_exactly_the_arguments_of_the_constructor(kind: str, part: type) -> None:
    found = described(part)
    assert list(found) == list(inspect.signature(part).parameters), "documented in another order, or not all"
    assert all(len(text) > 3 for text in found.values()), "an argument without a description"
    assert INJECTED.get(kind, set()) <= set(found)


@pytest.mark.parametrize(("kind", "part"), shipped())
def test_help_says_what_the_part_is_and_what_every_option_means(kind: str, part: type) -> None:
    said = help_of(kind, part.__name__)
    if not options(kind, part):
        assert f"--{kind}." not in said.replace(f"--{kind}.help", "")
        return
    assert squeezed(summary(part)).rstrip(".:") in squeezed(said)
    for name in options(kind, part):
        assert f"--{kind}.{name} " in said
        assert squeezed(described(part)[name]).rstrip(".") in squeezed(said), name
    if kind != SHOWN:
        assert not [name for name in INJECTED.get(kind, ()) if f"--{kind}.{name} " in said], "injected, and no option"


def test_the_signature_of_a_part_is_that_of_its_constructor() -> None:
    """Some Python versions would take that of the inherited ``__new__``; an object, which is called, has another."""
    assert list(MeanPooling.__signature__.parameters) == ["input_dim"]
    assert not hasattr(MeanPooling(4), "__signature__")
