"""Some speakers of a corpus, and what a copy lacks: checked as a whole, said wherever a figure stands."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from corpus_replicas import baved
from mini_recipe import MINI_RECIPE
from tiny_corpus import Tones, tiny_source

from ser_toolkit.cli.corpus import main
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.corpora.baved import BAVED
from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.data.speakers import SpeakerChoice
from ser_toolkit.errors import CorpusError, RecipeError
from ser_toolkit.evaluation.reporting.copies import copy_banners, whole_or_part
from ser_toolkit.experiment.dry_run import describe
from ser_toolkit.experiment.experiment import Experiment

SPEAKERS = pd.Series(["03", "08", "10", "010", None])


@pytest.mark.parametrize(("given", "kept"), [
    ("[03,010]", ["03", "010"]), ("03, '08'", ["03", "08"]), (["10"], ["10"]), ("[03,03]", ["03"]),
])  # fmt: skip
def test_names_are_read_as_text(given: str | list[str], kept: list[str]) -> None:
    """As YAML, [03] would be the number 3 and [010] the number 8."""
    choice = SpeakerChoice.of(given, None)
    assert choice is not None
    assert SPEAKERS[choice.mask(SPEAKERS, "X")].tolist() == kept
    others = SpeakerChoice.of(None, given)
    assert others is not None
    left = SPEAKERS[others.mask(SPEAKERS, "X")]
    assert left.isna().sum() == 1 and sorted(left.dropna()) == sorted({"03", "08", "10", "010"} - set(kept))


def test_mistakes_name_what_is_there() -> None:
    assert SpeakerChoice.of(None, None) is None
    with pytest.raises(RecipeError, match=r"data.speakers: X has no speaker '3' \(and 1 more names\).*Did you mean 03"):
        SpeakerChoice(("3", "99")).mask(SPEAKERS, "X")
    with pytest.raises(RecipeError, match=r"data\.leave_out_speakers leaves nobody of X"):
        SpeakerChoice(("03",), leave_out=True).mask(SPEAKERS[:1], "X")
    with pytest.raises(RecipeError, match="both given"):
        SpeakerChoice.of("03", "08")
    with pytest.raises(RecipeError, match=r"data\.speakers names nobody"):
        SpeakerChoice.of("[]", None)


def test_the_copy_is_checked_as_a_whole_and_notes_are_on_those_who_take_part(tmp_path: Path) -> None:
    root = baved().write(tmp_path, sound=True)
    everything = manifest_of(BAVED(), root, allow_incomplete=True)
    first, *others = sorted(set(everything.table["speaker"]))
    choice = SpeakerChoice((first,))
    with pytest.raises(CorpusError, match="is not what is published"):
        manifest_of(BAVED(), root, speakers=choice)
    some = manifest_of(BAVED(), root, allow_incomplete=True, speakers=choice)
    assert set(some.table["speaker"]) == {first} and some.facts["deviations"] == everything.facts["deviations"]
    assert some.facts["notes"] != everything.facts["notes"], "the note on speaker 46 is not about this one"
    (said,) = some.facts["left_out"]
    assert said.startswith(f"1 of {len(others) + 1} speakers ({len(some)} of {len(everything)} utterances)")
    assert others[0] in said and "left_out" not in everything.facts
    assert some.content_hash != everything.content_hash
    some.write(tmp_path / "some.parquet")
    assert Manifest.read(tmp_path / "some.parquet").facts["left_out"] == [said]


def test_folds_are_those_of_the_speakers_who_take_part(tmp_path: Path) -> None:
    data = tiny_source(tmp_path, Tones.write(tmp_path, speakers=5), leave_out_speakers=["s1"])
    assert [fold.name for fold in data.folds] == ["s0", "s2", "s3", "s4"]
    assert len(data.manifest) == 24


def test_sentences_on_copies() -> None:
    facts = {"deviations": [f"d{k}" for k in range(8)], "left_out": ["1 of 2 speakers"]}
    assert copy_banners(facts, of="X") == [
        "X: Incomplete copy of the corpus was allowed: d0; d1; d2; d3; d4; d5; and 2 more.",
        "X: Part of the corpus: 1 of 2 speakers.",
    ]
    assert copy_banners({}) == [] and "no deviation" in copy_banners({}, allowed=True)[0]
    assert whole_or_part({}, "X", 5) == "all of X (5 utterances)"
    assert whole_or_part(facts, "X", 5) == "5 utterances of X (incomplete copy, chosen speakers)"


def test_a_choice_of_speakers_is_another_run(mini: Path) -> None:
    plain = load_recipe("mini.yaml").identity()["data"]
    assert plain["speakers"] is None and plain["leave_out_speakers"] is None
    chosen = load_recipe("mini.yaml", "data.speakers=[spk01,spk02,spk03]")
    assert chosen.identity()["data"]["speakers"] == ["spk01", "spk02", "spk03"]
    assert chosen.override("seed=1").data().speakers == SpeakerChoice(("spk01", "spk02", "spk03"))


def test_audit_dry_run_prepare_and_inspect_say_it(
    tmp_path: Path, mini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = baved().write(tmp_path / "baved", sound=True)
    recipe = MINI_RECIPE.split("model:")[1]
    corpus = "# BAVED.\ndata: {corpus: BAVED, protocol: {class_path: GroupedKFold, init_args: {num_folds: 3}}}\nmodel:"
    (tmp_path / "baved.yaml").write_text(corpus + recipe, encoding="utf-8")
    settings = [f"data.root={root}", "data.allow_incomplete=true", "data.leave_out_speakers=[46]"]
    assert main(["audit", "recipe=baved.yaml", *settings]) == 0
    audit = capsys.readouterr().out
    planned = "\n".join(describe(Experiment(load_recipe("baved.yaml", *settings))))
    assert main(["prepare", "BAVED", str(root), "--allow-incomplete", settings[-1]]) == 0
    prepared = capsys.readouterr().out
    assert main(["inspect", "BAVED", str(root), "--allow-incomplete", settings[-1]]) == 0
    for text in (audit, planned, prepared, capsys.readouterr().out):
        lines = [line.strip() for line in text.splitlines()]
        assert any(line.startswith("! Incomplete copy of the corpus was allowed: ") for line in lines), text
        assert any(line.startswith("! Part of the corpus: ") and "left out: 46" in line for line in lines), text
