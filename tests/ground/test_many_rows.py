"""Many tables read as one, and Parquet by condition: every float, word and type as `bridge.tables` has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import many_rows
from bridge.errors import TableError
from bridge.many_rows import Parts, column_names, growing_csv, read_tables
from bridge.tables import Column, empty_table, read_table, typed_table, write_table

COLUMNS = tuple(
    Column(name, dtype, "", "")
    for name, dtype in (
        ("field_id", "str"), ("condition", "str"), ("x", "float64"), ("n", "int64"), ("m", "Int64"), ("in", "bool"), ("positive", "boolean"),
    )
)  # fmt: skip
ROW = st.fixed_dictionaries(
    {
        "field_id": st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6),
        "condition": st.sampled_from(["5 nM", "a/b", 'quo"te', "NA", "µ, é"]),
        "x": st.floats(allow_infinity=False),
        "n": st.integers(-(2**63), 2**63 - 1),
        "m": st.none() | st.integers(-(2**62), 2**62),
        "in": st.booleans(),
        "positive": st.none() | st.booleans(),
    }
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(ROW, max_size=4), min_size=1, max_size=4), st.sampled_from([1, 1 << 20]))
def test_many_files_as_one(tmp_path_factory: pytest.TempPathFactory, tables: list[list[dict[str, object]]], at_once: int) -> None:  # fmt: skip
    """However many bytes are read in one go, it is what reading them one by one gives."""
    folder = tmp_path_factory.mktemp("many")
    paths = [folder / f"{k}.csv" for k in range(len(tables))]
    for path, rows in zip(paths, tables, strict=True):
        write_table(path, typed_table(rows, COLUMNS), COLUMNS)
    one_by_one = [table for path in paths if len(table := read_table(path, COLUMNS))]
    expected = pd.concat(one_by_one, ignore_index=True) if one_by_one else empty_table(COLUMNS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many_rows, "_AT_ONCE", at_once)
        pd.testing.assert_frame_equal(read_tables(paths, COLUMNS), expected, check_exact=True)
    pd.testing.assert_frame_equal(read_tables(paths, COLUMNS, {"x", "in"}), expected[["x", "in"]], check_exact=True)


@settings(deadline=None, max_examples=100)
@given(st.lists(ROW, max_size=8))
def test_parts_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    table = typed_table(rows, COLUMNS)
    parts = Parts(tmp_path_factory.mktemp("parts") / "cells.parquet", ["NA", "5 nM", "a/b", 'quo"te', "µ, é"])
    for condition in parts.conditions:
        parts.write(condition, table[table["condition"] == condition], COLUMNS)
    order = table["condition"].map({name: k for k, name in enumerate(parts.conditions)})
    expected = table.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)
    pd.testing.assert_frame_equal(parts.read(COLUMNS), expected, check_exact=True)
    wanted = [column for column in COLUMNS if column.name in ("x", "condition")]
    one = set(table["field_id"][:1])
    only = expected[expected["field_id"].isin(one)][["condition", "x"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(parts.read(wanted, one), only, check_exact=True)
    assert set(parts.names()) == {column.name for column in COLUMNS}


def test_written_piece_by_piece_is_written_at_once(tmp_path: Path) -> None:
    rows = [{"field_id": f"f{k}", "condition": "A", "x": k / 3, "n": k, "m": None, "in": True, "positive": None} for k in range(5)]  # fmt: skip
    table = typed_table(rows, COLUMNS)
    write_table(tmp_path / "whole.csv", table, COLUMNS)
    with growing_csv(tmp_path / "grown.csv", COLUMNS) as add:
        for start in (0, 2, 4):
            add(table.iloc[start : start + 2])
        assert not (tmp_path / "grown.csv").exists()
    assert (tmp_path / "grown.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    for read in (lambda: read_tables([path], COLUMNS), lambda: column_names(path)):
        with pytest.raises(TableError) as refused:
            read()
        assert str(refused.value) == f"{path}: no such table. Run `cellpose-fiji run` first."
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TableError) as refused:
        read_tables([path], COLUMNS)
    assert str(refused.value) == f"{path}: a column is missing (got a, b, expected condition). Delete it and run again."
    write_table(
        path, typed_table([{"field_id": "f", "condition": "A", "x": 1.0, "n": 1, "in": True}], COLUMNS), COLUMNS
    )
    path.write_text(path.read_text().replace(",1,", ",one,"))
    with pytest.raises(TableError) as refused:
        read_tables([path], COLUMNS)
    assert str(refused.value).startswith(f"{path}: not the table this program wrote (")
    assert str(refused.value).endswith("). Delete it and run again.")
    parts = Parts(tmp_path / "cells.parquet", ["A"])
    with pytest.raises(TableError) as refused:
        parts.read(COLUMNS)
    assert str(refused.value) == f"{parts.part('A')}: no such table. Run `cellpose-fiji run` first."
    parts.part("A").parent.mkdir(parents=True)
    parts.part("A").write_bytes(b"PAR1, and nothing else")
    with pytest.raises(TableError) as refused:
        parts.read(COLUMNS)
    assert str(refused.value).startswith(f"{parts.part('A')}: not the table this program wrote (")
    with pytest.raises(TableError) as again:
        parts.names()
    assert str(again.value).startswith(f"{parts.part('A')}: not the table this program wrote (")


def test_a_name_that_is_no_utf8_is_written_as_in_csv(tmp_path: Path) -> None:
    columns = COLUMNS[:2]
    table = typed_table([{"field_id": "a\udce9", "condition": "A"}], columns)
    parts = Parts(tmp_path / "cells.parquet", ["A"])
    parts.write("A", table, columns)
    write_table(tmp_path / "cells.csv", table, columns)
    assert parts.read(columns)["field_id"].tolist() == read_table(tmp_path / "cells.csv", columns)["field_id"].tolist()
