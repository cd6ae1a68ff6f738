"""Run the checks of a part's kind on one class, shipped or of one's own: ``ser-train --check my_parts.MidRange``."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

# Their parts are known by their short names once they are imported.
import ser_toolkit.downstream
import ser_toolkit.objectives
import ser_toolkit.upstreams  # noqa: F401
from ser_toolkit.contracts import context_stages, frame_stages, heads, layer_mixes, objectives, poolings, upstreams
from ser_toolkit.contracts.common import CLASSES, DIM, LAYERS, Make, NotApplicable
from ser_toolkit.downstream.context import ContextStage
from ser_toolkit.downstream.frames import FrameStage
from ser_toolkit.downstream.heads import FittedHead, FrameHead, Head
from ser_toolkit.downstream.layers import LayerMix
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.errors import RecipeError, SerError, nearest
from ser_toolkit.objectives.base import Objective
from ser_toolkit.parts.finding import full_name, own_frame, subclasses
from ser_toolkit.parts.signatures import load_part
from ser_toolkit.upstreams.base import Upstream

Check = Callable[[Make], None]


@dataclass(frozen=True)
class Kind:
    """A kind of part: how it is called, the sizes that a model would give it, and its checks.

    Args:
        name: in words.
        sizes: first arguments of the constructor.
        checks: functions of a ``make``.
    """

    name: str
    sizes: tuple[int, ...]
    checks: tuple[Check, ...]


#: Kinds by base class; the most derived base that fits is taken.
KINDS: dict[type, Kind] = {
    FrameHead: Kind("head that judges frames", (DIM, CLASSES), (*heads.CHECKS, *heads.FRAME_CHECKS)),
    FittedHead: Kind("head that is fitted at once", (DIM, CLASSES), (*heads.CHECKS, *heads.FITTED_CHECKS)),
    Head: Kind("head", (DIM, CLASSES), heads.CHECKS),
    Pooling: Kind("pooling", (DIM,), poolings.CHECKS),
    ContextStage: Kind("context stage", (DIM,), context_stages.CHECKS),
    FrameStage: Kind("frame stage", (DIM,), frame_stages.CHECKS),
    LayerMix: Kind("layer mix", (LAYERS, DIM), layer_mixes.CHECKS),
    Objective: Kind("objective", (CLASSES,), objectives.CHECKS),
    Upstream: Kind("upstream", (), upstreams.CHECKS),
}


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Args:
        check: its name in words.
        state: "pass", "FAIL", or "--" where the part declares that the check has no meaning for it.
        reason: empty for "pass".
    """

    check: str
    state: str
    reason: str = ""


def kind_of(part: type) -> Kind:
    """Kind of part that a class is.

    Raises:
        RecipeError: it is none that can be checked.
    """
    for base, kind in KINDS.items():
        if issubclass(part, base):
            return kind
    bases = ", ".join(sorted(base.__name__ for base in KINDS))
    raise RecipeError(f"{full_name(part)} is no part that can be checked: expected a subclass of {bases}.")


def check_part(part: type, **options: Any) -> Iterator[Finding]:
    """Run every check of a part's kind, each on a fresh part; none behind the first one where that fails.

    Args:
        part: the class.
        options: of its constructor, behind the sizes.

    Raises:
        RecipeError: it cannot be made with these options.
    """
    kind = kind_of(part)
    make = maker(part, kind, options)
    make()
    for number, check in enumerate(kind.checks):
        finding = _checked(check, make)
        yield finding
        if number == 0 and finding.state == "FAIL":
            return


def maker(part: type, kind: Kind, options: dict[str, Any]) -> Make:
    """A function that gives a fresh part; that of an upstream takes ``frozen``, where the class does."""
    takes_frozen = "frozen" in inspect.signature(part).parameters

    def make(frozen: bool = True) -> Any:
        known = {"frozen": frozen} if takes_frozen and issubclass(part, Upstream) else {}
        return part(*kind.sizes, **(known | options))

    return make


def _checked(check: Check, make: Make) -> Finding:
    name = check.__name__.replace("_", " ")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(make)
    except NotApplicable as reason:
        return Finding(name, "--", str(reason))
    except SerError as error:
        return Finding(name, "FAIL", str(error))
    except (Exception, SystemExit) as error:  # whatever an own class raises
        first, place = (str(error).strip() or "no message").splitlines()[0], own_frame(error)
        where = "" if place is None else f" ({place[0].f_code.co_filename}, line {place[1]})"
        return Finding(name, "FAIL", f"{type(error).__name__}: {first}{where}.")
    return Finding(name, "pass")


def answer(arguments: Sequence[str], write: Callable[[str], Any]) -> bool:
    """Check a part as the command line names it, one line a check.

    Args:
        arguments: ``my_parts.MidRange`` or the short name of a shipped part, then options as ``key=value``.
        write: takes each line.

    Returns:
        Whether nothing failed.

    Raises:
        RecipeError: there is no such class, or it cannot be made.
    """
    names = [argument for argument in arguments if "=" not in argument]
    if len(names) != 1:
        raise RecipeError(f"--check takes one class, such as my_parts.MidRange, found {', '.join(names) or 'none'}.")
    part, options = _find(names[0]), _options(arguments)
    kind, began = kind_of(part), time.monotonic()
    _check_options(part, kind, options)
    write(f"{names[0]}, {'an' if kind.name[0] in 'aou' else 'a'} {kind.name}: {len(kind.checks)} checks\n")
    findings = []
    for finding in check_part(part, **options):
        findings.append(finding)
        write(f"  {finding.state:<4}  {finding.check}{': ' if finding.reason else ''}{finding.reason}\n")
    failed = sum(finding.state == "FAIL" for finding in findings)
    passed = sum(finding.state == "pass" for finding in findings)
    rest = len(kind.checks) - len(findings)
    waiting = f"{rest} wait for the first, " if rest else ""
    write(f"{passed} passed, {failed} failed, {waiting}{time.monotonic() - began:.1f} s\n")
    return not failed


def _find(name: str) -> type:
    if "." in name:
        found = load_part("--check", name)
        if found is None:
            raise RecipeError(f"--check {name} is no class.")
        return found
    known: dict[str, type] = {}
    for base in KINDS:
        known |= subclasses(base)
    if name not in known:
        raise RecipeError(
            f"--check {name}: there is no such part. {nearest(name, known)} A class of yours is given as module.Class."
        )
    return known[name]


def _options(arguments: Sequence[str]) -> dict[str, Any]:
    """``bottleneck_dim=3`` as YAML reads it."""
    pairs = (argument.removeprefix("--").partition("=") for argument in arguments if "=" in argument)
    try:
        return {key: yaml.safe_load(value) for key, _, value in pairs}
    except yaml.YAMLError as error:
        raise RecipeError(f"--check: an option is no YAML value ({str(error).splitlines()[0]}).") from error


def _check_options(part: type, kind: Kind, options: dict[str, Any]) -> None:
    parameters = list(inspect.signature(part).parameters.values())[len(kind.sizes) :]
    known = {parameter.name: parameter for parameter in parameters}
    for name in options:
        if name not in known:
            raise RecipeError(f"{full_name(part)} has no option {name!r}. {nearest(name, known)}")
    if "frozen" in options and issubclass(part, Upstream):
        raise RecipeError("--check makes an upstream frozen and, where it can be trained, unfrozen. Leave frozen out.")
    for name, parameter in known.items():
        if (
            parameter.default is parameter.empty
            and name not in options
            and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ):
            raise RecipeError(f"{full_name(part)} needs {name}: add {name}=VALUE behind --check {full_name(part)}.")
