"""What a run cost: every stage of its units counts."""

from __future__ import annotations

import json
from pathlib import Path

from ser_toolkit.evaluation.comparison.costs import cost
from ser_toolkit.evaluation.results import Results
from ser_toolkit.evaluation.run_record import RunRecord


def test_the_first_of_two_stages_is_paid_for_too(tmp_path: Path) -> None:
    unit = tmp_path / "plain" / "fold=1" / "seed=0"
    unit.mkdir(parents=True)
    (unit / "metrics.json").write_text(json.dumps({"parameters": {"trained": 7}}))
    (unit / "fit.json").write_text(json.dumps({"seconds": 2.0}))
    (unit / "tuned.json").write_text(json.dumps({"0": {"seconds": 30.0}, "1": {"seconds": 40.0}}))
    found = cost(Results(tmp_path, RunRecord(), (), (), (), ()), "plain")
    assert (found.trained, found.seconds) == (7, 72.0)
