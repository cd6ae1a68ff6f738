"""Parts of one's own: the example in ``examples/`` keeps to every contract and trains; mistakes are one line."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ser_toolkit.cli.train import main
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.contracts.run import answer, check_part
from ser_toolkit.data.batch import Batch, Moments, Outputs, valid_mask
from ser_toolkit.downstream.heads import FittedHead, Head
from ser_toolkit.downstream.layers import WeightedSum
from ser_toolkit.downstream.pooling import MaxPooling, MeanPooling, Pooling
from ser_toolkit.errors import RecipeError
from ser_toolkit.objectives.categorical import CrossEntropy
from ser_toolkit.upstreams.spectral import Spectral

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "my_parts.py"
PARTS = ("BandEnergies", "MidRange", "CosineHead", "PolyLoss")

MISTAKES = """
import torch
from torch import nn
from ser_toolkit.data.batch import Outputs
from ser_toolkit.downstream.heads import Head
from ser_toolkit.downstream.pooling import Pooling
from ser_toolkit.objectives.base import Objective
from ser_toolkit.upstreams.spectral import Spectral
from ser_toolkit.upstreams.base import Upstream

class WrongSize(Pooling):
    def forward(self, frames, lengths):
        return torch.cat([frames.mean(1), frames.amax(1)], 1)

class NoSizes(Pooling):
    def __init__(self):
        super().__init__(8)
    def forward(self, frames, lengths):
        return frames.mean(1)

class NoForward(Pooling):
    pass

class Crashes(Pooling):
    def forward(self, frames, lengths):
        return frames.mean(1) @ torch.zeros(3, 3)

class Bare(Head):
    def __init__(self, input_dim: int, num_classes: int):
        super().__init__(input_dim, num_classes)
        self.linear = nn.Linear(input_dim, num_classes)
    def forward(self, embedding):
        return self.linear(embedding)

class Fewer(Bare):
    def forward(self, embedding):
        return Outputs(logits=self.linear(embedding)[:, :1])

class BareLoss(Objective):
    def forward(self, outputs, batch):
        return outputs.logits.sum()

class NoLengths(Upstream):
    def __init__(self):
        super().__init__(True)
        self.feature_dim, self.num_layers, self.hop_samples, self.receptive_samples = 4, 1, 160, 400
    def extract(self, wav, lengths):
        return wav.unfold(1, 400, 160)[:, None, :, :4], (lengths - 400) // 160 + 1
    def fingerprint(self):
        return "no lengths"

class NoDim(NoLengths):
    def __init__(self):
        Upstream.__init__(self, True)
        self.num_layers, self.hop_samples, self.receptive_samples = 1, 160, 400
    def frame_lengths(self, lengths):
        return (lengths - 400) // 160 + 1

class WrongDim(NoDim):
    feature_dim = 7
    def fingerprint(self):
        return "wrong dim"
"""


@pytest.fixture
def own(mini: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mini recipe's folder with the example and the mistakes in it; imported anew."""
    shutil.copy(EXAMPLE, mini)
    (mini / "mistakes.py").write_text(MISTAKES, encoding="utf-8")
    monkeypatch.syspath_prepend(mini)
    for name in ("my_parts", "mistakes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return mini


@pytest.mark.parametrize("part", PARTS)
def test_the_example_keeps_to_every_contract(own: Path, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", f"my_parts.{part}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"my_parts.{part}, a")
    assert all(line.startswith(("  pass  ", "  --    ")) for line in lines[1:-1])
    assert ", 0 failed, " in lines[-1]


def test_the_example_trains_together(own: Path) -> None:
    kinds = zip(("upstream", "pooling", "head", "objective"), PARTS, strict=True)
    chosen = [f"model.{kind}=my_parts.{part}" for kind, part in kinds]
    model, data, trainer = load_recipe("mini.yaml", *chosen, "model.pooling.width=false", "trainer.max_epochs=1").build(
        2
    )
    trainer.fit(model, data)
    assert {"train/uar", "dev/uar"} <= set(trainer.callback_metrics)
    (branch,) = model.network.fusion.branches
    assert (type(branch.pooling).__name__, branch.output_dim) == ("MidRange", 16)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("pooling=mistakes.WrongSize", "mistakes.WrongSize returned values of shape .* set self.output_dim = 16"),
        ("pooling=mistakes.NoSizes", r"mistakes.NoSizes.__init__ .* Write `def __init__\(self, input_dim, "),
        (
            "pooling=mistakes.NoForward",
            r"mistakes.NoForward lacks forward: write `def forward\(self, frames, lengths\)`",
        ),
        ("pooling=mistakes.Crashes", r"mistakes.py, line \d+, in forward: RuntimeError: .* --check mistakes.Crashes"),
        ("head=mistakes.Bare", r"mistakes.Bare returned a Tensor, .* `return Outputs\(logits=...\)`"),
        ("head=mistakes.Fewer", "mistakes.Fewer returned values of shape .* num_classes is 2"),
        ("objective=mistakes.BareLoss", "mistakes.BareLoss returned a Tensor, expected the loss and its named parts"),
        ("upstream=mistakes.NoLengths", r"NoLengths lacks frame_lengths: write `def frame_lengths\(self, lengths\)`"),
        ("upstream=mistakes.NoDim", "mistakes.NoDim does not say its feature_dim: set self.feature_dim in __init__"),
        ("upstream=mistakes.WrongDim", "mistakes.WrongDim returned .* but its feature_dim is 7"),
    ],
    ids=lambda value: value.partition(".")[2] if value.count("=") == 1 else "",
)
def test_a_mistake_in_an_own_part_is_one_line(
    own: Path, choice: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["recipe=mini.yaml", "fold=2", "baselines=[]", "variants=[Plain]", "trainer.max_epochs=1"]
    assert main([*settings, f"model.{choice}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ser-train: ")
    assert re.search(expected, line), line


class _IgnoresLengths(Pooling):
    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return (frames.amax(dim=1) + frames.amin(dim=1)) / 2


class _ForgetsABuffer(MeanPooling):
    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        self.shift = torch.rand(input_dim)  # neither a parameter nor a buffer

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(frames, lengths) + self.shift


class _IdleWeight(Head):
    def __init__(self, input_dim: int, num_classes: int) -> None:
        super().__init__(input_dim, num_classes)
        self.used, self.idle = nn.Linear(input_dim, num_classes), nn.Linear(input_dim, 2)

    def forward(self, embedding: Tensor) -> Outputs:
        return Outputs(logits=self.used(embedding))


class _CountsTheUnlabelled(CrossEntropy):
    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = super().forward(outputs, batch)
        return loss * (batch.targets.label >= 0).float().mean(), parts


class _OneFrameMore(Spectral):
    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return super().frame_lengths(lengths) + 1

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        values, counts = super().extract(wav, lengths)
        return values[:, :, :-1], counts - 1


class _HasAMomentOrderUnstated(Pooling):
    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        valid = valid_mask(lengths, frames.shape[1])[..., None]
        return (frames.masked_fill(~valid, 0).square().sum(dim=1) / lengths[:, None] + 1e-6).sqrt()


class _GivesAVectorOfMoments(MaxPooling):
    def from_moments(self, mean: Tensor, variance: Tensor | None = None) -> Tensor:
        return mean


class _MixesMomentsThatAreNotLinear(WeightedSum):
    linear = False

    def from_moments(self, moments: Moments) -> tuple[Tensor, Tensor | None]:
        return moments.mean[:, 0], None


class _AnswersBeforeFit(FittedHead):
    def __init__(self, input_dim: int, num_classes: int) -> None:
        super().__init__(input_dim, num_classes)
        self.register_buffer("centres", torch.zeros(num_classes, input_dim))

    def fit(self, vectors: Tensor, labels: Tensor) -> None:
        self.centres = torch.stack([vectors[labels == label].mean(dim=0) for label in range(self.num_classes)])

    def forward(self, embedding: Tensor) -> Outputs:
        return Outputs(logits=-torch.cdist(embedding, self.centres))


class _TakesWhatIsTooShort(Spectral):
    def forward(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        wav = nn.functional.pad(wav, (0, max(0, self.receptive_samples - wav.shape[1])))
        return super().forward(wav, lengths.clamp_min(self.receptive_samples))


class _LearnsWithoutLogits(CrossEntropy):
    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return super().forward(outputs, batch) if outputs.logits is not None else (torch.zeros(()), {})


class _CrashesWithoutLogits(CrossEntropy):
    def forward(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return super().forward(Outputs(logits=outputs.logits.clone()), batch)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("part", "failing", "says"),
    [
        (_GivesAVectorOfMoments, "moment order says which moments suffice", "state moment_order"),
        (_HasAMomentOrderUnstated, "moment order says which moments suffice", "write from_moments(mean, variance)"),
        (_MixesMomentsThatAreNotLinear, "moments are mixed exactly", "although linear is False"),
        (_AnswersBeforeFit, "an unfitted head says so", "raise TrainingError that names the class"),
        (_TakesWhatIsTooShort, "the shortest recording passes and a shorter one is refused", "is taken"),
        (_LearnsWithoutLogits, "requires lists exactly what gets a gradient", "without logits it gives a loss"),
        (_CrashesWithoutLogits, "requires lists exactly what gets a gradient", "without logits it raises Attr"),
        (_IgnoresLengths, "padding never changes the vector", "Mask what lies behind lengths"),
        (_ForgetsABuffer, "stored weights give the same vector", "registered buffer"),
        (_IdleWeight, "every weight gets a gradient", "idle"),
        (_CountsTheUnlabelled, "an utterance without a label counts as if it were not there", "without a label"),
        (_OneFrameMore, "frames have the shape and number that are promised", "frame"),
    ],
)
def test_a_check_catches_what_trains_without_a_word(part: type, failing: str, says: str) -> None:
    failed = {finding.check: finding.reason for finding in check_part(part) if finding.state == "FAIL"}
    assert says in failed[failing]


def test_a_failed_check_is_exit_code_1(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "mistakes.WrongSize"]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert "  FAIL  the vector has the promised size: mistakes.WrongSize returned" in said.out
    assert "0 passed, 1 failed, 9 wait for the first" in said.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "takes one class"),
        (["MeanPoolin"], "Did you mean MeanPooling"),
        (["AttentivePooling", "bottleneck=3"], "has no option 'bottleneck'. Did you mean bottleneck_dim"),
        (["HuggingFaceUpstream"], "needs name: add name=VALUE"),
        (["HuggingFaceUpstream", "name=x", "frozen=false"], "Leave frozen out"),
        (["ser_toolkit.corpora.emodb.EmoDB"], "no part that can be checked"),
        (["no_such_file.Mine"], "there is no module 'no_such_file'"),
    ],
)
def test_what_cannot_be_checked_is_said(arguments: list[str], expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        answer(arguments, lambda line: None)


def test_a_part_that_leaves_the_program_has_failed() -> None:
    class Leaves(Pooling):
        def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
            sys.exit(0)

    [finding] = check_part(Leaves)
    assert finding.state == "FAIL"
    assert "SystemExit" in finding.reason


def test_options_reach_the_part() -> None:
    lines: list[str] = []
    assert answer(["MomentPooling", "order=1"], lines.append)
    assert "10 passed, 0 failed" in lines[-1]
    with pytest.raises(RecipeError):
        answer(["MomentPooling", "order=17"], lines.append)
