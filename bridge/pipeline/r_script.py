"""The R script of a run: the figures and the test again, from its tables."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import bridge.report
from bridge.files import write_text
from bridge.pipeline.assay import unit_of
from bridge.pipeline.columns import columns_of
from bridge.pipeline.finished_rows import csv_of
from bridge.pipeline.finished_run import FinishedRun
from bridge.tables import KEYS, measure_column, write_table

_TEMPLATE = Path(str(bridge.report.__file__)).with_name("figures.R")


def write_r_script(run: FinishedRun, folder: Path, positive: Sequence[str]) -> Path:
    """Write ``figures.R``, which needs ggplot2 and the run's tables.

    Parameters
    ----------
    run : FinishedRun
    folder : Path
        Where the script and what it draws are.
    positive : sequence of str
        Channels that have a gate.

    Returns
    -------
    Path
    """
    plan, unit = run.plan, unit_of(run.context)
    header = {column.name for column in run.columns(unit)}
    wanted = [measure_column(c, "Mean", unit) for c in (*positive, *plan.measure_channels)]
    measure = next((name for name in wanted if name in header), f"{unit}_area_px2")
    column = next(c for c in columns_of(run.context, unit) if c.name == measure)
    control = run.settings.edu_control
    table = _table(run, folder, unit, measure)
    parts = {
        "@RESULTS@": text(os.path.relpath(run.out, folder).replace(os.sep, "/")),
        "@CONDITIONS@": texts(plan.conditions), "@TESTED@": texts([c for c in plan.conditions if c != control]),
        "@CONTROL@": text(plan.control) if plan.control else "NA_character_", "@MEASURE@": text(measure),
        "@TITLE@": text(f"{column.meaning.partition(';')[0]} ({column.unit})"), "@UNITS@": text(os.path.relpath(table, run.out).replace(os.sep, "/")),
    }  # fmt: skip
    script = _TEMPLATE.read_text("utf-8")
    for mark, value in parts.items():
        script = script.replace(mark, value)
    path = folder / "figures.R"
    write_text(path, script)
    return path


def _table(run: FinishedRun, folder: Path, unit: str, measure: str) -> Path:
    """Return the table that the script reads; of a run that keeps Parquet, which R alone does not read, its columns as CSV."""
    table = csv_of(run.context, unit)
    if not table.is_file():
        columns = [c for c in run.columns(unit) if c.name in {measure, *(key.name for key in KEYS)}]
        table = folder / table.name
        write_table(table, run.rows(unit, {c.name for c in columns}), columns)
    return table


def text(value: str) -> str:
    r"""Return a text as R writes it.

    Examples
    --------
    >>> print(text('a "b" \\ c'))
    "a \"b\" \\ c"
    """
    return json.dumps(value, ensure_ascii=True)


def texts(values: Sequence[str]) -> str:
    """Return texts as an R vector."""
    return f"c({', '.join(map(text, values))})"
