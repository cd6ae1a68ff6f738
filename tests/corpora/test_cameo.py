from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from generic_replicas import hub

from ser_toolkit.config.files import recipe_folder
from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.cameo import CAMEO, SPLITS
from ser_toolkit.errors import CorpusError, RecipeError

#: By hand from the tables of the Polish Speech Emotion Recognition Challenge, which is held on CAMEO.
TOTALS = {
    "cafe": 792, "crema_d": 6171, "emns": 743, "emozionalmente": 5916, "enterface": 1047, "jl_corpus": 960,
    "mesd": 718, "nemo": 4481, "oreau": 431, "pavoque": 4867, "ravdess": 1056, "resd": 1013, "subesco": 6000,
}  # fmt: skip
CLASSES_BUT_POLISH = {"angry": 5212, "fearful": 4241, "happy": 5216, "neutral": 7161, "sad": 5127, "surprised": 2757}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))


def rows(dataset: str, language: str, speakers: list[str], emotions: list[str]) -> list[dict[str, str]]:
    """As the card's example has them."""
    return [
        {
            "file_id": f"{number:064x}.flac",
            "emotion": emotion,
            "transcription": "Cinq pumas fiers et passionnés",
            "speaker_id": speaker,
            "gender": "female",
            "age": "37",
            "dataset": dataset,
            "language": language,
            "license": "CC BY-NC-SA 4.0",
        }
        for number, (speaker, emotion) in enumerate((s, e) for s in speakers for e in emotions)
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    hub(tmp_path, rows("CaFE", "French", ["cafe_12", "cafe_01"], ["neutral", "anger", "disgust"]), 1, "cafe")
    return hub(tmp_path, rows("nEMO", "Polish", ["SB0"], ["fear", "sadness"]), 1, "nemo")


def test_splits_are_corpora(root: Path) -> None:
    corpus = CAMEO(datasets=["cafe", "nemo"])
    read = corpus.utterances(root)
    assert corpus.classes == ("angry", "fearful", "happy", "neutral", "sad", "surprised")
    assert [(row.label, row.raw_label, row.speaker, row.language, row.corpus, row.fold) for row in read] == [
        ("neutral", "neutral", "cafe_12", "fr", "cafe", None),
        ("angry", "anger", "cafe_12", "fr", "cafe", None),
        (None, "disgust", "cafe_12", "fr", "cafe", None),
        ("neutral", "neutral", "cafe_01", "fr", "cafe", None),
        ("angry", "anger", "cafe_01", "fr", "cafe", None),
        (None, "disgust", "cafe_01", "fr", "cafe", None),
        ("fearful", "fear", "nemo_SB0", "pl", "nemo", None),
        ("sad", "sadness", "nemo_SB0", "pl", "nemo", None),
    ]
    assert [row.id for row in read][-1] == "nemo/" + "0" * 63 + "1"
    assert {(row.sex, row.transcript) for row in read} == {("female", "Cinq pumas fiers et passionnés")}


def test_more_classes_and_fewer_corpora(root: Path) -> None:
    corpus = CAMEO(datasets=["cafe"], classes=["angry", "disgusted", "neutral"])
    assert Counter(row.label for row in corpus.utterances(root)) == {"angry": 2, "disgusted": 2, "neutral": 2}
    assert not corpus.expected.classes, "counts are known for six classes"
    assert CAMEO(languages=["fr"]).datasets == ["cafe", "oreau"]
    assert CAMEO(languages=["fr"], datasets=["cafe", "nemo"]).datasets == ["cafe"]


def test_a_split_that_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"no split 'crema_d'. .*Known: cafe, nemo"):
        CAMEO().utterances(root)


def test_counts_are_those_of_the_challenge(root: Path) -> None:
    assert {name: sum(counts) for name, (_, counts) in SPLITS.items()} == TOTALS
    but_polish = CAMEO(datasets=[name for name in SPLITS if name != "nemo"]).expected.classes
    assert dict(but_polish) == CLASSES_BUT_POLISH
    corpus = CAMEO(datasets=["cafe"])
    found = deviations(corpus.utterances(root), corpus.expected)
    assert "class angry: 2 utterances, expected 144" in found


def test_the_readme_says_how_far_this_was_checked() -> None:
    readme = (recipe_folder() / "cameo" / "README.md").read_text(encoding="utf-8")
    assert f"**How far this was checked: {CAMEO.verified}.**" in readme
    assert CAMEO.homepage in readme
    assert f"{sum(TOTALS.values()):,} utterances" in readme
    assert " ".join(SPLITS) in readme


def test_languages_by_name_or_code_and_no_others() -> None:
    assert CAMEO(languages=["French"]).datasets == CAMEO(languages=["fr"]).datasets == ["cafe", "oreau"]
    with pytest.raises(RecipeError, match=r"languages names 'frr'\. Did you mean fr\?"):
        CAMEO(languages=["frr"])
    with pytest.raises(RecipeError, match=r"none of the datasets \['nemo'\] is in one of the languages \['fr'\]"):
        CAMEO(datasets=["nemo"], languages=["fr"])
