from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from corpus_replicas import notes_of

from ser_toolkit.corpora.base import deviations
from ser_toolkit.corpora.cremad import CREMAD, tabulated_votes
from ser_toolkit.errors import CorpusError, RecipeError

DEMOGRAPHICS = '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","x","y"\n1002,21,"Female","x","y"\n'
VOTES = """"","A","D","F","H","N","S","fileName","numResponses"
"100001",0,0,0,1,10,0,"1001_IEO_NEU_XX",11
"100002",4,4,0,0,2,0,"1002_DFA_ANG_HI",10
"200001",0,0,0,9,0,0,"1001_IEO_NEU_XX",9
"300001",7,0,0,0,0,1,"1001_IEO_NEU_XX",8
"""


def replica(root: Path, *names: str, metadata: bool = True) -> Path:
    (root / "AudioWAV").mkdir(parents=True)
    for name in names:
        (root / "AudioWAV" / name).touch()
    if metadata:
        (root / "VideoDemographics.csv").write_text(DEMOGRAPHICS)
        (root / "processedResults").mkdir()
        (root / "processedResults" / "tabulatedVotes.csv").write_text(VOTES)
    return root


def test_rows_carry_intention_and_votes(tmp_path):
    root = replica(tmp_path, "1002_DFA_ANG_HI.wav", "1001_IEO_NEU_XX.wav", "._1001_IEO_NEU_XX.wav")
    first, second = CREMAD().utterances(root)
    assert (first.id, first.path) == ("1001_IEO_NEU_XX", "AudioWAV/1001_IEO_NEU_XX.wav")
    assert (first.speaker, first.sex, first.label, first.raw_label) == ("1001", "male", "neutral", "NEU_XX")
    assert (first.sentence, first.transcript) == ("IEO", "It's eleven o'clock")
    assert first.votes == {"angry": 0, "disgusted": 0, "fearful": 0, "happy": 1, "neutral": 10, "sad": 0}
    assert (second.sex, second.label, second.raw_label) == ("female", "angry", "ANG_HI")
    assert (second.language, second.style) == ("en", "acted")


@pytest.mark.parametrize(("modality", "winner"), [("voice", "neutral"), ("face", "happy"), ("multimodal", "angry")])
def test_the_modality_chooses_the_votes(tmp_path, modality, winner):
    (row,) = CREMAD(modality).utterances(replica(tmp_path, "1001_IEO_NEU_XX.wav"))
    assert max(row.votes, key=row.votes.get) == winner


def test_notes_count_agreement_and_ties(tmp_path):
    corpus = CREMAD()
    listing = corpus.read(replica(tmp_path, "1001_IEO_NEU_XX.wav", "1002_DFA_ANG_HI.wav"))
    rows = listing.rows
    (note,) = listing.notes(rows)
    assert "50.0 % of 2 clips; 1 are ties" in note  # a tie is not an agreement


def test_audio_alone_is_read_and_said(tmp_path):
    corpus = CREMAD()
    listing = corpus.read(replica(tmp_path, "1001_IEO_NEU_XX.wav", metadata=False))
    rows = listing.rows
    assert (rows[0].sex, rows[0].votes) == (None, None)
    notes = " ".join(listing.notes(rows))
    assert "sex is unknown" in notes
    assert "there are no votes" in notes


def test_the_clip_with_two_spellings_is_one_row(tmp_path):
    (short,) = CREMAD().utterances(replica(tmp_path / "short", "1040_ITH_SAD_X.wav"))
    assert (short.id, short.path) == ("1040_ITH_SAD_XX", "AudioWAV/1040_ITH_SAD_X.wav")
    (both,) = CREMAD().utterances(replica(tmp_path / "both", "1040_ITH_SAD_X.wav", "1040_ITH_SAD_XX.wav"))
    assert both.path == "AudioWAV/1040_ITH_SAD_XX.wav"


def test_known_flaws_are_noted(tmp_path):
    names = ("1006_TIE_HAP_XX.wav", "1006_TIE_NEU_XX.wav", "1013_WSI_DIS_XX.wav", "1076_MTI_SAD_XX.wav")
    corpus = CREMAD()
    notes = " ".join(notes_of(corpus, replica(tmp_path, *names)))
    assert "1006_TIE_HAP_XX and 1006_TIE_NEU_XX are the same recording" in notes
    assert "1076_MTI_SAD_XX is almost silent" in notes
    assert "1013" not in notes


def test_git_lfs_pointers_are_recognised(tmp_path):
    root = replica(tmp_path, "1001_IEO_NEU_XX.wav", "1002_DFA_ANG_HI.wav")
    (root / "AudioWAV" / "1002_DFA_ANG_HI.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid x\n")
    with pytest.raises(CorpusError, match=r"1 of 2 files .* are Git LFS pointers"):
        CREMAD().utterances(root)


def test_wrong_input_is_named(tmp_path):
    with pytest.raises(RecipeError, match="smell"):
        CREMAD("smell")  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match="1001_XXX_NEU_XX"):
        CREMAD().utterances(replica(tmp_path / "a", "1001_XXX_NEU_XX.wav"))
    root = replica(tmp_path / "b", "1001_IEO_NEU_XX.wav")
    (root / "processedResults" / "tabulatedVotes.csv").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CorpusError, match="git lfs pull"):
        CREMAD().utterances(root)
    with pytest.raises(CorpusError, match="one level down"):
        CREMAD().utterances(_above(tmp_path))


def _above(tmp_path: Path) -> Path:
    replica(tmp_path / "above" / "CREMA-D", "1001_IEO_NEU_XX.wav")
    return tmp_path / "above"


@pytest.mark.parametrize("spoilt", [VOTES[: VOTES.index("4,4") + 3].encode(), VOTES.encode("utf-16")])
def test_a_damaged_table_of_votes_is_named(tmp_path, spoilt):
    root = replica(tmp_path, "1001_IEO_NEU_XX.wav")
    table = root / "processedResults" / "tabulatedVotes.csv"
    table.write_bytes(spoilt)
    with pytest.raises(
        CorpusError, match=r"row 2 of .*tabulatedVotes.csv is incomplete|tabulatedVotes.csv has no column"
    ):
        CREMAD().utterances(root)
    table.write_text(VOTES, encoding="utf-8-sig")
    assert CREMAD().utterances(root)[0].votes["neutral"] == 10, "a spreadsheet program's mark"


def test_clips_without_votes_are_noted(tmp_path):
    corpus = CREMAD()
    listing = corpus.read(replica(tmp_path, "1001_IEO_NEU_XX.wav", "1002_DFA_ANG_LO.wav"))
    rows = listing.rows
    assert "1 of 2 clips have no votes: is processedResults/tabulatedVotes.csv complete?" in listing.notes(rows)


def test_published_counts_are_consistent():
    expected = CREMAD().expected
    assert len(expected.speakers) == 91
    assert sum(expected.speakers.values()) == sum(expected.classes.values()) == expected.utterances == 7442


@pytest.mark.corpus
def test_real_subset(corpora_root):
    corpus = CREMAD()
    rows = corpus.utterances(corpora_root / "CREMA-D")
    assert (len(rows), len({row.speaker for row in rows})) == (1288, 46)
    assert Counter(Counter(row.speaker for row in rows).values()) == {28: 46}
    assert Counter(row.sex for row in {row.speaker: row for row in rows}.values()) == {"male": 24, "female": 22}
    assert {row.sentence for row in rows} == {"IEO", "DFA", "ITH"}
    assert all(row.votes and sum(row.votes.values()) >= 4 for row in rows)
    found = deviations(rows, corpus.expected)
    assert "speaker 1003: 0 utterances, expected 82" in found
    assert "speaker 1001: 28 utterances, expected 82" in found
    assert found[-1] == "1288 utterances in all, expected 7442"


@pytest.mark.corpus
def test_complete_metadata_gives_the_published_agreement(corpora_root, tmp_path):
    names = (corpora_root / "CREMA-D" / "SentenceFilenames.csv").read_text().split("\n")[1:]
    clips = [line.split(",")[1].strip('"\r') for line in names if line]
    (tmp_path / "AudioWAV").mkdir()
    for clip in clips:
        (tmp_path / "AudioWAV" / f"{clip}.wav").touch()
    for name in ("VideoDemographics.csv", "processedResults"):
        (tmp_path / name).symlink_to(corpora_root / "CREMA-D" / name)
    corpus = CREMAD()
    listing = corpus.read(tmp_path)
    rows = listing.rows
    assert deviations(rows, corpus.expected) == []
    assert "intended emotion in 41.6 % of 7442 clips; 644 are ties" in listing.notes(rows)[0]


@pytest.mark.corpus
@pytest.mark.parametrize(("modality", "column"), [("voice", 2), ("face", 4), ("multimodal", 6)])
def test_votes_equal_the_published_summary(corpora_root, modality, column):
    folder = corpora_root / "CREMA-D" / "processedResults"
    votes = tabulated_votes(folder / "tabulatedVotes.csv", modality)
    summary = [line.replace('"', "").split(",") for line in (folder / "summaryTable.csv").read_text().split("\n")[1:]]
    assert len(votes) == 7442
    for cells in filter(lambda cells: len(cells) > 1, summary):
        clip = votes[cells[1]]
        winners = {label[0].upper() for label, count in clip.items() if count == max(clip.values())}
        assert winners == set(cells[column].split(":")), cells[1]
