"""What every layer mix, frame stage, pooling and head must keep to. A new part is tested on the day it is added."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ser_toolkit.downstream  # noqa: F401  (imports every part, so that the walk finds it)
from ser_toolkit.contracts import context_stages, frame_stages, heads, layer_mixes, poolings
from ser_toolkit.contracts.common import (
    DIM,
    LAYERS,
    LENGTHS,
    Make,
    NotApplicable,
    padding_changes_no_vector,
    same,
    shaken,
)
from ser_toolkit.contracts.run import Check, kind_of, maker
from ser_toolkit.data.batch import STREAM, Frames, pad_sequences, stack_moments
from ser_toolkit.data.reduction import ORDER, moments_of
from ser_toolkit.downstream.branch import Branch, reduction
from ser_toolkit.downstream.context import ContextStage
from ser_toolkit.downstream.frames import FrameStage, LinearReLU, MelCNN
from ser_toolkit.downstream.heads import FittedHead, FrameHead, Head, MLPHead, MultiTaskHead, RegressionHead
from ser_toolkit.downstream.layers import ConcatenateLayers, LayerMix, SingleLayer, WeightedSum
from ser_toolkit.downstream.order import MomentPooling
from ser_toolkit.downstream.pooling import AttentiveStatisticsPooling, MeanMaxPooling, Pooling, StatisticsPooling
from ser_toolkit.errors import ContractError, RecipeError
from ser_toolkit.parts.finding import subclasses, summary


def cases(base: type, *options: tuple[type, dict[str, Any]]) -> list:
    """Every shipped part with its defaults, and some with other options."""
    shipped = [part for part in subclasses(base).values() if part.__module__.startswith("ser_toolkit.")]
    defaults = [pytest.param(part, {}, id=part.__name__) for part in shipped]
    return defaults + [
        pytest.param(part, kwargs, id=f"{part.__name__}-{'-'.join(f'{k}={v}' for k, v in kwargs.items())}")
        for part, kwargs in options
    ]


MIXES = cases(
    LayerMix,
    (SingleLayer, {"layer": 1}),
    (WeightedSum, {"layer_norm": True}),
    (ConcatenateLayers, {"layers": [2, 0]}),
)
SMALL_CNN = {"channels": (3, 4), "kernel_size": 5, "pool_time": 3, "input_norm": False}
STAGES = cases(FrameStage, (LinearReLU, {"dim": 7, "dropout": 0.3}), (MelCNN, SMALL_CNN))
POOLINGS = cases(
    Pooling,
    (MeanMaxPooling, {"combine": "add"}),
    (StatisticsPooling, {"unbiased": True}),
    (MomentPooling, {"order": 1}),
    (MomentPooling, {"order": 2}),
    (AttentiveStatisticsPooling, {"bottleneck_dim": 3}),
)
HEADS = cases(
    Head,
    (MLPHead, {"num_layers": 2, "activation": "tanh"}),
    (RegressionHead, {"hidden_dim": 9, "dropout": 0.1}),
    (MultiTaskHead, {"hidden_dim": None}),
)
CONTEXT_STAGES = cases(ContextStage)
FRAME_HEADS = cases(FrameHead)
FITTED_HEADS = cases(FittedHead)


def made(part: type[nn.Module], options: dict[str, Any]) -> Make:
    """How the checks make a part. Skips where its package is missing."""
    make = maker(part, kind_of(part), options)
    try:
        make()
    except RecipeError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise
    return make


def checked(cases: list, checks: Sequence[Check]) -> pytest.MarkDecorator:
    """Every case with every check."""
    return pytest.mark.parametrize(
        ("part", "options", "check"),
        [pytest.param(*case.values, check, id=f"{case.id}-{check.__name__}") for case in cases for check in checks],
    )


def run(check: Check, part: type[nn.Module], options: dict[str, Any]) -> None:
    make = made(part, options)
    torch.manual_seed(0)
    with contextlib.suppress(NotApplicable):
        check(make)


class _IgnoresPadding(Pooling):
    """What the contract must catch."""

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return frames.mean(dim=1)


class _MultipliesMask(Pooling):
    """Nearly right: a product with the mask lets NaN through."""

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        mask = (torch.arange(frames.shape[1])[None] < lengths[:, None])[..., None]
        return (frames * mask).sum(dim=1) / lengths[:, None]


@pytest.mark.parametrize("wrong", [_IgnoresPadding, _MultipliesMask])
def test_the_contract_catches_a_pooling_that_lets_padding_in(wrong: type[Pooling]) -> None:
    with pytest.raises(ContractError, match="alone"):
        padding_changes_no_vector(wrong(DIM))


@pytest.mark.parametrize("base", [LayerMix, FrameStage, Pooling, Head])
def test_every_part_has_a_summary_of_its_own(base: type) -> None:
    for part in subclasses(base).values():
        assert summary(part), part
        assert summary(part) != summary(base), part


@checked(MIXES, layer_mixes.CHECKS)
def test_layer_mix(part: type[LayerMix], options: dict, check: Check) -> None:
    run(check, part, options)


@checked(STAGES, frame_stages.CHECKS)
def test_frame_stage(part: type[FrameStage], options: dict, check: Check) -> None:
    run(check, part, options)


@checked(POOLINGS, poolings.CHECKS)
def test_pooling(part: type[Pooling], options: dict, check: Check) -> None:
    run(check, part, options)


@checked(CONTEXT_STAGES, context_stages.CHECKS)
def test_context_stage(part: type[ContextStage], options: dict, check: Check) -> None:
    run(check, part, options)


@checked(HEADS, heads.CHECKS)
def test_head(part: type[Head], options: dict, check: Check) -> None:
    run(check, part, options)


@checked(FRAME_HEADS, heads.FRAME_CHECKS)
def test_frame_head(part: type[FrameHead], options: dict, check: Check) -> None:
    run(check, part, options)


@checked(FITTED_HEADS, heads.FITTED_CHECKS)
def test_fitted_head(part: type[FittedHead], options: dict, check: Check) -> None:
    run(check, part, options)


@pytest.mark.parametrize("part", [case.values[0] for case in POOLINGS if not case.values[0].padding_exact])
def test_only_what_copies_a_peer_lets_padding_in_and_says_so(part: type[Pooling]) -> None:
    assert part.__module__ == "ser_toolkit.downstream.peers"
    assert "batch-dependent" in summary(part).lower()
    assert part.moment_order is None, "moments are of the valid frames: no peer has them"
    with pytest.raises(ContractError, match="padded batch"):
        padding_changes_no_vector(shaken(part(DIM)))


class TestPath:
    """From layers to the vector: whatever parts are put together, what they declare to be enough is."""

    @staticmethod
    def poolings(size: int) -> Iterator[Pooling]:
        """Every pooling that takes frames of this size."""
        for case in POOLINGS:
            part, options = case.values
            try:
                yield shaken(part(size, **options))
            except RecipeError as error:
                assert "num_heads" in str(error)

    @pytest.mark.parametrize(("part", "options"), STAGES)
    def test_the_least_that_is_kept_is_enough_and_no_less_is(self, part: type[FrameStage], options: dict) -> None:
        torch.manual_seed(4)
        layers = [torch.randn(LAYERS, int(n), DIM) for n in LENGTHS]
        moments = {what: stack_moments([moments_of(one, what) for one in layers]) for what in ORDER[:-1]}
        # a stage that is not linear needs frames whatever stands before it: one mix shows that
        for case in MIXES if part(DIM, **options).linear else MIXES[:1]:
            mix = shaken(case.values[0](LAYERS, DIM, **case.values[1]))
            stage = shaken(part(mix.output_dim, **options))
            for pooling in self.poolings(stage.output_dim):
                least, branch = reduction(mix, stage, pooling), Branch([mix], stage, pooling)
                assert least.reason
                assert least.layer_norm == mix.layer_norm
                if least.what == "frames":
                    for stream in moments.values():
                        with pytest.raises(RecipeError, match="Moments of frames are not enough"):
                            branch({STREAM: stream})
                    continue
                expected = branch({STREAM: Frames(*pad_sequences(layers, dim=1))})
                found = branch({STREAM: moments[least.what]})
                assert found.frames is None and found.lengths is None
                same(found.embedding, expected.embedding, "from moments")
                for what in ORDER[: ORDER.index(least.what)]:
                    with pytest.raises(RecipeError, match="needs the variance"):
                        branch({STREAM: moments[what]})
