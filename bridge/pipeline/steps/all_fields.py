"""The cells, nuclei and counts of all finished fields."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from bridge.pipeline.cell_classes import CLASS, is_classified
from bridge.pipeline.columns import columns_of
from bridge.pipeline.step import Task
from bridge.tables import COUNTS, DROPPED, NUCLEUS, empty_table, typed_table

_NO_NUCLEI = dict.fromkeys(("n_orphan_nuclei", "n_cells_without_nucleus", "n_cells_with_several"))
_KEYS = ("field_id", "condition", "replicate", "sample")


def all_cells(task: Task) -> pd.DataFrame:
    """Return the cells of all finished fields."""
    parts = [cells for item in task.fields if len(cells := task.given["measure"][item.field_id].cells)]
    return pd.concat(parts, ignore_index=True) if parts else empty_table(columns_of(task.context))


def all_nuclei(task: Task) -> pd.DataFrame | None:
    """Return the nuclei of all finished fields; None without a count channel."""
    if task.context.plan.count_channel is None:
        return None
    found = [task.given["measure"][item.field_id].nuclei for item in task.fields]
    parts = [nuclei for nuclei in found if nuclei is not None and len(nuclei)]
    return pd.concat(parts, ignore_index=True) if parts else empty_table(columns_of(task.context, NUCLEUS))


def with_classes(task: Task, cells: pd.DataFrame) -> pd.DataFrame:
    """Add the classes of the cells of all finished fields, where the run has a classifier."""
    if not is_classified(task.context):
        return cells
    parts = [task.given["classes"][item.field_id].assign(field_id=item.field_id) for item in task.fields]
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
                "n_cells": len(task.given["measure"][item.field_id].cells),
                "n_nuclei": task.facts["count"].get(item.field_id, {}).get("n_nuclei") if counted else None,
                **{f"n_dropped_{why}": None if dropped is None else dropped.get(why, 0) for why in DROPPED},
                **task.facts["measure"].get(item.field_id, {}).get("nuclei", _NO_NUCLEI),
                "flagged": "; ".join(flags.get(item.field_id, ())),
                "diameter_px": found.get("diameter_px"),
            }
        )
    return typed_table(rows, COUNTS)
