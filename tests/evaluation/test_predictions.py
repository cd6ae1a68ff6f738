"""Stored predictions: what is written comes back, and what cannot be trusted is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_toolkit.errors import ResultError
from ser_toolkit.evaluation.predictions import class_indices, gather_predictions, read_predictions, write_predictions

CLASSES = ("angry", "neutral")


def table(fold: str = "03", seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "speaker": ["03", "03", None],
            "label": ["neutral", None, "angry"],
            "predicted": ["neutral", "angry", "angry"],
            "probability/angry": [0.25, 0.9, 0.5],
            "probability/neutral": [0.75, 0.1, 0.5],
            "votes": ['{"neutral": 3}', None, None],
            "valence": [0.5, np.nan, 0.1],
            "valence_predicted": [0.4, 0.3, 0.2],
            "fold": fold,
            "seed": seed,
        }
    )


def test_round_trip_keeps_every_value_and_the_class_order(tmp_path):
    path = tmp_path / "plain" / "fold=03" / "seed=0" / "predictions.parquet"
    write_predictions(path, table(), CLASSES)
    back, classes = read_predictions(path)
    assert classes == CLASSES
    assert list(back["fold"]) == ["03"] * 3, "the folder name must not become a column"
    assert list(back["draw"]) == [0, 0, 0]
    assert back["label"].isna().tolist() == [False, True, False]
    assert back["speaker"].isna().tolist() == [False, False, True]
    assert back["votes"].iloc[0] == '{"neutral": 3}'
    np.testing.assert_array_equal(back["valence"], np.float32([0.5, np.nan, 0.1]))
    assert back["arousal_predicted"].isna().all()
    assert back["probability/angry"].dtype == np.float32
    assert class_indices(back["label"], classes).tolist() == [1, -1, 0]


def test_numbers_as_names_and_mappings_as_votes(tmp_path):
    rows = table().assign(speaker=[3, 3, None], fold=3, votes=[{"neutral": 2, "angry": 1}, None, None])
    write_predictions(tmp_path / "p.parquet", rows, CLASSES)
    back, _ = read_predictions(tmp_path / "p.parquet")
    assert back["fold"].tolist() == ["3"] * 3
    assert back["votes"].iloc[0] == '{"angry": 1, "neutral": 2}'
    assert back["votes"].isna().sum() == 2
    with pytest.raises(ResultError, match="1 rows have no fold"):
        write_predictions(tmp_path / "q.parquet", table().assign(fold=["03", None, "03"]), CLASSES)


def test_writing_twice_gives_the_same_bytes_and_leaves_no_temporary_file(tmp_path):
    write_predictions(tmp_path / "one.parquet", table(), CLASSES)
    write_predictions(tmp_path / "two.parquet", table(), CLASSES)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.parquet", "two.parquet"]


@pytest.mark.parametrize("mode", [0o750, 0o700, 0o755])
def test_who_may_use_the_folder_may_read_the_predictions(tmp_path, mode):
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    write_predictions(folder / "p.parquet", table(), CLASSES)
    assert oct((folder / "p.parquet").stat().st_mode & 0o777) == oct(mode & 0o666)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.parquet"
    write_predictions(path, table(), CLASSES)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ser_toolkit.evaluation.predictions.pq.write_table", full)
    with pytest.raises(OSError, match="No space"):
        write_predictions(path, table(seed=1), CLASSES)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]


def test_dimensions_without_classes(tmp_path):
    rows = table()[["id", "fold", "seed", "valence", "valence_predicted"]].assign(predicted=None)
    write_predictions(tmp_path / "p.parquet", rows, ())
    back, classes = read_predictions(tmp_path / "p.parquet")
    assert classes == ()
    assert back["predicted"].isna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(id="a"), "come twice"),
        (lambda t: t.assign(predicted="sad"), r"predicted holds \['sad'\]"),
        (lambda t: t.assign(label="sad"), r"label holds \['sad'\]"),
        (lambda t: t.assign(predicted=None), "utterance a has no predicted class"),
        (lambda t: t.assign(**{"probability/angry": 0.9}), "utterance a are"),
        (lambda t: t.drop(columns="fold"), "lacks fold"),
        (lambda t: t.assign(colour="red"), "unknown colour"),
    ],
)
def test_inconsistent_tables_are_refused(tmp_path, change, message):
    with pytest.raises(ResultError, match=message):
        write_predictions(tmp_path / "p.parquet", change(table()), CLASSES)
    assert not (tmp_path / "p.parquet").exists()


def test_missing_damaged_and_foreign_files_are_named(tmp_path):
    with pytest.raises(ResultError, match=r"No predictions at .*p\.parquet"):
        read_predictions(tmp_path / "p.parquet")
    write_predictions(tmp_path / "p.parquet", table(), CLASSES)
    data = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "p.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(ResultError, match=r"p\.parquet is damaged"):
        read_predictions(tmp_path / "p.parquet")
    flipped = bytearray(data)
    flipped[40] ^= 0xFF
    (tmp_path / "p.parquet").write_bytes(bytes(flipped))
    with pytest.raises(ResultError, match=r"p\.parquet is damaged"):
        read_predictions(tmp_path / "p.parquet")
    (tmp_path / "p.parquet").write_bytes(b"")
    with pytest.raises(ResultError, match=r"p\.parquet is damaged"):
        read_predictions(tmp_path / "p.parquet")
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "q.parquet")
    with pytest.raises(ResultError, match=r"q\.parquet is a Parquet file, but"):
        read_predictions(tmp_path / "q.parquet")


def test_gathering_refuses_other_class_orders_and_repeated_rows(tmp_path):
    one, two, three = (tmp_path / f"{name}.parquet" for name in ("one", "two", "three"))
    write_predictions(one, table("03"), CLASSES)
    write_predictions(two, table("08"), CLASSES)
    write_predictions(three, table("08")[::-1], CLASSES[::-1])
    together, classes = gather_predictions([one, two])
    assert classes == CLASSES
    assert together["fold"].tolist() == ["03"] * 3 + ["08"] * 3
    with pytest.raises(ResultError, match="Class orders differ"):
        gather_predictions([one, three])
    with pytest.raises(ResultError, match="3 predictions come twice, first a in fold 03"):
        gather_predictions([one, one])
    with pytest.raises(ResultError, match="no predictions"):
        gather_predictions([])
