"""ECAPA-TDNN against SpeechBrain's on the same weights, and its padding in training and for short utterances.

Expected numbers were computed with ``speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN`` of SpeechBrain 1.1.2 in float64
on torch 2.13: ``input_size=3`` and the sizes of ``SIZES``, ``attention_channels=4``, ``lin_neurons=3``, weights from
``filled`` copied tensor by tensor (its one tensor that is missing here, the offset behind the tanh, set to zero), and
the input of ``waves``.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ser_toolkit.downstream._tdnn import reflect_ends
from ser_toolkit.downstream.ecapa import ECAPA, ECAPAPooling
from ser_toolkit.errors import RecipeError

SIZES = {
    "channels": (4, 6, 6, 8),
    "kernel_sizes": (5, 3, 3, 1),
    "dilations": (1, 2, 4, 1),
    "res2net_scale": 2,
    "se_channels": 3,
}
LAST_FRAME = {
    5: [-0.12218893, -0.37430967, 0.22289541, 6.79934019, -2.19198229, 0.71134832, -13.44134066, 1.05220383],
    9: [-0.12218893, -0.37430967, 0.22289541, 7.98489384, -2.19198229, 1.30890417, -7.5780339, 1.05220383],
}
EMBEDDING = {5: [-3.79219765, -4.10326458, 2.48720421], 9: [-4.42936346, -3.83420298, 2.81582793]}
TRAINING = [
    [-2.37863766, -0.64247353, -5.13148182],
    [-2.0968661, 0.01999923, -4.76494857],
    [1.04707886, -0.09582573, -1.62023868],
    [-0.95512912, -6.44663941, 1.47605112],
]
RUNNING_MEAN = [0.69677116, 0.09245249, -0.62377106]
RUNNING_VAR = [1.11161563, 1.83453816, 1.20315081, 0.62113001, 0.69251322, 1.27146724, 2.70146174, 0.8917803]


def filled() -> nn.ModuleList:
    """Stage and pooling in float64; the k-th number of all their tensors, in order, is sin(k^2 / 10)."""
    parts = nn.ModuleList([ECAPA(3, **SIZES), ECAPAPooling(8, embedding_dim=3, attention_channels=4)]).double()
    begin = 0
    for name, tensor in parts.state_dict().items():
        wave = torch.arange(begin, begin + tensor.numel(), dtype=torch.float64).square().div(10).sin()
        begin += tensor.numel()
        tensor.copy_((1 + 0.5 * wave if name.endswith("running_var") else wave).reshape(tensor.shape))
    return parts


def waves(utterances: int, length: int) -> Tensor:
    """Frames (B, T, 3) in float64: the k-th number is sin(0.37 k)."""
    return torch.arange(utterances * length * 3, dtype=torch.float64).mul(0.37).sin().reshape(utterances, length, 3)


def padded(rows: list[Tensor], extra: int, behind: float = float("nan")) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    out = torch.full((len(rows), int(lengths.max()) + extra, rows[0].shape[1]), behind, dtype=rows[0].dtype)
    for target, row in zip(out, rows, strict=True):
        target[: len(row)] = row
    return out, lengths


def close(found: Tensor, expected: list | Tensor) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), rtol=1e-6, atol=1e-6)


class TestReflectEnds:
    @pytest.mark.parametrize("pad", [0, 1, 2, 4])
    def test_equals_numpy_for_each_utterance(self, pad: int) -> None:
        torch.manual_seed(0)
        rows = [torch.randn(length, 3) for length in (8, 1, 2, 3, 5)]
        values, lengths = padded(rows, 2, behind=99.0)
        found = reflect_ends(values.transpose(1, 2), lengths, pad)
        assert found.shape == (5, 3, 10 + 2 * pad)
        for image, row in zip(found, rows, strict=True):
            expected = np.pad(row.numpy(), ((pad, pad), (0, 0)), mode="reflect")
            np.testing.assert_array_equal(image[:, : len(expected)].numpy(), expected.T)

    def test_gradcheck(self) -> None:
        values = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
        lengths = torch.tensor([5, 1, 3])
        assert torch.autograd.gradcheck(lambda x: reflect_ends(x, lengths, 2), values)


class TestEqualsSpeechBrain:
    @pytest.mark.parametrize("length", [5, 9])
    def test_in_evaluation(self, length: int) -> None:
        stage, pooling = filled().eval()
        frames, lengths = stage(waves(1, length), torch.tensor([length]))
        close(frames[0, -1], LAST_FRAME[length])
        close(pooling(frames, lengths)[0], EMBEDDING[length])

    def test_for_utterances_of_a_padded_batch(self) -> None:
        stage, pooling = filled().eval()
        frames, lengths = stage(*padded([waves(1, 5)[0], waves(1, 9)[0]], extra=4))
        close(frames[0, 4], LAST_FRAME[5])
        close(frames[1, 8], LAST_FRAME[9])
        close(pooling(frames, lengths), [EMBEDDING[5], EMBEDDING[9]])

    def test_in_training(self) -> None:
        stage, pooling = filled().train()
        close(pooling(*stage(waves(4, 6), torch.full((4,), 6))), TRAINING)
        close(stage.blocks[1].res2net.blocks[0].norm.running_mean, RUNNING_MEAN)
        close(stage.aggregation.norm.running_var, RUNNING_VAR)


class TestTraining:
    def test_padding_moves_neither_outputs_nor_gradients_nor_statistics(self) -> None:
        rows = [row[:length] for row, length in zip(waves(4, 7), (7, 1, 2, 4), strict=True)]
        found = []
        for extra, behind in ((0, 0.0), (5, float("nan"))):
            parts = filled().train()
            frames, lengths = padded(rows, extra, behind)
            vectors = parts[1](*parts[0](frames, lengths))
            vectors.square().sum().backward()
            tensors = {name: parameter.grad for name, parameter in parts.named_parameters()}
            found.append(tensors | dict(parts.named_buffers()) | {"vectors": vectors})
        torch.testing.assert_close(found[0], found[1])

    def test_one_utterance_of_one_frame_is_finite(self) -> None:
        torch.manual_seed(0)
        stage, pooling = ECAPA(3, **SIZES), ECAPAPooling(8, embedding_dim=3)
        frames = torch.randn(1, 1, 3, requires_grad=True)
        pooling(*stage(frames, torch.tensor([1]))).square().sum().backward()
        assert frames.grad.isfinite().all()
        for tensor in [*pooling.state_dict().values(), *stage.state_dict().values()]:
            assert tensor.isfinite().all()

    def test_dropout_drops_channels_of_an_utterance(self) -> None:
        torch.manual_seed(0)
        stage = ECAPA(3, **SIZES, dropout=0.5)
        frames, _ = stage(torch.randn(6, 9, 3), torch.full((6,), 9))
        dropped = frames.eq(0)
        assert 0.2 < dropped.all(dim=1).double().mean() < 0.8
        assert torch.equal(dropped.all(dim=1), dropped.any(dim=1))


def test_sizes_can_differ_from_block_to_block() -> None:
    stage = ECAPA(
        3, channels=(4, 6, 10, 2, 5), kernel_sizes=(3, 5, 3, 1, 3), res2net_scale=2, dilations=(2, 1, 3, 1, 2)
    )
    frames, lengths = stage(torch.randn(2, 7, 3), torch.tensor([7, 2]))
    assert frames.shape == (2, 7, stage.output_dim) == (2, 7, 5)
    assert lengths.tolist() == [7, 2]


def test_the_published_size() -> None:
    """Parameters of SpeechBrain's ECAPA_TDNN(80): 6,194,048 with 1,536 offsets that the softmax does not see."""
    with torch.device("meta"):
        parts = nn.ModuleList([ECAPA(80, channels=(512, 512, 512, 512, 1536)), ECAPAPooling(1536)])
    assert sum(parameter.numel() for parameter in parts.parameters()) == 6_194_048 - 1_536


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"channels": (8, 8)}, "at least 3"),
        ({"dilations": (1, 2, 3)}, "one entry"),
        ({"kernel_sizes": (5, 3, 4, 3, 1)}, "odd"),
        ({"res2net_scale": 3}, "res2net_scale=3"),
        ({"se_channels": 0}, "se_channels"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_wrong_options_are_refused(options: dict, named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        ECAPA(6, **options)


def test_an_embedding_has_a_size() -> None:
    with pytest.raises(RecipeError, match="embedding_dim"):
        ECAPAPooling(6, embedding_dim=0)
