"""The tables of all cells and all nuclei of a run: their columns, where they are, and how they are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from bridge.many_rows import Parts, column_names, read_tables
from bridge.pipeline.assay import called_columns
from bridge.pipeline.cell_classes import CLASS, is_classified
from bridge.pipeline.columns import columns_of
from bridge.report.workbook import MAX_ROWS
from bridge.tables import CELL, ROWS, Column

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    import pandas as pd

    from bridge.pipeline.step import Context

TRACKED = (
    Column("track_id", "Int64", "", "the same cell in all frames of its series; empty in a still image"),
    Column("lineage_id", "Int64", "", "track from which all of its relatives come"),
    Column("frame", "Int64", "", "frame in the series, from 0"),
)
BY_HAND = Column("corrected", "bool", "", "a person changed its outline, or drew it (correct --apply)")


def finished_columns(context: Context, what: str = CELL) -> tuple[Column, ...]:
    """Return the columns of `cells.csv`, or of `nuclei.csv`: what is measured, and what is known of all fields."""
    columns = (*columns_of(context, what), *called_columns(context))
    if what != CELL:
        return columns
    return (
        *columns,
        *(CLASS if is_classified(context) else ()),
        *(TRACKED if is_tracked(context) else ()),
        BY_HAND,
    )


def is_tracked(context: Context) -> bool:
    """Return whether the cells of a run are followed over its series."""
    return context.folder.tracking().is_file() and context.folder.tracks().is_file()


def most_rows(facts: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many cells, or nuclei, a run has, whatever is more; `facts` of its fields, by step."""
    cells = sum(of["n_cells"] for of in facts["measure"].values())
    nuclei = sum(of.get("n_nuclei") or 0 for of in facts["count"].values())
    return int(max(cells, nuclei))


def as_parquet(context: Context, facts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether the rows are kept as Parquet: as asked for, else where a sheet of Excel could not hold them."""
    if context.settings.cell_table == "auto":
        return most_rows(facts) > MAX_ROWS
    return context.settings.cell_table == "parquet"


def csv_of(context: Context, what: str) -> Path:
    """Return the file of the table as CSV."""
    return context.folder.out / f"{ROWS[what]}.csv"


def parts_of(context: Context, what: str) -> Parts:
    """Return the folder of the table as Parquet."""
    return Parts(context.folder.out / f"{ROWS[what]}.parquet", context.plan.conditions)


def columns_there(context: Context, what: str = CELL) -> tuple[Column, ...]:
    """Return those columns that the table of a finished run has.

    Raises
    ------
    TableError
        There is no such table.
    """
    parts = parts_of(context, what)
    names = parts.names() if parts.folder.is_dir() else column_names(csv_of(context, what))
    return tuple(column for column in finished_columns(context, what) if column.name in names)


def finished_rows(
    context: Context, what: str, columns: Sequence[Column], fields: Collection[str] | None = None
) -> pd.DataFrame:
    """Return the table of cells, or of nuclei, of a finished run.

    Parameters
    ----------
    context : Context
    what : str
        ``cell`` or ``nucleus``.
    columns : sequence of Column
        Those that are wanted.
    fields : collection of str, optional
        The fields that are wanted.

    Raises
    ------
    TableError
        The table is missing, or is not what this program wrote.
    """
    parts = parts_of(context, what)
    if parts.folder.is_dir():
        return parts.read(columns, fields)
    if fields is None:
        return read_tables([csv_of(context, what)], columns)
    key = [c for c in finished_columns(context, what) if c.name == "field_id" and c not in columns]
    table = read_tables([csv_of(context, what)], [*key, *columns])
    table = table[table["field_id"].isin(set(fields))].reset_index(drop=True)
    return table[[column.name for column in columns]]
