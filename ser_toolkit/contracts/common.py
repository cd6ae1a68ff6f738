"""Shared code of the checks: small inputs with padding, parts with random weights, comparisons with messages."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ser_toolkit.data.batch import Outputs
from ser_toolkit.downstream.heads import FittedHead
from ser_toolkit.errors import ContractError

#: Gives a fresh part, with the sizes below and the options that are checked; that of an upstream takes ``frozen``.
Make = Callable[..., Any]
LAYERS, DIM, CLASSES = 4, 6, 5
LENGTHS = torch.tensor([3, 11, 1, 8])
TOLERANCE = 1e-5
#: Values put behind the end of utterances: none may change a result.
BEHIND: tuple[float | str, ...] = (0.0, "garbage", float("nan"), float("inf"), -5.0)
MASK = "Mask what lies behind lengths first: frames.masked_fill(~valid_mask(lengths, frames.shape[1])[..., None], 0)."


class NotApplicable(Exception):  # noqa: N818  (no error: a reason)
    """Raised by a check that does not apply to the part."""


def require(condition: object, message: str) -> None:
    """Raise ContractError with the message unless the condition holds."""
    if not condition:
        raise ContractError(message)


def refusal(expected: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]) -> Exception | None:
    """Error of an expected class that a call raises; None where the call gives something."""
    try:
        call()
    except expected as error:
        return error
    return None


def same(found: Tensor, expected: Tensor, what: str, tolerance: float = TOLERANCE, advice: str = "") -> None:
    """Demand equal shapes, finite values and differences that are small beside the largest value."""
    shapes = f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    require(found.shape == expected.shape, f"{what}: {shapes}. {advice}".strip())
    require(found.isfinite().all(), f"{what}: values that are not finite. {advice}".strip())
    largest, apart = expected.abs().max(), (found - expected).abs().max()
    relative = f"differs by {float(apart):.2g} where values reach {float(largest):.2g}"
    require(apart <= tolerance * largest + 1e-12, f"{what}: {relative} ({tolerance:g} of it may be). {advice}".strip())


def shaken(module: Any) -> Any:
    """The module with every weight and running statistic away from its start value, in evaluation mode."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return module.eval()


def frames(*, behind: float | str = 0.0, longer: int = 0) -> Tensor:
    """Frames (4, T, D) of LENGTHS; behind the lengths stand zeros, a number, or garbage."""
    noise = torch.Generator().manual_seed(0)
    out = torch.zeros(len(LENGTHS), int(LENGTHS.max()) + longer, DIM)
    for row, length in zip(out, LENGTHS, strict=True):
        row[:length] = torch.randn(int(length), DIM, generator=noise)
        row[length:] = 1e3 * torch.randn_like(row[length:]) if isinstance(behind, str) else behind
    return out


def padding_changes_no_vector(pool: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Demand the same vector alone, in a batch, permuted, and whatever stands behind the lengths."""
    valid = frames()
    alone = torch.cat([pool(row[None, :n], n[None]) for row, n in zip(valid, LENGTHS, strict=True)])
    for behind in BEHIND:
        what = f"vectors in a padded batch ({behind} behind the end), against each utterance alone"
        same(pool(frames(behind=behind, longer=4), LENGTHS), alone, what, advice=MASK)
    order = torch.tensor([2, 0, 3, 1])
    found = pool(frames(behind="garbage")[order], LENGTHS[order])
    same(found, alone[order], "vectors of a permuted batch", advice=MASK)


def padding_changes_no_frame(stage: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Demand the same valid frames alone, in a batch, and whatever stands behind the lengths."""
    alone = [stage(row[None, :n], n[None]) for row, n in zip(frames(), LENGTHS, strict=True)]
    for behind in BEHIND[:3]:
        values, lengths = stage(frames(behind=behind, longer=5), LENGTHS)
        what = f"frames in a padded batch ({behind} behind the end), against each utterance alone"
        for row, length, (own, own_length) in zip(values, lengths, alone, strict=True):
            counts = (int(length), int(own_length), own.shape[1])
            require(len(set(counts)) == 1, f"an utterance has {counts[0]} frames in a batch, {counts[1]} alone.")
            same(row[:length], own[0], what, advice=MASK)


def garbage_gets_no_gradient(values: Tensor) -> None:
    """Demand a gradient of frames that is finite, nothing behind the end and something before it."""
    gradient = values.grad
    if gradient is None:
        raise ContractError("frames get no gradient at all: nothing before this part could learn.")
    require(gradient.isfinite().all(), f"the gradient is not finite where NaN stands behind the end. {MASK}")
    for row, length in zip(gradient, LENGTHS, strict=True):
        require(row[length:].abs().sum() == 0, f"frames behind the end get a gradient. {MASK}")
        require(row[:length].abs().sum() > 0, "the frames of an utterance get no gradient.")


def gradients_reach(module: nn.Module, *inputs: Tensor) -> None:
    """Demand that each parameter gets a gradient that is finite and not zero everywhere."""
    if not list(module.parameters()):
        return
    torch.manual_seed(3)
    total = torch.stack([(tensor * torch.randn_like(tensor)).sum() for tensor in _tensors(module(*inputs))]).sum()
    total.backward()
    for name, parameter in module.named_parameters():
        gradient = parameter.grad
        if gradient is None or not gradient.abs().max() > 0:
            raise ContractError(f"the weight {name} gets no gradient: it is not used, or what uses it is cut off.")
        require(gradient.isfinite().all(), f"the gradient of {name} is not finite.")


def _tensors(out: Any) -> Iterator[Tensor]:
    if isinstance(out, Outputs):
        yield from (value for value in vars(out).values() if value is not None)
    else:
        yield out[0] if isinstance(out, tuple) else out


def gradients_are_right(function: Callable[..., Any], *inputs: Tensor, fast: bool = False) -> None:
    """Demand gradients that finite differences confirm; inputs are float64 and need gradients."""
    try:
        # fast mode checks a random projection of the Jacobian: the full one may be large
        torch.autograd.gradcheck(function, inputs, fast_mode=fast)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0].rstrip(",")
        raise ContractError(
            f"gradients are not those of finite differences in float64 ({first}): something is cut off (detach, "
            "no_grad, rounding) or cast to float32."
        ) from None


def reloaded(module: nn.Module, make: Make) -> Any:
    """A fresh part with the weights of ``module``, by way of a file that holds nothing but tensors."""
    torch.manual_seed(17)  # what is drawn at the start is drawn otherwise, as in another process
    fresh = make()
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    if isinstance(fresh, FittedHead):
        fresh.match_shapes(state)
    fresh.load_state_dict(state)
    return fresh.eval()


def equal_again(found: Tensor, expected: Tensor) -> None:
    """Demand bitwise equality behind saving and loading."""
    require(
        torch.equal(found, expected),
        "stored weights give another result: what the result depends on must be a parameter or a registered buffer.",
    )
