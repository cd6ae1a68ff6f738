"""Lists of what can be chosen: parts of each kind, with the first line of their docstring, and the options of one."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ser_toolkit.config.schema import make_parser
from ser_toolkit.corpora.base import Corpus
from ser_toolkit.data.labels import LabelRule
from ser_toolkit.downstream.conditioning import Conditioning
from ser_toolkit.downstream.context import ContextStage
from ser_toolkit.downstream.frames import FrameStage
from ser_toolkit.downstream.fusion import Fusion
from ser_toolkit.downstream.heads import Head
from ser_toolkit.downstream.layers import LayerMix
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.features.variants import Variant
from ser_toolkit.objectives.base import Objective
from ser_toolkit.parts.finding import by_name, subclasses, summary
from ser_toolkit.protocols.splits import Protocol
from ser_toolkit.upstreams.base import Upstream

#: Where a kind of part is chosen in a recipe.
KINDS: dict[str, type] = {
    "data.corpus": Corpus,
    "data.labels": LabelRule,
    "data.protocol": Protocol,
    "model.conditioning": Conditioning,
    "model.context": ContextStage,
    "model.frames": FrameStage,
    "model.fusion": Fusion,
    "model.head": Head,
    "model.layer_mix": LayerMix,
    "model.lr_scheduler": LRScheduler,
    "model.objective": Objective,
    "model.optimizer": Optimizer,
    "model.pooling": Pooling,
    "model.upstream": Upstream,
    "variants": Variant,
}


def answer(arguments: Sequence[str]) -> str | None:
    """The answer to ``--model.pooling.help`` (all poolings) or, checked only, ``--model.pooling.help NAME``.

    Returns:
        The list, or None when this is no such question, or one that the parser answers by itself.

    Raises:
        RecipeError: the kind or the part is unknown.
    """
    asked = [number for number, argument in enumerate(arguments) if _kind(argument)]
    if not asked or _kind(arguments[asked[0]]).startswith("trainer."):
        return None
    argument, following = arguments[asked[0]], [*arguments[asked[0] + 1 :], ""][0]
    kind, name = _kind(argument), argument.partition("=")[2] or following
    if not name or name.startswith("-") or "=" in name:
        return list_parts(kind)
    make_parser()  # imports every sibling module, so that all parts are known
    if kind in KINDS and "." not in name:
        by_name(KINDS[kind], name)
    return None


def list_parts(kind: str) -> str:
    """List the parts of a kind, one line each.

    Raises:
        RecipeError: the kind is unknown.
    """
    if kind not in KINDS:
        raise RecipeError(f"There is no list for {kind!r}. {nearest(kind, KINDS)}")
    make_parser()
    known: dict[str, type] = subclasses(KINDS[kind])
    width = max(len(name) for name in known)
    lines = [f"{kind} (choose with {kind}=NAME; options with --{kind}.help NAME):", ""]
    lines += [f"  {name:<{width}}  {summary(part)}" for name, part in known.items()]
    return "\n".join(lines) + "\n"


def _kind(argument: str) -> str:
    """``--model.pooling.help`` -> ``model.pooling``; empty for everything else."""
    key = argument.partition("=")[0].removeprefix("--")
    return key.removesuffix(".help") if key.endswith(".help") else ""
