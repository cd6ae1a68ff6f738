"""What every layer mix, frame stage, pooling and head must keep to. A new part is tested on the day it is added."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ser_toolkit.downstream  # noqa: F401  (imports every part, so that the walk finds it)
from ser_toolkit.data.batch import Frames, Outputs, pad_sequences, stack_moments
from ser_toolkit.data.kept import ORDER, moments_of
from ser_toolkit.downstream.frames import FrameStage, LinearReLU, MelCNN
from ser_toolkit.downstream.heads import FittedHead, FrameHead, Head, MLPHead, MultiTaskHead, RegressionHead
from ser_toolkit.downstream.layers import ConcatenateLayers, LayerMix, SingleLayer, WeightedSum
from ser_toolkit.downstream.order import MomentPooling
from ser_toolkit.downstream.path import embed, keeping
from ser_toolkit.downstream.pooling import AttentiveStatisticsPooling, MeanMaxPooling, Pooling, StatisticsPooling
from ser_toolkit.errors import RecipeError, TrainingError
from ser_toolkit.parts import subclasses, summary

LAYERS, DIM, CLASSES = 4, 6, 5
LENGTHS = torch.tensor([3, 11, 1, 8])
TOLERANCE = 1e-5


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
#: Poolings that copy a peer's mistake (peers.py) are held to all but what the mistake breaks.
EXACT = [case for case in POOLINGS if case.values[0].padding_exact]
HEADS = cases(
    Head,
    (MLPHead, {"num_layers": 2, "activation": "tanh"}),
    (RegressionHead, {"hidden_dim": 9, "dropout": 0.1}),
    (MultiTaskHead, {"hidden_dim": None}),
)
FRAME_HEADS = cases(FrameHead)
FITTED_HEADS = cases(FittedHead)


def shaken(module: nn.Module) -> nn.Module:
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


def made(part: type[Head], options: dict[str, Any]) -> Head:
    """A head away from its start; one that is fitted has been, on random vectors. Skips when its package is missing."""
    try:
        head = shaken(part(DIM, CLASSES, **options))
    except RecipeError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise
    if isinstance(head, FittedHead):
        head.fit(torch.randn(60, DIM), torch.arange(60) % CLASSES)
    return head


def frames(*, behind: float | str = 0.0, longer: int = 0) -> Tensor:
    """Frames (4, T, D) of LENGTHS; behind the lengths stand zeros, a number, or garbage."""
    noise = torch.Generator().manual_seed(0)
    out = torch.zeros(len(LENGTHS), int(LENGTHS.max()) + longer, DIM)
    for row, length in zip(out, LENGTHS, strict=True):
        row[:length] = torch.randn(int(length), DIM, generator=noise)
        row[length:] = 1e3 * torch.randn_like(row[length:]) if behind == "garbage" else behind
    return out


def assert_same(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    """Shapes are equal and the largest difference is relative to the largest value."""
    assert found.shape == expected.shape
    assert found.isfinite().all()
    assert (found - expected).abs().max() <= tolerance * expected.abs().max() + 1e-12


def check_padding(pooling: nn.Module) -> None:
    """A pooled vector is the same alone, in a batch, permuted, and whatever stands behind the lengths."""
    valid = frames()
    alone = torch.cat([pooling(row[None, :n], n[None]) for row, n in zip(valid, LENGTHS, strict=True)])
    for behind in (0.0, "garbage", float("nan"), float("inf"), -5.0):
        assert_same(pooling(frames(behind=behind, longer=4), LENGTHS), alone)
    order = torch.tensor([2, 0, 3, 1])
    assert_same(pooling(frames(behind="garbage")[order], LENGTHS[order]), alone[order])


def check_stage_padding(stage: nn.Module) -> None:
    """The valid frames behind a stage are the same alone, in a batch, and whatever stands behind the lengths."""
    alone = [stage(row[None, :n], n[None]) for row, n in zip(frames(), LENGTHS, strict=True)]
    for behind in (0.0, "garbage", float("nan")):
        values, lengths = stage(frames(behind=behind, longer=5), LENGTHS)
        for row, length, (own, own_length) in zip(values, lengths, alone, strict=True):
            assert length == own_length == own.shape[1]
            assert_same(row[:length], own[0])


def check_gradients_reach(module: nn.Module, *inputs: Tensor) -> None:
    """Each parameter gets a gradient that is finite and not zero everywhere."""
    if not list(module.parameters()):
        return
    out = module(*inputs)
    values = out[0] if isinstance(out, tuple) else out
    tensors = [v for v in vars(values).values() if v is not None] if isinstance(values, Outputs) else [values]
    torch.manual_seed(3)
    sum((tensor * torch.randn_like(tensor)).sum() for tensor in tensors).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def reloaded(module: nn.Module, fresh: nn.Module) -> nn.Module:
    """``fresh`` with the weights of ``module``, by way of a file that holds nothing but tensors."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    if isinstance(fresh, FittedHead):
        fresh.adopt_shapes(state)
    fresh.load_state_dict(state)
    return fresh.eval()


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
    with pytest.raises(AssertionError):
        check_padding(wrong(DIM))


@pytest.mark.parametrize("base", [LayerMix, FrameStage, Pooling, Head])
def test_every_part_has_a_summary_of_its_own(base: type) -> None:
    for part in subclasses(base).values():
        assert summary(part), part
        assert summary(part) != summary(base), part


class TestLayerMix:
    @pytest.mark.parametrize(("part", "options"), MIXES)
    def test_shape_gradients_and_reload(self, part: type[LayerMix], options: dict) -> None:
        mix = shaken(part(LAYERS, DIM, **options))
        values = torch.randn(2, LAYERS, 7, DIM)
        assert mix(values).shape == (2, 7, mix.output_dim)
        assert mix(values[:, :, :1]).shape == (2, 1, mix.output_dim)
        assert torch.equal(reloaded(mix, part(LAYERS, DIM, **options))(values), mix(values))
        check_gradients_reach(mix, values)
        assert torch.autograd.gradcheck(mix.double(), torch.randn(1, LAYERS, 2, DIM).double().requires_grad_())

    @pytest.mark.parametrize(("part", "options"), MIXES)
    def test_each_frame_is_mixed_by_itself(self, part: type[LayerMix], options: dict) -> None:
        mix = shaken(part(LAYERS, DIM, **options))
        values = torch.randn(2, LAYERS, 7, DIM)
        apart = torch.cat([mix(values[:, :, [t]]) for t in range(7)], dim=1)
        assert_same(mix(values), apart)

    @pytest.mark.parametrize(("part", "options"), MIXES)
    def test_linear_is_true_exactly_when_it_commutes_with_the_mean(self, part: type[LayerMix], options: dict) -> None:
        mix = shaken(part(LAYERS, DIM, **options))
        values = torch.randn(2, LAYERS, 7, DIM)
        of_mean = mix(values.mean(dim=2, keepdim=True))[:, 0]
        commutes = torch.allclose(mix(values).mean(dim=1), of_mean, atol=1e-5)
        assert commutes == mix.linear

    @pytest.mark.parametrize(("part", "options"), MIXES)
    def test_weights_are_shares(self, part: type[LayerMix], options: dict) -> None:
        weights = shaken(part(LAYERS, DIM, **options)).weights
        if weights is not None:
            assert weights.shape == (LAYERS,)
            assert weights.min() >= 0
            assert weights.sum().item() == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize(("part", "options"), MIXES)
    def test_moments_are_mixed_exactly(self, part: type[LayerMix], options: dict) -> None:
        mix = shaken(part(LAYERS, DIM, **options))
        values = torch.randn(2, LAYERS, 9, DIM)
        what = "covariances" if mix.crosses_layers else "variances"
        moments = stack_moments([moments_of(one, what) for one in values])
        if not mix.linear:
            with pytest.raises(RecipeError, match=r"features\.keep=frames"):
                mix.from_moments(moments)
            return
        mixed_mean, variance = mix.from_moments(moments)
        assert_same(mixed_mean, mix(values).mean(dim=1))
        assert_same(variance, mix(values).var(dim=1, unbiased=False))
        only_means = stack_moments([moments_of(one, "means") for one in values])
        assert mix.from_moments(only_means)[1] is None

    @pytest.mark.parametrize(("part", "options"), MIXES)
    def test_crosses_layers_is_true_exactly_when_layers_that_move_together_matter(
        self, part: type[LayerMix], options: dict
    ) -> None:
        mix = shaken(part(LAYERS, DIM, **options))
        values = torch.randn(2, LAYERS, 9, DIM)
        # every other layer mirrored about its mean: each has the variance it had, but no longer moves with the others
        mirrored = values.clone()
        mirrored[:, ::2] = 2 * values[:, ::2].mean(dim=2, keepdim=True) - values[:, ::2]
        found, expected = (mix(one).var(dim=1, unbiased=False) for one in (mirrored, values))
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5) == (not mix.crosses_layers)


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
                least = keeping(mix, stage, pooling)
                assert least.reason
                assert least.layer_norm == mix.layer_norm
                if least.what == "frames":
                    for stream in moments.values():
                        with pytest.raises(RecipeError, match="Moments of frames are not enough"):
                            embed(mix, stage, pooling, stream)
                    continue
                expected = embed(mix, stage, pooling, Frames(*pad_sequences(layers, dim=1)))
                found = embed(mix, stage, pooling, moments[least.what])
                assert found.frames is None and found.lengths is None
                assert_same(found.embedding, expected.embedding)
                for what in ORDER[: ORDER.index(least.what)]:
                    with pytest.raises(RecipeError, match="needs the variance"):
                        embed(mix, stage, pooling, moments[what])


class TestFrameStage:
    @pytest.mark.parametrize(("part", "options"), STAGES)
    def test_padding_never_changes_valid_frames(self, part: type[FrameStage], options: dict) -> None:
        check_stage_padding(shaken(part(DIM, **options)))

    @pytest.mark.parametrize(("part", "options"), STAGES)
    def test_shape_gradients_and_reload(self, part: type[FrameStage], options: dict) -> None:
        stage = shaken(part(DIM, **options))
        values, lengths = stage(frames(), LENGTHS)
        assert values.shape == (len(LENGTHS), int(lengths.max()), stage.output_dim)
        assert lengths.dtype == LENGTHS.dtype
        assert lengths.min() >= 1
        again, _ = reloaded(stage, part(DIM, **options))(frames(), LENGTHS)
        assert torch.equal(again, values)
        check_gradients_reach(copy.deepcopy(stage), frames(), LENGTHS)

    @pytest.mark.parametrize(("part", "options"), STAGES)
    def test_gradcheck(self, part: type[FrameStage], options: dict) -> None:
        stage = shaken(part(DIM, **options)).double()
        values = torch.randn(2, 4, DIM, dtype=torch.float64, requires_grad=True)
        lengths = torch.tensor([4, 2])
        # Fast mode checks a random projection of the Jacobian: the full one is large for the defaults.
        assert torch.autograd.gradcheck(lambda x: stage(x, lengths)[0], values, fast_mode=True)

    @pytest.mark.parametrize(("part", "options"), STAGES)
    def test_linear_is_true_exactly_when_it_commutes_with_the_mean(self, part: type[FrameStage], options: dict) -> None:
        stage = shaken(part(DIM, **options))
        values, length, one = torch.randn(2, 8, DIM), torch.tensor([8, 8]), torch.tensor([1, 1])
        of_frames, _ = stage(values, length)
        of_mean, _ = stage(values.mean(dim=1, keepdim=True), one)
        assert torch.allclose(of_frames.mean(dim=1), of_mean[:, 0], atol=1e-4) == stage.linear

    @pytest.mark.parametrize(("part", "options"), STAGES)
    def test_half_precision(self, part: type[FrameStage], options: dict) -> None:
        stage = shaken(part(DIM, **options))
        expected, lengths = stage(frames(), LENGTHS)
        with torch.autocast("cpu", torch.bfloat16):
            found, _ = stage(frames(), LENGTHS)
        for row, own, length in zip(found.float(), expected, lengths, strict=True):
            assert_same(row[:length], own[:length], tolerance=0.05)
        assert stage.bfloat16()(frames().bfloat16(), LENGTHS)[0].dtype == torch.bfloat16


class TestPooling:
    @pytest.mark.parametrize(("part", "options"), EXACT)
    def test_padding_never_changes_the_vector(self, part: type[Pooling], options: dict) -> None:
        check_padding(shaken(part(DIM, **options)))

    @pytest.mark.parametrize(("part", "options"), EXACT)
    def test_garbage_gets_no_gradient(self, part: type[Pooling], options: dict) -> None:
        values = frames(behind=float("nan")).requires_grad_()
        shaken(part(DIM, **options))(values, LENGTHS).sum().backward()
        assert values.grad.isfinite().all()
        for row, length in zip(values.grad, LENGTHS, strict=True):
            assert row[length:].abs().sum() == 0
            assert row[:length].abs().sum() > 0

    @pytest.mark.parametrize(("part", "options"), POOLINGS)
    def test_shape_gradients_and_reload(self, part: type[Pooling], options: dict) -> None:
        pooling = shaken(part(DIM, **options))
        vector = pooling(frames(), LENGTHS)
        assert vector.shape == (len(LENGTHS), pooling.output_dim)
        assert torch.equal(reloaded(pooling, part(DIM, **options))(frames(), LENGTHS), vector)
        check_gradients_reach(pooling, frames(), LENGTHS)

    @pytest.mark.parametrize(("part", "options"), POOLINGS)
    @pytest.mark.parametrize("length", [1, 4])
    def test_gradcheck(self, part: type[Pooling], options: dict, length: int) -> None:
        pooling = shaken(part(DIM, **options)).double()
        values = torch.randn(2, 4, DIM, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: pooling(x, torch.tensor([4, length])), values)

    @pytest.mark.parametrize(("part", "options"), POOLINGS)
    def test_equal_frames_have_finite_gradients(self, part: type[Pooling], options: dict) -> None:
        values = torch.full((2, 5, DIM), 3.0, requires_grad=True)
        shaken(part(DIM, **options))(values, torch.tensor([5, 1])).sum().backward()
        assert values.grad.isfinite().all()

    @pytest.mark.parametrize(("part", "options"), POOLINGS)
    def test_ordered_is_true_exactly_when_order_matters(self, part: type[Pooling], options: dict) -> None:
        pooling = shaken(part(DIM, **options))
        values, length = torch.randn(1, 7, DIM), torch.tensor([7])
        found, expected = pooling(values.flip(1), length), pooling(values, length)
        if part.ordered:
            assert not torch.allclose(found, expected, rtol=1e-3, atol=1e-3)
        else:
            assert_same(found, expected)

    @pytest.mark.parametrize(("part", "options"), EXACT)
    def test_moment_order_is_true(self, part: type[Pooling], options: dict) -> None:
        pooling = shaken(part(DIM, **options))
        values, length = torch.randn(2, 7, DIM), torch.tensor([7, 7])
        mean, variance = values.mean(dim=1), values.var(dim=1, unbiased=False)
        vector = pooling(values, length)
        if pooling.moment_order is None:
            with pytest.raises(RecipeError, match="needs frames"):
                pooling.from_moments(mean, variance)
            # Neither the mirror image nor the frames twice over change mean and variance: one of them must tell.
            mirrored = pooling(2 * mean[:, None] - values, length)
            twice = pooling(values.repeat(1, 2, 1), 2 * length)
            assert not (torch.allclose(mirrored, vector, rtol=1e-3) and torch.allclose(twice, vector, rtol=1e-3))
            return
        assert_same(pooling.from_moments(mean, variance), vector, tolerance=1e-6)
        wider = pooling(mean[:, None] + 2 * (values - mean[:, None]), length)
        assert torch.allclose(wider, vector, rtol=1e-4, atol=1e-6) == (pooling.moment_order == 1)

    @pytest.mark.parametrize(("part", "options"), EXACT)
    def test_half_precision(self, part: type[Pooling], options: dict) -> None:
        pooling = shaken(part(DIM, **options))
        expected = pooling(frames(), LENGTHS)
        with torch.autocast("cpu", torch.bfloat16):
            assert_same(pooling(frames(), LENGTHS).float(), expected, tolerance=0.05)
        found = pooling.bfloat16()(frames(behind="garbage").bfloat16(), LENGTHS)
        assert found.dtype == torch.bfloat16
        assert_same(found.float(), expected, tolerance=0.05)

    @pytest.mark.parametrize("part", [case.values[0] for case in POOLINGS if case not in EXACT])
    def test_only_what_copies_a_peer_lets_padding_in_and_says_so(self, part: type[Pooling]) -> None:
        assert part.__module__ == "ser_toolkit.downstream.peers"
        assert "batch-dependent" in summary(part).lower()
        assert part.moment_order is None, "moments are of the valid frames: no peer has them"
        with pytest.raises(AssertionError):
            check_padding(shaken(part(DIM)))


class TestHead:
    @pytest.mark.parametrize(("part", "options"), HEADS)
    def test_fills_in_what_it_says(self, part: type[Head], options: dict) -> None:
        head = made(part, options)
        vectors = torch.randn(3, DIM)
        outputs = head(vectors)
        filled = {name: tuple(value.shape) for name, value in vars(outputs).items() if value is not None}
        classes = (3, CLASSES)
        expected = {"logits": classes, "dimensions": (3, 3), "cosines": classes, "frame_logits": (3, 1, CLASSES)}
        assert filled == {name: expected[name] for name in head.outputs}
        again = reloaded(head, part(DIM, CLASSES, **options))(vectors)
        for name in head.outputs:
            assert torch.equal(getattr(again, name), getattr(outputs, name))

    @pytest.mark.parametrize(("part", "options"), HEADS)
    def test_rows_do_not_see_each_other(self, part: type[Head], options: dict) -> None:
        head = made(part, options)
        vectors = torch.randn(4, DIM)
        for name in head.outputs:
            alone = torch.cat([getattr(head(row[None]), name) for row in vectors])
            assert_same(getattr(head(vectors), name), alone)

    @pytest.mark.parametrize(("part", "options"), HEADS)
    def test_gradients(self, part: type[Head], options: dict) -> None:
        head = made(part, options)
        if isinstance(head, FittedHead):
            assert not list(head.parameters()), "what is fitted is kept in buffers: an optimiser would move it"
            return
        check_gradients_reach(copy.deepcopy(head), torch.randn(4, DIM))
        head = head.double()
        vectors = torch.randn(2, DIM, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: tuple(getattr(head(x), name) for name in head.outputs), vectors)

    @pytest.mark.parametrize(("part", "options"), HEADS)
    def test_half_precision(self, part: type[Head], options: dict) -> None:
        head = made(part, options)
        vectors = torch.randn(4, DIM)
        expected = head(vectors)
        with torch.autocast("cpu", torch.bfloat16):
            found = head(vectors)
        for name in head.outputs:
            assert_same(getattr(found, name).float(), getattr(expected, name), tolerance=0.05)

    @pytest.mark.parametrize(("part", "options"), HEADS)
    def test_the_names_of_the_classes_do_not_change_the_weights(self, part: type[Head], options: dict) -> None:
        head = made(part, options)
        weights = copy.deepcopy(head.state_dict())
        head.name_classes(("neutral", *(f"class {number}" for number in range(1, CLASSES))))
        for name, value in head.state_dict().items():
            assert torch.equal(value, weights[name])


class TestFrameHead:
    @pytest.mark.parametrize(("part", "options"), FRAME_HEADS)
    def test_padding_never_changes_the_judgement(self, part: type[FrameHead], options: dict) -> None:
        head = made(part, options)
        check_padding(lambda values, lengths: head.from_frames(values, lengths).logits)
        if "frame_logits" in head.outputs:
            check_stage_padding(lambda values, lengths: (head.from_frames(values, lengths).frame_logits, lengths))

    @pytest.mark.parametrize(("part", "options"), FRAME_HEADS)
    def test_garbage_gets_no_gradient(self, part: type[FrameHead], options: dict) -> None:
        head = made(part, options)
        values = frames(behind=float("nan")).requires_grad_()
        outputs = head.from_frames(values, LENGTHS)
        sum(
            (getattr(outputs, name) * torch.randn_like(getattr(outputs, name))).sum() for name in head.outputs
        ).backward()
        assert values.grad.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
        for row, length in zip(values.grad, LENGTHS, strict=True):
            assert row[length:].abs().sum() == 0
            assert row[:length].abs().sum() > 0

    @pytest.mark.parametrize(("part", "options"), FRAME_HEADS)
    def test_gradcheck(self, part: type[FrameHead], options: dict) -> None:
        head = made(part, options).double()
        values = torch.randn(2, 4, DIM, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: head.from_frames(x, torch.tensor([4, 1])).logits, values)


class TestFittedHead:
    @pytest.mark.parametrize(("part", "options"), FITTED_HEADS)
    def test_it_learns_what_can_be_learnt(self, part: type[FittedHead], options: dict) -> None:
        head = made(part, options)
        labels = torch.arange(100) % CLASSES
        vectors = 8 * torch.eye(CLASSES, DIM)[labels] + torch.randn(100, DIM)
        head.fit(vectors, labels)
        assert (head(vectors).logits.argmax(dim=1) == labels).float().mean() > 0.95

    @pytest.mark.parametrize(("part", "options"), FITTED_HEADS)
    def test_it_says_that_it_was_not_fitted(self, part: type[FittedHead], options: dict) -> None:
        made(part, options)  # skips
        with pytest.raises(TrainingError, match=part.__name__):
            part(DIM, CLASSES, **options)(torch.randn(2, DIM))
