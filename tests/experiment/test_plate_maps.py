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


def csv_map(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text, "utf-8")
    return path


def test_doses_are_numbers(tmp_path: Path) -> None:
    path = csv_map(
        tmp_path,
        "drug;1;2;3;4\nA;P;P;P;P\nB;P;P;P;P\n;;;;\ndose (µM);1;2;3;4\nA;1,50;1,5;0,50;0.5\nB;1.5;1,5;0,5;0,5\n",
    )
    assert {r["condition"] for r in rows(path)} == {"P 1.5 µM", "P 0.5 µM"}
    path = csv_map(tmp_path, "drug;1;2\nA;P;P\nB;P;P\n;;\ndose (nM);1;2\nA;1,000;5\nB;5;5\n")
    assert (
        refusal(path)
        == f"{path}: cell B6: a dose that could be two (got 1,000, which is 1000 or 1.000). Write it without the comma."
    )
    path = csv_map(tmp_path, "drug;1;2\nA;P;P\nB;DMSO;P\n;;\ndose;1;2\nA;;5\nB;;5\n")
    assert (
        refusal(path)
        == f"{path}: dose of P is missing in A1 (got 2 of its 3 wells, expected all or none). Fill it in; 0 is a value, too."
    )
    path = csv_map(tmp_path, "dose (µM);1;2\nA;0;5\nB;0;5\n")
    assert {r["condition"] for r in rows(path)} == {"0 µM", "5 µM"}


def test_parts_of_plates_and_gaps(tmp_path: Path) -> None:
    path = csv_map(tmp_path, "note,,,\ncondition,2,3,4\nB,a,a,b\nC,a,b,b\n")
    assert [r["well"] for r in rows(path)] == ["B2", "B3", "B4", "C2", "C3", "C4"]
    assert [r["well"] for r in rows(csv_map(tmp_path, "condition,1,2\nA,x,y\n"))] == ["A1", "A2"]
    path = csv_map(tmp_path, "condition,1,2\nA,a,a\n,a,a\nC,a,b\n")
    assert refusal(path).startswith(f"{path}: ")
    path = csv_map(tmp_path, "condition,1,2\nA,a,a\nB,a,a\n,a,a\nD,a,b\n")
    assert (
        refusal(path) == f"{path}: cell A4: the letter of a row is missing (got an empty cell, expected C). Correct it."
    )
    path = csv_map(tmp_path, "condition,1,2,x,4\nA,a,a,a,a\nB,a,a,a,a\n")
    assert refusal(path) == f"{path}: cell D1: the number of a column is missing (got x, expected 3). Correct it."


def test_tables_that_nobody_named(tmp_path: Path) -> None:
    path = csv_map(tmp_path, ",1,2\nA,DMSO,P\nB,DMSO,P\n,1,2\nA,1,1\nB,2,2\n")
    assert refusal(path) == (
        f"{path}: tables of which nobody says what they are (got those that begin at cell B2, cell B5; expected one at most). Write condition, replicate, drug or dose into the corner of each."
    )
    assert len(rows(csv_map(tmp_path, ",1,2\nA,DMSO,P\nB,DMSO,P\n"))) == 4


def test_a_sheet_for_each_plate(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "p.xlsx", Plate_1={"A1": "treatment", "B2": "DMSO"}, Plate_2={"A1": "treatment", "B2": "Palbo"}
    )
    assert rows(path) == [
        {"well": "A1", "condition": "DMSO", "plate": "Plate 1"},
        {"well": "A1", "condition": "Palbo", "plate": "Plate 2"},
    ]
    images = tree(tmp_path / "P", [f"Plate{p}/exp_A01_s1_w{c}{GUID}.tif" for p in (1, 2) for c in (1, 2)])
    plan = bridge.plan(images, samples=path, segment="w1", measure=["w2"], count="none")
    assert [(f.condition, f.field_id) for f in plan.fields] == [
        ("DMSO", "Plate1_exp_A01_s1"),
        ("Palbo", "Plate2_exp_A01_s1"),
    ]


def test_workbooks_that_would_lose_something(tmp_path: Path) -> None:
    path = workbook(tmp_path / "f.xlsx", condition={"B2": "DMSO", "C2": '="Dr"&"ug"'})
    assert refusal(path) == f'{path}: sheet condition, cell C2: a formula without a value (got ="Dr"&"ug"). Open the file in Excel or LibreOffice and save it, or write the value.'  # fmt: skip
    book = openpyxl.Workbook()
    for page in (book.active, book.create_sheet("more")):
        for row in (("Samples of May", None), ("well", "condition"), ("A1", "DMSO")):
            page.append(row)
    book.save(tmp_path / "l.xlsx")
    assert refusal(tmp_path / "l.xlsx") == (
        f"{tmp_path / 'l.xlsx'}: several sample sheets in one file (got Sheet, more, expected one list, or plates alone). Choose one with --samples-sheet."
    )
    assert rows(tmp_path / "l.xlsx", "more") == [{"well": "A1", "condition": "DMSO"}]
    path = csv_map(tmp_path, "well,condition,condition\nA1,a,b\n")
    assert refusal(path) == f"{path}: two columns condition (expected one). Rename one."
    path = csv_map(tmp_path, 'well,condition\nA1,"Palbo\n1 uM"\n')
    assert rows(path)[0]["condition"] == "Palbo 1 uM"
    path = csv_map(tmp_path, 'well,condition\nA1,"' + "x" * 140_000 + "\n")
    assert "a quotation mark that is not closed" in refusal(path)


def test_bombs(tmp_path: Path) -> None:
    import zipfile

    path = workbook(tmp_path / "b.xlsx", condition={"B2": "DMSO"})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "c.xlsx", "w") as new:
        for entry in old.infolist():
            text = old.read(entry)
            new.writestr(entry, text.replace(b"</sheetData>", b'</sheetData><mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'))  # fmt: skip
    assert "too large for a sample sheet" in refusal(tmp_path / "c.xlsx")


def test_list_template_is_given_back(tmp_path: Path) -> None:
    images = tree(tmp_path / "P", [f"DMSO/f{k}_{c}.tif" for k in (1, 2) for c in ("phase", "EdU")])
    bridge.plan(images, template=tmp_path / "t.xlsx", count="none")
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    for row, condition in ((2, "A"), (3, "B")):
        book["samples"].cell(row, 2, condition)
    book.save(tmp_path / "t.xlsx")
    assert [f.condition for f in bridge.plan(images, samples=tmp_path / "t.xlsx", count="none").fields] == ["A", "B"]
