"""Runs scored against the same labels, whatever labels each of them was trained on.

A model that learnt what an actor was asked for and one that learnt what listeners heard cannot be compared by their own
reports: those score them against different truths. Here all rows get the labels of one rule, made from the manifest
that each run keeps, and everything else stays: predictions, utterances, folds, speakers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.comparison.comparable import Run
from ser_toolkit.evaluation.run_record import LabelsRecord


@dataclass(frozen=True)
class OtherLabels:
    """Labels of a label rule, by run.

    Args:
        rule: its name.
        explanation: the rule in words.
        of: run directory -> label of each utterance by id, None where the rule gives none.
    """

    rule: str
    explanation: str
    of: Callable[[Path], Mapping[str, str | None]]

    def applied(self, run: Run) -> Run:
        """The run with these labels as its truth.

        Raises:
            ResultError: it tested utterances that its manifest lacks, or predicts other classes than the rule gives.
        """
        results, table = run.results, run.system.table
        labels = self.of(results.run_dir)
        lacking = [name for name in table["id"].unique() if name not in labels]
        if lacking:
            raise ResultError(f"{run.name}: its manifest lacks {len(lacking)} tested utterances, such as {lacking[0]}.")
        strange = sorted({label for label in labels.values() if label is not None} - set(results.classes))
        if strange or not results.votes_in_classes:
            raise ResultError(
                f"{run.name} predicts {', '.join(results.classes)}, but {self.rule} gives the classes of the corpus"
                f"{' (' + ', '.join(strange) + ')' if strange else ''}. Compare runs in the corpus's own classes."
            )
        record = replace(results.record, labels=LabelsRecord(self.rule, self.explanation))
        names = pd.Series([labels[name] for name in table["id"]], index=table.index, dtype=object)
        system = replace(run.system, table=table.assign(label=names))
        return Run(run.name, replace(results, record=record), system)

    def note(self, runs: Sequence[Run]) -> str:
        """Notes on the labels that the rows are scored against, and those that they were trained on."""
        trained = [f"{run.name} {run.results.record.labels.rule or 'not recorded'}" for run in runs]
        return (
            f"All rows are scored against the labels of {self.rule} ({self.explanation}). Label rules that they were "
            f"trained by: {', '.join(trained)}."
        )
