"""Rules that change what other rules read, against examples worked by hand and against counts of real corpora."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.corpora.base import Rating, Utterance
from ser_toolkit.corpora.cremad import CREMAD, tabulated_votes
from ser_toolkit.corpora.emodb import EmoDB
from ser_toolkit.corpora.iemocap import IEMOCAP
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.label_rules import Mapped, PerRater, Recounted
from ser_toolkit.data.labels import AllInclusive, Intended, LabelRule, Majority, Plurality, Soft
from ser_toolkit.data.manifest import Manifest, table_from_rows
from ser_toolkit.data.needs import Needs
from ser_toolkit.data.ontology import ONTOLOGIES, Ontology
from ser_toolkit.errors import ManifestError, RecipeError
from ser_toolkit.terms import MISSING_LABEL

X = MISSING_LABEL
CLASSES = ("angry", "excited", "happy", "neutral", "sad", "surprised")


def manifest(rows: list[Utterance], classes: tuple[str, ...] = CLASSES, **facts: object) -> Manifest:
    return Manifest(table_from_rows(rows), "made up", classes, Path(), dict(facts))


def labelled(*labels: str | None, classes: tuple[str, ...] = CLASSES) -> Manifest:
    return manifest([Utterance(f"u{k:05d}", "a.wav", label=label) for k, label in enumerate(labels)], classes)


RATED = manifest(
    [
        Utterance(
            "a",
            "a.wav",
            label="happy",
            votes={"happy": 2, "excited": 2, "angry": 3},
            valence=4.0,
            ratings=(
                Rating("C-E1", ("happy", "excited")),
                Rating("C-E2", ("angry",)),
                Rating("C-F1", ("sad",), self_report=True),
                Rating("A-E2", valence=2.0, arousal=5.0, dominance=1.0),
            ),
        ),
        Utterance("b", "b.wav", label="sad", votes={"sad": 1}, ratings=(Rating("C-E1", ("sad",)), Rating("C-E3", ()))),
        Utterance("c", "c.wav", votes={"bored": 2, "surprised": 1}, ratings=(Rating("C-E2", ("bored",)),)),
        Utterance("d", "d.wav", label="excited"),
    ],
    dimension_range=[1.0, 5.0],
)


def test_votes_add_up_before_a_majority_is_asked_for() -> None:
    plain = Plurality().targets(RATED)
    assert plain.label.tolist() == [0, 4, X, X]  # angry has more votes than happy, or than excited
    rule = Mapped("big_four", rule=Plurality())
    assert rule.classes_of(RATED) == ("angry", "happy", "neutral", "sad")
    mapped = rule.targets(RATED)
    assert mapped.label.tolist() == [1, 3, X, X]  # happy or excited have four
    assert mapped.soft.shape == (4, 4)
    assert Mapped("big_four", rule=Majority()).targets(RATED).label.tolist() == [1, 3, X, X]
    shares = Mapped("big_four", rule=Soft()).targets(RATED).soft
    np.testing.assert_allclose(shares[:2], [[3 / 7, 4 / 7, 0, 0], [0, 0, 0, 1]], rtol=1e-6)


def test_what_an_ontology_does_is_said() -> None:
    notes = Mapped("big_four", rule=Plurality()).targets(RATED).notes
    assert notes[:2] == ["big_four: counted excited as happy (1)", "big_four: left out surprised (0)"]
    assert "3 of 11 votes went to emotions that are not among the classes" in notes
    assert "1 of 4 utterances in which another emotion than the classes has most votes" in notes
    assert Mapped(None, {"excited": "happy"}).targets(RATED).notes[0] == "merges: counted excited as happy (1)"


def test_merges_alone_keep_the_other_classes() -> None:
    rule = Mapped(None, {"excited": "happy", "surprised": "other"})
    assert rule.classes_of(RATED) == ("angry", "happy", "neutral", "other", "sad")
    assert rule.targets(RATED).label.tolist() == [1, 4, X, 1]
    with pytest.raises(ManifestError, match=r"merges names exited, which nobody said\. Did you mean excited"):
        Mapped(None, {"exited": "happy"}).targets(RATED)
    with pytest.raises(RecipeError, match="happy is merged and merged into"):
        Mapped(None, {"excited": "happy", "happy": "positive"})
    with pytest.raises(RecipeError, match="the rule inside maps classes as well"):
        Mapped("big_four", rule=Mapped("arousal_valence")).targets(RATED)
    with pytest.raises(ManifestError, match="big_six leaves surprised"):
        Mapped("big_six").targets(labelled("surprised", "neutral", classes=("surprised", "neutral")))


def test_iemocap_in_four_classes_has_5531_turns() -> None:
    """All 10039 turns, as the release counts them, mapped here; its own class set four is counted apart."""
    corpus = IEMOCAP("all")
    counts = corpus.expected.classes
    labels = [name for name, count in counts.items() for _ in range(count)]
    release = labelled(*labels, *[None] * (10039 - len(labels)), classes=corpus.classes)
    targets = Mapped("big_four").targets(release)
    assert np.bincount(targets.label[targets.label >= 0]).tolist() == [1103, 1636, 1708, 1084]
    assert "big_four: counted excited as happy (1041)" in targets.notes
    assert "4508 of 10039 utterances without a label" in targets.notes
    six = Mapped("arousal_valence")
    counted = Counter(six.classes_of(release)[k] for k in six.targets(release).label if k != X)
    assert counted == {
        "high_negative": 1103 + 2 + 40 + 1849, "high_positive": 595 + 1041, "high_neutral": 107,
        "low_neutral": 1708, "low_negative": 1084,
    }  # fmt: skip
    assert six.classes_of(release)[0] == "low_negative"  # in the ontology's order


def test_emodb_in_four_classes() -> None:
    corpus = EmoDB()
    labels = [name for name, count in corpus.expected.classes.items() for _ in range(count)]
    targets = Mapped("big_four").targets(labelled(*labels, classes=corpus.classes))
    assert np.bincount(targets.label[targets.label >= 0]).tolist() == [127, 71, 79, 62]
    assert targets.notes[0] == "big_four: left out bored (81), disgusted (46), fearful (69)"


def test_a_word_stands_in_one_class_of_an_ontology() -> None:
    with pytest.raises(ValueError, match="two classes"):
        Ontology("wrong", {"a": ("x",), "b": ("x",)}, "nowhere")
    assert all(ontology.source and len(ontology.classes) > 3 for ontology in ONTOLOGIES.values())


@pytest.mark.parametrize(
    ("ticks", "first"),
    [("first", [1, 0, 1, 0, 0, 0]), ("each", [1, 1, 1, 0, 0, 0]), ("shared", [1, 0.5, 0.5, 0, 0, 0])],
)
def test_votes_are_counted_again_from_the_raters(ticks: str, first: list[float]) -> None:
    targets = Recounted(ticks, Soft()).targets(RATED)  # type: ignore[arg-type]
    np.testing.assert_allclose(targets.soft[0], np.array(first) / sum(first), rtol=1e-6)
    np.testing.assert_array_equal(targets.soft[1], [0, 0, 0, 0, 1, 0])
    assert np.isnan(targets.soft[2:]).all()  # bored is no class, and the last one has no rater
    assert targets.label[0] == (0 if ticks == "shared" else X)
    assert targets.notes[0].startswith("1 of 4 utterances with raters who named several emotions: ")


def test_recounted_votes_can_be_mapped() -> None:
    rule = Recounted("each", Mapped("big_four", rule=Plurality()))
    assert rule.maps_classes and not Recounted("each", Plurality()).maps_classes
    assert rule.classes_of(RATED) == ("angry", "happy", "neutral", "sad")
    assert rule.targets(RATED).label.tolist() == [1, 3, X, X]
    inside = Mapped("big_four", rule=Recounted("each", Plurality()))
    assert inside.targets(RATED).label.tolist() == [X, 3, X, X]  # one rater's two words are one class by now


def test_a_merged_word_whose_class_is_not_kept_is_left_out_and_said_once() -> None:
    notes = Mapped("big_four", only=["angry", "sad"]).targets(RATED).notes
    assert not any("excited as happy" in note for note in notes)
    assert any("left out" in note and "excited" in note for note in notes)


def test_one_named_rater() -> None:
    first = PerRater("C-E1").targets(RATED)
    assert first.label.tolist() == [X, 4, X, X]
    np.testing.assert_array_equal(first.soft[0], [0, 0.5, 0.5, 0, 0, 0])
    assert np.isnan(first.dimensions).all()
    both = PerRater("E2").targets(RATED)  # C-E2 for classes, A-E2 for dimensions
    ratings = RATED.table["ratings"].str.replace('"rater": "', '"rater": "IEMOCAP/')
    joined = replace(RATED, table=RATED.table.assign(ratings=ratings))  # as one of several corpora has them
    for name in ("E2", "C-E2", "IEMOCAP/C-E2"):
        assert PerRater(name).targets(joined).label.tolist() == both.label.tolist()
    assert both.label.tolist() == [0, X, X, X]
    np.testing.assert_array_equal(both.dimensions[0], [0.25, 1, 0])
    assert np.isnan(both.dimensions[1:]).all()
    assert both.notes[:2] == [
        "2 of 4 utterances without an answer of E2",
        "1 of 4 utterances in which E2 heard another emotion than the classes",
    ]
    assert PerRater("C-F1").targets(RATED).label.tolist() == [4, X, X, X]  # a self-report, asked for by name
    with pytest.raises(ManifestError, match=r"C-E9 named none of the classes\. .*C-E1 \(2\), C-E2 \(2\)"):
        PerRater("C-E9").targets(RATED)


def test_a_rater_is_drawn_for_every_utterance() -> None:
    ratings = (Rating("1", ("angry",)), Rating("2", ("sad",)), Rating("3", ("happy",), self_report=True))
    many = manifest([Utterance(f"u{k:03d}", "a.wav", ratings=ratings, valence=2.0) for k in range(400)])
    label = PerRater().targets(many).label
    assert set(label) == {0, 4} and 150 < (label == 0).sum() < 250
    np.testing.assert_array_equal(PerRater().targets(many).label, label)
    assert (PerRater(seed=1).targets(many).label != label).any()
    backwards = Manifest(many.table.iloc[::-1], "made up", CLASSES, Path())
    np.testing.assert_array_equal(PerRater().targets(backwards).label[::-1], label)


def test_rules_about_raters_need_them() -> None:
    for rule in (PerRater(), Recounted()):
        with pytest.raises(ManifestError, match="no utterance has single raters' answers"):
            rule.targets(labelled("sad", "angry"))
    with pytest.raises(RecipeError, match="ticks is 'all'"):
        Recounted("all")  # type: ignore[arg-type]


def test_smoothing_of_emo_superb_equals_its_label_files() -> None:
    """Values as they stand in the published label files of CREMA-D (six classes) and IEMOCAP (nine)."""
    rule = Soft(smoothing=0.05, spread="others")
    six = manifest([Utterance("a", "a.wav", votes={"angry": 2, "happy": 3})], CLASSES)
    np.testing.assert_allclose(rule.targets(six).soft[0], [0.386, 0.01, 0.574, 0.01, 0.01, 0.01], atol=1e-6)
    nine = manifest(
        [
            Utterance("a", "a.wav", votes={"frustrated": 3}),
            Utterance("b", "b.wav", votes={"excited": 1, "happy": 2}),
        ],
        IEMOCAP("nine").classes,
    )
    soft = rule.targets(nine).soft
    np.testing.assert_allclose(np.sort(soft[0]), [0.00625] * 8 + [0.95], atol=1e-6)
    np.testing.assert_allclose(np.sort(soft[1])[-3:], [0.00625, 0.320833, 0.635417], atol=1e-6)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)


def test_what_is_missing_is_missing_task_by_task() -> None:
    """A label without ratings, ratings without a label, and votes that tie: each task has its own gaps."""
    rows = [
        Utterance("label alone", "a.wav", label="sad"),
        Utterance("ratings alone", "b.wav", valence=1.0, arousal=3.0, dominance=5.0),
        Utterance("tie", "c.wav", votes={"sad": 2, "angry": 2}, valence=2.0),
    ]
    made = manifest(rows, dimension_range=[1.0, 5.0])
    soft = Soft().targets(made)
    assert soft.label.tolist() == [X, X, X]
    assert np.isnan(soft.soft).all(axis=1).tolist() == [True, True, False]
    np.testing.assert_array_equal(soft.dimensions, [[np.nan] * 3, [0, 0.5, 1], [0.25, np.nan, np.nan]])
    assert Intended().targets(made).label.tolist() == [4, X, X]


def test_classes_of_a_recipe_are_those_of_its_rule(mini: Path) -> None:
    data = load_recipe("mini.yaml", "data.labels=Mapped", "data.labels.ontology=arousal_valence").data()
    assert data.classes == ("low_negative", "high_negative")
    assert data.split_table["label"].value_counts().to_dict() == {"low_negative": 12, "high_negative": 12}
    assert FoldData(data, 1, needs=Needs(16000)).class_counts().tolist() == [6, 6]
    for wrong, message in (
        (["data.labels=Mapped", "data.labels.ontology=big_for"], "expected one of big_four"),
        (["data.labels=Mapped", "data.labels.rule=Pluralty"], "Did you mean Plurality"),
    ):
        with pytest.raises(RecipeError, match=message):
            load_recipe("mini.yaml", *wrong)


@pytest.mark.corpus
def test_real_votes_of_cremad(corpora_root: Path) -> None:
    """All 7442 clips have votes, whichever recordings are there; the counts are those of the corpus's own tables."""
    votes = tabulated_votes(corpora_root / "CREMA-D" / "processedResults" / "tabulatedVotes.csv", "voice")
    names = {"ANG": "angry", "DIS": "disgusted", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
    rows = [Utterance(n, "a.wav", label=names[n.split("_")[2]], votes=v) for n, v in votes.items()]
    clips = manifest(rows, CREMAD().classes)
    assert len(clips) == 7442
    plurality = Plurality().targets(clips)
    assert plurality.notes == ["644 of 7442 utterances with tied votes"]
    intended = Intended().targets(clips).label
    assert round(100 * (plurality.label == intended).mean(), 1) == 41.6
    majority = Majority().targets(clips)
    assert set(majority.label[majority.label != plurality.label]) == {X}
    rule = AllInclusive()
    everything = rule.targets(clips)
    assert not np.isnan(everything.soft).any()  # nothing is discarded
    present = rule.present(everything.soft)
    assert present.any(axis=1).all()
    assert (present[plurality.label != X, plurality.label[plurality.label != X]]).all()
    # as the summary table writes it: 1001_IEO_NEU_XX has 10 of 11 voice votes for neutral, one for happy
    place = next(k for k, row in enumerate(rows) if row.id == "1001_IEO_NEU_XX")
    np.testing.assert_allclose(everything.soft[place], [0, 0, 0, 1 / 11, 10 / 11, 0], rtol=1e-6)


def test_raters_of_a_manifest_are_those_of_its_rows() -> None:
    """What these rules parse is what the manifest wrote."""
    assert [asdict(one) for one in RATED.ratings(0)][3]["arousal"] == 5.0


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Intended(), "the label column of the corpus"),
        (Soft(0.05, "others"), f"{Soft.description}; 0.05 is spread over the other classes"),
        (
            Mapped("big_four", {"bored": "sad"}),
            "big_four after counting bored as sad, on the label column of the corpus",
        ),
        (Mapped(None, {"excited": "happy"}, Plurality()), f"counting excited as happy, on {Plurality.description}"),
        (
            Recounted("first", Majority()),
            f"votes counted again from the raters, of several emotions the first; {Majority.description}",
        ),
        (PerRater("C-E2"), "the answer of rater C-E2"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_rule_explains_its_options(rule: LabelRule, said: str) -> None:
    assert rule.explanation == said
