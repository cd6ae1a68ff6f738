"""Outputs of an epoch: the whole set is scored, each utterance once, in whatever batches it came."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import Tensor

from ser_toolkit.data.batch import MISSING_LABEL, Batch, Outputs, Targets
from ser_toolkit.errors import TrainingError
from ser_toolkit.model.epoch_outputs import EpochOutputs, GatheredOutputs, TrainingLosses


def _batch(ids: list[str], labels: Tensor, dimensions: Tensor | None = None) -> Batch:
    count = len(ids)
    given = torch.full((count, 3), torch.nan) if dimensions is None else dimensions
    return Batch({}, Targets(labels, torch.zeros(count, 3), given), ids)


@pytest.fixture
def corpus() -> tuple[list[str], Tensor, Tensor]:
    """Seventeen utterances with few of the last class, and logits that are right about half of the time."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 9 + [1] * 6 + [2] * 2)
    logits = torch.randn(17, 3, generator=generator) + torch.nn.functional.one_hot(labels, 3)
    return [f"u{row:02d}" for row in range(17)], labels, logits


def _gather(corpus: tuple[list[str], Tensor, Tensor], order: list[int], sizes: list[int]) -> GatheredOutputs:
    ids, labels, logits = corpus
    collected = EpochOutputs()
    for part in np.split(np.array(order), np.cumsum(sizes)):
        if len(part):
            collected.add(_batch([ids[row] for row in part], labels[part]), Outputs(logits=logits[part]))
    return collected.finish(3)


def test_metrics_are_of_the_whole_set(corpus: tuple[list[str], Tensor, Tensor]) -> None:
    _, labels, logits = corpus
    found = _gather(corpus, list(range(17)), [5, 1, 7]).metrics()
    guess = logits.argmax(dim=1)
    assert found["uar"] == pytest.approx(recall_score(labels, guess, average="macro"))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, guess, average="macro"))
    assert "loss" not in found and "ccc" not in found


def test_batches_and_their_order_do_not_matter(corpus: tuple[list[str], Tensor, Tensor]) -> None:
    whole = _gather(corpus, list(range(17)), [17])
    shuffled = np.random.default_rng(0).permutation(17).tolist()
    for found in (_gather(corpus, list(range(17)), [3, 3, 3]), _gather(corpus, shuffled, [1, 11])):
        assert found.ids == whole.ids == corpus[0]
        assert found.label.tolist() == corpus[1].tolist()
        np.testing.assert_allclose(found.probabilities, whole.probabilities, rtol=0, atol=0)
    np.testing.assert_allclose(whole.probabilities, corpus[2].softmax(dim=1), atol=1e-7)


def test_nothing_of_a_batch_is_held(corpus: tuple[list[str], Tensor, Tensor]) -> None:
    """Tensors from a loader's processes hold an open file each: a thousand batches would be too many."""
    batch, collected = _batch(corpus[0], corpus[1].clone(), torch.rand(17, 3)), EpochOutputs()
    held = [weakref.ref(tensor) for tensor in (batch.targets.label, batch.targets.dimensions)]
    collected.add(batch, Outputs(logits=corpus[2]))
    del batch
    assert [tensor() for tensor in held] == [None, None]
    assert collected.finish(3).label.tolist() == corpus[1].tolist()


def test_windows_of_an_utterance_are_averaged(corpus: tuple[list[str], Tensor, Tensor]) -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 2.0, 0.0]])
    collected = EpochOutputs()
    collected.add(_batch(["long", "short"], torch.tensor([0, 1])), Outputs(logits=logits[:2]))
    collected.add(_batch(["long", "long"], torch.tensor([0, 0])), Outputs(logits=logits[2:]))
    found = collected.finish(3)
    assert found.ids == ["long", "short"]
    assert found.label.tolist() == [0, 1]
    expected = logits[[0, 2, 3]].softmax(dim=1).mean(dim=0)
    np.testing.assert_allclose(found.probabilities, torch.stack([expected, logits[1].softmax(dim=0)]), atol=1e-7)
    assert found.metrics()["accuracy"] == 1.0


def test_the_order_of_windows_does_not_matter_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(1)
    # probabilities of very different size: their sum depends on the order
    logits, labels = 20 * torch.randn(60, 3, generator=generator), torch.arange(60) % 3
    ids = [f"u{row % 20:02d}" for row in range(60)]
    windows = (ids, labels[:20].repeat(3), logits)
    whole = _gather(windows, list(range(60)), [60])
    shuffled = np.random.default_rng(0).permutation(60).tolist()
    found = _gather(windows, shuffled, [7, 11, 1, 20])
    assert found.ids == whole.ids == sorted(set(ids))
    assert found.label.tolist() == whole.label.tolist() == (torch.arange(20) % 3).tolist()
    np.testing.assert_array_equal(found.probabilities, whole.probabilities)
    expected = logits.softmax(dim=1).reshape(3, 20, 3).mean(dim=0)
    np.testing.assert_allclose(whole.probabilities, expected, atol=1e-6)


def test_an_epoch_starts_anew(corpus: tuple[list[str], Tensor, Tensor]) -> None:
    collected = EpochOutputs()
    for name in ("a", "b"):
        collected.add(_batch([name], torch.tensor([1])), Outputs(logits=torch.zeros(1, 3)), torch.tensor(2.0))
        found = collected.finish(3)
        assert found.ids == [name]
        assert found.loss == 2.0


def test_the_loss_is_weighted_by_the_size_of_its_batch() -> None:
    collected = EpochOutputs()
    logits = torch.zeros(3, 3)
    collected.add(_batch(["a", "b", "c"], torch.tensor([0, 1, 2])), Outputs(logits=logits), torch.tensor(1.0))
    collected.add(_batch(["d"], torch.tensor([0])), Outputs(logits=logits[:1]), torch.tensor(5.0))
    assert collected.finish(3).metrics()["loss"] == pytest.approx(2.0)


def test_concordance_is_of_the_whole_set() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(12, 3, generator=generator)
    guess = truth * 0.5 + 0.2 * torch.rand(12, 3, generator=generator)
    truth[3:5, 1] = torch.nan
    truth[1:, 2] = torch.nan
    collected = EpochOutputs()
    for part in torch.arange(12).split(5):
        ids = [f"{row:02d}" for row in part]
        labels = torch.full((len(part),), MISSING_LABEL)
        collected.add(_batch(ids, labels, truth[part]), Outputs(dimensions=guess[part]))
    found = collected.finish(3)
    assert found.probabilities is None

    def ccc(column: int) -> float:
        there = ~truth[:, column].isnan()
        x, y = truth[there, column].double().numpy(), guess[there, column].double().numpy()
        return 2 * np.mean((x - x.mean()) * (y - y.mean())) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)

    metrics = found.metrics()
    assert metrics["ccc_valence"] == pytest.approx(ccc(0))
    assert metrics["ccc_arousal"] == pytest.approx(ccc(1))
    # One rated utterance has no variance to agree in.
    assert "ccc_dominance" not in metrics
    assert metrics["ccc"] == pytest.approx((ccc(0) + ccc(1)) / 2)
    assert "uar" not in metrics


def test_both_tasks_are_kept_apart() -> None:
    logits, dimensions = torch.randn(4, 3), torch.rand(4, 3)
    collected = EpochOutputs()
    collected.add(_batch(list("abcd"), torch.tensor([0, 1, 2, 0])), Outputs(logits=logits, dimensions=dimensions))
    found = collected.finish(3)
    np.testing.assert_allclose(found.probabilities, logits.softmax(dim=1), atol=1e-7)
    np.testing.assert_allclose(found.dimensions, dimensions, atol=1e-7)


def test_utterances_without_a_label_are_kept_and_not_scored() -> None:
    collected = EpochOutputs()
    labels = torch.tensor([0, MISSING_LABEL, 1])
    logits = torch.eye(3)[[0, 2, 1]]
    collected.add(_batch(list("abc"), labels), Outputs(logits=logits))
    found = collected.finish(3)
    assert found.ids == list("abc")
    assert found.label.tolist() == [0, MISSING_LABEL, 1]
    assert found.metrics()["accuracy"] == 1.0


def test_half_precision_outputs_are_probabilities_too() -> None:
    collected = EpochOutputs()
    collected.add(_batch(["a"], torch.tensor([0])), Outputs(logits=torch.tensor([[3.0, 1.0, 0.0]]).bfloat16()))
    found = collected.finish(3)
    assert found.probabilities is not None
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-6)


def test_an_epoch_without_utterances_has_no_metrics() -> None:
    found = EpochOutputs().finish(3)
    assert found.ids == [] and found.metrics() == {}


# --- losses of training -----------------------------------------------------------------------------------------------


def test_losses_are_means_over_utterances_until_asked_for() -> None:
    losses = TrainingLosses()
    losses.add({"loss": torch.tensor(1.0), "part": torch.tensor(3.0, dtype=torch.bfloat16)}, ["a", "b", "c"], 0)
    losses.add({"loss": torch.tensor(5.0)}, ["d"], 1)
    found = {name: value.item() for name, value in losses.means().items()}
    assert found == {"loss": 2.0, "part": 3.0}
    assert losses.means() == {}


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_the_first_step_whose_loss_is_no_number_is_named_however_late(wrong: float) -> None:
    losses = TrainingLosses()
    for step, value in enumerate([0.5, wrong, float("nan")]):
        losses.add({"loss": torch.tensor(value)}, [f"u{step}"], step)
    assert losses.waiting == 3
    with pytest.raises(TrainingError, match=rf"{wrong} in epoch 4, step 1 \(utterances u1, "):
        losses.check(4)
    assert losses.waiting == 0
    losses.check(4)


def test_what_was_not_trained_is_not_gathered() -> None:
    """Outputs that no objective looks at, and dimensions without ratings in training, are random numbers."""
    collected = EpochOutputs(("dimensions",))
    collected.trained_dimensions = ("valence", "dominance")
    batch = Batch({}, Targets(torch.tensor([0, 1, 1]), torch.full((3, 2), 0.5), torch.rand(3, 3)), ["a", "b", "c"])
    collected.add(batch, Outputs(logits=torch.rand(3, 2), dimensions=torch.rand(3, 3)))
    found = collected.finish(2)
    assert found.probabilities is None and found.dimensions is not None
    assert np.isnan(found.dimensions[:, 1]).all() and np.isfinite(found.dimensions[:, [0, 2]]).all()
    assert set(found.metrics()) == {"ccc_valence", "ccc_dominance", "ccc"}
