"""Convolutional, averaged and transformer frame stages, and stages one behind the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.downstream.attention import SelfAttentivePooling
from ser_toolkit.downstream.encoders import AveragePooledCNN, ConvolutionalEncoder, FrameStages, TransformerEncoder
from ser_toolkit.downstream.frames import FrameStage, LinearProjection, LinearReLU, MelCNN, NoFrameStage
from ser_toolkit.downstream.heads import MLPHead
from ser_toolkit.downstream.peers import S3prlAttentivePooling, UnmaskedMeanPooling
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.downstream.recurrent import RecurrentEncoder
from ser_toolkit.errors import RecipeError

DIM = 6
LENGTHS = torch.tensor([4, 13, 1, 8])


def frames(behind: float = 0.0, extra: int = 0) -> Tensor:
    """(4, 13 + extra, 6) frames of LENGTHS with a number behind them."""
    noise = torch.Generator().manual_seed(0)
    out = torch.full((len(LENGTHS), 13 + extra, DIM), behind)
    for row, length in zip(out, LENGTHS, strict=True):
        row[:length] = torch.randn(int(length), DIM, generator=noise)
    return out


def assert_exact_under_padding(stage: FrameStage) -> None:
    """Valid frames are the same alone as in a batch with NaN or large numbers behind the ends."""
    for behind in (float("nan"), 1e3, -1e3):
        values, lengths = stage(frames(behind, extra=6), LENGTHS)
        for row, length, own, own_length in zip(values, lengths, frames(), LENGTHS, strict=True):
            alone, alone_length = stage(own[None, :own_length], own_length[None])
            assert length == alone_length == alone.shape[1] >= 1
            torch.testing.assert_close(row[:length], alone[0], rtol=1e-5, atol=1e-5)


class TestConvolutionalEncoder:
    @pytest.mark.parametrize(
        "options",
        [
            {"stride": 2, "norm": "none"},
            {"stride": 3, "pool": 2, "norm": "batch", "kernel_size": 3},
            {"pool": 2, "norm": "layer", "activation": "tanh"},
            {"pool": 3, "norm": "none", "activation": "gelu", "channels": (7, 5, 3)},
        ],
    )
    def test_exact_under_padding(self, options: dict) -> None:
        torch.manual_seed(0)
        stage = ConvolutionalEncoder(DIM, **({"channels": (8, 5)} | options))
        for norm in (m for m in stage.modules() if hasattr(m, "running_mean")):
            norm.running_mean.normal_()  # a bias behind the end, were it not masked
        assert_exact_under_padding(stage.eval())

    @pytest.mark.parametrize("norm", ["none", "batch", "layer"])
    def test_equals_torch_for_an_utterance_alone(self, norm: str) -> None:
        torch.manual_seed(0)
        stage = ConvolutionalEncoder(DIM, channels=(8,), stride=2, pool=2, activation="gelu", dropout=0.0, norm=norm)
        convolution = stage.layers[0].convolution
        values, lengths = stage(frames()[1:2], LENGTHS[1:2])  # in training: batch norm takes the batch's statistics
        expected = nn.functional.conv1d(
            frames()[1:2].transpose(1, 2), convolution.weight, convolution.bias, stride=2, padding=2
        )
        if norm == "batch":
            expected = nn.functional.batch_norm(expected, None, None, training=True)
        if norm == "layer":
            expected = nn.functional.layer_norm(expected.transpose(1, 2), (8,)).transpose(1, 2)
        expected = nn.functional.max_pool1d(nn.functional.gelu(expected), 2, ceil_mode=True)
        torch.testing.assert_close(values, expected.transpose(1, 2), rtol=1e-4, atol=1e-5)
        assert lengths.tolist() == [4] == [values.shape[1]]

    def test_lengths_follow_strides_and_pools(self) -> None:
        stage = ConvolutionalEncoder(DIM, channels=(4, 4), stride=2, pool=2)
        for length, expected in ((1, 1), (2, 1), (16, 1), (17, 2), (33, 3)):
            values, lengths = stage(torch.randn(1, length, DIM), torch.tensor([length]))
            assert lengths.tolist() == [expected] == [values.shape[1]]
            assert lengths.dtype == torch.long

    @pytest.mark.parametrize("pooling", [UnmaskedMeanPooling, S3prlAttentivePooling])
    def test_a_pooling_that_reads_padding_finds_numbers(self, pooling: type[Pooling]) -> None:
        values, lengths = ConvolutionalEncoder(DIM, (4,), pool=2)(frames(), LENGTHS)
        assert pooling(4)(values, lengths).isfinite().all()

    def test_batch_norm_trains_on_valid_frames_only(self) -> None:
        buffers = []
        for behind, extra in ((0.0, 0), (1e3, 9)):
            torch.manual_seed(0)
            stage = ConvolutionalEncoder(DIM, channels=(4, 4), norm="batch", dropout=0.0).train()
            stage(frames(behind, extra), LENGTHS)
            buffers.append([buffer.clone() for buffer in stage.buffers()])
        for plain, with_padding in zip(*buffers, strict=True):
            torch.testing.assert_close(with_padding, plain, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kernel_size": 4}, "kernel_size must be odd"),
            ({"channels": ()}, "at least one layer"),
            ({"channels": (8, 0)}, r"channels\[1\]=0 must be positive"),
            ({"stride": 0, "pool": -1}, "stride=0, pool=-1 must be positive"),
            ({"activation": "elu"}, "one of relu, gelu, tanh, found 'elu'"),
            ({"norm": "group"}, "one of none, batch, layer, found 'group'"),
            ({"dropout": -0.1}, "dropout must lie"),
        ],
    )
    def test_refuses_impossible_options(self, options: dict, message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            ConvolutionalEncoder(DIM, **options)


def fill(parameters: list[nn.Parameter]) -> None:
    """Weights by formula, so that another program can have the same ones: sin(0.7 n + 0.013 n^2 + k) / 2."""
    with torch.no_grad():
        for k, parameter in enumerate(parameters):
            n = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((torch.sin(0.7 * n + 0.013 * n * n + k) * 0.5).reshape(parameter.shape))


# What s3prl's own DeepModel(6, 3, "CNNSelfAttention", pooling=5, hidden_dim=4, kernel_size=5, padding=2, dropout=0.4)
# gives in double precision in evaluation, its parameters filled in their order by the formula above: for T frames
# 2 cos(0.3 n + 0.01 n^2), the last frame behind the convolutions and the logits.
S3PRL = {
    1: ([-0.5375128, -0.2282019, 0.0671138, 0.4033124], [-0.6793308, -0.1990338, -0.2432881]),
    5: ([-0.5399936, -0.2264202, 0.0663919, 0.4033707], [-0.6796315, -0.1987358, -0.2436003]),
    13: ([-1.3161976, -0.8411044, -0.3037409, 0.4627601], [-0.8532192, -0.0342428, -0.3897411]),
    26: ([-0.3609181, -0.3489051, 0.0604027, 0.3156531], [-0.801178, -0.0782867, -0.3698177]),
}


class TestAveragePooledCNN:
    @pytest.mark.parametrize("length", S3PRL)
    def test_with_attention_and_head_it_equals_s3prl(self, length: int) -> None:
        stage = AveragePooledCNN(DIM, hidden_dim=4).double().eval()
        pooling = SelfAttentivePooling(4).double()
        head = MLPHead(4, 3, hidden_dim=4, num_layers=1, dropout=0.0).double().eval()
        offset = nn.Parameter(torch.empty(1).double())  # of s3prl's scores: the softmax does not see it
        fill([*stage.parameters(), *pooling.parameters(), offset, *head.parameters()])
        n = torch.arange(length * DIM, dtype=torch.float64).reshape(1, length, DIM)
        values, lengths = stage(2 * torch.cos(0.3 * n + 0.01 * n * n), torch.tensor([length]))
        last, logits = (torch.tensor(expected, dtype=torch.float64) for expected in S3PRL[length])
        assert lengths.tolist() == [values.shape[1]] == [-(-length // 5)]
        torch.testing.assert_close(values[0, -1], last, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(head(pooling(values, lengths)).logits[0], logits, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize(("kernel_size", "pool"), [(5, 5), (3, 2), (7, 3), (3, 5)])
    def test_exact_under_padding(self, kernel_size: int, pool: int) -> None:
        torch.manual_seed(0)
        assert_exact_under_padding(AveragePooledCNN(DIM, 8, kernel_size, pool).eval())

    def test_dropout_in_training_only(self) -> None:
        torch.manual_seed(0)
        stage = AveragePooledCNN(DIM, 8)
        assert not torch.equal(stage(frames(), LENGTHS)[0], stage(frames(), LENGTHS)[0])
        stage.eval()
        assert torch.equal(stage(frames(), LENGTHS)[0], stage(frames(), LENGTHS)[0])

    @pytest.mark.parametrize("options", [{"kernel_size": 2}, {"pool": 0}, {"hidden_dim": 0}, {"dropout": 1.0}])
    def test_refuses_impossible_options(self, options: dict) -> None:
        with pytest.raises(RecipeError, match=f"AveragePooledCNN: .*{next(iter(options))}"):
            AveragePooledCNN(DIM, **options)


class TestTransformerEncoder:
    @pytest.mark.parametrize("options", [{}, {"dim": None, "num_heads": 3}, {"positions": "none", "num_heads": 1}])
    def test_exact_under_padding(self, options: dict) -> None:
        torch.manual_seed(0)
        stage = TransformerEncoder(DIM, **({"dim": 8, "feedforward_dim": 16, "num_heads": 2} | options)).eval()
        assert_exact_under_padding(stage)

    @pytest.mark.parametrize("behind", [0.0, float("nan")])
    def test_the_same_with_and_without_gradients(self, behind: float) -> None:
        # Without gradients torch takes another implementation ("fast path") of each layer.
        torch.manual_seed(0)
        stage = TransformerEncoder(DIM, dim=8, feedforward_dim=16).eval()
        expected, lengths = stage(frames(behind, extra=3), LENGTHS)
        with torch.no_grad():
            found, _ = stage(frames(behind, extra=3), LENGTHS)
        with torch.inference_mode():
            also, _ = stage(frames(behind, extra=3), LENGTHS)
        assert expected.shape == found.shape
        for row, own, third, length in zip(found, expected, also, lengths, strict=True):
            torch.testing.assert_close(row[:length], own[:length], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(third[:length], own[:length], rtol=1e-5, atol=1e-6)

    def test_one_layer_equals_its_formula(self) -> None:
        torch.manual_seed(0)
        stage = TransformerEncoder(DIM, dim=8, num_layers=1, num_heads=2, feedforward_dim=16, positions="none").eval()
        layer = stage.layers[0]
        x = stage.projection(frames()[1])
        q, k, v = nn.functional.linear(
            layer.norm1(x), layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
        ).chunk(3, dim=1)
        heads = [(q[:, h] @ k[:, h].T / 2.0).softmax(dim=1) @ v[:, h] for h in (slice(0, 4), slice(4, 8))]
        x = x + layer.self_attn.out_proj(torch.cat(heads, dim=1))
        x = x + layer.linear2(layer.linear1(layer.norm2(x)).relu())
        values, _ = stage(frames()[1:2], LENGTHS[1:2])
        torch.testing.assert_close(values[0], nn.functional.layer_norm(x, (8,)), rtol=1e-5, atol=1e-5)

    def test_positions_are_sines_and_cosines(self) -> None:
        stage = TransformerEncoder(DIM, dim=5, num_layers=1, num_heads=1, dropout=0.0)
        seen = []
        stage.layers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        nn.init.zeros_(stage.projection.weight)
        nn.init.zeros_(stage.projection.bias)
        stage(frames(), LENGTHS)
        t = torch.arange(13.0)
        rate = 10000 ** (-2 / 5), 10000 ** (-4 / 5)
        expected = [t.sin(), t.cos(), (t * rate[0]).sin(), (t * rate[0]).cos(), (t * rate[1]).sin()]
        torch.testing.assert_close(seen[0][0], torch.stack(expected, dim=1), rtol=1e-5, atol=1e-5)

    def test_order_matters_with_positions_only(self) -> None:
        torch.manual_seed(0)
        own, length = frames()[1:2], LENGTHS[1:2]
        for positions, same in (("none", True), ("sinusoidal", False)):
            stage = TransformerEncoder(DIM, dim=8, num_heads=2, positions=positions).eval()  # type: ignore[arg-type]
            mirrored = stage(own.flip(1), length)[0].flip(1)
            assert torch.allclose(mirrored, stage(own, length)[0], atol=1e-5) == same

    def test_layers_start_from_different_weights(self) -> None:
        first, second = TransformerEncoder(DIM, dim=8).layers
        assert not torch.equal(first.linear1.weight, second.linear1.weight)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dim": 10, "num_heads": 4}, r"num_heads \(4\) must divide the size of a frame \(10, dim\)"),
            ({"dim": None}, "that comes in, as dim is null"),
            ({"num_layers": 0}, "num_layers=0"),
            ({"positions": "learnt"}, "found 'learnt'"),
        ],
    )
    def test_refuses_impossible_options(self, options: dict, message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            TransformerEncoder(DIM, **options)


RECIPE = {
    "data": {"corpus": "EmoDB", "protocol": "LeaveOneSpeakerOut"},
    "model": {
        "upstream": {"class_path": "Spectral", "init_args": {"features": "logmel", "num_mels": 8}},
        "frames": {
            "class_path": "FrameStages",
            "init_args": {
                "stages": [
                    {"class_path": "MelCNN", "init_args": {"channels": [3, 4]}},
                    {"class_path": "RecurrentEncoder", "init_args": {"hidden_dim": 5}},
                ]
            },
        },
    },
}


@pytest.fixture
def recipe_file(tmp_path: Path) -> str:
    """A recipe with a CNN-BLSTM."""
    path = tmp_path / "chained.yaml"
    path.write_text("# A trial.\n" + yaml.safe_dump(RECIPE), encoding="utf-8")
    return str(path)


class TestFrameStages:
    def test_equals_the_stages_by_hand(self) -> None:
        torch.manual_seed(0)
        chain = FrameStages(DIM, [MelCNN, RecurrentEncoder]).eval()
        mel, recurrent = chain.stages
        assert recurrent.input_dim == mel.output_dim
        assert chain.output_dim == 256
        values, lengths = chain(frames(), LENGTHS)
        expected, expected_lengths = recurrent(*mel(frames(), LENGTHS))
        assert torch.equal(values, expected)
        assert torch.equal(lengths, expected_lengths)
        assert_exact_under_padding(chain)

    def test_linear_when_all_stages_are(self) -> None:
        assert FrameStages(DIM, [LinearProjection, NoFrameStage, LinearProjection]).linear
        assert not FrameStages(DIM, [LinearProjection, LinearReLU, LinearProjection]).linear

    def test_none_is_an_error(self) -> None:
        with pytest.raises(RecipeError, match="use NoFrameStage"):
            FrameStages(DIM, [])

    def test_recipe_names_stages_with_options(self, recipe_file: str, tmp_path: Path) -> None:
        recipe = load_recipe(recipe_file)
        mel, recurrent = recipe.model(["a", "b"]).network.fusion.branches[0].frames.stages
        assert [block.convolution.out_channels for block in mel.blocks] == [3, 4]
        assert recurrent.output_dim == 10
        copy = tmp_path / "copy.yaml"
        copy.write_text(recipe.yaml(), encoding="utf-8")
        assert load_recipe(str(copy)).identity() == recipe.identity()

    @pytest.mark.parametrize(
        ("override", "names", "size"),
        [
            ("model.frames.stages+=LinearReLU", ["MelCNN", "RecurrentEncoder", "LinearReLU"], 256),
            ("model.frames.stages.hidden_dim=9", ["MelCNN", "RecurrentEncoder"], 18),
            ("model.frames.stages=[LinearReLU,RecurrentEncoder]", ["LinearReLU", "RecurrentEncoder"], None),
            ("model.frames.stages=[{class_path: LinearReLU, init_args: {dim: 7}}]", ["LinearReLU"], 7),
        ],
    )
    def test_command_line(self, recipe_file: str, override: str, names: list[str], size: int | None) -> None:
        stages = load_recipe(recipe_file, override).model(["a", "b"]).network.fusion.branches[0].frames.stages
        assert [type(stage).__name__ for stage in stages] == names
        assert size is None or stages[-1].output_dim == size

    def test_default_stages_from_the_command_line(self, recipe_file: str) -> None:
        recipe = load_recipe(recipe_file, "model.frames=NoFrameStage").override("model.frames=FrameStages")
        stages = recipe.model(["a", "b"]).network.fusion.branches[0].frames.stages
        assert [type(stage).__name__ for stage in stages] == ["LinearReLU", "LinearProjection"]

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("model.frames.stages=[MelCNM]", r"model.frames.stages\[0\]=MelCNM is unknown. Did you mean MelCNN"),
            ("model.frames.stages=[{class_path: MelCNN, init_args: {chanels: [3]}}]", "Did you mean channels"),
        ],
    )
    def test_a_wrong_stage_is_named(self, recipe_file: str, override: str, message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            load_recipe(recipe_file, override)
