"""Batches without padding: same frames as padded ones, and nothing that a gradient or a compiler would lose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import save_tiny
from torch import Tensor

from ser_toolkit.upstreams.encoders.packed import Packed, SelfAttention, _spelled_out
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream

LENGTHS = torch.tensor([5003, 12000, 9001])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packed")
    return {family: save_tiny(family, root / family, "layer") for family in ("wavlm", "hubert", "sew")}


def speech() -> Tensor:
    return 0.3 * torch.randn(3, 12000, generator=torch.Generator().manual_seed(0))


def test_packing_is_undone() -> None:
    packed, hidden = Packed((2, 3)), torch.arange(12.0).reshape(2, 3, 2)
    row = packed.pack(hidden)
    assert row[0, :, 0].tolist() == [0, 2, 6, 8, 10]
    back = packed.unpack([row, -row], 4)
    assert back.shape == (2, 2, 4, 2)
    assert torch.equal(back[:, 0, :3], hidden * torch.tensor([[1.0, 1, 0], [1, 1, 1]])[..., None])
    assert torch.equal(back[:, 1], -back[:, 0])


@pytest.mark.parametrize("family", ["wavlm", "hubert", "sew"])
def test_layers_see_valid_frames_only(folders: dict, family: str) -> None:
    """Frozen, the first linear layer meets as many rows as there are frames; with gradients, padded ones as well."""
    upstream = HuggingFaceUpstream(str(folders[family]), frozen=False).eval()
    shapes: list[tuple[int, ...]] = []
    upstream.transformer_layers[0].attention.q_proj.register_forward_hook(  # type: ignore[union-attr]
        lambda module, inputs, output: shapes.append(tuple(output.shape[:2]))
    )
    padded, counts = upstream(speech(), LENGTHS)
    with torch.no_grad():
        packed, _ = upstream(speech(), LENGTHS)
    assert shapes == [(3, int(counts.max())), (1, int(counts.sum()))]
    assert padded.requires_grad
    assert float((padded.detach() - packed).norm() / packed.norm()) < 1e-6
    assert not packed[0, :, counts[0] :].any()


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_spelled_out_attention_equals_torch(kind: str) -> None:
    torch.manual_seed(0)
    heads = [torch.randn(2, 3, 7, 4, requires_grad=True) for _ in range(3)]
    valid = torch.arange(7) < torch.tensor([[7], [5]])
    bias = torch.randn(2, 3, 7, 7).masked_fill(~valid[:, None, None], -torch.inf).requires_grad_()
    mask = {"none": None, "bool": valid[:, None, None, :], "float": bias}[kind]
    found = _spelled_out(*heads, mask, 0.0)
    expected = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=mask)
    torch.testing.assert_close(found, expected)
    learnt = [*heads, *([bias] if kind == "float" else [])]
    weights = torch.randn_like(found)
    pairs = (torch.autograd.grad((values * weights).sum(), learnt) for values in (found, expected))
    for own, other in zip(*pairs, strict=True):
        torch.testing.assert_close(own, other)
    dropped = torch.stack([_spelled_out(*heads, mask, 0.2) for _ in range(2000)]).mean(0)
    assert float((dropped - expected).norm() / expected.norm()) < 0.05


def test_attention_takes_over_the_mode_of_its_source(folders: dict) -> None:
    """An upstream that loads in evaluation mode has no dropout anywhere."""
    upstream = HuggingFaceUpstream(str(folders["hubert"]), frozen=False)
    attention = [module for module in upstream.modules() if isinstance(module, SelfAttention)]
    assert len(attention) == 3
    assert not any(module.training for module in attention)


def test_compiled_layers_are_not_given_packed_batches(folders: dict) -> None:
    """They would be compiled again for every composition of a batch."""
    upstream = HuggingFaceUpstream(str(folders["wavlm"]))
    with torch.no_grad():
        assert upstream._packed(speech(), LENGTHS) == Packed((5003, 12000, 9001))
        assert upstream.at("float32", compiled=True)._packed(speech(), LENGTHS) is None  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["wav2vec2", "wavlm"])
def test_a_trace_serves_other_lengths(tmp_path: Path, family: str) -> None:
    upstream = HuggingFaceUpstream(str(save_tiny(family, tmp_path / family)))

    class Extracting(torch.nn.Module):
        def forward(self, wav: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return upstream.extract(wav, lengths)[0]

    with torch.no_grad():
        example = (torch.randn(2, 4000), torch.tensor([4000, 4000]))
        traced = torch.jit.trace(Extracting().eval(), example, check_trace=False)
        wav, lengths = torch.randn(2, 6000), torch.tensor([6000, 3000])
        torch.testing.assert_close(traced(wav, lengths), upstream(wav, lengths)[0], rtol=1e-4, atol=1e-4)
