"""Tables and workbooks of all fields: cells, counts, replicates, conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bridge.assay.summary import condition_table, replicate_table
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.measure import columns_of
from bridge.report.workbook import MAX_ROWS, write_workbook
from bridge.tables import (
    COUNTS,
    DROPPED,
    Column,
    empty_table,
    measured_columns,
    replicate_columns,
    typed_table,
    write_table,
)

_KEYS = ("field_id", "condition", "replicate", "sample")


def all_cells(task: Task) -> pd.DataFrame:
    """Return the cells of all finished fields."""
    parts = [cells for item in task.fields if len(cells := task.given["measure"][item.field_id])]
    return pd.concat(parts, ignore_index=True) if parts else empty_table(columns_of(task.context))


def all_counts(task: Task) -> pd.DataFrame:
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
                "n_cells": len(task.given["measure"][item.field_id]),
                "n_nuclei": task.facts["count"].get(item.field_id, {}).get("n_nuclei") if counted else None,
                **{f"n_dropped_{why}": None if dropped is None else dropped.get(why, 0) for why in DROPPED},
                "diameter_px": found.get("diameter_px"),
            }
        )
    return typed_table(rows, COUNTS)


def _tables(task: Task) -> Outcome:
    columns, conditions, out = columns_of(task.context), task.context.plan.conditions, task.folder.out
    cells, counts = all_cells(task), all_counts(task)
    replicates = replicate_table(cells, counts, columns, conditions)
    summary = condition_table(cells, counts, columns, conditions)
    measured = measured_columns(columns)
    declared = (
        *columns,
        *COUNTS,
        *replicate_columns(measured),
        Column("n_replicates", "int64", "", "replicates; 0 where none is known"),
    )
    write_table(out / "cells.csv", cells, columns)
    write_table(out / "counts.csv", counts, COUNTS)
    write_table(out / "replicates.csv", replicates, replicate_columns(measured))
    parts = {name: cells[cells["condition"] == name] for name in conditions}
    for name in conditions:
        write_table(task.folder.condition_table(name, ".csv"), parts[name], columns)
        write_workbook(task.folder.condition_table(name, ".xlsx"), {name: parts[name]}, declared)
    sheets = {"summary": summary, "replicates": replicates, "counts": counts}
    titled = {f"{name} (cells)" if name in sheets else name: parts[name] for name in conditions}
    named = write_workbook(task.folder.condition_table("all_conditions", ".xlsx"), {**sheets, **titled}, declared)
    split = len(named) > len(sheets) + len(conditions)
    warning = f"all_conditions.xlsx: a condition has more cells than Excel's {MAX_ROWS + 1:,} rows and is split over several sheets"
    return Outcome(cells, {"warnings": [warning] if split else []})


def _files(task: Task) -> list[Path]:
    folder, conditions = task.folder, task.context.plan.conditions
    return [
        *(folder.out / name for name in ("cells.csv", "counts.csv", "replicates.csv")),
        folder.condition_table("all_conditions", ".xlsx"),
        *(folder.condition_table(name, ending) for ending in (".csv", ".xlsx") for name in conditions),
    ]


def _made_from(task: Task) -> dict[str, Any]:
    return {"conditions": list(task.context.plan.conditions)}


# Tables follow from the fields: more fields make new ones, unasked.
TABLES = Step(
    "tables", "experiment", _tables, lane="tables", needs=("segment", "filter", "measure", "count"), outputs=_files, made_from=_made_from,
    load=all_cells, derived=True, words="tables and figures",
)  # fmt: skip
