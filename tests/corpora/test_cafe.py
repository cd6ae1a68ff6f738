from __future__ import annotations

from pathlib import Path

import pytest
from corpus_replicas import cafe, touch

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.cafe import CaFE
from ser_toolkit.errors import CorpusError

FOLDERS = {"C": "Colère", "D": "Dégoût", "J": "Joie", "P": "Peur", "S": "Surprise", "T": "Tristesse"}
LABELS = {"C": "angry", "D": "disgusted", "J": "happy", "P": "fearful", "S": "surprised", "T": "sad", "N": "neutral"}


def documented() -> list[str]:
    names = []
    for actor in range(1, 13):
        for sentence in range(1, 7):
            names.append(f"CaFE_48k/Neutre/{actor:02d}-N-1-{sentence}.wav")
            for letter, folder in FOLDERS.items():
                names.append(f"CaFE_48k/{folder}/Faible/{actor:02d}-{letter}-1-{sentence}.wav")
                names.append(f"CaFE_48k/{folder}/Fort/{actor:02d}-{letter}-2-{sentence}.wav")
    return names


def test_a_complete_copy_has_the_documented_counts(tmp_path: Path) -> None:
    rows = CaFE().utterances(touch(tmp_path, documented()))
    assert len(rows) == 936
    assert deviations(rows, CaFE().expected) == []
    assert {row.id.split("-")[1]: row.label for row in rows} == LABELS


def test_rows_say_what_the_name_says_whatever_became_of_the_folder(tmp_path: Path) -> None:
    first, second = CaFE().utterances(touch(tmp_path, ["D‚go–t/Fort/10-D-2-1.wav", "ColŠre/Faible/07-C-1-2.AIFF"]))
    assert (first.id, first.speaker, first.sex, first.label, first.raw_label) == (
        "07-C-1-2",
        "07",
        "male",
        "angry",
        "C-1",
    )
    assert (first.transcript, first.language, first.fold) == ("Deux ânes aigris au pelage brun", "fr", "1")
    assert (second.speaker, second.sex, second.label, second.sentence) == ("10", "female", "disgusted", "1")


def test_published_folds(tmp_path: Path) -> None:
    folds = {row.speaker: row.fold for row in CaFE().utterances(cafe().write(tmp_path))}
    assert folds == {"01": "1", "02": "2", "03": "3", "04": "2", "05": "3", "08": "1"}


@pytest.mark.parametrize("name", ["13-C-1-1", "01-N-2-1", "01-X-1-1", "01-C-3-1", "01-C-1-7"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=name):
        CaFE().utterances(touch(tmp_path, [f"{name}.wav"]))
