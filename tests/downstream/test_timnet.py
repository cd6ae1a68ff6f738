"""TIM-Net: sizes, causality, symmetry of time, a plain loop, and the authors' network on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ser_toolkit.downstream.heads import LinearHead
from ser_toolkit.downstream.layers import SingleLayer
from ser_toolkit.downstream.pooling import MeanPooling
from ser_toolkit.downstream.timnet import TIMNet
from ser_toolkit.errors import RecipeError
from ser_toolkit.model.build import build_model
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.upstreams.spectral import Spectral

LENGTHS = torch.tensor([13, 5, 1])


def shaken(stage: nn.Module) -> nn.Module:
    """Weights and running statistics away from their start values, in float64 and evaluation mode."""
    noise = torch.Generator().manual_seed(0)
    for parameter in stage.parameters():
        nn.init.normal_(parameter, std=0.4, generator=noise)
    for name, buffer in stage.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(generator=noise)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0, generator=noise)
    return stage.double().eval()


def frames(count: int, dim: int = 3, seed: int = 1) -> Tensor:
    """(1, count, dim) in float64."""
    return torch.randn(1, count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pooled(stage: nn.Module, values: Tensor) -> Tensor:
    """The mean over time of one utterance: (1, T, D) -> (1, D')."""
    return MeanPooling(stage.output_dim)(*stage(values, torch.tensor([values.shape[1]])))


class TestSize:
    @pytest.mark.parametrize(
        ("blocks", "classes", "expected"), [(8, 6, 104_456), (8, 7, 104_496), (8, 8, 104_536), (10, 4, 129_650)]
    )
    def test_the_whole_model_has_as_many_parameters_as_the_published_one(
        self, blocks: int, classes: int, expected: int
    ) -> None:
        model = build_model(
            upstream=Spectral(features="mfcc", num_mfcc=39),
            layer_mix=SingleLayer,
            frames=lambda dim: TIMNet(dim, num_blocks=blocks),
            pooling=MeanPooling,
            head=LinearHead,
            objective=CrossEntropy,
            classes=[f"class {number}" for number in range(classes)],
            optimizer=torch.optim.Adam,
        )
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected

    def test_scales_start_small_and_differ(self) -> None:
        scales = torch.cat([TIMNet(2, num_blocks=10, filters=2).scales.detach() for _ in range(50)])
        assert 0.045 < scales.abs().max() <= 0.05
        assert scales.std().item() == pytest.approx(0.05 / 3**0.5, rel=0.1)

    def test_convolutions_start_glorot_uniform_without_bias(self) -> None:
        torch.manual_seed(0)
        stage = TIMNet(39, num_blocks=1)
        convolution = stage.forwards.blocks[0].convolutions[0]
        # fan in and fan out of a convolution both count its two taps
        assert convolution.weight.abs().max().item() == pytest.approx((6 / (4 * 39)) ** 0.5, rel=0.01)
        assert stage.forwards.projection.weight.abs().max().item() == pytest.approx((6 / (2 * 39)) ** 0.5, rel=0.01)
        assert not convolution.bias.any()
        assert not stage.forwards.projection.bias.any()

    @pytest.mark.parametrize("wrong", [{"num_blocks": 0}, {"filters": 0}, {"kernel_size": 1}, {"dropout": 1.0}])
    def test_impossible_options_are_refused(self, wrong: dict[str, int | float]) -> None:
        (name, value), *_ = wrong.items()
        with pytest.raises(RecipeError, match=f"{name}={value}"):
            TIMNet(6, **wrong)  # type: ignore[arg-type]


class TestTime:
    def test_one_stream_hears_only_the_past(self) -> None:
        stage = shaken(TIMNet(3, num_blocks=3, filters=4, bidirectional=False))
        before, after = frames(20), frames(20)
        after[0, 12:] += 5
        (first, _), (second, _) = (stage(values, torch.tensor([20])) for values in (before, after))
        torch.testing.assert_close(second[0, :12], first[0, :12], rtol=0, atol=0)
        assert ((second - first)[0, 12:].abs().amax(dim=1) > 1e-3).all()

    @pytest.mark.parametrize(("blocks", "kernel_size", "expected"), [(1, 2, 3), (3, 2, 15), (2, 3, 13)])
    def test_receptive_field(self, blocks: int, kernel_size: int, expected: int) -> None:
        stage = shaken(TIMNet(2, blocks, 3, kernel_size))
        for name, parameter in stage.named_parameters():
            # small and positive: no ReLU is shut and no gate saturated, so that every path carries a gradient
            nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 0.1)
        for name, buffer in stage.named_buffers():
            if name.endswith("running_mean"):
                buffer.zero_()
        assert stage.receptive_frames == expected
        values = frames(41, dim=2).abs().requires_grad_()
        out, _ = stage(values, torch.tensor([41]))
        out[0, 20].sum().backward()
        heard = values.grad[0].abs().sum(dim=1).nonzero().flatten()
        assert (int(heard[0]), int(heard[-1])) == (20 - (expected - 1), 20 + (expected - 1))

    def test_exchanged_streams_hear_the_reversed_utterance_alike(self) -> None:
        stage = shaken(TIMNet(3, num_blocks=3, filters=4))
        values = frames(13)
        expected = pooled(stage, values)
        stage.forwards, stage.backwards = stage.backwards, stage.forwards
        assert not torch.allclose(pooled(stage, values), expected)
        torch.testing.assert_close(pooled(stage, values.flip(1)), expected)
        turned, _ = stage(values.flip(1), torch.tensor([13]))
        stage.forwards, stage.backwards = stage.backwards, stage.forwards
        torch.testing.assert_close(turned.flip(1), stage(values, torch.tensor([13]))[0])

    def test_frames_are_those_of_both_streams_in_their_places(self) -> None:
        stage = shaken(TIMNet(3, num_blocks=3, filters=4))
        values = frames(13)
        # only the last frame changes: the forward stream passes it on to no frame but the last
        changed = values.clone()
        changed[0, -1] += 1
        difference = (stage(changed, torch.tensor([13]))[0] - stage(values, torch.tensor([13]))[0])[0].abs().sum(dim=1)
        stage.backwards = None
        alone = (stage(changed, torch.tensor([13]))[0] - stage(values, torch.tensor([13]))[0])[0].abs().sum(dim=1)
        assert (difference > 0).all()
        assert alone[:-1].sum() == 0
        assert alone[-1] > 0


class TestTraining:
    def test_padding_and_order_change_no_training_step(self) -> None:
        torch.manual_seed(0)
        values = torch.randn(3, 13, 3, dtype=torch.float64)
        stage = shaken(TIMNet(3, num_blocks=5, filters=4, dropout=0.0))
        state = {name: tensor.clone() for name, tensor in stage.state_dict().items()}
        results = []
        for extra, order in ((0, [0, 1, 2]), (9, [2, 0, 1])):
            stage.load_state_dict(state)
            stage.train().zero_grad()
            padded = torch.full((3, 13 + extra, 3), float("nan"), dtype=torch.float64)
            for row, length in enumerate(LENGTHS):
                padded[row, :length] = values[row, :length]
            out, lengths = stage(padded[order], LENGTHS[order])
            loss = MeanPooling(4)(out, lengths).square().sum()
            loss.backward()
            gradients = torch.cat([p.grad.flatten() for p in stage.parameters()])
            results.append((loss.detach(), gradients, *(b.clone() for b in stage.buffers())))
        for plain, other in zip(*results, strict=True):
            torch.testing.assert_close(other, plain, rtol=1e-9, atol=1e-9)

    def test_dropout_takes_a_channel_of_an_utterance_as_a_whole(self) -> None:
        torch.manual_seed(0)
        block = TIMNet(3, num_blocks=1, filters=50, dropout=0.4).train().forwards.blocks[0]
        dropped = block._drop(torch.ones(18, 50), torch.tensor([7, 11]))
        first, second = dropped[:7], dropped[7:]
        assert (first == first[0]).all()
        assert (second == second[0]).all()
        assert not torch.equal(first[0], second[0])
        assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
        assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.15)


def loop(weights: dict[str, np.ndarray], values: np.ndarray, blocks: int) -> np.ndarray:
    """The pooled vector of one utterance, written out frame by frame: (T, D) -> (C,)."""

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        scale = weights[f"{name}.weight"] / np.sqrt(weights[f"{name}.running_var"] + 1e-3)
        return (x - weights[f"{name}.running_mean"]) * scale + weights[f"{name}.bias"]

    def stream(name: str, x: np.ndarray) -> list[np.ndarray]:
        x = np.array([weights[f"{name}.projection.weight"] @ frame + weights[f"{name}.projection.bias"] for frame in x])
        outputs = []
        for level in range(blocks):
            inner = x
            for part in range(2):
                layer = f"{name}.blocks.{level}.convolutions.{part}"
                older, newer = np.split(weights[f"{layer}.weight"], 2, axis=1)
                rows = []
                for t in range(len(inner)):
                    row = newer @ inner[t] + weights[f"{layer}.bias"]
                    if t >= 2**level:
                        row = row + older @ inner[t - 2**level]
                    rows.append(np.maximum(norm(f"{name}.blocks.{level}.norms.{part}", row), 0))
                inner = np.array(rows)
            x = x / (1 + np.exp(-inner))
            outputs.append(x)
        return outputs

    both = zip(stream("forwards", values), stream("backwards", values[::-1]), strict=True)
    return sum(w * (f + b).mean(axis=0) for w, (f, b) in zip(weights["scales"], both, strict=True))


@pytest.mark.parametrize("count", [1, 2, 17])
def test_a_plain_loop_gives_the_same_numbers(count: int) -> None:
    stage = shaken(TIMNet(3, num_blocks=3, filters=4))
    values = frames(count)
    weights = {name: tensor.numpy() for name, tensor in stage.state_dict().items()}
    np.testing.assert_allclose(pooled(stage, values)[0].detach().numpy(), loop(weights, values[0].numpy(), 3))


def random_weights(stage: TIMNet, rng: np.random.RandomState) -> None:
    """Fill in the order in which the authors' TensorFlow code creates its layers; kernels there are (k, in, out)."""

    def linear(layer: nn.Linear, taps: int) -> None:
        kernel = 0.7 * rng.standard_normal((taps, layer.in_features // taps, layer.out_features))
        layer.weight.data = torch.from_numpy(np.concatenate(kernel).T.copy())
        layer.bias.data = torch.from_numpy(0.7 * rng.standard_normal(layer.out_features))

    def norm(layer: nn.BatchNorm1d) -> None:
        size = layer.num_features
        layer.weight.data = torch.from_numpy(1 + 0.3 * rng.standard_normal(size))
        layer.bias.data = torch.from_numpy(0.3 * rng.standard_normal(size))
        layer.running_mean = torch.from_numpy(0.3 * rng.standard_normal(size))
        layer.running_var = torch.from_numpy(rng.uniform(0.5, 2, size))

    streams = (stage.forwards, stage.backwards)
    for stream in streams:
        linear(stream.projection, 1)
    for level in range(len(stage.scales)):
        for stream in streams:
            block = stream.blocks[level]
            for convolution, batch_norm in zip(block.convolutions, block.norms, strict=True):
                linear(convolution, 2)
                norm(batch_norm)
    stage.scales.data = torch.from_numpy(rng.standard_normal(len(stage.scales)))


#: Outputs of the authors' network (Code/TIMNET.py and WeightLayer of Code/Model.py, run unchanged under TensorFlow
#: 2.21 and tf_keras 2.21) before its last dense layer: 3 blocks, 4 filters, no dropout, weights as in random_weights,
#: then two utterances of 12 frames of 3 features from the same generator.
PUBLISHED = {
    False: [[0.56918997, 1.1832018, -0.4003972, 0.07503349], [1.1940362, 0.24960983, 0.30946434, 0.45450783]],
    True: [[0.73297095, 0.93892944, -0.1501417, 0.1711171], [0.58519316, 0.3317309, 0.37692478, 0.4838099]],
}


@pytest.mark.parametrize("training", [False, True])
def test_the_published_network_gives_the_same_numbers(training: bool) -> None:
    rng = np.random.RandomState(0)
    stage = TIMNet(3, num_blocks=3, filters=4, dropout=0.0)
    random_weights(stage, rng)
    values = torch.from_numpy(rng.standard_normal((2, 12, 3)))
    out = MeanPooling(4)(*stage.double().train(training)(values, torch.tensor([12, 12])))
    np.testing.assert_allclose(out.detach().numpy(), PUBLISHED[training], rtol=0, atol=2e-6)
