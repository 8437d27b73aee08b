"""Tables and workbooks of all fields: cells, counts, replicates, conditions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from bridge.acquisition.judgement import CHECKS
from bridge.assay.comparison import COMPARISONS
from bridge.assay.shares import SHARES
from bridge.assay.summary import condition_table, replicate_table
from bridge.pipeline.assay import GATES, assay, called_columns, gate_warnings, positive_channels, with_calls
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.checks import judged
from bridge.pipeline.steps.measure import columns_of
from bridge.report.workbook import MAX_ROWS, write_workbook
from bridge.setting_options import ASSAY
from bridge.tables import (
    COUNTS,
    DROPPED,
    NUCLEUS,
    Column,
    empty_table,
    measured_columns,
    replicate_columns,
    typed_table,
    write_table,
)

BY_HAND = Column("corrected", "bool", "", "a person changed its outline, or drew it (correct --apply)")
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


def _corrected(task: Task, cells: pd.DataFrame) -> Any:
    by_hand = {
        (field_id, label) for field_id, facts in task.facts["corrected"].items() for label in facts.get("labels", [])
    }
    return [cell in by_hand for cell in zip(cells["field_id"], cells["label"], strict=True)]


def _tables(task: Task) -> Outcome:
    called = called_columns(task.context)
    columns, conditions, out = (
        (*columns_of(task.context), *called, BY_HAND),
        task.context.plan.conditions,
        task.folder.out,
    )
    checks = judged(task.context, task.fields, task.facts["checks"], task.facts["measure"])
    cells, nuclei, counts = all_cells(task), all_nuclei(task), all_counts(task, checks.flags)
    assayed = assay(task.context, cells if nuclei is None else nuclei, counts)
    cells, nuclei = with_calls(assayed, cells, nuclei)
    cells = cells.assign(corrected=_corrected(task, cells))
    replicates = replicate_table(cells, counts, columns, conditions)
    summary = condition_table(cells, counts, columns, conditions)
    measured = measured_columns(columns)
    declared = (
        *columns,
        *(columns_of(task.context, NUCLEUS) if task.context.plan.count_channel else ()),
        *COUNTS,
        *SHARES,
        *COMPARISONS,
        *GATES,
        *CHECKS,
        *replicate_columns(measured),
        Column("n_replicates", "int64", "", "replicates; 0 where none is known"),
    )
    write_table(out / "cells.csv", cells, columns)
    if nuclei is not None:
        write_table(out / "nuclei.csv", nuclei, (*columns_of(task.context, NUCLEUS), *called))
    write_table(out / "checks.csv", checks.table, CHECKS)
    write_table(out / "gates.csv", assayed.gates, GATES)
    write_table(out / "shares.csv", assayed.shares, SHARES)
    write_table(out / "comparisons.csv", assayed.comparisons, COMPARISONS)
    write_table(out / "counts.csv", counts, COUNTS)
    write_table(out / "replicates.csv", replicates, replicate_columns(measured))
    parts = {name: cells[cells["condition"] == name] for name in conditions}
    for name in conditions:
        write_table(task.folder.condition_table(name, ".csv"), parts[name], columns)
        sheets = {name: parts[name]}
        if nuclei is not None:
            sheets["nuclei"] = nuclei[nuclei["condition"] == name]
        write_workbook(task.folder.condition_table(name, ".xlsx"), sheets, declared)
    sheets = {
        "shares": assayed.shares,
        "comparisons": assayed.comparisons,
        "summary": summary,
        "replicates": replicates,
        "counts": counts,
        "gates": assayed.gates,
        "checks": checks.table[checks.table["flagged"]],
    }
    titled = {f"{name} (cells)" if name in sheets else name: parts[name] for name in conditions}
    named = write_workbook(task.folder.condition_table("all_conditions", ".xlsx"), {**sheets, **titled}, declared)
    split = len(named) > len(sheets) + len(conditions)
    warning = f"all_conditions.xlsx: a condition has more cells than Excel's {MAX_ROWS + 1:,} rows and is split over several sheets"
    return Outcome(cells, {"warnings": [*checks.warnings, *gate_warnings(assayed), *([warning] if split else [])]})


def _files(task: Task) -> list[Path]:
    folder, conditions = task.folder, task.context.plan.conditions
    return [
        *(
            folder.out / name
            for name in (
                "checks.csv",
                "cells.csv",
                "counts.csv",
                "replicates.csv",
                "gates.csv",
                "shares.csv",
                "comparisons.csv",
            )
        ),
        *([folder.out / "nuclei.csv"] if task.context.plan.count_channel else []),
        folder.condition_table("all_conditions", ".xlsx"),
        *(folder.condition_table(name, ending) for ending in (".csv", ".xlsx") for name in conditions),
    ]


def _made_from(task: Task) -> dict[str, Any]:
    return {"conditions": list(task.context.plan.conditions), "positive": list(positive_channels(task.context))}


# Tables follow from the fields: more fields make new ones, unasked.
TABLES = Step(
    "tables", "experiment", _tables, lane="tables", needs=("segment", "filter", "corrected", "checks", "measure", "count"), outputs=_files, made_from=_made_from,
    settings=(ASSAY,), load=all_cells, derived=True, words="tables and figures",
)  # fmt: skip
