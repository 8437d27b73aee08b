from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openpyxl
import pandas as pd
import pytest
from PIL import Image

from bridge.assay.summary import condition_table, replicate_table
from bridge.errors import TableError
from bridge.grey_scale import display_range
from bridge.report.figures import violin_figure
from bridge.report.overlays import contact_sheet, overlay
from bridge.report.picture import write_picture
from bridge.report.workbook import write_workbook
from bridge.tables import COUNTS, Column, cell_columns, empty_table, read_table, write_table

COLUMNS = cell_columns(["EdU"], ["area", "mean"])
CONDITIONS = ("DMSO", "=Drug & <b>", "none")


@pytest.fixture
def cells() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for condition, mean in (("DMSO", 300.0), ("=Drug & <b>", 100.0)):
        for replicate in ("1", "2", "3"):
            for label in range(1, 31):
                rows.append(
                    (
                        f"{condition[:1]}{replicate}",
                        condition,
                        replicate,
                        "",
                        label,
                        500 + label,
                        np.nan,
                        1.5,
                        2.5,
                        False,
                        rng.gamma(4, mean / 4),
                        400.0,
                        0.0,
                    )
                )
    return pd.DataFrame(rows, columns=[c.name for c in COLUMNS]).astype({c.name: c.dtype for c in COLUMNS})


@pytest.fixture
def counts(cells: pd.DataFrame) -> pd.DataFrame:
    table = (
        cells.groupby(["field_id", "condition", "replicate", "sample"], sort=False).size().reset_index(name="n_cells")
    )
    table["n_nuclei"] = table["n_cells"] + 2
    return table.astype({c.name: c.dtype for c in COUNTS})


def test_replicates_and_conditions(cells: pd.DataFrame, counts: pd.DataFrame) -> None:
    table = replicate_table(cells, counts, COLUMNS, CONDITIONS)
    assert table["condition"].tolist() == ["DMSO"] * 3 + ["=Drug & <b>"] * 3 + ["none"]
    assert table["n_cells"].tolist() == [30] * 6 + [0]
    assert table["n_nuclei"].tolist() == [32] * 6 + [pd.NA]
    part = cells[(cells["condition"] == "DMSO") & (cells["replicate"] == "2")]
    assert table.loc[1, "cell_EdU_Mean_median"] == part["cell_EdU_Mean"].median()
    summary = condition_table(cells, counts, COLUMNS, CONDITIONS)
    assert summary["n_replicates"].tolist() == [3, 3, 0]
    assert summary["n_fields"].tolist() == [3, 3, 0]


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
        read_table(path, COLUMNS)
    assert str(refused.value) == f"{path}: no such table. Run `cellpose-fiji run` first."
    path.write_text("a,b\n1,2\n")
    with pytest.raises(
        TableError,
        match=r"cells\.csv: a column is missing \(got a, b, expected field_id\)\. Delete it and run again\.$",
    ):
        read_table(path, COLUMNS)


def test_empty_table_keeps_its_types(tmp_path: Path) -> None:
    write_table(tmp_path / "x.csv", empty_table(COLUMNS), COLUMNS)
    again = read_table(tmp_path / "x.csv", COLUMNS)
    assert len(again) == 0
    assert again.dtypes.astype(str).tolist() == empty_table(COLUMNS).dtypes.astype(str).tolist()


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width


# ---------------------------------------------------------------- workbook


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
        ("column", "unit", "meaning"), ("condition", "", "treatment"), ("value", "px", "a number"),
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


# ---------------------------------------------------------------- figures


def texts(path: Path) -> list[str]:
    return [node.text or "" for node in ElementTree.parse(path).iter() if node.tag.endswith("text")]


def test_the_figure_names_what_it_shows(tmp_path: Path, cells: pd.DataFrame) -> None:
    png, svg = violin_figure(tmp_path / "f", cells, "cell_EdU_Mean", "EdU mean (grey level)", CONDITIONS)
    assert width(png) > 600
    said = texts(svg)
    for text in ("=Drug & <b>", "90 cells", "3 replicates", "0 cells", "EdU mean (grey level)", "mean of replicate 3"):
        assert text in said
    assert not any("p =" in text or "*" in text for text in said)


def test_nothing_is_drawn_below_the_data(cells: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[float, float]] = []
    real = Axes.violinplot

    def violinplot(self: Axes, values: np.ndarray, *args: object, **options: object) -> object:
        shape = real(self, values, *args, **options)
        for body in shape["bodies"]:
            y = body.get_paths()[0].vertices[:, 1]
            drawn.append((y.min() - values.min(), y.max() - values.max()))
        return shape

    monkeypatch.setattr(Axes, "violinplot", violinplot)
    violin_figure(tmp_path / "f", cells, "cell_EdU_Mean", "x", CONDITIONS[:2])
    assert len(drawn) == 2
    assert all(low >= 0 and high <= 0 for low, high in drawn)


def test_without_replicates_fields_are_called_technical(tmp_path: Path, cells: pd.DataFrame) -> None:
    _, svg = violin_figure(tmp_path / "f", cells.assign(replicate=""), "cell_EdU_Mean", "x", CONDITIONS)
    said = texts(svg)
    assert "mean of a field (technical, not a replicate)" in said
    assert "3 fields" in said
    assert not any("replicate" in text and "technical" not in text for text in said)


def test_few_equal_and_missing_values_are_drawn_without_an_error(tmp_path: Path, cells: pd.DataFrame) -> None:
    for part in (
        cells.iloc[:0],
        cells.iloc[:1],
        cells.iloc[:6].assign(cell_EdU_Mean=5.0),
        cells.iloc[:6].assign(cell_EdU_Mean=np.nan),
    ):
        assert all(
            path.stat().st_size > 1000
            for path in violin_figure(tmp_path / "f", part, "cell_EdU_Mean", "$x_", CONDITIONS)
        )


def test_same_cells_same_figure(tmp_path: Path, cells: pd.DataFrame) -> None:
    first = [path.read_bytes() for path in violin_figure(tmp_path / "a", cells, "cell_EdU_Mean", "x", CONDITIONS)]
    second = [path.read_bytes() for path in violin_figure(tmp_path / "b", cells, "cell_EdU_Mean", "x", CONDITIONS)]
    assert first == second


# ---------------------------------------------------------------- pictures


def test_outlines_lie_on_the_cells() -> None:
    labels = np.zeros((20, 20), np.uint16)
    labels[5:10, 5:10] = 1
    labels[5:10, 10:15] = 2
    picture = overlay(np.zeros((20, 20)), labels, (0.0, 1.0))
    outline = (picture == (255, 214, 0)).all(axis=2)
    assert outline.sum() == 2 * 16
    assert not outline[labels == 0].any()
    assert (picture[~outline] == 0).all()


def test_one_grey_scale_for_all_fields() -> None:
    dim, bright = np.full((10, 10), 100.0), np.full((10, 10), 900.0)
    shown = display_range([dim, bright])
    assert shown == (100.0, 900.0)
    none = np.zeros((10, 10), np.uint16)
    assert overlay(dim, none, shown).max() == 0
    assert overlay(bright, none, shown).min() == 255


def test_large_pictures_are_made_smaller_and_say_so(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((100, 5000, 3), np.uint8), "field")
    assert width(tmp_path / "a.png") == 2048


def test_contact_sheet_of_many_fields(tmp_path: Path) -> None:
    picture = np.zeros((400, 500, 3), np.uint8)
    for n in (1, 7, 60):
        contact_sheet(tmp_path / f"{n}.png", [(f"field {i}", [picture, picture]) for i in range(n)], "DMSO")
        assert width(tmp_path / f"{n}.png") < 2200
