"""The record of a run: what is written is read, and what cannot be read is said in one line that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from simulated_run import RECORD

from ser_toolkit.cli import report
from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.results import load_results
from ser_toolkit.evaluation.run_record import (
    FORMAT,
    CodeRecord,
    CorpusRecord,
    HardwareRecord,
    LabelsRecord,
    ParametersRecord,
    ProtocolRecord,
    RunRecord,
    SelectionRecord,
    TrainingRecord,
    UpstreamRecord,
    VariantRecord,
    typed,
)

#: A record whose every field has another value than its default.
FULL = RunRecord(
    recipe="emodb",
    hash="0123456789",
    created="2026-11-21T10:00:00+00:00",
    toolkit_version="0.1.0",
    command="ser-train recipe=emodb",
    corpus=CorpusRecord(
        name="EmoDB",
        licence="free",
        citation="Burkhardt",
        label_rule="intended",
        verified="a copy",
        homepage="http://emodb.bilderbar.info",
        notes=("a note",),
        deviations=("one file",),
        left_out=("speaker 03",),
        allow_incomplete=True,
        dimension_range=(1.0, 5.0),
        default_protocol="LeaveOneSpeakerOut",
        sampling_rates={"16000": 535},
        channel=1,
        members={"EmoDB": {"utterances": 535, "manifest": "ab"}},
    ),
    manifest_hash="ab12",
    classes=("anger", "neutral"),
    labels=LabelsRecord("Mapped", "big four", ("a note",), mapped=True),
    protocol=ProtocolRecord("Own", "one fold", "one speaker", "speakers", "session", {"03": (300, 50, 49)}),
    audit=("speakers: none shared",),
    selection=SelectionRecord("dev/loss", "min", 5, refit=True, tried=4),
    training=TrainingRecord({"head": {"init_args": None}}, {"batch_size": 8}, {"max_epochs": 3}, {"space": {}}, True),
    tuning=("model.head=LinearHead",),
    start_from="runs/emodb/abc",
    seeds=(0, 1),
    folds=("03", "08"),
    variants={"own": VariantRecord("by the speaker", "speaker", "all")},
    complete=("plain/fold=03/seed=0",),
    baselines={"majority": "the most frequent class"},
    upstream=UpstreamRecord("Spectral", "ff00", {"num_mels": 6}),
    outputs=("logits", "dimensions"),
    ratings=("valence of 535 utterances",),
    conditions=("the sex",),
    parameters=ParametersRecord(10, 20),
    packages={"torch": "2.9"},
    precision="bf16-mixed",
    device="CPU",
    hardware=HardwareRecord("a CPU", 2, 24, "Linux"),
    code=CodeRecord("0" * 40, changed=True),
    wall_seconds=1.5,
    banners=("a warning",),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for record in (FULL, RunRecord(), typed(RunRecord, RECORD)):
        record.write(tmp_path / "run.json")
        assert RunRecord.read(tmp_path / "run.json") == record
    assert json.loads((tmp_path / "run.json").read_text())["format_version"] == FORMAT


def test_the_full_record_leaves_no_field_out() -> None:
    def defaults(record: object, where: str = "") -> list[str]:
        blank = type(record)(**({"commit": ""} if isinstance(record, CodeRecord) else {}))
        values = [(field.name, getattr(record, field.name)) for field in fields(record)]  # type: ignore[arg-type]
        inside = [one for name, value in values if is_dataclass(value) for one in defaults(value, f"{where}{name}.")]
        return inside + [f"{where}{name}" for name, value in values if value == getattr(blank, name)]

    assert defaults(FULL) == []


def test_what_is_missing_or_null_is_unknown_and_what_is_strange_is_left_alone() -> None:
    assert typed(RunRecord, {"corpus": {"name": None, "new": 1}, "protocol": None, "seeds": None}) == RunRecord()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{half", "Expecting property name"),
        ("[]", "it holds list, expected an object"),
        ('{"seeds": "0"}', "seeds is '0', expected"),
        ('{"seeds": [0.5]}', "seeds is 0.5, expected int"),
        ('{"protocol": {"parts": {"03": [1, 2]}}}', r"protocol\.parts\.03 is \[1, 2\], expected"),
        ('{"variants": {"own": {"normalises": "voices"}}}', r"variants\.own\.normalises is 'voices', expected"),
        ('{"corpus": {"allow_incomplete": 1}}', r"corpus\.allow_incomplete is 1, expected bool"),
        ('{"format_version": "two"}', "format_version is 'two', expected int"),
    ],
)
def test_a_damaged_record_is_one_line(content: str, reason: str, own_run: Path, capfd: pytest.CaptureFixture) -> None:
    (own_run / "run.json").write_text(content)
    with pytest.raises(
        ResultError, match=rf"{own_run}/run\.json is damaged \({reason}.*\)\. Copy it again, or delete it"
    ):
        load_results(own_run)
    assert report.main([str(own_run)]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_run_of_a_newer_version_is_one_line(
    own_run: Path, edit_record: Callable[[Path, dict], None], capfd: pytest.CaptureFixture
) -> None:
    edit_record(own_run, {"format_version": FORMAT + 1, "toolkit_version": "9.1.0", "seeds": "otherwise"})
    assert report.main([str(own_run)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{own_run}/run.json was written by a newer ser_toolkit (9.1.0, format {FORMAT + 1}); this one is" in line
    assert line.endswith("Update ser_toolkit to use this run.")


def test_an_unreadable_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(ResultError, match=r"run\.json cannot be read: Is a directory\. Copy the run directory again"):
        RunRecord.read(tmp_path / "run.json")
