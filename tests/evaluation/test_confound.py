from __future__ import annotations

import shutil
from itertools import chain, repeat
from pathlib import Path

import pandas as pd
import pytest
from simulated_run import CLASSES, RECORD, make_run

from ser_toolkit.evaluation.comparison.compare import compare_runs
from ser_toolkit.evaluation.confound import Confound, audit_sentences, banners, run_banners, speaker_normalised
from ser_toolkit.evaluation.reporting.joint import joint_text
from ser_toolkit.evaluation.reporting.report import Report, build, markdown
from ser_toolkit.evaluation.results import load_results
from ser_toolkit.evaluation.run_record import RunRecord, VariantRecord


def table(cells: dict[str, str]) -> pd.DataFrame:
    """Utterances from the labels of each speaker, a letter each."""
    pairs = list(chain.from_iterable(zip(repeat(name), labels) for name, labels in cells.items()))
    ids = [f"{number}" for number in range(len(pairs))]
    return pd.DataFrame({"id": ids, "speaker": [one for one, _ in pairs], "label": [one for _, one in pairs]})


#: As in URDU: nearly everybody has one emotion. As in BAVED: few utterances are by such speakers, though they are many.
URDU = {"a": "x" * 30, "b": "y" * 20, "c": "z" * 28 + "xx", "d": "xyz" * 5}
BAVED = {**dict.fromkeys("abcdef", "xx"), "g": "xyz" * 20, "h": "xxyyzz" * 6}


def test_shares_are_counted_by_utterance() -> None:
    found = Confound.of(table(URDU))
    assert (found.speakers, found.one, found.nearly) == (4, 2, 1)
    assert (found.share_one, found.share_nearly) == (pytest.approx(50 / 95), pytest.approx(30 / 95))
    assert (
        found.counted
        == "2 of 4 speakers (52.6 % of the utterances) are heard in one emotion alone, 1 more (31.6 %) nearly so"
    )
    few = Confound.of(table(BAVED))
    assert (few.speakers, few.one, few.nearly, few.share_one) == (8, 6, 0, pytest.approx(12 / 108))


OF_VARIANTS = RunRecord(
    variants={
        "plain": VariantRecord(),
        "transductive": VariantRecord(normalises="speaker"),
        "per-corpus": VariantRecord(normalises="corpus"),
        "neutral": VariantRecord(normalises="reference"),
        "of-my-own": VariantRecord("says nothing of what it normalises"),
    }
)


def test_a_common_class_makes_no_speaker_of_nearly_one() -> None:
    """Where most of a corpus is neutral, a speaker who mostly is neutral is as all others are."""
    assert Confound.of(table({"a": "nnnnx", "b": "nnnny", "c": "nnnnnxxy"})).nearly == 0
    assert not Confound.of(table({"a": "nn", "b": "nn"})).matters, "of one class nothing can be told apart"
    unknown = table({"a": "xy"}).assign(speaker=None)
    assert Confound.of(unknown).speakers == 0 and not Confound.of(unknown).matters


@pytest.mark.parametrize(("cells", "gains", "end"), [
    (URDU, False, "transductive is no measure of how well emotion is recognised here."),
    (BAVED, False, "transductive says little about them."),
    (URDU, True, "what transductive gains over plain, it gains in spite of that."),
    (BAVED, True, "what transductive gains over plain, it gains in spite of that."),
])  # fmt: skip
def test_the_sentence_fits_the_degree_and_the_figures(cells: dict[str, str], gains: bool, end: str) -> None:
    (said,) = banners(table(cells), "URDU", OF_VARIANTS, ["plain", "transductive", "per-corpus"], gains)
    assert said.startswith("URDU: ") and said.endswith(end)
    assert "destroys" not in said


def test_it_stands_beside_speaker_normalised_figures_alone() -> None:
    assert banners(table(URDU), "URDU", OF_VARIANTS, ["plain", "per-corpus", "neutral", "of-my-own"]) == []
    assert speaker_normalised(OF_VARIANTS, [*OF_VARIANTS.variants, "not-recorded"]) == ["transductive"]
    assert banners(table({"a": "xyz", "b": "xyz"}), "X", OF_VARIANTS, ["transductive"]) == []


def test_the_audit_names_the_degree() -> None:
    (said,) = audit_sentences(table(URDU), 0.8, 0.3)
    assert said.startswith("warning: 2 of 4 speakers (52.6 % of the utterances)") and "Cramer's V 0.80" in said
    even = table({"a": "xxy", "b": "xyy"})
    assert audit_sentences(even, 0.31, 0.3) == [
        "speakers differ in how often they are heard in which emotion (Cramer's V 0.31)"
    ]
    assert audit_sentences(even, 0.2, 0.3) == []


def test_reports_tables_and_comparisons_carry_it(tmp_path: Path) -> None:
    """A run of which most speakers have one class: said in the report, the joint table and a comparison of variants."""
    import simulated_run

    real = simulated_run.corpus

    def one_class_each(rng: object) -> pd.DataFrame:
        truth = real(rng)  # type: ignore[arg-type]
        fixed = {speaker: CLASSES[k % 5] for k, speaker in enumerate(simulated_run.SPEAKERS[:8])}
        return truth.assign(label=truth["speaker"].map(fixed).fillna(truth["label"]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated_run, "corpus", one_class_each)
        run = make_run(tmp_path / "one", seeds=(0,))
    wanted = "8 of 10 speakers (80.0 % of the utterances) are heard in one emotion alone"
    results = load_results(run)
    data = build(results)
    report = Report(run, data, results)
    assert any(line.startswith("! ") and wanted in line for line in report.text().splitlines())
    assert f"> **Warning:** {RECORD['corpus']['name']}: {wanted}" in markdown(results, data)
    assert wanted in joint_text([report])
    other = shutil.copytree(run, tmp_path / "two")
    assert "! Simulated speakers: 8 of 10 speakers" in compare_runs([run, other], variant="enrolment").text()
    assert "8 of 10 speakers" not in compare_runs([run, other], variant="plain").text()
    assert "gains" in run_banners(results, _gain(0.01))[0]
    assert "gains" not in run_banners(results, _gain(-0.01))[0]


def _gain(low: float) -> list[dict[str, object]]:
    return [{"of": "enrolment/model", "against": "plain/model", "metrics": {"uar": {"low": low}}}]
