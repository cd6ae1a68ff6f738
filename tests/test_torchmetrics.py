"""The metric classes agree with the reports' formulas on every edge case, however the batches are cut."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ser_toolkit.data.batch import DIMENSIONS, MISSING_LABEL
from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.metrics import accuracy, concordance_cc, confusion_matrix, macro_f1, uar
from ser_toolkit.model.epoch_outputs import GatheredOutputs
from ser_toolkit.torchmetrics import ConcordanceCC, MacroF1, UnweightedAccuracy, WeightedAccuracy

CLASSES = 4
FORMULAS = {UnweightedAccuracy: uar, WeightedAccuracy: accuracy, MacroF1: macro_f1}
NAN = float("nan")

labelled = st.lists(st.tuples(st.integers(-1, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=12)
# a few values and exact offsets: constants, equal pairs and missing ratings come up all the time
ratings = st.one_of(st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0]), st.floats(-10, 10))
rated = st.lists(st.tuples(st.one_of(st.just(NAN), ratings), ratings), min_size=1, max_size=12)


def cut(rows: list, places: list[int]) -> list[list]:
    """Rows in pieces; some may be empty."""
    ends = [0, *sorted(place % (len(rows) + 1) for place in places), len(rows)]
    return [rows[start:end] for start, end in itertools.pairwise(ends)]


def same(found: Tensor, expected: float, tolerance: float) -> bool:
    return bool(np.isnan(expected) and found.isnan()) or abs(found.item() - expected) <= tolerance


@given(labelled, st.lists(st.integers(0, 12), max_size=3))
@settings(max_examples=60, deadline=None)
@example([(0, 0), (0, 2), (1, 1), (1, 1)], [1])  # predicted but absent: UA 0.75
@example([(1, 1)], [])  # one utterance
@example([(-1, 2), (-1, 0)], [1])  # nothing to score
def test_classes_agree_exactly_however_batches_are_cut(rows: list[tuple[int, int]], places: list[int]) -> None:
    known = [row for row in rows if row[0] != MISSING_LABEL]
    truth, predicted = np.array(known, dtype=int).reshape(-1, 2).T
    for part, formula in FORMULAS.items():
        metric = part(CLASSES)
        for piece in cut(rows, places):
            values = torch.tensor(piece, dtype=torch.long).reshape(-1, 2)
            scores = torch.nn.functional.one_hot(values[:, 1], CLASSES).float()
            metric.update(scores if len(piece) % 2 else values[:, 1], values[:, 0])
        expected = float(formula(confusion_matrix(truth, predicted, CLASSES))) if known else NAN
        assert same(metric.compute(), expected, 0.0)


@given(rated, st.lists(st.integers(0, 12), max_size=3), st.sampled_from([0.0, 1e3]))
@settings(max_examples=100, deadline=None)
@example([(0.3, 0.3), (0.3, 0.3)], [1], 0.0)  # both the same constant: undefined
@example([(0.1, 0.3), (0.1, 0.3), (0.1, 0.3)], [1], 0.0)  # both constant, apart: 0
@example([(0.1, 0.7), (0.3, 0.7), (0.9, 0.7)], [1, 2], 1e3)  # a constant prediction: 0
@example([(0.1, 0.7), (NAN, 0.2)], [], 0.0)  # one rated utterance: undefined
def test_ccc_agrees_however_batches_are_cut(rows: list[tuple[float, float]], places: list[int], offset: float) -> None:
    truth, predicted = (np.array(column) + offset for column in zip(*rows, strict=True))
    metric = ConcordanceCC()
    for piece in cut(list(zip(truth, predicted, strict=True)), places):
        values = torch.tensor(piece, dtype=torch.float64).reshape(-1, 2)
        metric.update(values[:, 1], values[:, 0])
    assert same(metric.compute(), concordance_cc(truth, predicted), 1e-7)


def test_ccc_of_float32_batches_loses_no_digits() -> None:
    rng = np.random.default_rng(0)
    truth = (1e4 + rng.normal(size=20_000)).astype(np.float32)
    predicted = (truth + rng.normal(size=20_000)).astype(np.float32)
    metric = ConcordanceCC()
    for t, p in zip(np.split(truth, 200), np.split(predicted, 200), strict=True):
        metric.update(torch.from_numpy(p), torch.from_numpy(t))
    assert metric.compute().item() == pytest.approx(concordance_cc(truth, predicted), abs=1e-10)


def test_the_mean_over_dimensions_is_that_of_dev() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, predicted = torch.rand(9, 3, generator=generator), torch.rand(9, 3, generator=generator)
    truth[:, 1] = NAN  # never rated
    truth[:, 2] = predicted[:, 2] = 0.25  # undefined
    none = np.full(9, MISSING_LABEL)
    gathered = GatheredOutputs([], none, None, predicted.double().numpy(), truth.double().numpy(), NAN, 0).metrics()
    metric, each = ConcordanceCC(len(DIMENSIONS)), ConcordanceCC(len(DIMENSIONS), reduction="none")
    metric.update(predicted, truth)
    each.update(predicted, truth)
    assert metric.compute().item() == pytest.approx(gathered["ccc"], abs=1e-12)
    assert each.compute()[0].item() == pytest.approx(gathered["ccc_valence"], abs=1e-12)
    assert each.compute()[1:].isnan().all()


def metrics() -> list[tuple[Metric, Tensor, Tensor]]:
    """Each metric with predictions and targets of six utterances."""
    generator = torch.Generator().manual_seed(0)
    scores, label = torch.randn(6, CLASSES, generator=generator), torch.tensor([0, 1, 1, -1, 3, 3])
    values, dimensions = torch.rand(6, 3, generator=generator), torch.rand(6, 3, generator=generator)
    return [*((part(CLASSES), scores, label) for part in FORMULAS), (ConcordanceCC(3), values, dimensions)]


@pytest.mark.parametrize(("metric", "preds", "target"), metrics(), ids=lambda v: type(v).__name__)
def test_a_metric_is_a_good_citizen(metric: Metric, preds: Tensor, target: Tensor) -> None:
    half, whole = copy.deepcopy(metric), copy.deepcopy(metric)
    batch = metric(preds[:4], target[:4])  # forward: the value of the batch, added to the whole
    half.update(preds[:4], target[:4])
    assert torch.equal(batch, copy.deepcopy(half).compute())  # of a copy: what is computed once is remembered
    metric.update(preds[4:], target[4:])
    whole.update(preds, target)
    expected = whole.compute()
    assert torch.allclose(metric.compute(), expected, atol=1e-12)
    # put together from two, as from two processes
    other = copy.deepcopy(whole)
    other.reset()
    other.update(preds[4:], target[4:])
    half.merge_state(other)
    assert torch.allclose(half.compute(), expected, atol=1e-12)
    assert torch.equal(pickle.loads(pickle.dumps(metric)).compute(), metric.compute())
    assert not metric.state_dict()  # no weights of a model get a new name
    metric.persistent(True)
    fresh = copy.deepcopy(whole)
    fresh.reset()
    fresh.persistent(True)
    fresh.load_state_dict(metric.state_dict())
    fresh.update(preds[:0], target[:0])
    assert torch.equal(fresh.compute(), metric.compute())
    # a model in half precision
    module = torch.nn.ModuleDict({"metric": fresh}).to(torch.bfloat16)
    fresh.reset()
    for piece in (slice(3), slice(3, None)):
        module["metric"].update(preds[piece], target[piece])
    assert torch.allclose(module["metric"].compute(), expected, atol=1e-12)
    assert metric.to("meta").device.type == "meta"


def test_in_a_collection() -> None:
    collection = MetricCollection({"uar": UnweightedAccuracy(2), "wa": WeightedAccuracy(2), "f1": MacroF1(2)})
    for _ in range(2):  # the second time, those of equal states share one
        collection.update(torch.tensor([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0]]), torch.tensor([0, 1, 1]))
    found = {name: round(value.item(), 4) for name, value in collection.compute().items()}
    assert found == {"uar": 0.75, "wa": 0.6667, "f1": 0.6667}


@pytest.mark.parametrize(
    ("metric", "preds", "target"),
    [
        (UnweightedAccuracy(2), torch.zeros(3, 4), torch.zeros(3, dtype=torch.long)),
        (UnweightedAccuracy(2), torch.zeros(3), torch.zeros(3, dtype=torch.long)),
        (UnweightedAccuracy(2), torch.zeros(3, 2), torch.zeros(3)),
        (UnweightedAccuracy(2), torch.zeros(2, 2), torch.zeros(3, dtype=torch.long)),
        (ConcordanceCC(), torch.zeros(3, 1), torch.zeros(3)),
        (ConcordanceCC(3), torch.zeros(3), torch.zeros(3)),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(metric: Metric, preds: Tensor, target: Tensor) -> None:
    with pytest.raises(ResultError, match="expected"):
        metric.update(preds, target)


def test_what_is_no_class_and_no_number_is_refused() -> None:
    metric = MacroF1(2)
    metric.update(torch.tensor([0, 5]), torch.tensor([0, 1]))
    with pytest.raises(ResultError, match=r"1 utterances .* 0 to 1"):
        metric.compute()
    ccc = ConcordanceCC()
    ccc.update(torch.tensor([NAN, 1.0]), torch.tensor([NAN, 2.0]))  # where there is no rating, anything may stand
    ccc.update(torch.tensor([float("inf"), 1.0]), torch.tensor([1.0, 2.0]))
    with pytest.raises(ResultError, match="not finite"):
        ccc.compute()
    for wrong in (lambda: MacroF1(0), lambda: ConcordanceCC(0), lambda: ConcordanceCC(reduction="sum")):
        with pytest.raises(ResultError, match="expected"):
            wrong()
