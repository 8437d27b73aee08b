"""A plate map to fill in: the wells that images were found of, one sheet for each factor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bridge.experiment.fields import Plan
from bridge.experiment.plate_map import row_letters
from bridge.files import new_file, whole_file

_PLATES = ((8, 12), (16, 24), (32, 48))
_FACTORS = ("condition", "replicate")
_HEAD, _THERE = "E8E8E8", "FFF6D6"


def write_template(path: Path, plan: Plan) -> Path:
    """Write a workbook to fill in and give back with ``--samples``.

    Parameters
    ----------
    path : Path
        ``*.xlsx``; must not exist.
    plan : Plan
        Of its wells the cells are marked; without wells the sheet is a list of the fields.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        The file is there already, or cannot be written.
    """
    import openpyxl

    wells = sorted({well for item in plan.fields if (well := _well(item.sample))})
    book = openpyxl.Workbook()
    book.remove(book.active)
    if wells and len(wells) == len({item.sample for item in plan.fields}):
        for factor in _FACTORS:
            _plate(book.create_sheet(factor), factor, wells)
    else:
        _list(book.create_sheet("samples"), plan)
    page = book.create_sheet("how")
    page.column_dimensions["A"].width = 110
    for line in _HOW:
        page.append([line])
    with whole_file(new_file(path)) as part:
        book.save(part)
    return path


_HOW = (
    "Fill in the yellow cells; a well that stays empty is left out.",
    "condition: the treatment, for instance DMSO or Palbociclib 1 µM. replicate: the independent repeat, not the well.",
    "Instead of condition there may be sheets called drug and dose (µM) and cell line: they are put together.",
    "Then: cellpose-fiji plan IMAGES --samples this-file.xlsx",
)


def _plate(page: Any, factor: str, wells: Sequence[tuple[int, int]]) -> None:
    fitting = (p for p in _PLATES if max(r for r, _ in wells) < p[0] and max(c for _, c in wells) < p[1])
    rows, columns = next(fitting, _PLATES[-1])
    page.append([factor, *range(1, columns + 1)])
    for row in range(rows):
        page.append([row_letters(row)])
    for row, column in wells:
        _look(page.cell(row + 2, column + 2), _THERE)
    heads = [page.cell(1, column + 1) for column in range(columns + 1)]
    for cell in (*heads, *(page.cell(row + 2, 1) for row in range(rows))):
        _look(cell, _HEAD)
    for cell in heads[1:]:
        page.column_dimensions[cell.column_letter].width = 14
    page.freeze_panes = "B2"


def _list(page: Any, plan: Plan) -> None:
    page.append(["file", "condition", "replicate", "sample"])
    for cell in page[1]:
        _look(cell, _HEAD)
        page.column_dimensions[cell.column_letter].width = 40 if cell.column == 1 else 20
    for row, item in enumerate(plan.fields, 2):
        page.cell(row, 1, item.field_id).data_type = "s"  # text, also where it begins with =
        for column in (2, 3, 4):
            _look(page.cell(row, column), _THERE)
    page.freeze_panes = "A2"


def _look(cell: Any, colour: str) -> None:
    from openpyxl.styles import Alignment, Border, Font, PatternFill, Side

    line = Side(style="thin", color="C8C8C8")
    cell.fill = PatternFill("solid", fgColor=colour)
    cell.border = Border(left=line, right=line, top=line, bottom=line)
    if colour == _HEAD:
        cell.font, cell.alignment = Font(bold=True), Alignment(horizontal="center")


def _well(text: str) -> tuple[int, int] | None:
    """Return row and column of a well, from 0.

    Examples
    --------
    >>> _well("B03"), _well("AA1"), _well("dish 2")
    ((1, 2), (26, 0), None)
    """
    match = re.fullmatch(r"(A?)([A-Z])0*(\d{1,2})", text.strip().upper())
    if match is None or not 1 <= int(match[3]) <= 48:
        return None
    row = ord(match[2]) - 65 + (26 if match[1] else 0)
    return (row, int(match[3]) - 1) if row < 32 else None
