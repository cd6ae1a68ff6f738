from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from jsonargparse import ArgumentParser

from ser_toolkit.corpora.base import Corpus, Utterance, deviations
from ser_toolkit.corpora.synthesis import rendering as _synthetic_rendering
from ser_toolkit.corpora.synthesis.voices import CUES
from ser_toolkit.corpora.synthetic import Synthetic
from ser_toolkit.errors import CorpusError

SMALL = {"num_speakers": 2, "utterances_per_class": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("synthetic")


def waves(corpus: Synthetic, root: Path) -> dict[str, np.ndarray]:
    return {row.id: soundfile.read(root / row.path)[0] for row in corpus.utterances(root)}


def rows_without_audio(corpus: Synthetic) -> list[Utterance]:
    """Labels, votes and ratings do not depend on the audio: no need to render hundreds of files."""
    return [corpus._row(line) for line in corpus._script()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_rows_are_complete_and_agree_with_the_stated_counts(root):
    corpus = Synthetic(num_speakers=4, utterances_per_class=2)
    rows = corpus.utterances(root)
    assert len(rows) == len({row.id for row in rows}) == 4 * 4 * 2
    assert deviations(rows, corpus.expected) == []
    assert Counter(row.label for row in rows) == dict.fromkeys(corpus.classes, 8)
    assert {row.sex for row in rows} == {"female", "male"}
    assert {row.session for row in rows} == {"ses01", "ses02"}
    assert len({(row.dialogue, row.turn) for row in rows}) == len(rows)
    for row in rows:
        info = soundfile.info(root / row.path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")


def test_every_speaker_says_every_sentence_in_every_emotion(root):
    rows = Synthetic(**SMALL).utterances(root)
    for sentence in ("s1", "s2"):
        said = [row for row in rows if row.sentence == sentence]
        assert len({row.transcript for row in said}) == 1
        assert {(row.speaker, row.raw_label) for row in said} == {(row.speaker, row.raw_label) for row in rows}
        assert set("aeiou") <= set(said[0].transcript)


def test_same_settings_give_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        Synthetic(**SMALL, seed=seed).utterances(tmp_path / name)
    first, second, third = (contents(tmp_path / name) for name in "abc")
    assert first == second
    assert not set(first.values()) & set(third.values())


def test_a_rendering_is_found_again(root, monkeypatch):
    rows = Synthetic(**SMALL).utterances(root)
    monkeypatch.setattr(_synthetic_rendering, "synthesise", lambda *_: pytest.fail("rendered twice"))
    assert Synthetic(**SMALL).utterances(root) == rows


def test_a_killed_rendering_is_completed_with_the_same_bytes(tmp_path, monkeypatch):
    corpus = Synthetic(**SMALL)
    corpus.utterances(tmp_path / "whole")
    speak, said = _synthetic_rendering.synthesise, []

    def killed(*arguments):
        said.append(arguments)
        if len(said) > 5:
            raise KeyboardInterrupt
        return speak(*arguments)

    monkeypatch.setattr(_synthetic_rendering, "synthesise", killed)
    with pytest.raises(KeyboardInterrupt):
        corpus.utterances(tmp_path / "cut")
    folder = tmp_path / "cut" / corpus.folder
    assert len(list(folder.rglob("*.wav"))) == 5
    assert not (folder / "complete.json").exists()
    monkeypatch.setattr(_synthetic_rendering, "synthesise", speak)
    corpus.utterances(tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_file_missing_from_a_complete_rendering_is_made_again(tmp_path):
    corpus = Synthetic(**SMALL)
    row = corpus.utterances(tmp_path)[0]
    before = contents(tmp_path)
    (tmp_path / row.path).unlink()
    corpus.utterances(tmp_path)
    assert contents(tmp_path) == before


def test_two_processes_may_render_at_once(tmp_path):
    corpus = Synthetic(**SMALL)
    code = (
        "import sys; from pathlib import Path; from ser_toolkit.corpora.synthetic import Synthetic;"
        "Synthetic(num_speakers=2, utterances_per_class=2).utterances(Path(sys.argv[1]))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "both")]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    corpus.utterances(tmp_path / "alone")
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")


def test_an_unwritable_root_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CorpusError, match=r"cannot write the rendering to .*file.*Give a writable folder"):
        Synthetic(**SMALL).utterances(tmp_path / "file")


def test_clips_are_neither_silent_nor_clipped_and_last_as_long_as_programmed(root):
    corpus = Synthetic(num_speakers=4, utterances_per_class=2, classes=("angry", "sad", "fearful", "bored"))
    programmed = corpus.programmed(root)
    for name, wave in waves(corpus, root).items():
        spoken = len(programmed.syllables[name].split()) / programmed.syllables_per_second[name]
        assert len(wave) / 16000 == pytest.approx(spoken + 0.12, abs=0.01)
        assert 0.7 < len(wave) / 16000 < 3.0
        assert 0.01 < np.abs(wave).max() < 0.98


def test_noise_has_the_ratio_that_was_asked_for(root):
    clean, noisy = (waves(Synthetic(**SMALL, noise_snr_db=snr), root) for snr in (None, 12.0))
    for name, wave in clean.items():
        noise = noisy[name] - wave
        assert 10 * np.log10(np.mean(wave**2) / np.mean(noise**2)) == pytest.approx(12.0, abs=0.2)


def test_expressivity_scales_what_emotion_does_to_the_voice():
    def spread(expressivity: float) -> float:
        lines = Synthetic(num_speakers=6, utterances_per_class=20, expressivity=expressivity)._script()
        tilt = CUES.index("tilt_db")
        means = [
            np.mean([line.expression.cues[tilt] for line in lines if line.emotion == emotion])
            for emotion in ("angry", "happy", "neutral", "sad")
        ]
        return float(np.std(means))

    none, half, full = spread(0.0), spread(0.5), spread(1.0)
    assert none < 0.5 < half < full
    assert half == pytest.approx(full / 2, rel=0.2)


@pytest.mark.parametrize(("variation", "different"), [(0.0, 2), (1.0, 8)])
def test_speaker_variation_scales_differences_between_speakers(variation, different):
    lines = Synthetic(speaker_variation=variation, utterances_per_class=1)._script()
    assert len({line.speaker.vocal_tract_cm for line in lines}) == different  # two: the sexes


@pytest.mark.parametrize(("confounding", "favourite", "others"), [(0.0, 4, 4), (0.5, 10, 2), (1.0, 16, 0)])
def test_confounding_skews_speakers_but_not_classes(confounding, favourite, others):
    corpus = Synthetic(utterances_per_class=4, speaker_emotion_confounding=confounding)
    counts = corpus._counts()
    assert [count["happy"] for count in counts] == [others, favourite, others, others] * 2
    assert set(corpus.expected.speakers.values()) == {16}
    assert set(corpus.expected.classes.values()) == {32}


def test_confounding_leaves_sex_and_class_independent():
    lines = Synthetic(utterances_per_class=1, speaker_emotion_confounding=1.0)._script()
    assert set(Counter((line.emotion, line.speaker.sex) for line in lines).values()) == {4}


def test_label_noise_falsifies_labels_and_keeps_the_true_one():
    clean, noisy = Synthetic(utterances_per_class=25), Synthetic(utterances_per_class=25, label_noise=0.3)
    before, after = rows_without_audio(clean), rows_without_audio(noisy)
    assert all(row.label == row.raw_label for row in before)
    assert np.mean([row.label != row.raw_label for row in after]) == pytest.approx(0.3, abs=0.05)
    assert [row.raw_label for row in after] == [row.raw_label for row in before]
    assert [(row.votes, row.path) for row in after] == [(row.votes, row.path) for row in before]
    assert {row.label for row in after} == set(noisy.classes)
    assert any("replaced at random" in note for note in noisy._notes(after))
    assert deviations(after, noisy.expected) == []


@pytest.mark.parametrize("disagreement", [0.0, 0.2, 0.4])
def test_votes_and_ratings_follow_the_disagreement(disagreement):
    corpus = Synthetic(rater_count=7, rater_disagreement=disagreement)
    lines = corpus._script()
    missed = []
    for line, row in zip(lines, rows_without_audio(corpus), strict=True):
        assert sum(row.votes.values()) == len(row.ratings) == 7
        assert row.votes == Counter(label for rating in row.ratings for label in rating.labels)
        assert row.arousal == pytest.approx(np.mean([rating.arousal for rating in row.ratings]), abs=1e-4)
        assert 0 <= min(row.valence, row.arousal, row.dominance) <= max(row.valence, row.arousal, row.dominance) <= 1
        assert row.arousal == pytest.approx(line.expression.dimensions[1], abs=0.01 + 0.6 * disagreement)
        missed.append(1 - row.votes.get(row.raw_label, 0) / 7)
    assert np.mean(missed) == pytest.approx(disagreement, abs=0.04)
    if disagreement:
        # Weak expressions are misheard more often.
        assert np.corrcoef(missed, [line.expression.strength for line in lines])[0, 1] < -0.2


def test_without_raters_the_dimensions_are_what_was_expressed(root):
    corpus = Synthetic(**SMALL, rater_count=0)
    for row, (name, line) in zip(corpus.utterances(root), corpus.programmed(root).iterrows(), strict=True):
        assert (row.id, row.votes, row.ratings) == (name, None, ())
        assert (row.valence, row.arousal, row.dominance) == (line.valence, line.arousal, line.dominance)


def test_it_says_everywhere_that_it_is_synthetic(root):
    corpus = Synthetic(**SMALL)
    listing = corpus.read(root)
    rows = listing.rows
    assert Synthetic.verified == "synthetic"
    for text in (Synthetic.name, Synthetic.licence, Synthetic.citation, Synthetic.label_rule, listing.notes(rows)[0]):
        assert "synthe" in text.lower()
    marker = json.loads((root / corpus.folder / "complete.json").read_text())
    assert marker["synthetic"] is True
    assert marker["files"] == len(rows)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("classes", ["angry", "hapy"], "'hapy' is unknown. Did you mean happy"),
        ("classes", ["angry"], "at least two different"),
        ("classes", ["angry", "angry"], "at least two different"),
        ("num_speakers", 0, "num_speakers=0, expected at least 1"),
        ("expressivity", float("nan"), "expressivity=nan, expected at least 0"),
        ("label_noise", 1.5, "label_noise=1.5, expected a value from 0 to 1"),
        ("noise_snr_db", float("nan"), "noise_snr_db=nan, expected -20 to 100"),
    ],
)
def test_options_out_of_range_are_refused(option, value, message):
    with pytest.raises(CorpusError, match=message):
        Synthetic(**{option: value})


def test_the_command_line_can_configure_it():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--corpus", type=Corpus)
    path = "ser_toolkit.corpora.synthetic.Synthetic"
    config = parser.parse_args([f"--corpus={path}", "--corpus.classes=[sad,bored]", "--corpus.noise_snr_db=null"])
    corpus = Synthetic(**config.corpus.init_args.as_dict())
    assert (corpus.classes, corpus.noise_snr_db) == (("sad", "bored"), None)
