"""Tables as files: every float, every word, every type comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import CELL_COLUMNS

from bridge.errors import TableError
from bridge.tables import Column, empty_table, read_table, read_whole_table, write_table


def test_every_float_survives_the_csv(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    column = Column("x", "float64", "", "")
    table = pd.DataFrame(
        {"x": np.concatenate([rng.random(5000) * 10.0 ** rng.integers(-300, 300, 5000), [np.nan, 0.1 + 0.2]])}
    )
    write_table(tmp_path / "x.csv", table, [column])
    np.testing.assert_array_equal(read_table(tmp_path / "x.csv", [column])["x"], table["x"])


def test_words_that_look_like_missing_stay_words(tmp_path: Path) -> None:
    columns = (Column("condition", "str", "", ""), Column("n", "Int64", "", ""))
    table = pd.DataFrame({"condition": ["NA", "nan", "None", ""], "n": pd.array([1, None, 3, 4], "Int64")})
    write_table(tmp_path / "x.csv", table, columns)
    again = read_table(tmp_path / "x.csv", columns)
    assert again["condition"].tolist() == ["NA", "nan", "None", ""]
    assert again["n"].isna().tolist() == [False, True, False, False]


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    with pytest.raises(TableError) as refused:
        read_table(path, CELL_COLUMNS)
    assert str(refused.value) == f"{path}: no such table. Run `cellpose-fiji run` first."
    path.write_text("a,b\n1,2\n")
    with pytest.raises(
        TableError,
        match=r"cells\.csv: a column is missing \(got a, b, expected field_id\)\. Delete it and run again\.$",
    ):
        read_table(path, CELL_COLUMNS)


def test_empty_table_keeps_its_types(tmp_path: Path) -> None:
    write_table(tmp_path / "x.csv", empty_table(CELL_COLUMNS), CELL_COLUMNS)
    again = read_table(tmp_path / "x.csv", CELL_COLUMNS)
    assert len(again) == 0
    assert again.dtypes.astype(str).tolist() == empty_table(CELL_COLUMNS).dtypes.astype(str).tolist()


def test_a_whole_table_has_keys_as_texts_and_every_digit(tmp_path: Path) -> None:
    """Fields, replicates and conditions are named by numbers on many plates, and a sample sheet adds columns."""
    values = [0.1 + 0.2, 1 / 3, np.nan]
    given = pd.DataFrame({"field_id": ["01", "02", "1e3"], "condition": "0.50", "replicate": ["01", "", "2"], "sample": "A01", "value": values, "dose": [1, 2, 3]})  # fmt: skip
    given.to_csv(tmp_path / "t.csv", index=False)
    found = read_whole_table(tmp_path / "t.csv", [Column("value", "float64", "", "")])
    assert found["field_id"].tolist() == ["01", "02", "1e3"]
    assert found["replicate"].tolist() == ["01", "", "2"]
    assert found["condition"].tolist() == ["0.50"] * 3
    np.testing.assert_array_equal(found["value"].to_numpy(np.float64), values)
    assert found["dose"].tolist() == [1, 2, 3]
