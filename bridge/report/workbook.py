"""Excel workbooks as a person would have made them: plain headings with units, frozen and filtered, numbers as numbers."""

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
_UNITS = {"px2": "px²", "um2": "µm²", "um": "µm"}
_HEAD_WIDTH, _LINE_PT = 18, 15


def write_workbook(
    path: Path,
    sheets: Mapping[str, pd.DataFrame],
    columns: Sequence[Column],
    max_rows: int = MAX_ROWS,
    plain: Mapping[str, Sequence[Sequence[Any]]] | None = None,
    own: Mapping[str, Sequence[Column]] | None = None,
) -> dict[str, str]:
    """Write tables into one workbook, with a last sheet that explains the columns.

    Parameters
    ----------
    path : Path
    sheets : mapping of str to DataFrame
        Title to table; titles are made legal and unique, a table above Excel's row limit is split.
    columns : sequence of Column
        Every column that may occur, with unit and meaning: the headings.
    max_rows : int
        Rows a sheet can hold besides its header.
    plain : mapping of str to rows, optional
        Sheets written as they are, before the last one: settings, what other programs take.
    own : mapping of str to sequence of Column, optional
        Title to the columns of its table, where they mean something else than elsewhere.

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
    everywhere = {column.name: column for column in columns}
    with whole_file(path) as part:
        # Names may begin with = + - @: they are text, never formulas or links.
        options = {
            "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "nan_inf_to_errors": False,
            "constant_memory": True,  # row by row to the disk: a plate has half a million cells
        }  # fmt: skip
        book = xlsxwriter.Workbook(str(part), options)
        # The same tables give the same bytes.
        book.set_properties({"created": _FIXED, "title": path.stem})
        look = _Looks(book)
        seen: set[str] = set()
        used: dict[tuple[str, ...], None] = {}
        for title, table in sheets.items():
            declared = everywhere | {column.name: column for column in (own or {}).get(title, ())}
            pieces = [table.iloc[start : start + max_rows] for start in range(0, max(len(table), 1), max_rows)]
            for number, piece in enumerate(pieces, 1):
                name = _sheet_name(f"{title} {number} of {len(pieces)}" if len(pieces) > 1 else title, seen)
                names[name] = title
                _fill(book.add_worksheet(name, FullPrecision), piece, declared, look)
            known = [declared[str(name)] for name in table.columns if str(name) in declared]
            used |= dict.fromkeys((heading(c), c.name, c.unit, c.meaning) for c in known)
        for title, rows in (plain or {}).items():
            _fill_plain(book.add_worksheet(_sheet_name(title, seen), FullPrecision), rows, look)
        table = pd.DataFrame(list(used), columns=["heading", "column in the CSV files", "unit", "meaning"])
        _fill(book.add_worksheet(_sheet_name("columns", seen)), table, {}, look)
        book.close()
    return names


def heading(column: Column) -> str:
    """Return a column's heading with its unit: what was measured in plain words, other columns by their names.

    Examples
    --------
    >>> heading(Column("cell_area_um2", "float64", "um2", "area of the cell; empty where not calibrated"))
    'area of the cell (µm²)'
    >>> heading(Column("condition", "str", "", "treatment"))
    'condition'
    """
    short = column.meaning.partition(";")[0].partition(" (")[0]
    if not column.name.startswith(("cell_", "nucleus_", "ring_")) or column.dtype == "str" or len(short) > 120:
        short = column.name.replace("_", " ")
    unit = _UNITS.get(column.unit, column.unit)
    return f"{short} ({unit})" if unit else short


class _Looks:
    """The formats of a workbook, each made once."""

    def __init__(self, book: Any) -> None:
        self.head = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1, "bg_color": "#F0F2F4"})  # fmt: skip
        self.whole, self.fine = book.add_format({"num_format": "#,##0"}), book.add_format({"num_format": "#,##0.00"})
        self.small = book.add_format({"num_format": "0.0000"})
        self.wrap = book.add_format({"text_wrap": True, "valign": "top"})

    def of(self, name: str, values: Sequence[Any]) -> Any:
        """Return how a column's numbers are shown; what is stored keeps all digits."""
        numbers = [abs(v) for v in values[:1000] if isinstance(v, int | float) and not isinstance(v, bool) and v == v]
        if not numbers or name in ("label", "cell", "replicate"):
            return None
        if all(isinstance(v, int) or float(v).is_integer() for v in numbers):
            return self.whole
        return self.small if max(numbers) < 10 else self.fine


def _fill(sheet: Any, table: pd.DataFrame, declared: Mapping[str, Column], look: _Looks) -> None:
    heads = [heading(declared[n]) if n in declared else str(n) for n in map(str, table.columns)]
    heads = [str(n) if heads.count(h) > 1 else h for n, h in zip(table.columns, heads, strict=True)]
    columns = [table[name].tolist() for name in table.columns]
    keys = sum(str(name) in ("field_id", "condition", "replicate", "sample", "label") for name in table.columns)
    sheet.freeze_panes(1, keys if len(heads) > keys else 0)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(-(-len(heads) // 14) or 1, 0)
    sheet.repeat_rows(0)
    formats, lines = [], 1
    for j, (head, values) in enumerate(zip(heads, columns, strict=True)):
        formats.append(look.of(str(table.columns[j]), values))
        texts = [len(v) for v in values[:200] if isinstance(v, str)]
        width = min(max([*texts, 8, min(len(head), _HEAD_WIDTH)]) + 2, 70)
        lines = max(lines, _lines(head, width))
        sheet.set_column(j, j, width)
    sheet.set_row(0, _LINE_PT * lines)
    for j, head in enumerate(heads):
        sheet.write_string(0, j, head, look.head)
    if heads and len(table):
        sheet.autofilter(0, 0, len(table), len(heads) - 1)
    for i, row in enumerate(zip(*columns, strict=True), 1):
        for j, value in enumerate(row):
            _write(sheet, i, j, value, formats[j])


def _lines(text: str, width: int) -> int:
    """Return how many lines a heading takes, its words broken as Excel does."""
    lines, room = 1, width
    for word in text.split():
        if len(word) + 1 > room:
            lines, room = lines + 1, width
        room -= len(word) + 1
    return lines


def _fill_plain(sheet: Any, rows: Sequence[Sequence[Any]], look: _Looks) -> None:
    widths: dict[int, int] = {}
    for row in rows[:200]:
        for j, value in enumerate(row):
            widths[j] = min(60, max(widths.get(j, 10), len(str(value)) + 2))
    for j, width in widths.items():
        sheet.set_column(j, j, width)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            _write(sheet, i, j, value, look.head if i == 0 else None)


def _write(sheet: Any, i: int, j: int, value: Any, how: Any) -> None:
    if value is None or value is pd.NA or value != value:
        return  # a missing number is an empty cell: never 0, never text
    if isinstance(value, bool):
        sheet.write_boolean(i, j, value)
    elif isinstance(value, str):
        sheet.write_string(i, j, value, how)
    else:
        sheet.write_number(i, j, value, how)


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
