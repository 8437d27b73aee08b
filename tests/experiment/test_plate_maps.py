"""Plate-shaped tables, as people fill them in."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from experiment.test_layouts import GUID, tree

import bridge
from bridge.errors import InputError, OutputError
from bridge.experiment.sample_sheet import read_sheet

PLATE = """;;;
condition;1;2;3
A;DMSO;Drug 0,5 µM;
B;DMSO;Drug 0,5 µM;Drug 1 µM
;;;
replicate;1;2;3
A;1;1;
B;2;2;2
"""


def rows(path: Path, sheet: str | None = None) -> list[dict[str, str]]:
    return list(read_sheet(path, sheet).rows)


def refusal(path: Path, sheet: str | None = None) -> str:
    with pytest.raises(InputError) as refused:
        read_sheet(path, sheet)
    return str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [";", "\t"])
def test_blocks_in_a_csv(tmp_path: Path, encoding: str, separator: str) -> None:
    path = tmp_path / "plate.csv"
    path.write_text(PLATE.replace(";", separator), encoding=encoding)
    assert rows(path) == [
        {"well": "A1", "condition": "DMSO", "replicate": "1"}, {"well": "A2", "condition": "Drug 0,5 µM", "replicate": "1"},
        {"well": "B1", "condition": "DMSO", "replicate": "2"}, {"well": "B2", "condition": "Drug 0,5 µM", "replicate": "2"},
        {"well": "B3", "condition": "Drug 1 µM", "replicate": "2"},
    ]  # fmt: skip


def workbook(path: Path, **sheets: dict[str, object]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, cells in sheets.items():
        page = book.create_sheet(name.replace("__", " (").replace("_", " ") + (")" if "__" in name else ""))
        for c in range(1, 13):
            page.cell(1, c + 1, c)
        for r in range(8):
            page.cell(r + 2, 1, "ABCDEFGH"[r])
        for at, value in cells.items():
            page[at] = value
    book.save(path)
    return path


def test_drug_and_dose_on_sheets_of_their_own(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "plate.xlsx",
        drug={"B2": "DMSO", "C2": "Palbociclib", "D2": "Palbociclib"}, dose__µM={"B2": 0, "C2": 0.5, "D2": 1.0},
        cell_line={"B2": "U2OS", "C2": "U2OS", "D2": "T98G"},
    )  # fmt: skip
    assert [(r["well"], r["condition"]) for r in rows(path)] == [
        ("A1", "DMSO U2OS"), ("A2", "Palbociclib 0.5 µM U2OS"), ("A3", "Palbociclib 1 µM T98G"),
    ]  # fmt: skip


def test_merged_cells_fill_their_wells(tmp_path: Path) -> None:
    path = workbook(tmp_path / "plate.xlsx", condition={"B2": "DMSO", "C4": "Drug"})
    book = openpyxl.load_workbook(path)
    book["condition"].merge_cells("B2:D3")
    book.save(path)
    assert [r["well"] for r in rows(path) if r["condition"] == "DMSO"] == ["A1", "A2", "A3", "B1", "B2", "B3"]


def test_large_plates(tmp_path: Path) -> None:
    letters = [chr(65 + k) for k in range(26)] + [f"A{c}" for c in "ABCDEF"]
    lines = ["treatment," + ",".join(map(str, range(1, 49)))]
    lines += [f"{row}," + ",".join("DMSO" if c % 2 else "Drug" for c in range(48)) for row in letters]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    found = rows(tmp_path / "p.csv")
    assert len(found) == 32 * 48
    assert found[-1] == {"well": "AF48", "condition": "DMSO"}


def test_problems_are_named_by_their_cell(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", condition={"B2": "DMSO"}, replicate={"B2": 1, "C3": 2})
    assert refusal(path) == (
        f"{path}: sheet replicate, cell C3: replicate of a well that has no condition (got 2 in B2, expected it empty). Fill in the condition, or empty the cell."
    )
    path = workbook(tmp_path / "b.xlsx", condition={"B2": "DMSO", "C2": "#REF!"})
    assert refusal(path) == f"{path}: sheet condition, cell C2: an error of the spreadsheet (got #REF!, expected a value). Correct the formula."  # fmt: skip
    path = workbook(tmp_path / "c.xlsx", replicate={"B2": 1})
    assert refusal(path) == f"{path}: a plate without a condition (got replicate, expected a block called condition, or drug and dose). Add it."  # fmt: skip
    path = workbook(tmp_path / "d.xlsx", condition={"B2": "DMSO"}, treatment={"B2": "DMSO"})
    assert refusal(path) == (
        f"{path}: two blocks for condition (got condition and treatment, expected one). Name them by what they are, or put them into files of their own."
    )
    assert refusal(path, "Dose") == f"{path}: no sheet Dose (got condition, treatment). Correct --samples-sheet."
    assert [r["well"] for r in rows(path, "treatment")] == ["A1"]
    broken = tmp_path / "e.xlsx"
    broken.write_bytes(b"PK\x03\x04\x81\xff")
    assert (
        refusal(broken)
        == f"{broken}: a workbook that cannot be read (File is not a zip file). Save it again, or as CSV."
    )
    old = tmp_path / "f.xls"
    old.write_bytes(b"\xd0\xcf\x11\xe0")
    assert refusal(old) == f"{old}: a workbook of the old kind (got XLS, expected XLSX or CSV). Save it as XLSX."


def test_list_in_a_workbook(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (("Well", "Condition", "Replicate"), ("A1", "DMSO", 1), ("A2", "Drug", 1.0), (None, None, None)):
        book.active.append(row)
    book.save(tmp_path / "s.xlsx")
    assert rows(tmp_path / "s.xlsx") == [
        {"well": "A1", "condition": "DMSO", "replicate": "1"}, {"well": "A2", "condition": "Drug", "replicate": "1"},
    ]  # fmt: skip


def test_template_is_filled_in_and_given_back(tmp_path: Path) -> None:
    wells = ("B02", "B03", "P24")
    images = tree(
        tmp_path / "P", [f"TimePoint_1/{w}_s{s}_w{c}{GUID}.tif" for w in wells for s in (1, 2) for c in (1, 2)]
    )
    how = {"segment": "w1", "measure": ["w2"], "count": "none"}
    path, toml = tmp_path / "map.xlsx", tmp_path / "exp.toml"
    bridge.plan(images, template=path, write_settings=toml, **how)
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["condition", "replicate", "how"]
    page = book["condition"]
    assert (page.max_row, page.max_column) == (17, 25)
    assert page["C3"].fill.fgColor.rgb == "00FFF6D6"
    for cell, value in (("C3", "DMSO"), ("D3", "Drug"), ("Y17", "Drug")):
        page[cell] = value
        book["replicate"][cell] = 1
    book.save(path)
    plan = bridge.plan(images, samples=path, **how)
    assert [(f.condition, f.replicate, f.sample) for f in plan.fields] == [
        ("DMSO", "1", "B2"), ("DMSO", "1", "B2"), ("Drug", "1", "B3"), ("Drug", "1", "B3"), ("Drug", "1", "P24"), ("Drug", "1", "P24"),
    ]  # fmt: skip
    assert toml.read_text().splitlines()[1:] == [
        'segment = "w1"', 'measure = ["w2"]', 'count = "none"', 'layout = "ImageXpress"',
    ]  # fmt: skip
    with pytest.raises(OutputError):
        bridge.plan(images, template=path, **how)
