"""Frame stages: the convolutional network over log-mel frames, and its masked batch norm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ser_toolkit.data.batch import valid_mask
from ser_toolkit.downstream.frames import LinearReLU, MaskedBatchNorm2d, MelCNN
from ser_toolkit.errors import RecipeError

LENGTHS = torch.tensor([7, 2, 5])


def padded(images: torch.Tensor, extra: int) -> torch.Tensor:
    """Garbage behind the lengths, and ``extra`` frames more of it."""
    longer = torch.cat([images, torch.zeros(*images.shape[:2], extra, images.shape[3])], dim=2)
    mask = valid_mask(LENGTHS, longer.shape[2])[:, None, :, None]
    return torch.where(mask, longer, 100 * torch.randn_like(longer))


class TestMaskedBatchNorm2d:
    def test_equals_torch_when_nothing_is_padded(self) -> None:
        torch.manual_seed(0)
        ours, theirs = MaskedBatchNorm2d(4), nn.BatchNorm2d(4)
        full = torch.tensor([6, 6, 6])
        for _ in range(3):
            images = 2 + 3 * torch.randn(3, 4, 6, 5)
            torch.testing.assert_close(ours(images, full), theirs(images), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
        images = torch.randn(3, 4, 6, 5)
        torch.testing.assert_close(ours.eval()(images, full), theirs.eval()(images))

    def test_training_statistics_count_valid_positions_only(self) -> None:
        torch.manual_seed(0)
        images = 2 + 3 * torch.randn(3, 4, 7, 5)
        norm = MaskedBatchNorm2d(4, momentum=1.0)
        out = norm(padded(images, 6), LENGTHS)
        valid = torch.cat([image[:, :n] for image, n in zip(images, LENGTHS, strict=True)], dim=1)
        torch.testing.assert_close(norm.running_mean, valid.mean(dim=(1, 2)))
        torch.testing.assert_close(norm.running_var, valid.var(dim=(1, 2)))
        found = torch.cat([image[:, :n] for image, n in zip(out, LENGTHS, strict=True)], dim=1)
        torch.testing.assert_close(found.mean(dim=(1, 2)), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(found.var(dim=(1, 2), unbiased=False), torch.ones(4), atol=1e-4, rtol=0)
        assert out[1, :, 2:].abs().max() == 0

    def test_one_position_is_finite(self) -> None:
        norm = MaskedBatchNorm2d(4)
        image = torch.randn(1, 4, 1, 1, requires_grad=True)
        norm(image, torch.tensor([1])).sum().backward()
        assert image.grad.isfinite().all()

    def test_one_position_is_not_remembered(self) -> None:
        """It has no variance: remembered as 0, the last batch of an epoch would shrink what dev is normalised with."""
        norm = MaskedBatchNorm2d(4)
        norm(3 + torch.randn(5, 4, 2, 1), torch.full((5,), 2))
        mean, variance = norm.running_mean.clone(), norm.running_var.clone()
        norm(torch.randn(1, 4, 1, 1), torch.tensor([1]))
        assert torch.equal(norm.running_mean, mean)
        assert torch.equal(norm.running_var, variance)

    def test_gradcheck_in_training(self) -> None:
        torch.manual_seed(0)
        norm = MaskedBatchNorm2d(2).double()
        images = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: norm(x, torch.tensor([3, 1])), images)


class TestMelCNN:
    def test_padding_changes_no_training_step(self) -> None:
        torch.manual_seed(0)
        frames = torch.randn(3, 7, 10)
        results = []
        for extra in (0, 9):
            torch.manual_seed(1)
            network = MelCNN(10, channels=(4, 6), dropout=0.0).train()
            values, lengths = network(padded(frames[:, None], extra)[:, 0], LENGTHS)
            loss = sum(row[:n].square().sum() for row, n in zip(values, lengths, strict=True))
            loss.backward()
            gradients = torch.cat([p.grad.flatten() for p in network.parameters()])
            results.append((loss.detach(), gradients, *(b.clone() for b in network.buffers())))
        for plain, with_padding in zip(*results, strict=True):
            torch.testing.assert_close(with_padding, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))

    def test_one_block_equals_torch_for_an_utterance_alone(self) -> None:
        torch.manual_seed(0)
        network = MelCNN(8, channels=(5,), input_norm=False).eval()
        frames = torch.randn(2, 9, 8)
        values, lengths = network(frames, torch.tensor([9, 9]))
        convolved = nn.functional.conv2d(frames[:, None], network.blocks[0].convolution.weight, padding=1)
        convolved = convolved / (1 + 1e-5) ** 0.5  # the batch norm of a new network
        pooled = nn.functional.max_pool2d(convolved.relu(), 2, ceil_mode=True)
        torch.testing.assert_close(values, pooled.permute(0, 2, 1, 3).reshape(2, 5, 5 * 4))
        assert lengths.tolist() == [5, 5]

    @pytest.mark.parametrize("bands", [1, 7, 64])
    def test_sizes_for_any_number_of_bands(self, bands: int) -> None:
        network = MelCNN(bands, channels=(2, 3), pool_time=2, pool_frequency=3)
        values, lengths = network(torch.randn(2, 13, bands), torch.tensor([13, 1]))
        assert values.shape == (2, 4, network.output_dim)
        assert network.output_dim == 3 * math.ceil(math.ceil(bands / 3) / 3)
        assert lengths.tolist() == [4, 1]

    def test_input_norm_takes_the_offset_of_log_mel_bands_away(self) -> None:
        torch.manual_seed(0)
        frames, lengths = torch.randn(3, 7, 10), torch.tensor([7, 7, 7])
        network = MelCNN(10, channels=(4,), dropout=0.0).train()
        expected, _ = network(frames, lengths)
        shifted, _ = network(5 * frames - torch.linspace(20, 60, 10), lengths)
        torch.testing.assert_close(shifted, expected, rtol=1e-3, atol=1e-3)

    def test_learns_a_pattern_in_time(self) -> None:
        # Rising against falling energy: the same frames in another order, which no pooling alone can tell apart.
        torch.manual_seed(0)
        slope = torch.linspace(-2, 2, 12)
        signs = torch.tensor([1.0, -1.0]).repeat(16)
        frames = signs[:, None, None] * slope[None, :, None] + 0.3 * torch.randn(32, 12, 8)
        lengths = torch.full((32,), 12)
        network, head = MelCNN(8, channels=(4, 8), dropout=0.0), nn.LazyLinear(1)
        head(network(frames, lengths)[0].mean(dim=1))
        optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=0.02)
        for _ in range(40):
            optimizer.zero_grad()
            logits = head(network(frames, lengths)[0].mean(dim=1))[:, 0]
            nn.functional.soft_margin_loss(logits, signs).backward()
            optimizer.step()
        network.eval()
        logits = head(network(frames, lengths)[0].mean(dim=1))[:, 0]
        assert (logits.sign() == signs).float().mean() > 0.95

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kernel_size": 4}, "kernel_size must be odd"),
            ({"channels": ()}, "at least one block"),
            ({"channels": (8, 0)}, "must be positive"),
            ({"pool_time": 0}, "must be positive"),
        ],
    )
    def test_refuses_impossible_sizes(self, options: dict, message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            MelCNN(8, **options)


def test_dropout_of_linear_relu_acts_in_training_only() -> None:
    torch.manual_seed(0)
    stage = LinearReLU(6, dim=50, dropout=0.5)
    frames, lengths = torch.ones(1, 4, 6), torch.tensor([4])
    assert not torch.equal(stage(frames, lengths)[0], stage(frames, lengths)[0])
    stage.eval()
    assert torch.equal(stage(frames, lengths)[0], stage.projection(frames).clamp_min(0))
