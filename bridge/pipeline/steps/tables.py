"""Tables of all fields: cells, counts, replicates, conditions. Of very many cells those of one condition are in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bridge.acquisition.judgement import CHECKS
from bridge.assay.comparison import COMPARISONS
from bridge.assay.dna import PHASES
from bridge.assay.shares import SHARES
from bridge.assay.summary import condition_table, replicate_table
from bridge.assay.variance import VARIANCE, variance_split
from bridge.files import sha256
from bridge.many_rows import growing_csv
from bridge.pipeline.assay import (  # fmt: skip
    GATES,
    Assayed,
    assay,
    assay_columns,
    gate_warnings,
    positive_channels,
    unit_of,
    with_calls,
)
from bridge.pipeline.cell_classes import (
    CLASS_COUNTS,
    class_counts,
    class_names,
    class_replicate_columns,
    is_classified,
    replicates_by_class,
)
from bridge.pipeline.cell_cycle import cell_cycle, has_dna
from bridge.pipeline.finished_rows import TRACKED, as_parquet, csv_of, finished_columns, is_tracked, parts_of
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.all_fields import all_counts, rows_of, with_classes
from bridge.pipeline.steps.checks import judged
from bridge.pipeline.steps.workbooks import Rows, Workbooks
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

if TYPE_CHECKING:
    from collections.abc import Callable

_TABLES = {
    "checks": CHECKS, "classes": CLASS_COUNTS, "comparisons": COMPARISONS, "counts": COUNTS, "gates": GATES, "phases": PHASES, "shares": SHARES, "variance": VARIANCE,
}  # fmt: skip


def _tables(task: Task) -> Outcome:
    context, out = task.context, task.folder.out
    checks = judged(context, task.fields, task.facts["checks"], task.facts["measure"])
    counts = all_counts(task, checks.flags)
    units = rows_of(task, unit_of(context), assay_columns(context))
    assayed = assay(context, units, counts)
    measured = measured_columns(finished_columns(context))
    books = Workbooks(task, _declared(task, measured), _TABLES)
    sums: list[dict[str, pd.DataFrame]] = []
    with _writers(task) as write:
        for condition in context.plan.conditions:
            rows = _rows(task, condition, assayed.of(units["condition"] == condition))
            write(condition, rows)
            books.add(condition, rows)
            sums.append(_sums(task, condition, rows[CELL], counts))
    of_conditions = {name: pd.concat([part[name] for part in sums], ignore_index=True) for name in sums[0]}
    summary, replicates = of_conditions.pop("summary"), of_conditions.pop("replicates")
    if (by_class := of_conditions.pop("replicates_by_class", None)) is not None:
        order = {name: k for k, name in enumerate(class_names(context))}
        by_class = by_class.sort_values("class", key=lambda names: names.map(order), kind="stable")
        write_table(out / "replicates_by_class.csv", by_class, class_replicate_columns(measured))
    tables = {
        "shares": assayed.shares,
        "comparisons": assayed.comparisons,
        **({"phases": _phases(task, assayed, units)} if has_dna(context) else {}),
        **of_conditions,
        "counts": counts,
        "variance": _variance(task, units),
        "gates": assayed.gates,
        "checks": checks.table,
    }
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table, _TABLES[name])
    write_table(out / "replicates.csv", replicates, replicate_columns(measured))
    first = {name: tables.pop(name) for name in ("shares", "comparisons")}
    tables["checks"] = checks.table[checks.table["flagged"]]
    sheets = {**first, "summary": summary, "replicates": replicates, **tables}
    said = books.write(sheets, units, assayed.shares)
    return Outcome(None, {"warnings": [*checks.warnings, *gate_warnings(assayed), *said]})


def _rows(task: Task, condition: str, assayed: Assayed) -> Rows:
    """Return the cells and nuclei of a condition with what is known by now of all fields."""
    context = task.context
    cells = rows_of(task, CELL, condition=condition)
    nuclei = rows_of(task, NUCLEUS, condition=condition) if context.plan.count_channel else None
    cells, nuclei = with_calls(assayed, cells, nuclei)
    cells = with_classes(task, cells.assign(corrected=_corrected(task, cells)), condition)
    if is_tracked(context):
        cells = _with_tracks(task, cells)
    return {CELL: cells} if nuclei is None else {CELL: cells, NUCLEUS: nuclei}


def _corrected(task: Task, cells: pd.DataFrame) -> Any:
    by_hand = {
        (field_id, label) for field_id, facts in task.facts["corrected"].items() for label in facts.get("labels", [])
    }
    return [cell in by_hand for cell in zip(cells["field_id"], cells["label"], strict=True)]


def _with_tracks(task: Task, cells: pd.DataFrame) -> pd.DataFrame:
    names = ["field_id", "label", *(c.name for c in TRACKED)]
    tracks = read_table(task.folder.tracks(), TRACKS)[names]
    joined = cells.merge(tracks, "left", ["field_id", "label"], validate="one_to_one")
    return joined.astype({c.name: c.dtype for c in TRACKED})


@contextmanager
def _writers(task: Task) -> Iterator[Callable[[str, Rows], None]]:
    """Yield what writes the rows of one condition after the other."""
    context, parquet = task.context, as_parquet(task.context, task.facts)
    kinds = (CELL, NUCLEUS) if context.plan.count_channel else (CELL,)
    columns = {what: finished_columns(context, what) for what in kinds}
    with ExitStack() as files:
        csv = {} if parquet else {w: files.enter_context(growing_csv(csv_of(context, w), columns[w])) for w in kinds}

        def write(condition: str, rows: Rows) -> None:
            for what, table in rows.items():
                if parquet:
                    parts_of(context, what).write(condition, table, columns[what])
                else:
                    csv[what](table)
            if not parquet:
                write_table(task.folder.condition_table(condition, ".csv"), rows[CELL], columns[CELL])

        yield write
    for what in kinds:
        parts_of(context, what).keep_only(context.plan.conditions if parquet else ())


def _sums(task: Task, condition: str, cells: pd.DataFrame, counts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return what the cells of a condition give together."""
    columns, names, only = finished_columns(task.context), class_names(task.context), (condition,)
    found = {
        "summary": condition_table(cells, counts, columns, only),
        "replicates": replicate_table(cells, counts, columns, only),
    }
    if names:
        measured = measured_columns(columns)
        found["classes"] = class_counts(cells, names, only)
        found["replicates_by_class"] = replicates_by_class(cells, counts, measured, names, only, columns)
    return found


def _phases(task: Task, assayed: Assayed, nuclei: pd.DataFrame) -> pd.DataFrame:
    called, _ = with_calls(assayed, nuclei, None)
    return cell_cycle(task.context, called)[1]


def _variance(task: Task, units: pd.DataFrame) -> pd.DataFrame:
    """Return where the spread of each measured channel's mean comes from."""
    unit = unit_of(task.context)
    columns = [measure_column(channel, "Mean", unit) for channel in task.context.plan.measure_channels]
    parts = [variance_split(units, column, unit) for column in columns if column in units]
    return pd.concat(parts, ignore_index=True) if parts else empty_table(VARIANCE)


def _declared(task: Task, measured: Sequence[Column]) -> tuple[Column, ...]:
    """Return every column that a workbook may show."""
    return (
        *finished_columns(task.context),
        *(finished_columns(task.context, NUCLEUS) if task.context.plan.count_channel else ()),
        *(column for columns in _TABLES.values() for column in columns),
        *replicate_columns(measured),
        Column("n_replicates", "int64", "", "replicates; 0 where none is known"),
    )


def _files(task: Task) -> list[Path]:
    context, folder, conditions = task.context, task.folder, task.context.plan.conditions
    left_out = {*(() if has_dna(context) else ["phases"]), *(() if is_classified(context) else ["classes"])}
    names = ["replicates", *(name for name in _TABLES if name not in left_out)]
    names += ["replicates_by_class"] if is_classified(context) else []
    kinds = (CELL, NUCLEUS) if context.plan.count_channel else (CELL,)
    parquet = as_parquet(context, task.facts)
    return [
        *([parts_of(context, what).part(name) for what in kinds for name in conditions] if parquet else [csv_of(context, what) for what in kinds]),
        *(folder.out / f"{name}.csv" for name in names),
        folder.condition_table("all_conditions", ".xlsx"),
        *(folder.condition_table(name, ending) for ending in ((".xlsx",) if parquet else (".csv", ".xlsx")) for name in conditions),
    ]  # fmt: skip


def _made_from(task: Task) -> dict[str, Any]:
    tracks = task.folder.tracks()
    return {
        "conditions": list(task.context.plan.conditions),
        "positive": list(positive_channels(task.context)),
        "classes": list(class_names(task.context)),
        "tracks": sha256(tracks) if tracks.is_file() else None,
    }


# Tables follow from the fields: more fields make new ones, unasked.
TABLES = Step(
    "tables", "experiment", _tables, lane="tables", needs=("segment", "filter", "corrected", "checks", "classes", "measure", "count"), outputs=_files, made_from=_made_from,
    settings=(ASSAY,), derived=True, words="tables and figures",
)  # fmt: skip
