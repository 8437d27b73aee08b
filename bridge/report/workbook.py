"""Excel workbooks: one table for each sheet, numbers as numbers, names as text."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bridge.files import whole_file
from bridge.tables import Column

MAX_ROWS = 1_048_575  # Excel's 1,048,576 less the header
_FIXED = datetime.datetime(1980, 1, 1)
_ILLEGAL = re.compile(r"[\[\]:*?/\\]")


def write_workbook(
    path: Path, sheets: Mapping[str, pd.DataFrame], columns: Sequence[Column], max_rows: int = MAX_ROWS
) -> dict[str, str]:
    """Write tables into one workbook, with a last sheet that explains the columns.

    Parameters
    ----------
    path : Path
    sheets : mapping of str to DataFrame
        Title to table; titles are made legal and unique, a table above Excel's row limit is split.
    columns : sequence of Column
        Every column that may occur, with unit and meaning.
    max_rows : int
        Rows a sheet can hold besides its header.

    Returns
    -------
    dict of str to str
        Sheet name to the title it was given for.

    Raises
    ------
    OutputError
        The file cannot be written, e.g. because Excel holds it open.
    """
    import xlsxwriter
    from xlsxwriter.worksheet import Worksheet

    class FullPrecision(Worksheet):  # type: ignore[misc]
        """XlsxWriter writes 16 digits of a number; a double needs 17 to come back as it was."""

        def _xml_number_element(self, number: float, attributes: Sequence[tuple[str, Any]] = ()) -> None:
            marks = "".join(f' {key}="{value}"' for key, value in attributes)
            self.fh.write(f"<c{marks}><v>{number!r}</v></c>")

    names: dict[str, str] = {}
    with whole_file(path) as part:
        # Names may begin with = + - @: they are text, never formulas or links.
        options = {
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "nan_inf_to_errors": False,
        }
        book = xlsxwriter.Workbook(str(part), options)
        # The same tables give the same bytes.
        book.set_properties({"created": _FIXED, "title": path.stem})
        bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
        seen: set[str] = set()
        used: list[str] = []
        for title, table in sheets.items():
            pieces = [table.iloc[start : start + max_rows] for start in range(0, max(len(table), 1), max_rows)]
            for number, piece in enumerate(pieces, 1):
                name = _sheet_name(f"{title} {number} of {len(pieces)}" if len(pieces) > 1 else title, seen)
                names[name] = title
                _fill(book.add_worksheet(name, FullPrecision), piece, bold)
            used += [str(name) for name in table.columns if str(name) not in used]
        declared = {column.name: column for column in columns}
        rows = [(name, declared[name].unit, declared[name].meaning) for name in used if name in declared]
        _fill(
            book.add_worksheet(_sheet_name("columns", seen)),
            pd.DataFrame(rows, columns=["column", "unit", "meaning"]),
            bold,
        )
        book.close()
    return names


def _fill(sheet: Any, table: pd.DataFrame, bold: Any) -> None:
    sheet.freeze_panes(1, 0)
    for j, name in enumerate(table.columns):
        values = table[name].tolist()
        sheet.write_string(0, j, str(name), bold)
        for i, value in enumerate(values, 1):
            if value is None or value is pd.NA or value != value:
                continue  # a missing number is an empty cell: never 0, never text
            if isinstance(value, bool):
                sheet.write_boolean(i, j, value)
            elif isinstance(value, str):
                sheet.write_string(i, j, value)
            else:
                sheet.write_number(i, j, value)
        longest = max([len(str(v)) for v in values[:200] if isinstance(v, str)] + [10])
        sheet.set_column(j, j, min(max(longest + 2, min(len(str(name)) + 2, 18)), 70))


def _sheet_name(title: str, seen: set[str]) -> str:
    """Make a sheet name legal (31 characters, none of Excel's forbidden ones) and unique without regard to case."""
    base = _ILLEGAL.sub("_", title).strip().strip("'") or "sheet"
    if base.lower() == "history":
        base += "_"
    name = base[:31]
    number = 2
    while name.lower() in seen:
        tail = f" ({number})"
        name = base[: 31 - len(tail)] + tail
        number += 1
    seen.add(name.lower())
    return name
