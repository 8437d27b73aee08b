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
_FACTORS = ("drug", "compound", "inhibitor", "cell line", "line", "sirna", "genotype", "time", "serum", "medium")
_UNIT = re.compile(r"[(\[]\s*([^)\]]+?)\s*[)\]]\s*$")


@dataclass(frozen=True)
class Block:
    """One plate-shaped table.

    Attributes
    ----------
    title : str
        What the factor is called; empty where nothing says it.
    sheet : str
        The sheet it is on.
    wells : dict of str to (str, str)
        Value and cell of each well that is not empty, by the well's name.
    """

    title: str
    sheet: str
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
        Sheets called plate... are plates of their own.

    Returns
    -------
    list of dict
        ``well, condition`` and, where there are such blocks, ``replicate, sample, cell_type, plate``. The condition is
        the block of this name, else what the other blocks say, one after the other.

    Raises
    ------
    InputError
        A value that cannot be used, named by its cell; wells that some of the blocks leave out; tables of which nobody
        knows what they are.
    """
    blocks = [block for grid in grids for block in _blocks(path, grid)]
    plates = list(dict.fromkeys(block.sheet for block in blocks))
    if len(plates) > 1 and all("plate" in name.lower() for name in plates):
        return [
            {**row, "plate": name} for name in plates for row in _rows(path, [b for b in blocks if b.sheet == name])
        ]
    return _rows(path, blocks)


def _rows(path: Path, blocks: Sequence[Block]) -> list[dict[str, str]]:
    by_column: dict[str, Block] = {}
    factors: list[Block] = []
    unnamed = [block for block in blocks if not block.title]
    if len(unnamed) > 1 or (unnamed and any(_column(b.title) == "condition" for b in blocks)):
        where = ", ".join(next(iter(b.wells.values()))[1] for b in unnamed)
        raise InputError(f"{path}: tables of which nobody says what they are (got those that begin at {where}; expected one at most). Write condition, replicate, drug or dose into the corner of each.")  # fmt: skip
    for block in blocks:
        column = _column(block.title) if block.title else "condition"
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
                raise InputError(f"{path}: {where}: {block.title} of a well that has no {first.title or 'condition'} (got {value} in {well}, expected it empty). Fill in the {first.title or 'condition'}, or empty the cell.")  # fmt: skip
    if "condition" not in by_column:
        _require_doses(path, first, factors[1:])
    rows = []
    for well, (value, _) in first.wells.items():
        condition = value if "condition" in by_column else _joined(path, well, factors)
        row = {"well": well, "condition": condition}
        row |= {c: b.wells[well][0] for c, b in by_column.items() if c != "condition" and well in b.wells}
        rows.append(row)
    return rows


def _require_doses(path: Path, first: Block, others: Sequence[Block]) -> None:
    """Refuse a factor that some wells of a treatment have and others have not: one may have been forgotten."""
    for block in others:
        for value in dict.fromkeys(value for value, _ in first.wells.values()):
            own = [well for well, (of, _) in first.wells.items() if of == value]
            there = [well for well in own if well in block.wells]
            lacking = [well for well in own if well not in block.wells]
            if there and lacking:
                raise InputError(f"{path}: {block.title} of {value} is missing in {lacking[0]} (got {len(there)} of its {len(own)} wells, expected all or none). Fill it in; 0 is a value, too.")  # fmt: skip


def _joined(path: Path, well: str, factors: Sequence[Block]) -> str:
    """Return a condition of several factors; a dose with its unit, and none where it is 0 beside something else."""
    parts, zeros = [], []
    for block in factors:
        value, where = block.wells.get(well, ("", ""))
        if value and _word(block.title).startswith(_DOSE):
            unit = _UNIT.search(block.title)
            number = _number_of(path, value, where)
            if number is not None:
                value = f"{number:g} {unit[1]}" if unit else f"{number:g}"
                if number == 0:
                    zeros.append(value)
                    continue
        if value:
            parts.append(value)
    return " ".join(parts or zeros)


def _number_of(path: Path, text: str, where: str) -> float | None:
    """Return a dose as a number, so that 0,50 and 0.5 are one; None where it is a word."""
    if re.fullmatch(r"\d{1,3}(,\d{3})+", text) and not text.startswith("0,"):
        raise InputError(f"{path}: {where}: a dose that could be two (got {text}, which is {text.replace(',', '')} or {text.replace(',', '.', 1)}). Write it without the comma.")  # fmt: skip
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def _word(title: str) -> str:
    return _UNIT.sub("", title).strip().lower()


def _column(title: str) -> str | None:
    word = _word(title)
    return next((column for column, words in _COLUMNS.items() if word in words), None)


def _is_known(title: str) -> bool:
    """Return whether a sheet's name says what its table is."""
    return _column(title) is not None or _word(title).startswith((*_DOSE, *_FACTORS))


def _corners(grid: Grid) -> Iterator[tuple[int, int, int, int]]:
    """Give the corner of each block, and how many rows and columns follow."""
    for r, line in enumerate(grid.cells):
        for c in range(len(line)):
            start, top = _number(grid.at(r, c + 1)), _letter(grid.at(r + 1, c))
            if start < 1 or top < 0 or _number(grid.at(r, c)) == start - 1 > 0:
                continue
            across = down = 0
            while _number(grid.at(r, c + 1 + across)) == start + across:
                across += 1
            while _letter(grid.at(r + 1 + down, c)) == top + down:
                down += 1
            if across >= 2 and (down >= 2 or _is_known(grid.at(r, c))):
                yield r, c, down, across


def _blocks(path: Path, grid: Grid) -> Iterator[Block]:
    for r, c, down, across in _corners(grid):
        _require_whole(path, grid, r, c, down, across)
        above = "" if _letter(grid.at(r - 1, c)) >= 0 else next((t for k in range(c, c + across + 1) if (t := grid.at(r - 1, k))), "")  # fmt: skip
        title = grid.at(r, c) or above or (grid.name if _is_known(grid.name) else "")
        wells = {}
        for i in range(down):
            for j in range(across):
                value, where = grid.at(r + 1 + i, c + 1 + j), grid.address(r + 1 + i, c + 1 + j)
                if value.startswith("#"):
                    raise InputError(f"{path}: {where}: an error of the spreadsheet (got {value}, expected a value). Correct the formula.")  # fmt: skip
                if value:
                    wells[f"{grid.at(r + 1 + i, c).upper()}{_number(grid.at(r, c + 1 + j))}"] = (value, where)
        if wells:
            yield Block(title, grid.name, wells)


def _require_whole(path: Path, grid: Grid, r: int, c: int, down: int, across: int) -> None:
    """Refuse a plate whose row letters or column numbers go on behind a gap: the rest would be left out."""
    last, end = _letter(grid.at(r + down, c)), _number(grid.at(r, c + across))
    if any(_letter(grid.at(r + down + k, c)) > last and _number(grid.at(r + down + k - 1, c + 1)) != 1 for k in (2, 3)):
        raise InputError(f"{path}: {grid.address(r + down + 1, c)}: the letter of a row is missing (got {grid.at(r + down + 1, c) or 'an empty cell'}, expected {row_letters(last + 1)}). Correct it.")  # fmt: skip
    if any(_number(grid.at(r, c + across + k)) > end for k in (2, 3)):
        raise InputError(f"{path}: {grid.address(r, c + across + 1)}: the number of a column is missing (got {grid.at(r, c + across + 1) or 'an empty cell'}, expected {end + 1}). Correct it.")  # fmt: skip


def _number(text: str) -> int:
    return int(float(text)) if re.fullmatch(r"0*\d{1,2}(\.0)?", text) else 0


def _letter(text: str) -> int:
    """Return the number of a plate's row, from 0; -1 where a text is none."""
    match = re.fullmatch(r"(A?)([A-Z])", text.strip().upper())
    if match is None or (match[1] and match[2] > "F"):
        return -1
    return ord(match[2]) - 65 + (26 if match[1] else 0)


def row_letters(k: int) -> str:
    """Return the name of a plate's row, from 0.

    Examples
    --------
    >>> row_letters(0), row_letters(25), row_letters(26), row_letters(31)
    ('A', 'Z', 'AA', 'AF')
    """
    return chr(65 + k) if k < 26 else "A" + chr(65 + k - 26)
