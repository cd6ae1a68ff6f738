"""Streams of several upstreams -> one vector: early on one time grid, late as vectors side by side."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ser_toolkit.data.alignment import align
from ser_toolkit.data.batch import Batch, Frames, Outputs, Targets, Waves, stream_name
from ser_toolkit.downstream.conditioning import ConcatenateCondition
from ser_toolkit.downstream.frame_heads import FrameLevelHead
from ser_toolkit.downstream.frames import LinearProjection, NoFrameStage
from ser_toolkit.downstream.fusion import EarlyFusion, LateFusion, StreamShape
from ser_toolkit.downstream.layers import ConcatenateLayers, SingleLayer, WeightedSum
from ser_toolkit.downstream.pooling import AttentivePooling, MeanPooling, MeanStdMaxPooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.normalise import GlobalNormalisation, frame_statistics
from ser_toolkit.model.build import build_model
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.upstreams.base import Upstream
from ser_toolkit.upstreams.fused import FusedUpstreams
from ser_toolkit.upstreams.spectral import Spectral

SHAPES = [StreamShape(3, 4, 0.01), StreamShape(2, 5, 0.02), StreamShape(1, 7, 0.0)]
COUNTS = [[9, 4, 6], [5, 2, 3], [1, 1, 1]]
LENGTHS = [9000, 4001, 6100]
CLASSES = ("angry", "sad", "neutral")


class Mean(Upstream):
    """One vector an utterance, as functionals are: mean and mean square of the samples."""

    feature_dim, num_layers, hop_samples, receptive_samples = 2, 1, 0, 1

    def __init__(self) -> None:
        super().__init__(frozen=True)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return torch.ones_like(lengths)

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        values = [torch.stack([row[:n].mean(), row[:n].square().mean()]) for row, n in zip(wav, lengths, strict=True)]
        return 10 * torch.stack(values)[:, None, None], self.frame_lengths(lengths)

    def fingerprint(self) -> str:
        return "mean"


def streams(behind: float = float("nan")) -> list[Frames]:
    """A Frames (3, L, T, D) for each of SHAPES with something behind the lengths."""
    noise = torch.Generator().manual_seed(0)
    found = []
    for shape, counts in zip(SHAPES, COUNTS, strict=True):
        values = torch.full((3, shape.num_layers, max(counts) + 1, shape.feature_dim), behind)
        for row, count in zip(values, counts, strict=True):
            row[:, :count] = torch.randn(shape.num_layers, count, shape.feature_dim, generator=noise)
        found.append(Frames(values, torch.tensor(counts)))
    return found


def named(given: list[Frames]) -> dict[str, Frames]:
    """Streams by the names that they have in a batch."""
    return {stream_name(number): stream for number, stream in enumerate(given)}


def waves() -> Waves:
    noise = torch.Generator().manual_seed(0)
    values = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in zip(values, LENGTHS, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=noise) + 0.05
    return Waves(values, torch.tensor(LENGTHS))


def batch(*parts: Waves | Frames) -> Batch:
    names = ["speech", "speech/1", "speech/2"][: len(parts)]
    targets = Targets(torch.tensor([0, 1, 0]), torch.full((3, 3), torch.nan), torch.full((3, 3), torch.nan))
    return Batch(dict(zip(names, parts, strict=True)), targets, ["a", "b", "c"])


def stored(model: EmotionModel) -> Batch:
    heard = waves()
    return batch(*(Frames(*part(heard.values, heard.lengths)) for part in model.upstream.parts))


def said(model: EmotionModel, given: Batch) -> Outputs:
    with torch.no_grad():
        return model.eval()(given)


def logits_of(model: EmotionModel, given: Batch) -> Tensor:
    logits = said(model, given).logits
    assert logits is not None
    return logits


FUSIONS: list[Any] = [EarlyFusion, LateFusion]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("pooling", [MeanStdMaxPooling, AttentivePooling])
def test_rows_alone_are_rows_in_a_batch_whatever_stands_behind(fusion: Any, pooling: Any) -> None:
    torch.manual_seed(0)
    made = fusion(SHAPES, WeightedSum, lambda size: LinearProjection(size, 6), pooling).eval()
    given = streams()
    found = made(named(given)).embedding
    assert found.shape == (3, made.output_dim)
    for row in range(3):
        alone = [
            Frames(one.values[row : row + 1, :, : int(one.lengths[row])], one.lengths[row : row + 1]) for one in given
        ]
        torch.testing.assert_close(made(named(alone)).embedding[0], found[row], rtol=1e-5, atol=1e-6)
    made(named(streams(behind=0.0))).embedding.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    assert all(p.grad is not None and p.grad.any() for name, p in made.named_parameters() if "frames" in name)


def test_early_is_align_then_one_aggregator() -> None:
    made = EarlyFusion(SHAPES, SingleLayer, NoFrameStage, MeanStdMaxPooling)
    given = streams()
    found = made(named(given))
    frames, lengths = align([one.values[:, -1] for one in given], [one.lengths for one in given], [0.01, 0.02, 0.0])
    assert found.frames is not None
    assert found.lengths is not None
    assert torch.equal(found.frames, frames)
    assert found.lengths.tolist() == COUNTS[0]
    assert torch.equal(found.embedding, MeanStdMaxPooling(16)(frames, lengths))
    assert made.output_dim == 3 * (4 + 5 + 7)


def test_late_keeps_an_aggregator_for_each_upstream_and_has_no_one_sequence() -> None:
    mixes: list[Callable] = [WeightedSum, ConcatenateLayers, SingleLayer]
    poolings: list[Callable] = [MeanPooling, MeanStdMaxPooling, MeanPooling]
    stages: list[Callable] = [lambda size: LinearProjection(size, 6), NoFrameStage, NoFrameStage]
    made = LateFusion(SHAPES, SingleLayer, NoFrameStage, AttentivePooling, mixes, stages, poolings)
    given = streams()
    found = made(named(given))
    parts = []
    for index, one in enumerate(given):
        branch = made.branches[index]
        mixed = branch.layer_mixes[0](one.values)
        parts.append(branch.pooling(*branch.frames(mixed, one.lengths)))
    assert torch.equal(found.embedding, torch.cat(parts, dim=1))
    assert [part.shape[1] for part in parts] == [6, 3 * 10, 7]
    assert made.output_dim == found.embedding.shape[1] == 43
    assert found.frames is None
    assert found.lengths is None
    assert [[type(mix) for mix in branch.layer_mixes] for branch in made.branches] == [[mix] for mix in mixes]
    assert [type(branch.pooling) for branch in made.branches] == poolings
    assert [branch.reads for branch in made.branches] == [("speech",), ("speech/1",), ("speech/2",)]


@pytest.mark.parametrize("option", ["layer_mixes", "frame_stages", "poolings"])
def test_a_list_has_one_entry_for_each_upstream(option: str) -> None:
    one = {"layer_mixes": WeightedSum, "frame_stages": NoFrameStage, "poolings": MeanPooling}[option]
    with pytest.raises(RecipeError, match=rf"{option} lists 2, but there are 3 upstreams"):
        LateFusion(SHAPES, SingleLayer, NoFrameStage, MeanPooling, **{option: [one] * 2})
    if option == "layer_mixes":
        with pytest.raises(RecipeError, match="EarlyFusion: layer_mixes lists 4"):
            EarlyFusion(SHAPES, SingleLayer, NoFrameStage, MeanPooling, [WeightedSum] * 4)


# --- early = late ------------------------------------------------------------------------------------------------


def at_one_hop() -> FusedUpstreams:
    return FusedUpstreams([Spectral("logmel", num_mels=6), Spectral("prosody")])


def with_functionals() -> FusedUpstreams:
    return FusedUpstreams([Mean(), Spectral("logmel", num_mels=6)])


def linear_model(upstream: FusedUpstreams, fusion: Any, dim: int, normalisation: Any = "none") -> EmotionModel:
    return build_model(
        upstream,
        frames=lambda size: LinearProjection(size, dim),
        fusion=fusion,
        normalisation=normalisation,
        classes=CLASSES,
    )


def copy_weights(late: EmotionModel, early: EmotionModel) -> None:
    """Two aggregators' weights as one: their matrices on the diagonal, their biases one behind the other."""
    (one,), branches = early.network.fusion.branches, late.network.fusion.branches
    stages: list[Any] = [branch.frames.projection for branch in branches]
    own: Any = one.frames
    with torch.no_grad():
        own.projection.weight.copy_(torch.block_diag(*(stage.weight for stage in stages)))
        own.projection.bias.copy_(torch.cat([stage.bias for stage in stages]))
    for mix, branch in zip(one.layer_mixes, branches, strict=True):
        mix.load_state_dict(branch.layer_mixes[0].state_dict())
    early.head.load_state_dict(late.head.state_dict())
    for normalisation, given in zip(early.network.normalisation or (), late.network.normalisation or (), strict=True):
        normalisation.load_state_dict(given.state_dict())


@pytest.mark.parametrize("upstream", [at_one_hop, with_functionals])
@pytest.mark.parametrize("normalisation", ["none", "global"])
def test_early_is_late_when_both_aggregators_are_linear_and_means(upstream: Callable, normalisation: str) -> None:
    torch.manual_seed(0)
    late = linear_model(upstream(), LateFusion, 4, normalisation)
    early = linear_model(upstream(), EarlyFusion, 8, normalisation)
    if normalisation == "global":
        late.prepare(torch.ones(3), 0, [tuple(s.values[0] for s in stored(late).streams.values())])  # type: ignore[union-attr]
    from_waves = batch(waves())
    assert (logits_of(late, from_waves) - logits_of(early, from_waves)).abs().max() > 1e-3
    copy_weights(late, early)
    logits = [logits_of(model, given) for model in (late, early) for given in (from_waves, stored(late))]
    assert logits[0].abs().max() > 1e-2
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-6, atol=1e-6)
    assert said(early, from_waves).frames is not None
    assert said(late, from_waves).frames is None


@pytest.mark.parametrize("fusion", FUSIONS)
def test_waves_and_stored_frames_give_the_same_at_unequal_hops(fusion: Any) -> None:
    upstream = FusedUpstreams([Spectral("prosody", hop_ms=20), Mean(), Spectral("logmel", num_mels=6)])
    torch.manual_seed(0)
    model = build_model(upstream, pooling=AttentivePooling, fusion=fusion, classes=CLASSES)
    torch.testing.assert_close(said(model, stored(model)).logits, said(model, batch(waves())).logits)
    # one utterance as the store keeps it
    frames = tuple(s.values[1, :, : int(s.lengths[1])] for s in stored(model).streams.values())  # type: ignore[union-attr]
    embedding = said(model, batch(waves())).embedding
    assert embedding is not None
    torch.testing.assert_close(model.network.vector(frames), embedding[1])


def test_an_upstream_reads_the_stream_that_it_names() -> None:
    upstream = with_functionals()
    upstream.parts[0].reads = "other"
    model = build_model(upstream, fusion=LateFusion, classes=CLASSES)
    given, other = batch(waves()), waves()
    other.values = 0.5 * other.values
    with pytest.raises(RecipeError, match=r"Mean reads the stream 'other', .* as 'speech'; the batch has speech\."):
        said(model, given)
    given.streams["other"] = other
    found = said(model, given).embedding
    assert found is not None
    pairs = zip(upstream.parts, (other, waves()), strict=True)
    mean, logmel = (Frames(*part(one.values, one.lengths)) for part, one in pairs)
    expected = said(model, batch(mean, logmel)).embedding
    torch.testing.assert_close(found, expected)


# --- what the model makes of it ------------------------------------------------------------------------------------


def test_each_upstream_is_standardised_with_statistics_of_its_own_frames() -> None:
    model = build_model(at_one_hop(), normalisation="global", classes=CLASSES)
    given = [tuple(s.values[row, :, : int(s.lengths[row])] for s in stored(model).streams.values()) for row in (0, 1)]  # type: ignore[union-attr]
    model.prepare(torch.ones(3), 0, given)
    assert model.network.normalisation is not None
    for index, part in enumerate(model.network.normalisation):
        assert isinstance(part, GlobalNormalisation)
        expected = frame_statistics([frames[index] for frames in given])
        assert torch.equal(part.mean, expected.mean)
        assert torch.equal(part.std, expected.std)
    assert {"normalisation.0.mean", "normalisation.1.std"} <= set(model.own_state())


def test_one_stream_is_a_fusion_of_one_branch_under_the_same_names() -> None:
    options: dict[str, Any] = {"frames": LinearProjection, "pooling": AttentivePooling, "normalisation": "global"}
    single = build_model(Spectral("logmel", num_mels=6), fusion=EarlyFusion, classes=CLASSES, **options)
    (branch,) = single.network.fusion.branches
    assert branch.reads == ("speech",)
    rooms = {name.split(".")[0] for name in single.own_state()}
    assert rooms == {"fusion", "normalisation", "head", "objective"}
    assert {
        "fusion.branches.0.layer_mixes.0.scores",
        "fusion.branches.0.frames.projection.weight",
        "normalisation.0.mean",
        "normalisation.0.std",
    } <= set(single.own_state())
    late = build_model(at_one_hop(), fusion=LateFusion, classes=CLASSES, **options)
    mine = {name for name in single.own_state() if ".1." not in name}
    assert mine == {name for name in late.own_state() if not re.search(r"^(fusion.branches|normalisation)\.1\.", name)}
    # lists of options for several streams do not count for one: a first stage tunes each upstream alone
    build_model(Spectral("prosody"), fusion=functools.partial(LateFusion, poolings=[MeanPooling] * 2), classes=CLASSES)


def test_a_head_that_judges_frames_hears_the_fused_ones_and_goes_with_early_alone() -> None:
    model = build_model(at_one_hop(), head=FrameLevelHead, classes=CLASSES)
    outputs = said(model, batch(waves()))
    assert outputs.frame_logits is not None
    assert outputs.frames is not None
    assert outputs.frame_logits.shape == (*outputs.frames.shape[:2], 3)
    torch.testing.assert_close(said(model, stored(model)).logits, outputs.logits)
    with pytest.raises(RecipeError, match="FrameLevelHead judges frames"):
        build_model(at_one_hop(), head=FrameLevelHead, fusion=LateFusion, classes=CLASSES)
    with pytest.raises(RecipeError, match="FrameLevelHead judges frames"):
        build_model(at_one_hop(), head=FrameLevelHead, conditioning=ConcatenateCondition, classes=CLASSES)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_utterance_may_be_kept_as_one_vector_when_nothing_learns(fusion: Any) -> None:
    for mix, pooling, fixed in (
        (SingleLayer, MeanStdMaxPooling, True),
        (WeightedSum, MeanPooling, False),
        (SingleLayer, AttentivePooling, False),
    ):
        model = build_model(at_one_hop(), mix, pooling=pooling, fusion=fusion, classes=CLASSES)
        assert model.network.fixed_embedding is fixed
    with pytest.raises(RecipeError, match=f"found {fusion.__name__}"):
        build_model(at_one_hop(), pooling=AttentivePooling, normalisation="embedding", fusion=fusion, classes=CLASSES)
