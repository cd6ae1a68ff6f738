"""Agreement of raters: published worked examples, sums against plain loops, and what a report says of it."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from simulated_run import SPEAKERS, make_run

from ser_toolkit.corpora.cremad import tabulated_votes
from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.agreement import raters
from ser_toolkit.evaluation.agreement.human import Panel, human_agreement
from ser_toolkit.evaluation.metrics import concordance_cc
from ser_toolkit.evaluation.predictions import read_predictions, write_predictions
from ser_toolkit.evaluation.reporting.report import build, markdown, write_report
from ser_toolkit.evaluation.results import load_results

pytestmark = pytest.mark.usefixtures("no_pictures")

CLASSES = ("angry", "happy", "sad")


def votes_table(answers, labels=None, speakers=None):
    """Utterances from lists of words, one a rater."""
    texts = [json.dumps({word: float(said.count(word)) for word in sorted(set(said))}) for said in answers]
    count = len(answers)
    return pd.DataFrame(
        {
            "id": [f"u{i}" for i in range(count)],
            "votes": texts,
            "label": labels or [None] * count,
            "speaker": speakers or [str(i % 4) for i in range(count)],
        }
    )


def ratings_table(values, speakers=None):
    """Utterances from lists of ratings of valence, one a rater."""
    given = [[{"rater": f"r{i}", "labels": [], "valence": v} for i, v in enumerate(row)] for row in values]
    table = votes_table([[] for _ in values], speakers=speakers)
    return table.assign(votes=None, ratings=[json.dumps(row) for row in given])


def random_answers(seed=3, utterances=60, words=CLASSES):
    """Raters who hear the truth in half of the cases; 2 to 6 of them."""
    rng = np.random.default_rng(seed)
    truth = [words[i] for i in rng.integers(0, len(words), utterances)]
    said = [
        [t if rng.random() < 0.5 else words[rng.integers(0, len(words))] for _ in range(rng.integers(2, 7))]
        for t in truth
    ]
    return truth, said


def pairwise_alpha(units, difference):
    """Krippendorff's definition, pair by pair."""
    units = [unit for unit in units if len(unit) > 1]
    everything = [value for unit in units for value in unit]
    n = len(everything)
    observed = sum(sum(difference(a, b) for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units) / n
    expected = sum(difference(a, b) for a, b in itertools.permutations(everything, 2)) / (n * (n - 1))
    return 1 - observed / expected


# Krippendorff (2011), section C: four observers, twelve units, 0 is a missing value.
FOUR_OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)
UNITS = [[int(value) for value in unit if value] for unit in FOUR_OBSERVERS.T]


def test_alpha_of_the_published_examples():
    nominal = Panel(votes_table([[str(v) for v in unit] for unit in UNITS]), tuple("12345")).alpha()
    assert nominal.estimate == pytest.approx(0.743, abs=5e-4)
    interval = Panel(ratings_table(UNITS), CLASSES).dimension("valence")["alpha"]
    assert interval["estimate"] == pytest.approx(0.849, abs=5e-4)
    binary = list(zip("0100000010", "1110010000", strict=True))  # section A
    assert Panel(votes_table(list(map(list, binary))), ("0", "1")).alpha().estimate == pytest.approx(0.095, abs=5e-4)
    letters = votes_table(list(map(list, zip("aabbdcccedda", "babbbccceddd", strict=True))))  # section B
    assert Panel(letters, tuple("abcde")).alpha().estimate == pytest.approx(0.692, abs=5e-4)


def test_alpha_equals_its_definition_pair_by_pair():
    _, said = random_answers()
    said[0] = said[0][:1]  # one answer says nothing about agreement
    found = Panel(votes_table(said), CLASSES).alpha().estimate
    assert found == pytest.approx(pairwise_alpha(said, lambda a, b: a != b), rel=1e-12)
    rng = np.random.default_rng(0)
    values = [list(np.round(rng.normal(i % 5, 1, rng.integers(1, 5)), 2)) for i in range(30)]
    found = Panel(ratings_table(values), CLASSES).dimension("valence")["alpha"]["estimate"]
    assert found == pytest.approx(pairwise_alpha(values, lambda a, b: (a - b) ** 2), rel=1e-9)


def test_one_rater_against_the_others_equals_plain_loops():
    words = (*CLASSES, "bored")  # an emotion that is no class
    truth, said = random_answers(words=words)
    confusion = np.zeros((3, 4))
    for unit in said:
        for place, answer in enumerate(unit):
            rest = unit[:place] + unit[place + 1 :]
            most = max(rest.count(word) for word in words)
            first = [word for word in words if rest.count(word) == most]
            for word in first:
                if word in CLASSES:
                    confusion[words.index(word), words.index(answer)] += 1 / len(first) / len(unit)
    row = Panel(votes_table(said, truth), CLASSES).one_rater("others")["metrics"]
    hits = np.diag(confusion)
    assert row["accuracy"]["estimate"] == pytest.approx(hits.sum() / confusion.sum(), rel=1e-12)
    assert row["uar"]["estimate"] == pytest.approx((hits / confusion.sum(1)).mean(), rel=1e-12)
    f1 = 2 * hits / (confusion.sum(1) + confusion.sum(0)[:3])
    assert row["macro_f1"]["estimate"] == pytest.approx(f1.mean(), rel=1e-12)
    assert row["uar"]["clusters"] == 4
    assert row["uar"]["low"] < row["uar"]["estimate"] < row["uar"]["high"]


def test_a_tie_among_the_others_is_split_and_drops_nobody():
    # The two who agree see a tie (half a hit each), the third is wrong: 1/3. To drop ties would give 0.
    row = Panel(votes_table([["angry", "angry", "sad"]] * 4), CLASSES).one_rater("others")
    assert row["metrics"]["accuracy"]["estimate"] == pytest.approx(1 / 3)
    about = Panel(votes_table([["angry", "angry", "sad"]] * 4), CLASSES).about()
    assert about["others_tied"] == pytest.approx(2 / 3)
    assert about["tied"] == 0


def test_against_the_label_every_utterance_weighs_the_same():
    said = [["angry"] * 9 + ["sad"], ["happy", "sad"], ["sad"], ["angry"] * 2]
    panel = Panel(votes_table(said, ["angry", "sad", "sad", "happy"]), CLASSES)
    row = panel.one_rater("label")["metrics"]
    assert row["accuracy"]["estimate"] == pytest.approx((0.9 + 0.5 + 0) / 3), "one answer alone does not count"
    about = panel.about()
    assert (about["utterances"], about["answers"]) == (3, 14)
    assert about["raters"] == {"least": 2, "median": 2.0, "most": 10}
    assert about["label_is_plurality"] == pytest.approx(1 / 3), "the tie is not the label"
    assert about["tied"] == pytest.approx(1 / 3)
    assert not about["label_from_votes"]


def test_a_model_is_scored_against_the_references_of_single_raters():
    said = [["angry", "angry", "sad"], ["happy", "happy"], ["sad"], ["sad"] * 3, ["sad"] * 2]
    panel = Panel(votes_table(said, ["sad", "happy", "sad", "angry", "sad"]), CLASSES)
    # In another order, without u4; u2 has one rater and does not count.
    run = pd.DataFrame({"id": ["u3", "u2", "u0", "u1"], "predicted": ["sad", "sad", "angry", "angry"]})
    others = panel.system([run], "others")["metrics"]
    # Others of u0: angry-sad twice and angry-angry once, so that "angry" is right by 2/3.
    assert others["accuracy"]["estimate"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert panel.system([run], "label")["metrics"]["accuracy"]["estimate"] == 0
    assert panel.system([run, run], "others")["metrics"] == others


def test_perfect_agreement_is_one_and_guessing_is_nothing():
    perfect = [[word] * 5 for word in CLASSES for _ in range(8)]
    found = human_agreement(votes_table(perfect, [unit[0] for unit in perfect]), CLASSES)
    assert [m["estimate"] for m in found["rows"][0]["metrics"].values()] == [1, 1, 1]
    assert found["alpha"]["estimate"] == found["split_half"]["estimate"] == 1
    assert found["label_from_votes"] and [row["against"] for row in found["rows"]] == ["others"]
    rng = np.random.default_rng(1)
    chance = [[CLASSES[i] for i in rng.integers(0, 3, 6)] for _ in range(3000)]
    found = human_agreement(votes_table(chance), CLASSES)
    assert abs(found["alpha"]["estimate"]) < 0.02
    assert abs(found["split_half"]["estimate"]) < 0.05
    assert found["rows"][0]["metrics"]["uar"]["estimate"] == pytest.approx(1 / 3, abs=0.02)
    same = human_agreement(votes_table([["sad"] * 3] * 4), CLASSES)
    assert same["alpha"]["estimate"] is None, "without variation there is no chance to compare with"


def test_half_of_the_raters_predicts_the_other_half_as_theory_says():
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 1, (1500, 1))
    found = Panel(ratings_table((truth + rng.normal(0, 2, (1500, 6))).tolist()), CLASSES).dimension("valence")
    assert found["split_half"]["estimate"] == pytest.approx(6 / (6 + 4), abs=0.03)  # m / (m + noise / signal)
    assert found["alpha"]["estimate"] == pytest.approx(1 / 5, abs=0.03)


def test_halves_that_contradict_each_other_stay_within_minus_one():
    found = Panel(votes_table([["angry", "sad"], ["happy", "angry"], ["sad", "happy"]] * 4), CLASSES)
    assert -1 <= found.split_half(found.answers).low < found.split_half(found.answers).estimate < 0


def test_halves_are_equal_disjoint_and_repeatable():
    _, said = random_answers()
    found, _ = raters.answers_of(votes_table(said)["votes"], CLASSES)
    a, b = raters.split_in_halves(found, np.random.default_rng(0))
    half = np.array([len(unit) // 2 for unit in said])[:, None]
    left = found.totals - (a + b) * half
    assert np.allclose(left.sum(axis=1), [len(unit) % 2 for unit in said]) and (left > -1e-9).all()
    assert np.array_equal(a, raters.split_in_halves(found, np.random.default_rng(0))[0])
    assert not np.array_equal(a, raters.split_in_halves(found, np.random.default_rng(1))[0])


def test_ccc_of_one_rater_against_the_mean_of_the_others():
    rng = np.random.default_rng(2)
    values = (rng.normal(3, 1, (40, 1)) + rng.normal(0, 0.7, (40, 3))).round(1)
    others = (values.sum(1, keepdims=True) - values) / 2
    found = Panel(ratings_table(values.tolist()), CLASSES).dimension("valence")
    assert found["ccc"]["estimate"] == pytest.approx(concordance_cc(others.ravel(), values.ravel()), rel=1e-9)
    assert found["utterances"] == 40
    assert Panel(ratings_table(values.tolist()), CLASSES).dimension("arousal") is None


def test_shared_votes_need_the_single_ratings():
    table = votes_table([["angry", "angry"], []])
    table.loc[1, "votes"] = json.dumps({"angry": 0.5, "sad": 1.5})
    ratings = [
        {"rater": "C-E1", "labels": ["angry", "sad"]},
        {"rater": "C-E2", "labels": ["sad"]},
        {"rater": "C-F1", "labels": ["happy"], "self_report": True},
    ]
    texts = pd.Series([None, json.dumps(ratings)], dtype=object)
    for given, left_out, rows in ((None, 1, [0]), (texts, 0, [0, 1, 1])):
        found, lost = raters.answers_of(table["votes"], CLASSES, given)
        assert (found.row.tolist(), lost) == (rows, left_out)
    assert found.value[1:].tolist() == [[0.5, 0, 0.5], [0, 0, 1]]
    other = texts.str.replace("angry", "happy")  # does not add up to the votes
    assert raters.answers_of(table["votes"], CLASSES, other)[1] == 1


def test_without_a_speaker_there_is_no_interval():
    _, said = random_answers()
    table = votes_table(said)
    table.loc[3, "speaker"] = None
    found = Panel(table, CLASSES).alpha()
    assert found.low is None and found.reason == "speaker is unknown for some utterances"
    assert found.estimate == pytest.approx(Panel(votes_table(said), CLASSES).alpha().estimate)


@pytest.fixture(scope="module")
def voted_run(tmp_path_factory):
    """A run without baselines and six raters an utterance, who hear the label in 40 % of the cases, else guess."""
    run = make_run(tmp_path_factory.mktemp("voted") / "run", seeds=(0,))
    for folder in run.glob("*/baseline=*"):
        shutil.rmtree(folder)
    said = {}
    rng = np.random.default_rng(11)
    for path in sorted(run.rglob("predictions.parquet")):
        table, classes = read_predictions(path)
        for name, label in zip(table["id"], table["label"], strict=True):
            heard = [label if rng.random() < 0.4 else classes[rng.integers(len(classes))] for _ in range(6)]
            said.setdefault(name, {word: heard.count(word) for word in set(heard)})
        write_predictions(path, table.assign(votes=table["id"].map(said)), classes)
    return run


@pytest.fixture
def own_run(tmp_path, voted_run):
    """A copy that a test may change."""
    return Path(shutil.copytree(voted_run, tmp_path / "run"))


def built(run):
    """What a report says of raters, and its text, without pictures."""
    results = load_results(run)
    data = build(results)
    return data.get("human"), markdown(results, data)


def test_a_report_shows_raters_beside_the_model(own_run):
    report = write_report(own_run)
    found = report.data["human"]
    assert (found["utterances"], found["answers"]) == (300, 1800)
    assert [(row["against"], row["who"], row["variant"]) for row in found["rows"]] == [
        (against, *who)
        for against in ("others", "label")
        for who in (("one rater", None), ("model", "plain"), ("model", "enrolment"))
    ]
    model = found["rows"][4]["metrics"]["uar"]
    headline = report.data["systems"][0]["metrics"]["uar"]
    assert (model["estimate"], model["low"]) == (headline["estimate"], headline["low"]), "same rows, same label"
    rater = found["rows"][3]["metrics"]["accuracy"]["estimate"]
    assert rater == pytest.approx(0.4 + 0.6 / 5, abs=0.03)
    for text in (report.markdown_path.read_text(), report.html_path.read_text()):
        assert text.count("Human agreement") >= 1
        assert "It is no upper bound" in text
        assert "1800 answers on 300 utterances, 6 raters each" in text
    assert "| the other raters | **one rater** | " in report.markdown_path.read_text()


def test_a_model_that_says_what_most_say_beats_single_raters(own_run):
    for path in own_run.glob("plain/*/*/predictions.parquet"):
        table, classes = read_predictions(path)
        heard = table["votes"].map(lambda text: max(sorted(json.loads(text)), key=json.loads(text).get))
        write_predictions(path, table.assign(predicted=heard), classes)
    one, model = built(own_run)[0]["rows"][:2]
    assert model["metrics"]["accuracy"]["estimate"] > one["metrics"]["accuracy"]["estimate"] + 0.1


def test_labels_made_from_votes_are_no_second_reference(own_run, edit_record):
    edit_record(own_run, {"labels": {"rule": "Plurality", "explanation": "most votes"}})
    found, text = built(own_run)
    assert {row["against"] for row in found["rows"]} == {"others"}
    assert "the label is made from these votes" in text
    edit_record(own_run, {"labels": {"rule": "Mapped", "mapped": True, "explanation": "big four"}})
    assert built(own_run)[0] is None, "votes are in other words than the classes"


def test_single_ratings_kept_beside_the_predictions_are_used(own_run):
    before, _ = built(own_run)
    ids = [f"{speaker}a{take:02d}" for speaker in SPEAKERS for take in range(30)]
    ratings = [
        json.dumps([{"rater": "a", "valence": 1 + i % 5}, {"rater": "b", "valence": 1 + i % 10 // 2}, {"rater": "c"}])
        for i in range(len(ids))
    ]
    pq.write_table(pa.table({"id": ids, "ratings": ratings}), own_run / "manifest.parquet")
    found, text = built(own_run)
    one, two = 1.0 + np.arange(300) % 5, 1.0 + np.arange(300) % 10 // 2
    both = concordance_cc(np.r_[one, two], np.r_[two, one])
    assert found["dimensions"]["valence"]["ccc"]["estimate"] == pytest.approx(both, abs=1e-5)
    assert list(found.pop("dimensions")) == ["valence"]
    assert found == before
    assert f"CCC of one rater with the mean of the others {both:.3f}" in text
    (own_run / "manifest.parquet").write_text("not a table")
    with pytest.raises(ResultError, match=r"manifest.parquet is damaged .* Run the same ser-train command again"):
        built(own_run)


def test_a_report_without_votes_says_nothing_of_raters(finished_run):
    found, text = built(finished_run)
    assert found is None
    assert "Human agreement" not in text and "rater" not in text


@pytest.mark.corpus
def test_votes_of_cremad(corpora_root):
    codes = {"ANG": "angry", "DIS": "disgusted", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
    votes = tabulated_votes(corpora_root / "CREMA-D" / "processedResults" / "tabulatedVotes.csv", "voice")
    table = pd.DataFrame({"id": list(votes), "votes": [json.dumps(one) for one in votes.values()]})
    table["speaker"], table["label"] = table["id"].str[:4], table["id"].str[9:12].map(codes)
    found = human_agreement(table, tuple(sorted(codes.values())))
    assert (found["utterances"], found["answers"], found["rows"][0]["metrics"]["uar"]["clusters"]) == (7442, 68568, 91)
    assert round(100 * found["label_is_plurality"], 1) == 41.6
    assert round(found["tied"] * 7442) == 644
    assert found["rows"][0]["metrics"]["accuracy"]["estimate"] == pytest.approx(0.566, abs=5e-4)
    assert found["rows"][1]["metrics"]["accuracy"]["estimate"] == pytest.approx(0.397, abs=5e-4)
    assert found["alpha"]["estimate"] == pytest.approx(0.2811, abs=5e-5)
    assert found["split_half"]["estimate"] == pytest.approx(0.767, abs=5e-3)
