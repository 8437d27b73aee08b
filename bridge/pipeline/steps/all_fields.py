"""The cells, nuclei and counts of all finished fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from bridge.many_rows import read_tables
from bridge.pipeline.cell_classes import CLASS, CLASS_TABLE, is_classified
from bridge.pipeline.columns import columns_of
from bridge.pipeline.step import Task
from bridge.tables import CELL, COUNTS, DROPPED, ROWS, read_table, typed_table

_NO_NUCLEI = dict.fromkeys(("n_orphan_nuclei", "n_cells_without_nucleus", "n_cells_with_several"))
_KEYS = ("field_id", "condition", "replicate", "sample")


def rows_of(
    task: Task, what: str = CELL, names: Collection[str] | None = None, condition: str | None = None
) -> pd.DataFrame:
    """Return the cells, or the nuclei, of all finished fields or of those of a condition, from the fields' own files.

    Parameters
    ----------
    task : Task
    what : str
        ``cell`` or ``nucleus``.
    names : collection of str, optional
        The columns that are wanted: of very many cells nobody holds them all.
    condition : str, optional
    """
    items = [item for item in task.fields if condition in (None, item.condition)]
    return read_tables((task.folder.table(item, ROWS[what]) for item in items), columns_of(task.context, what), names)


def with_classes(task: Task, cells: pd.DataFrame, condition: str | None = None) -> pd.DataFrame:
    """Add the classes of the cells of finished fields, where the run has a classifier."""
    if not is_classified(task.context):
        return cells
    items = [item for item in task.fields if condition in (None, item.condition)]
    parts = [read_table(task.folder.class_table(item), CLASS_TABLE).assign(field_id=item.field_id) for item in items]
    if not parts:
        return cells.assign(**{c.name: "" if c.dtype == "str" else np.nan for c in CLASS})
    return cells.merge(pd.concat(parts, ignore_index=True), "left", ["field_id", "label"], validate="one_to_one")


def all_counts(task: Task, flags: Mapping[str, list[str]] = MappingProxyType({})) -> pd.DataFrame:
    """Return the numbers of cells and nuclei of all finished fields."""
    counted = task.context.plan.count_channel is not None
    rows = []
    for item in task.fields:
        found = task.facts["segment"].get(item.field_id, {})
        filtered = task.facts["filter"].get(item.field_id)
        # Neither: a given label image as it is.
        dropped = (
            {**found.get("dropped", {}), **(filtered or {}).get("dropped", {})}
            if "dropped" in found or filtered
            else None
        )
        rows.append(
            {
                **{key: getattr(item, key) for key in _KEYS},
                "n_cells": task.facts["measure"][item.field_id]["n_cells"],
                "n_nuclei": task.facts["count"].get(item.field_id, {}).get("n_nuclei") if counted else None,
                **{f"n_dropped_{why}": None if dropped is None else dropped.get(why, 0) for why in DROPPED},
                **task.facts["measure"].get(item.field_id, {}).get("nuclei", _NO_NUCLEI),
                "flagged": "; ".join(flags.get(item.field_id, ())),
                "diameter_px": found.get("diameter_px"),
            }
        )
    return typed_table(rows, COUNTS)
