"""Workbooks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd

from bridge.report.workbook import write_workbook
from bridge.tables import Column


def test_workbook_holds_text_as_text_and_numbers_as_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "condition": ["=1+1", "+A", "-EdU", "@x", "http://x", "12"],
            "value": [1.5, np.nan, -2.0, 0.1 + 0.2, 1e-300, 7.0],
        }
    )
    columns = [Column("condition", "str", "", "treatment"), Column("value", "float64", "px", "a number")]
    write_workbook(tmp_path / "a.xlsx", {"cells": table}, columns)
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx")["cells"]
    read = [tuple(cell.value for cell in row) for row in sheet.iter_rows(min_row=2)]
    assert [row[0] for row in read] == table["condition"].tolist()
    assert [cell.data_type for cell in sheet["A"]] == ["s"] * 7
    assert [row[1] for row in read] == [1.5, None, -2.0, 0.1 + 0.2, 1e-300, 7.0]
    explained = openpyxl.load_workbook(tmp_path / "a.xlsx")["columns"]
    assert [tuple(cell.value for cell in row) for row in explained.iter_rows()] == [
        ("heading", "column in the CSV files", "unit", "meaning"), ("condition", "condition", "", "treatment"),
        ("value (px)", "value", "px", "a number"),
    ]  # fmt: skip


def test_sheet_names_are_legal_and_unique(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1]})
    titles = ["a/b:c", "a?b*c", "x" * 40 + "1", "x" * 40 + "2", "History", "'quoted'", "columns"]
    names = write_workbook(tmp_path / "a.xlsx", dict.fromkeys(titles, table), [Column("x", "int64", "", "")])
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert list(names.values()) == titles
    assert book.sheetnames == [
        "a_b_c",
        "a_b_c (2)",
        "x" * 31,
        "x" * 27 + " (2)",
        "History_",
        "quoted",
        "columns",
        "columns (2)",
    ]


def test_a_table_above_the_row_limit_is_split(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": range(25)})
    names = write_workbook(tmp_path / "a.xlsx", {"DMSO": table}, [Column("x", "int64", "", "")], max_rows=10)
    assert names == {"DMSO 1 of 3": "DMSO", "DMSO 2 of 3": "DMSO", "DMSO 3 of 3": "DMSO"}
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    values = [cell.value for name in names for cell in book[name]["A"][1:]]
    assert values == list(range(25))


def test_same_tables_same_bytes(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1.5]})
    for name in ("a", "b"):
        write_workbook(tmp_path / name / "t.xlsx", {"s": table}, [])
    assert (tmp_path / "a" / "t.xlsx").read_bytes() == (tmp_path / "b" / "t.xlsx").read_bytes()
