"""Intervals hold what they promise: coverage on simulated speakers, and hand-made cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation import metrics
from ser_toolkit.evaluation.sums import class_sums, dimension_sums
from ser_toolkit.evaluation.uncertainty import CCC, CLASS_STATISTICS, cluster_interval, paired_interval, with_clusters

UA, WA, MACRO_F1, _ = CLASS_STATISTICS
MIDDLE, HIGH = (1.2, 0.6, 0.2, 0.9), (3.0, 2.5, 2.0, 3.5)


def speakers(rng: np.random.Generator, groups: int, base: tuple[float, ...], systems: int = 1) -> np.ndarray:
    """Confusions (systems, groups, C, C): unequal sizes, own class shares, own difficulty shared by all systems."""
    classes = len(base)
    shares = rng.dirichlet([4.0] * classes, groups)
    sizes = rng.integers(30, 80, groups)
    counts = np.stack([rng.multinomial(n, p) for n, p in zip(sizes, shares, strict=True)])
    voice = rng.normal(0, 0.6, (groups, 1)) + rng.normal(0, 0.5, (groups, classes))
    found = np.zeros((systems, groups, classes, classes))
    for system in range(systems):
        logits = np.array(base) + voice + 0.4 * system + rng.normal(0, 0.3, (groups, classes))
        right = 1 / (1 + np.exp(-logits))
        for c in range(classes):
            odds = np.repeat((1 - right[:, [c]]) / (classes - 1), classes, axis=1)
            odds[:, c] = right[:, c]
            found[system, :, c] = rng.multinomial(counts[:, c], odds / odds.sum(1, keepdims=True))
    return found


def coverage(groups: int, base: tuple[float, ...], simulations: int, seed: int = 0) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    population = speakers(rng, 20000, base, systems=2).sum(1)
    true = {s.key: float(s.value(population[0])) for s in (UA, WA, MACRO_F1)}
    true["difference"] = float(metrics.uar(population[1]) - metrics.uar(population[0]))
    hits = dict.fromkeys(true, 0)
    for _ in range(simulations):
        a, b = speakers(rng, groups, base, systems=2)
        intervals = {s.key: cluster_interval(a[None], s) for s in (UA, WA, MACRO_F1)}
        intervals["difference"] = paired_interval(b[None], a[None], UA)
        for key, interval in intervals.items():
            hits[key] += interval.low <= true[key] <= interval.high
    return {key: count / simulations for key, count in hits.items()}


@pytest.mark.parametrize("groups", [10, 25])
def test_coverage_is_near_nominal(groups):
    """800 simulations have a standard error of 0.8 % at 95 %."""
    for key, share in coverage(groups, MIDDLE, 800).items():
        assert 0.92 <= share <= 0.98, (key, share)


@pytest.mark.slow
@pytest.mark.parametrize("base", [MIDDLE, HIGH])
@pytest.mark.parametrize("groups", [5, 10, 25])
def test_coverage_in_full(groups, base):
    for key, share in coverage(groups, base, 5000, seed=1).items():
        assert 0.925 <= share <= 0.975, (key, share)


def test_the_usual_percentile_bootstrap_would_be_too_narrow():
    """Why the method is what it is; if this ever fails, the simpler method would do."""
    rng = np.random.default_rng(2)
    true = float(metrics.uar(speakers(rng, 20000, MIDDLE)[0].sum(0)))
    hits = 0
    for _ in range(600):
        sums = speakers(rng, 10, MIDDLE)[0]
        weights = rng.multinomial(10, [0.1] * 10, 300)
        low, high = np.quantile(metrics.uar(np.tensordot(weights, sums, 1)), [0.025, 0.975])
        hits += low <= true <= high
    assert hits / 600 < 0.92


def test_coverage_of_ccc():
    rng = np.random.default_rng(3)

    def ratings(groups: int) -> np.ndarray:
        voice = np.repeat(np.arange(groups), 40)
        x = 0.5 + rng.normal(0, 0.05, groups)[voice] + rng.normal(0, 0.15, len(voice))
        y = 0.5 + 0.6 * (x - 0.5) + rng.normal(0, 0.06, groups)[voice] + rng.normal(0, 0.1, len(voice))
        return dimension_sums(x, y, voice, groups)

    true = float(metrics.ccc_of_sums(ratings(20000).sum(0)))
    found = [cluster_interval(ratings(10)[None], CCC) for _ in range(600)]
    assert 0.92 <= np.mean([i.low <= true <= i.high for i in found]) <= 0.98


def test_unknown_voices_are_covered_by_their_dialogue() -> None:
    """Hosts of three dialogues each, guests of one, half of them unknown: voices differ, utterances of one agree."""
    turns = 20
    talks = [(f"host {d // 3}", d) for d in range(60)] + [(f"guest {d}" if d % 2 else None, d) for d in range(60)]
    table = pd.DataFrame(talks, columns=["speaker", "dialogue"], dtype=object).astype({"dialogue": str})
    table = with_clusters(table.loc[table.index.repeat(turns)].reset_index(drop=True), "speaker_or_dialogue")
    voice, _ = pd.factorize(table["speaker"].where(table["speaker"].notna(), "unknown " + table["dialogue"]))
    by = {name: pd.factorize(table[name])[0] for name in ("speaker_or_dialogue", "dialogue")} | {"none": table.index}
    rng, hits = np.random.default_rng(0), dict.fromkeys(by, 0)
    true = (1 / (1 + np.exp(-(0.5 + rng.normal(0, 0.6, 1_000_000))))).mean()
    for _ in range(300):
        right = rng.random(len(table)) < 1 / (1 + np.exp(-(0.5 + rng.normal(0, 0.6, voice.max() + 1)[voice])))
        for name, cluster in by.items():
            sums = class_sums(np.ones(len(table), int), right.astype(int), np.asarray(cluster), (cluster.max() + 1, 2))
            found = cluster_interval(sums[None], WA)
            hits[name] += found.low <= true <= found.high
    assert hits["speaker_or_dialogue"] / 300 > 0.91 > 0.89 > hits["dialogue"] / 300 > hits["none"] / 300 + 0.1


def test_equals_the_t_interval_of_a_mean_when_clusters_weigh_alike():
    """With equal clusters accuracy is a mean of G numbers, whose jackknife is the textbook standard error."""
    right = np.array([5, 6, 7, 8, 4, 6])
    sums = np.stack([[[n, 10 - n], [0, 0]] for n in right]).astype(float)
    found = cluster_interval(sums[None], WA)
    shares = right / 10
    mean, error = shares.mean(), shares.std(ddof=1) / np.sqrt(6)
    reach = stats.t.ppf(0.975, 5) * error / (mean * (1 - mean))
    logit = np.log(mean / (1 - mean))
    assert found.estimate == pytest.approx(mean)
    assert found.low == pytest.approx(1 / (1 + np.exp(-(logit - reach))))
    assert found.high == pytest.approx(1 / (1 + np.exp(-(logit + reach))))


def test_pairing_removes_what_is_hard_about_a_speaker():
    rng = np.random.default_rng(4)
    a, b = speakers(rng, 10, MIDDLE, systems=2)
    paired = paired_interval(b[None], a[None], UA)
    unpaired = np.hypot(*(interval.high - interval.low for interval in (cluster_interval(s[None], UA) for s in (a, b))))
    assert paired.high - paired.low < 0.6 * unpaired
    same = paired_interval(a[None], a[None], UA)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)


def test_runs_are_averaged_after_scoring():
    rng = np.random.default_rng(5)
    runs = speakers(rng, 8, MIDDLE, systems=3)
    found = cluster_interval(runs, UA)
    assert found.estimate == pytest.approx(np.mean([metrics.uar(run.sum(0)) for run in runs]))
    assert found.clusters == 8


def test_sums_add_up_to_the_metrics():
    rng = np.random.default_rng(6)
    truth, predicted, voice = (rng.integers(0, k, 200) for k in (3, 3, 7))
    sums = class_sums(truth, predicted, voice, (7, 3))
    np.testing.assert_array_equal(sums.sum(0), metrics.confusion_matrix(truth, predicted, 3))
    np.testing.assert_array_equal(sums[2], metrics.confusion_matrix(truth[voice == 2], predicted[voice == 2], 3))
    x, y = rng.random(200), rng.random(200)
    assert metrics.ccc_of_sums(dimension_sums(x, y, voice, 7).sum(0)) == pytest.approx(metrics.concordance_cc(x, y))


def test_no_interval_is_said_with_its_reason():
    one = np.array([[[[3.0, 1.0], [1.0, 3.0]]]])
    assert cluster_interval(one, UA).low is None
    assert "two clusters" in cluster_interval(one, UA).reason
    empty_second = np.concatenate([one, np.zeros_like(one)], axis=1)
    assert cluster_interval(empty_second, UA).clusters == 1
    perfect = np.array([[[[3.0, 0.0], [0.0, 3.0]]] * 4])
    found = cluster_interval(perfect, UA)
    assert (found.low, found.high) == (1, 1)
    assert "says nothing" in found.reason
    undefined = cluster_interval(np.zeros((1, 2, 6)), CCC)
    assert undefined.to_json()["estimate"] is None
    with pytest.raises(ResultError, match="share runs"):
        paired_interval(one, empty_second, UA)


def test_intervals_stay_within_the_range():
    nearly = np.array([[[[30.0, 0.0], [0.0, 30.0]]] * 3 + [[[25.0, 5.0], [0.0, 30.0]]]])
    found = cluster_interval(nearly, UA)
    assert 0 < found.low < found.estimate < found.high < 1
