"""The workbooks of a run: one for each condition, one of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from bridge.names import number
from bridge.pipeline.extra_sheets import extra_sheets
from bridge.pipeline.finished_rows import as_parquet, finished_columns, most_rows
from bridge.report.workbook import write_workbook
from bridge.tables import CELL, NUCLEUS, ROWS

if TYPE_CHECKING:
    from bridge.pipeline.step import Task
    from bridge.tables import Column

_MOST_ROWS = 200_000  # of single cells in a workbook: a million take minutes to write, and to open
Rows = Mapping[str, pd.DataFrame]  # of cells and nuclei


class Workbooks:
    """Writes them, while one condition after the other is handed in.

    One that would have very many rows of single cells is written without them.

    Parameters
    ----------
    task : Task
    declared : sequence of Column
        Every column that may occur.
    tables : mapping of str to sequence of Column
        Columns of the tables of all fields.
    """

    def __init__(self, task: Task, declared: Sequence[Column], tables: Mapping[str, Sequence[Column]]) -> None:
        self._task, self._declared, self._tables = task, declared, tables
        self._all_fit = most_rows(task.facts) <= _MOST_ROWS
        self._kept: dict[str, Rows] = {}
        self._without: list[str] = []

    def add(self, condition: str, rows: Rows) -> None:
        """Write the workbook of a condition."""
        fits = max(map(len, rows.values())) <= _MOST_ROWS
        path = self._task.folder.condition_table(condition, ".xlsx")
        shown = {what: table if fits else table.head(0) for what, table in rows.items()}
        sheets = {condition: shown[CELL], **({"nuclei": shown[NUCLEUS]} if NUCLEUS in rows else {})}
        write_workbook(path, sheets, self._declared)
        if not fits:
            self._without.append(path.name)
        if self._all_fit:
            self._kept[condition] = rows

    def write(self, sheets: Mapping[str, pd.DataFrame], units: pd.DataFrame, shares: pd.DataFrame) -> list[str]:
        """Write the workbook of all conditions; return which workbooks hold no single cells.

        Parameters
        ----------
        sheets : mapping of str to DataFrame
            Tables of all fields.
        units : DataFrame
            What is positive or not: nuclei, or cells.
        shares : DataFrame
            `bridge.assay.shares.SHARES`.
        """
        context = self._task.context
        every = {**sheets, **self._all_together()}
        titled = {f"{name} (cells)" if name in sheets else name: rows[CELL] for name, rows in self._kept.items()}
        meant = {name: self._tables[name] for name in every if name in self._tables}
        meant |= dict.fromkeys(("all cells", *titled), finished_columns(context))
        if context.plan.count_channel:
            meant["all nuclei"] = finished_columns(context, NUCLEUS)
        path = self._task.folder.condition_table("all_conditions", ".xlsx")
        plain = extra_sheets(context, units, shares)
        write_workbook(path, {**every, **titled}, self._declared, plain=plain, own=meant)
        return self._said() if not self._all_fit else []

    def _all_together(self) -> dict[str, pd.DataFrame]:
        kinds = next(iter(self._kept.values()), {})
        return {
            f"all {ROWS[what]}": pd.concat([rows[what] for rows in self._kept.values()], ignore_index=True)
            for what in kinds
        }

    def _said(self) -> list[str]:
        form = "parquet" if as_parquet(self._task.context, self._task.facts) else "csv"
        names = ", ".join(["all_conditions.xlsx", *self._without[:5]])
        more = f" and {number(len(self._without) - 5, 'workbook')} more" if len(self._without) > 5 else ""
        return [f"{names}{more}: without single cells (above {_MOST_ROWS:,} rows Excel takes minutes to open a workbook); they are in cells.{form}"]  # fmt: skip
