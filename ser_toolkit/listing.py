"""What can be chosen: parts of each kind, with the first line of their docstring."""

from __future__ import annotations

from ser_toolkit.corpora.base import Corpus
from ser_toolkit.data.labels import LabelRule
from ser_toolkit.data.splits import Protocol
from ser_toolkit.downstream.frames import FrameStage
from ser_toolkit.downstream.heads import Head
from ser_toolkit.downstream.layers import LayerMix
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.features.variants import Variant
from ser_toolkit.objectives.base import Objective
from ser_toolkit.parts import subclasses, summary
from ser_toolkit.recipe import make_parser
from ser_toolkit.upstreams.base import Upstream

#: Where a kind of part is chosen in a recipe.
KINDS: dict[str, type] = {
    "data.corpus": Corpus,
    "data.labels": LabelRule,
    "data.protocol": Protocol,
    "model.frames": FrameStage,
    "model.head": Head,
    "model.layer_mix": LayerMix,
    "model.objective": Objective,
    "model.pooling": Pooling,
    "model.upstream": Upstream,
    "variants": Variant,
}


def list_parts(kind: str) -> str:
    """The parts of a kind, one line each.

    Raises:
        RecipeError: the kind is unknown.
    """
    if kind not in KINDS:
        raise RecipeError(f"There is no list for {kind!r}. {nearest(kind, KINDS)}")
    make_parser()  # imports every sibling module, so that all parts are known
    known = subclasses(KINDS[kind])
    width = max(len(name) for name in known)
    lines = [f"{kind} (choose with {kind}=NAME; options with --{kind}.help NAME):", ""]
    lines += [f"  {name:<{width}}  {summary(part)}" for name, part in known.items()]
    return "\n".join(lines) + "\n"
