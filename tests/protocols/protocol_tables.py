"""Tables and figures that tests of protocols share."""

from __future__ import annotations

import pandas as pd

from ser_toolkit.protocols.folds import Fold


def frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    columns = ("id", "speaker", "sex", "session", "dialogue", "sentence", "label", "fold", "audio_hash")
    made = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in columns}
    return pd.DataFrame(made).sample(frac=1, random_state=0).reset_index(drop=True)


def ids_of(table: pd.DataFrame, column: str, ids: tuple[str, ...]) -> set[str]:
    return set(table.loc[table["id"].isin(ids), column])


def sizes_of(folds: list[Fold]) -> list[tuple[int, int, int]]:
    return [(len(fold.train), len(fold.dev), len(fold.test)) for fold in folds]
