"""The cells of a table file: CSV as any program writes it, or a workbook, its merged cells filled."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import InputError
from bridge.names import one_spelling

_MOST_CELLS = 2_000_000
_MOST_BYTES = 2**28


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
    return [Grid("", _csv(content))]


def _csv(content: bytes) -> list[list[str]]:
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")  # what Excel on Windows saves as plain CSV
    lines = text.splitlines()
    if lines and lines[0].lower().startswith("sep="):
        lines, separator = lines[1:], lines[0][4:5] or ","  # what Excel is told about the file
    else:
        first = next((line for line in lines if any(c in line for c in ",;\t")), "")
        separator = max(",;\t", key=first.count)
    return [[one_spelling(cell.strip()) for cell in row] for row in csv.reader(lines, delimiter=separator)]


def _workbook(path: Path, sheet: str | None) -> list[Grid]:
    import openpyxl

    try:
        with zipfile.ZipFile(path) as inside:
            size = sum(entry.file_size for entry in inside.infolist())
        if size > _MOST_BYTES:
            raise InputError(f"{path}: a workbook of {size} bytes when unpacked (expected at most {_MOST_BYTES}). Save the sheet alone.")  # fmt: skip
        book = openpyxl.load_workbook(path, data_only=True)
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
        if page.max_row * page.max_column > _MOST_CELLS:
            raise InputError(f"{path}: sheet {name} is too large (got {page.max_row} x {page.max_column} cells). Save what belongs to the samples alone.")  # fmt: skip
        grid = Grid(one_spelling(name), [[_text(cell) for cell in row] for row in page.iter_rows(values_only=True)])
        for part in page.merged_cells.ranges:
            value = grid.at(part.min_row - 1, part.min_col - 1)
            for row in range(part.min_row - 1, part.max_row):
                for column in range(part.min_col - 1, part.max_col):
                    grid.cells[row][column] = value
        if any(any(row) for row in grid.cells):
            found.append(grid)
    return found


def _text(value: object) -> str:
    """Return what a person sees in a cell.

    Examples
    --------
    >>> [_text(v) for v in (None, 1.0, 0.5, " DMSO ", True)]
    ['', '1', '0.5', 'DMSO', 'True']
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    return one_spelling(str(value).strip())
