"""Tables and workbooks of all fields: cells, counts, replicates, conditions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bridge.acquisition.judgement import CHECKS
from bridge.assay.comparison import COMPARISONS
from bridge.assay.dna import PHASES
from bridge.assay.shares import SHARES
from bridge.assay.summary import condition_table, replicate_table
from bridge.assay.variance import VARIANCE, variance_split
from bridge.files import sha256
from bridge.pipeline.assay import GATES, assay, called_columns, gate_warnings, positive_channels, with_calls
from bridge.pipeline.cell_classes import (
    CLASS,
    CLASS_COUNTS,
    class_counts,
    class_names,
    class_replicate_columns,
    is_classified,
    replicates_by_class,
)
from bridge.pipeline.cell_cycle import cell_cycle, has_dna
from bridge.pipeline.columns import columns_of
from bridge.pipeline.extra_sheets import extra_sheets
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.all_fields import all_cells, all_counts, all_nuclei, with_classes
from bridge.pipeline.steps.checks import judged
from bridge.report.workbook import MAX_ROWS, write_workbook
from bridge.setting_options import ASSAY
from bridge.tables import (
    CELL,
    COUNTS,
    NUCLEUS,
    Column,
    empty_table,
    measure_column,
    measured_columns,
    read_table,
    replicate_columns,
    write_table,
)
from bridge.tracking.tables import TRACKS

TRACKED = (
    Column("track_id", "Int64", "", "the same cell in all frames of its series; empty in a still image"),
    Column("lineage_id", "Int64", "", "track from which all of its relatives come"),
    Column("frame", "Int64", "", "frame in the series, from 0"),
)
BY_HAND = Column("corrected", "bool", "", "a person changed its outline, or drew it (correct --apply)")
_TABLES = {
    "checks": CHECKS, "classes": CLASS_COUNTS, "comparisons": COMPARISONS, "counts": COUNTS, "gates": GATES, "phases": PHASES, "shares": SHARES, "variance": VARIANCE,
}  # fmt: skip


def _corrected(task: Task, cells: pd.DataFrame) -> Any:
    by_hand = {
        (field_id, label) for field_id, facts in task.facts["corrected"].items() for label in facts.get("labels", [])
    }
    return [cell in by_hand for cell in zip(cells["field_id"], cells["label"], strict=True)]


def _with_tracks(task: Task, cells: pd.DataFrame) -> pd.DataFrame:
    names = ["field_id", "label", *(c.name for c in TRACKED)]
    tracks = read_table(task.folder.tracking().parent / "tracks.csv", TRACKS)[names]
    joined = cells.merge(tracks, "left", ["field_id", "label"], validate="one_to_one")
    return joined.astype({c.name: c.dtype for c in TRACKED})


def _variance(task: Task, cells: pd.DataFrame, nuclei: pd.DataFrame | None) -> pd.DataFrame:
    """Return where the spread of each measured channel's mean comes from."""
    units, unit = (cells, CELL) if nuclei is None else (nuclei, NUCLEUS)
    columns = [measure_column(channel, "Mean", unit) for channel in task.context.plan.measure_channels]
    parts = [variance_split(units, column, unit) for column in columns if column in units]
    return pd.concat(parts, ignore_index=True) if parts else empty_table(VARIANCE)


def _tables(task: Task) -> Outcome:
    called = called_columns(task.context)
    names = class_names(task.context)
    tracked = task.folder.tracking().is_file() and task.folder.tracking().with_name("tracks.csv").is_file()
    columns = (*columns_of(task.context), *called, *(CLASS if names else ()), *(TRACKED if tracked else ()), BY_HAND)
    conditions = task.context.plan.conditions
    out = task.folder.out
    checks = judged(task.context, task.fields, task.facts["checks"], task.facts["measure"])
    cells, nuclei, counts = all_cells(task), all_nuclei(task), all_counts(task, checks.flags)
    assayed = assay(task.context, cells if nuclei is None else nuclei, counts)
    cells, nuclei = with_calls(assayed, cells, nuclei)
    cells = cells.assign(corrected=_corrected(task, cells))
    cells = with_classes(task, cells)
    if tracked:
        cells = _with_tracks(task, cells)
    replicates = replicate_table(cells, counts, columns, conditions)
    tables = {
        "shares": assayed.shares,
        "comparisons": assayed.comparisons,
        **({"phases": cell_cycle(task.context, nuclei)[1]} if nuclei is not None and has_dna(task.context) else {}),
        **({"classes": class_counts(cells, names, conditions)} if names else {}),
        "counts": counts,
        "variance": _variance(task, cells, nuclei),
        "gates": assayed.gates,
        "checks": checks.table,
    }
    measured = measured_columns(columns)
    declared = (
        *columns,
        *(columns_of(task.context, NUCLEUS) if nuclei is not None else ()),
        *(column for name in tables for column in _TABLES[name]),
        *replicate_columns(measured),
        Column("n_replicates", "int64", "", "replicates; 0 where none is known"),
    )
    write_table(out / "cells.csv", cells, columns)
    if nuclei is not None:
        write_table(out / "nuclei.csv", nuclei, (*columns_of(task.context, NUCLEUS), *called))
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table, _TABLES[name])
    write_table(out / "replicates.csv", replicates, replicate_columns(measured))
    if names:
        by_class = replicates_by_class(cells, counts, measured, names, conditions, columns)
        write_table(out / "replicates_by_class.csv", by_class, class_replicate_columns(measured))
    summary = condition_table(cells, counts, columns, conditions)
    first = {name: tables.pop(name) for name in ("shares", "comparisons")}
    tables["checks"] = checks.table[checks.table["flagged"]]
    sheets = {**first, "summary": summary, "replicates": replicates, **tables}
    extra = extra_sheets(task.context, cells if nuclei is None else nuclei, assayed.shares)
    split = _workbooks(task, cells, nuclei, sheets, columns, declared, extra)
    return Outcome(cells, {"warnings": [*checks.warnings, *gate_warnings(assayed), *split]})


def _workbooks(
    task: Task,
    cells: pd.DataFrame,
    nuclei: pd.DataFrame | None,
    sheets: dict[str, pd.DataFrame],
    columns: Sequence[Column],
    declared: Sequence[Column],
    extra: dict[str, list[list[Any]]],
) -> list[str]:
    """Write the tables of single conditions and the workbook of all; say where Excel has too few rows."""
    conditions = task.context.plan.conditions
    parts = {name: cells[cells["condition"] == name] for name in conditions}
    for name in conditions:
        write_table(task.folder.condition_table(name, ".csv"), parts[name], columns)
        own = {name: parts[name]}
        if nuclei is not None:
            own["nuclei"] = nuclei[nuclei["condition"] == name]
        write_workbook(task.folder.condition_table(name, ".xlsx"), own, declared)
    titled = {f"{name} (cells)" if name in sheets else name: parts[name] for name in conditions}
    everything = {"all cells": cells} if len(cells) <= MAX_ROWS else {}
    everything |= {"all nuclei": nuclei} if nuclei is not None and len(nuclei) <= MAX_ROWS else {}
    every = {**sheets, **everything, **titled}
    meant: dict[str, Sequence[Column]] = {n: _TABLES[n] for n in every if n in _TABLES} | {"all cells": columns}
    if nuclei is not None:
        meant["all nuclei"] = (*columns_of(task.context, NUCLEUS), *called_columns(task.context))
    meant |= dict.fromkeys(titled, columns)
    path = task.folder.condition_table("all_conditions", ".xlsx")
    named = write_workbook(path, every, declared, plain=extra, own=meant)
    if len(named) == len(every):
        return []
    return [
        f"all_conditions.xlsx: a condition has more cells than Excel's {MAX_ROWS + 1:,} rows and is split over several sheets"
    ]


def _files(task: Task) -> list[Path]:
    folder, conditions = task.folder, task.context.plan.conditions
    left_out = {*(() if has_dna(task.context) else ["phases"]), *(() if is_classified(task.context) else ["classes"])}
    names = ["cells", "replicates", *(name for name in _TABLES if name not in left_out)]
    names += ["replicates_by_class"] if is_classified(task.context) else []
    names += ["nuclei"] if task.context.plan.count_channel else []
    return [
        *(folder.out / f"{name}.csv" for name in names),
        folder.condition_table("all_conditions", ".xlsx"),
        *(folder.condition_table(name, ending) for ending in (".csv", ".xlsx") for name in conditions),
    ]


def _made_from(task: Task) -> dict[str, Any]:
    return {
        "conditions": list(task.context.plan.conditions),
        "positive": list(positive_channels(task.context)),
        "classes": list(class_names(task.context)),
        "tracks": sha256(tracks) if (tracks := task.folder.tracking().with_name("tracks.csv")).is_file() else None,
    }


# Tables follow from the fields: more fields make new ones, unasked.
TABLES = Step(
    "tables", "experiment", _tables, lane="tables", needs=("segment", "filter", "corrected", "checks", "classes", "measure", "count"), outputs=_files, made_from=_made_from,
    settings=(ASSAY,), load=all_cells, derived=True, words="tables and figures",
)  # fmt: skip
