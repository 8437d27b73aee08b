"""Plate-shaped tables: a block for each factor, A-H down and 1-12 across -> a line for each well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import InputError
from bridge.experiment.grids import Grid

# What people call the factors, by the column of a sample sheet that they are.
_COLUMNS = {
    "condition": ("condition", "treatment", "group"),
    "replicate": ("replicate", "rep", "repeat", "experiment"),
    "sample": ("sample",),
    "cell_type": ("cell type", "cell_type", "celltype"),
    "plate": ("plate",),
}
_DOSE = ("dose", "concentration", "conc", "amount")
_UNIT = re.compile(r"[(\[]\s*([^)\]]+?)\s*[)\]]\s*$")


@dataclass(frozen=True)
class Block:
    """One plate-shaped table.

    Attributes
    ----------
    title : str
        What the factor is called.
    wells : dict of str to (str, str)
        Value and cell of each well that is not empty, by the well's name.
    """

    title: str
    wells: dict[str, tuple[str, str]]


def is_plate(grid: Grid) -> bool:
    """Return whether a table holds a plate-shaped block."""
    return next(_corners(grid), None) is not None


def rows_of_plate(path: Path, grids: Sequence[Grid]) -> list[dict[str, str]]:
    """Return a line of a sample sheet for each well of plate-shaped tables.

    Parameters
    ----------
    path : Path
    grids : sequence of Grid

    Returns
    -------
    list of dict
        ``well, condition`` and, where there are such blocks, ``replicate, sample, cell_type, plate``. The condition is
        the block of this name, else what the other blocks say, one after the other.

    Raises
    ------
    InputError
        A value that cannot be used, named by its cell; wells that some of the blocks leave out.
    """
    blocks = [block for grid in grids for block in _blocks(path, grid)]
    by_column: dict[str, Block] = {}
    factors: list[Block] = []
    for block in blocks:
        column = _column(block.title)
        if column is None:
            factors.append(block)
        elif column in by_column:
            raise InputError(f"{path}: two blocks for {column} (got {by_column[column].title} and {block.title}, expected one). Name them by what they are, or put them into files of their own.")  # fmt: skip
        else:
            by_column[column] = block
    if "condition" not in by_column and not factors:
        raise InputError(f"{path}: a plate without a condition (got {', '.join(b.title for b in blocks)}, expected a block called condition, or drug and dose). Add it.")  # fmt: skip
    first = by_column.get("condition") or factors[0]
    for block in blocks:
        for well, (value, where) in block.wells.items():
            if well not in first.wells:
                raise InputError(f"{path}: {where}: {block.title} of a well that has no {first.title} (got {value} in {well}, expected it empty). Fill in the {first.title}, or empty the cell.")  # fmt: skip
    rows = []
    for well, (value, _) in first.wells.items():
        condition = value if "condition" in by_column else _joined(well, factors)
        row = {"well": well, "condition": condition}
        row |= {c: b.wells[well][0] for c, b in by_column.items() if c != "condition" and well in b.wells}
        rows.append(row)
    return rows


def _joined(well: str, factors: Sequence[Block]) -> str:
    """Return a condition of several factors; a dose with its unit, and none where it is 0."""
    parts = []
    for block in factors:
        value = block.wells.get(well, ("", ""))[0]
        if _word(block.title).startswith(_DOSE):
            number, unit = value.replace(",", "."), _UNIT.search(block.title)
            if not value or re.fullmatch(r"0+(\.0+)?", number):
                continue
            value = f"{number} {unit[1]}" if unit and re.fullmatch(r"[\d.]+(e-?\d+)?", number, re.IGNORECASE) else value
        if value:
            parts.append(value)
    return " ".join(parts)


def _word(title: str) -> str:
    return _UNIT.sub("", title).strip().lower()


def _column(title: str) -> str | None:
    word = _word(title)
    return next((column for column, words in _COLUMNS.items() if word in words), None)


def _corners(grid: Grid) -> Iterator[tuple[int, int, int, int]]:
    """Give the corner of each block, and how many rows and columns follow."""
    for r, line in enumerate(grid.cells):
        for c in range(len(line)):
            across = 0
            while _number(grid.at(r, c + 1 + across)) == across + 1:
                across += 1
            down = 0
            while grid.at(r + 1 + down, c).upper() == row_letters(down):
                down += 1
            if across >= 2 and down >= 2:
                yield r, c, down, across


def _blocks(path: Path, grid: Grid) -> Iterator[Block]:
    for r, c, down, across in _corners(grid):
        title = grid.at(r, c) or next((t for k in range(c, c + across + 1) if (t := grid.at(r - 1, k))), "") or grid.name or "condition"  # fmt: skip
        wells = {}
        for i in range(down):
            for j in range(across):
                value, where = grid.at(r + 1 + i, c + 1 + j), grid.address(r + 1 + i, c + 1 + j)
                if value.startswith("#"):
                    raise InputError(f"{path}: {where}: an error of the spreadsheet (got {value}, expected a value). Correct the formula.")  # fmt: skip
                if value:
                    wells[f"{row_letters(i)}{j + 1}"] = (value, where)
        if wells:
            yield Block(title, wells)


def _number(text: str) -> int:
    return int(float(text)) if re.fullmatch(r"0*\d{1,2}(\.0)?", text) else 0


def row_letters(k: int) -> str:
    """Return the name of a plate's row, from 0.

    Examples
    --------
    >>> row_letters(0), row_letters(25), row_letters(26), row_letters(31)
    ('A', 'Z', 'AA', 'AF')
    """
    return chr(65 + k) if k < 26 else "A" + chr(65 + k - 26)
