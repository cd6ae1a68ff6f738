"""Fine-tuning Hugging Face encoders: which parameters learn, and what chance may and may not do."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from tiny_models import VARIANTS, save_tiny, tiny_config, tiny_extractor
from torch import Tensor

from ser_toolkit.data.batch import pad_sequences
from ser_toolkit.errors import RecipeError
from ser_toolkit.upstreams.huggingface import HuggingFaceUpstream
from ser_toolkit.upstreams.spec_augment import SpecAugment, draw_spans

#: What fine-tuning leaves alone by default; Whisper's positions are fixed sinusoids.
STEM = {"whisper": ("conv1.", "conv2.", "embed_positions.")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("hub")
    return {(f, s): save_tiny(f, root / f"{f}-{s}", s) for f, s in VARIANTS}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def batch(*samples: int) -> tuple[Tensor, Tensor]:
    return pad_sequences([torch.randn(n) for n in samples])


def with_gradient(upstream: HuggingFaceUpstream) -> set[str]:
    frames, _ = upstream(*batch(4000, 6500))
    (frames * torch.randn_like(frames)).sum().backward()
    return {name for name, parameter in upstream.model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("family", "style"), VARIANTS)
def test_gradients_reach_what_is_trained_and_nothing_else(
    folders: dict, family: str, style: str, checkpointing: bool
) -> None:
    upstream = HuggingFaceUpstream(str(folders[family, style]), frozen=False, gradient_checkpointing=checkpointing)
    upstream.train()
    names = {name for name, _ in upstream.model.named_parameters()}
    fixed = (*STEM.get(family, ("feature_extractor.",)), "masked_spec_embed")
    trained = {name for name in names if not name.startswith(fixed)}
    assert {name for name, p in upstream.model.named_parameters() if p.requires_grad} == trained
    assert with_gradient(upstream) == trained


@pytest.mark.parametrize(("family", "style"), [("wavlm", "group"), ("sew", "layer"), ("wav2vec2", "group")])
def test_convolutions_and_mask_vector_learn_when_asked(folders: dict, family: str, style: str) -> None:
    upstream = HuggingFaceUpstream(
        str(folders[family, style]), frozen=False, freeze_encoder=False, spec_augment=SpecAugment()
    )
    upstream.train()
    assert with_gradient(upstream) == {name for name, _ in upstream.model.named_parameters()}


def test_masked_group_norm_has_the_gradient_of_the_plain_one(folders: dict) -> None:
    """The statistics are computed from the input, but the gradient flows through them as through a group norm."""
    from transformers import AutoModel

    folder = str(folders["wav2vec2", "group"])
    upstream = HuggingFaceUpstream(folder, frozen=False, freeze_encoder=False)
    peer = AutoModel.from_pretrained(folder).eval()
    wav = torch.randn(1, 5000)
    weight = torch.randn(15, 32)
    (upstream.eval()(wav, torch.tensor([5000]))[0][:, -1] * weight).sum().backward()
    (peer(wav).last_hidden_state * weight).sum().backward()
    for (name, found), expected in zip(upstream.model.named_parameters(), peer.parameters(), strict=True):
        if expected.grad is not None:
            scale = expected.grad.abs().max().clamp(min=1e-3)
            assert (found.grad - expected.grad).abs().max() / scale < 1e-3, name


def test_truncated_models_have_no_idle_parameters(folders: dict) -> None:
    for layers in ([0, 1], [2]):
        upstream = HuggingFaceUpstream(str(folders["wavlm", "layer"]), frozen=False, layers=layers).train()
        assert with_gradient(upstream) == {n for n, p in upstream.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(("family", "style"), [("wavlm", "layer"), ("data2vec-audio", "layer"), ("whisper", "layer")])
def test_loss_falls(folders: dict, family: str, style: str) -> None:
    upstream = HuggingFaceUpstream(
        str(folders[family, style]), frozen=False, layerdrop=0.1, spec_augment=SpecAugment()
    ).train()
    head = torch.nn.Linear(32, 2)
    wav, lengths = batch(4000, 5000, 6000, 7000)
    wav[:2] *= torch.linspace(0, 1, wav.shape[1])
    target = torch.tensor([0, 0, 1, 1])
    trained = [p for p in upstream.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW([*trained, *head.parameters()], lr=3e-3)
    losses = []
    for _ in range(25):
        frames, counts = upstream(wav, lengths)
        pooled = frames.mean(1).sum(1) / counts[:, None]
        loss = torch.nn.functional.cross_entropy(head(pooled), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]


@pytest.mark.parametrize(("family", "style"), VARIANTS)
def test_frozen_means_frozen(folders: dict, family: str, style: str) -> None:
    upstream = HuggingFaceUpstream(str(folders[family, style]), layerdrop=0.5, spec_augment=SpecAugment(time_prob=0.5))
    wav, lengths = batch(4000, 3000)
    expected, _ = upstream.eval()(wav, lengths)
    upstream.train()
    found, _ = upstream(wav, lengths)
    assert not any(module.training for module in upstream.modules())
    assert not any(p.requires_grad for p in upstream.parameters()) and not found.requires_grad
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("family", "style"), VARIANTS)
def test_layer_drop_passes_the_input_on(folders: dict, family: str, style: str) -> None:
    upstream = HuggingFaceUpstream(str(folders[family, style]), frozen=False, layerdrop=0.5).train()
    upstream.spec_augment = None
    for module in upstream.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    dropped = []
    for _ in range(12):
        frames, _ = upstream(*batch(4000))
        assert frames.shape[1] == 4
        # the last state is compared only where no final norm stands behind it
        pairs = [(0, 1), (1, 2)] + ([] if upstream._family.final_norm else [(2, 3)])
        dropped += [torch.equal(frames[:, a], frames[:, b]) for a, b in pairs]
    assert 0.25 < sum(dropped) / len(dropped) < 0.75
    upstream.eval()
    frames, _ = upstream(*batch(4000))
    assert not any(torch.equal(frames[:, i], frames[:, i + 1]) for i in range(3))


def test_dropped_layers_still_have_gradients_when_distributed(folders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """DistributedDataParallel waits for every parameter in every step."""
    upstream = HuggingFaceUpstream(str(folders["wavlm", "group"]), frozen=False, layerdrop=0.999).train()
    trained = {name for name, p in upstream.model.named_parameters() if p.requires_grad}
    assert not any("feed_forward" in name for name in with_gradient(upstream))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert with_gradient(upstream) == trained
    frames, _ = upstream(*batch(4000))
    assert torch.equal(frames[:, 0], frames[:, 3])


@pytest.mark.parametrize("samples", [400, 700, 1000])
@pytest.mark.parametrize(("family", "style"), [v for v in VARIANTS if v[0] not in ("sew", "wav2vec2-bert")])
def test_short_clips_survive_spec_augment(folders: dict, family: str, style: str, samples: int) -> None:
    augment = SpecAugment(time_prob=0.9, feature_prob=0.5)
    upstream = HuggingFaceUpstream(str(folders[family, style]), frozen=False, spec_augment=augment).train()
    frames, _ = upstream(*batch(samples, 400))
    assert frames.isfinite().all()


def test_spans_stay_inside_the_utterance() -> None:
    counts = torch.tensor([1, 2, 5, 19, 20, 100, 1000])
    hits = torch.zeros(7)
    for _ in range(200):
        mask = draw_spans(counts, 1000, 0.2, 10, at_least=2)
        assert not (mask & (torch.arange(1000) >= counts[:, None])).any()
        hits += mask.sum(1)
    share = hits / 200 / counts
    assert share[0] == 0  # nothing of a single frame
    assert (share[1:] <= 0.5).all() and (share[1:] > 0.1).all()
    # ten spans of ten frames over 500 possible ones of a hundred: 1 - (1 - 1/100)^... is close to 1 - exp(-0.2)
    assert abs(share[-1] - (1 - torch.exp(torch.tensor(-0.2)))) < 0.02


def test_spec_augment_masks_with_the_learnt_vector(folders: dict) -> None:
    hidden, fill = torch.randn(2, 60, 32), torch.full((32,), 7.0)
    out = SpecAugment(time_prob=0.3, feature_prob=0.0)(hidden, torch.tensor([60, 30]), fill)
    masked = (out == 7).all(-1)
    assert masked[0].any() and not masked[1, 30:].any()
    assert torch.equal(out[~masked], hidden[~masked])
    channels = SpecAugment(time_prob=0, feature_prob=0.4, feature_length=4)(hidden, torch.tensor([60, 30]), fill)
    zero = (channels == 0).all(1)
    assert zero.any() and torch.equal(channels.ne(0).any(1), ~zero)
    with pytest.raises(RecipeError, match=r"time_prob is 1\.5"):
        SpecAugment(time_prob=1.5)


def test_chance_repeats_with_the_seed(folders: dict) -> None:
    upstream = HuggingFaceUpstream(
        str(folders["wavlm", "group"]), frozen=False, layerdrop=0.3, spec_augment=SpecAugment(time_prob=0.4)
    ).train()
    wav, lengths = batch(9000, 8000)
    runs = []
    for number in (1, 1, 2):
        torch.manual_seed(number)
        runs.append(upstream(wav, lengths)[0])
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@pytest.mark.slow
def test_a_step_of_wavlm_base_fits_in_memory(tmp_path: Path) -> None:
    """94 million parameters, 4 recordings of 5 s, AdamW."""
    from transformers import WavLMConfig

    WavLMConfig().save_pretrained(tmp_path)
    tiny_extractor("wavlm", "group").save_pretrained(tmp_path)
    upstream = HuggingFaceUpstream(str(tmp_path), frozen=False, random_init=True).train()
    assert 94e6 < sum(p.numel() for p in upstream.parameters()) < 95e6
    trained = {n: p for n, p in upstream.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(trained.values(), lr=1e-5)
    frames, _ = upstream(*batch(80000, 80000, 80000, 60000))
    assert frames.shape == (4, 13, 249, 768)
    frames.square().mean().backward()
    assert {n for n, p in trained.items() if p.grad is None} == set()
    optimiser.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert peak < 12, f"peak resident memory {peak:.1f} GB"


def test_autocast_to_bfloat16_is_close(folders: dict) -> None:
    for variant in [("wavlm", "group"), ("wav2vec2", "layer"), ("wav2vec2-bert", "layer")]:
        upstream = HuggingFaceUpstream(str(folders[variant]))
        wav, lengths = batch(6000, 4000)
        expected, _ = upstream(wav, lengths)
        with torch.autocast("cpu", torch.bfloat16):
            found, _ = upstream(wav, lengths)
        assert ((found.float() - expected).norm() / expected.norm()) < 0.05


def test_config_helper_matches_the_family() -> None:
    assert all(tiny_config(family, style).model_type == family for family, style in VARIANTS)
