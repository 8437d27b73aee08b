"""The cells of a table file: CSV as any program writes it, or a workbook, its merged cells filled."""

from __future__ import annotations

import csv
import datetime
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.errors import InputError
from bridge.names import one_spelling

_MOST_CELLS = 200_000
_MOST_BYTES = 2**26


@dataclass(frozen=True)
class Grid:
    """A table as a person sees it.

    Attributes
    ----------
    name : str
        Of the sheet; empty for CSV.
    cells : list of list of str
        Rows of texts; shorter ones end in blanks.
    """

    name: str
    cells: list[list[str]]

    def at(self, row: int, column: int) -> str:
        """Return a cell's text, both from 0; beyond the table it is empty."""
        line = self.cells[row] if 0 <= row < len(self.cells) else []
        return line[column] if 0 <= column < len(line) else ""

    def address(self, row: int, column: int) -> str:
        """Return how a spreadsheet names a cell.

        Examples
        --------
        >>> Grid("Dose", []).address(6, 27)
        'sheet Dose, cell AB7'
        """
        letters = ""
        column += 1
        while column:
            column, rest = divmod(column - 1, 26)
            letters = chr(65 + rest) + letters
        return f"{f'sheet {self.name}, ' if self.name else ''}cell {letters}{row + 1}"


def read_grids(path: Path, sheet: str | None = None) -> list[Grid]:
    """Read every table of a file.

    Parameters
    ----------
    path : Path
        CSV (comma, semicolon or tab; UTF-8, UTF-16 or Windows' letters) or XLSX.
    sheet : str, optional
        Read this sheet of a workbook alone.

    Raises
    ------
    InputError
        There is no such file or sheet, or it cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such sample sheet. Check the path given with --samples.") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). Give a CSV or XLSX file with --samples."
        ) from None
    if content[:2] == b"PK":
        return _workbook(path, sheet)
    if content[:4] == b"\xd0\xcf\x11\xe0":
        raise InputError(f"{path}: a workbook of the old kind (got XLS, expected XLSX or CSV). Save it as XLSX.")
    if sheet is not None:
        raise InputError(f"{path}: has no sheets (got --samples-sheet {sheet}). Leave it out, or give the workbook.")
    try:
        return [Grid("", _csv(content))]
    except csv.Error as error:
        raise InputError(f"{path}: not a table ({error}). Look for a quotation mark that is not closed.") from error


def _csv(content: bytes) -> list[list[str]]:
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")  # what Excel on Windows saves as plain CSV
    head, _, rest = text.partition("\n")
    if head.lower().startswith("sep="):
        text, separator = rest, head[4:5].strip("\r") or ","  # what Excel is told about the file
    else:
        first = next((line for line in text.splitlines() if any(c in line for c in ",;\t")), "")
        separator = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [[one_spelling(" ".join(cell.split())) for cell in row] for row in rows]


def _workbook(path: Path, sheet: str | None) -> list[Grid]:
    import openpyxl

    try:
        _require_modest(path)
        book = openpyxl.load_workbook(path, data_only=True)
        formulas = openpyxl.load_workbook(path)
    except InputError:
        raise
    except Exception as error:  # openpyxl raises whatever the XML inside makes it raise
        raise InputError(f"{path}: a workbook that cannot be read ({' '.join(str(error).split())[:120]}). Save it again, or as CSV.") from error  # fmt: skip
    names = book.sheetnames
    if sheet is not None and sheet not in names:
        raise InputError(f"{path}: no sheet {sheet} (got {', '.join(names)}). Correct --samples-sheet.")
    found = []
    for name in [sheet] if sheet is not None else names:
        page = book[name]
        if not hasattr(page, "merged_cells"):  # a chart
            continue
        grid = Grid(one_spelling(name), [[_text(cell) for cell in row] for row in page.iter_rows()])
        _require_computed(path, grid, formulas[name])
        for part in page.merged_cells.ranges:
            value = grid.at(part.min_row - 1, part.min_col - 1)
            for row in grid.cells[part.min_row - 1 : part.max_row]:
                row[part.min_col - 1 : part.max_col] = [value] * len(row[part.min_col - 1 : part.max_col])
        if any(any(row) for row in grid.cells):
            found.append(grid)
    return found


def _require_modest(path: Path) -> None:
    """Refuse a workbook that costs more than any plate: many cells, or merged ones that take no room in the file."""
    with zipfile.ZipFile(path) as inside:
        size = sum(entry.file_size for entry in inside.infolist())
        if size > _MOST_BYTES:
            raise InputError(f"{path}: a workbook of {size} bytes when unpacked (expected at most {_MOST_BYTES}). Save the sheet alone.")  # fmt: skip
        for entry in inside.infolist():
            if not entry.filename.startswith("xl/worksheets/"):
                continue
            text = inside.read(entry)
            if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
                raise InputError(f"{path}: declares a document type (expected none). Save it again from Excel.")
            merged = sum(_area(*(part.decode() for part in found)) for found in _MERGED.findall(text))
            if merged > _MOST_CELLS or text.count(b"<c ") > _MOST_CELLS:
                raise InputError(f"{path}: too large for a sample sheet (got more than {_MOST_CELLS} cells in {entry.filename}). Save what belongs to the samples alone.")  # fmt: skip


_MERGED = re.compile(rb'<mergeCell ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')


def _area(left: str, top: str, right: str, bottom: str) -> int:
    def column(letters: str) -> int:
        return sum((ord(letter) - 64) * 26**k for k, letter in enumerate(reversed(letters)))

    return (column(right) - column(left) + 1) * (int(bottom) - int(top) + 1)


def _require_computed(path: Path, grid: Grid, page: Any) -> None:
    """Refuse formulas whose values were not stored: the program that wrote them did not compute them."""
    for row in page.iter_rows():
        for cell in row:
            if (
                isinstance(cell.value, str)
                and cell.value.startswith("=")
                and not grid.at(cell.row - 1, cell.column - 1)
            ):
                raise InputError(f"{path}: {grid.address(cell.row - 1, cell.column - 1)}: a formula without a value (got {cell.value[:40]}). Open the file in Excel or LibreOffice and save it, or write the value.")  # fmt: skip


def _text(cell: Any) -> str:
    """Return what a person sees in a cell."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value * 100:.10g} %" if "%" in str(cell.number_format) else f"{value:.10g}"
    return one_spelling(" ".join(str(value).split()))
