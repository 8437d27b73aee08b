"""Figures of a finished run as a paper wants them: size, order, measure, and which cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bridge.errors import InputError, TableError
from bridge.experiment.condition_order import control_of, ordered, require_condition
from bridge.files import new_file
from bridge.pipeline.cell_classes import class_names
from bridge.pipeline.columns import columns_of
from bridge.pipeline.draw import draw_figures, drawn_columns
from bridge.pipeline.finished_run import FinishedRun
from bridge.pipeline.step import Context
from bridge.report.style import Look
from bridge.report.superplot import superplot
from bridge.tables import CELL, COUNTS, NUCLEUS, read_table


def plots(
    run: FinishedRun,
    out: Path,
    look: Look,
    measure: str | None = None,
    order: Sequence[str] = (),
    control: str | None = None,
    cells: Path | None = None,
    area_px: tuple[float, float] | None = None,
    border: bool = True,
    cell_class: str | None = None,
) -> list[Path]:
    """Draw the figures of a run into another folder.

    Parameters
    ----------
    run : FinishedRun
    out : Path
    look : Look
    measure : str or None
        A column of `cells.csv` or `nuclei.csv`: that figure alone.
    order : sequence of str
        Conditions in their order; with `measure` and without the others these alone.
    control : str or None
    cells : Path or None
        A table with ``field_id`` and ``label``, such as a filtered `cells.csv`: these cells alone, and their nuclei.
    area_px : (float, float) or None
        Smallest and largest cell.
    border : bool
        False leaves out cells that are cut by the edge of the image.
    cell_class : str or None
        The cells of this class alone.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        No such column, condition or class; no cell is left.
    """
    context = _ordered(run.context, order, control)
    names = {"label", "cell_area_px2", "touches_border", *([measure] if measure is not None else [])}
    whole = run.rows(CELL, drawn_columns(context, CELL) | names)
    nuclei = run.rows(NUCLEUS, drawn_columns(context, NUCLEUS) | names) if context.plan.count_channel else None
    kept = _kept(whole, cells, area_px, border)
    if cell_class is not None:
        kept = kept[pd.MultiIndex.from_frame(kept[["field_id", "label"]]).isin(_of_class(run, cell_class))]
    if len(kept) < len(whole) and nuclei is not None:
        inside = pd.MultiIndex.from_frame(kept[["field_id", "label"]])
        of_cell = pd.MultiIndex.from_frame(nuclei[["field_id", "cell"]].fillna(0))
        nuclei = nuclei[of_cell.isin(inside)]
    if kept.empty:
        raise InputError(f"{run.out}: no cell is left (got {len(whole)} before). Widen what is asked for.")

    def path_of(name: str) -> Path:
        return new_file(out / f"{name}.{look.formats[0]}").with_suffix("")

    if measure is None:
        return draw_figures(context, kept, nuclei, read_table(run.out / "counts.csv", COUNTS), path_of, look)
    for units, what in ((nuclei, NUCLEUS), (kept, CELL)):
        if units is not None and measure in units and units[measure].dtype.kind in "fi":
            column = next(c for c in columns_of(context, what) if c.name == measure)
            meaning = column.meaning.split(";")[0]
            label = f"{meaning} per {what} ({column.unit})" if column.unit else f"{meaning} per {what}"
            return superplot(path_of(measure), units, measure, label, context.plan.conditions, "", None, what, look)
    numbers = [c.name for c in columns_of(context) if c.dtype in ("float64", "int64") and c.name != "label"]
    raise InputError(
        f"--measure {measure}: no such column of numbers (got {', '.join(numbers[:12])} ...). Name one of them."
    )


def _of_class(run: FinishedRun, name: str) -> pd.MultiIndex:
    names = class_names(run.context)
    if name not in names:
        got = f"expected one of {', '.join(names)}" if names else "this run has none: run classify first"
        raise InputError(f"--class {name}: no such class of cells ({got}). Correct it.")
    table = run.rows(CELL, ("field_id", "label", "class"))
    if "class" not in table:
        raise InputError(f"--class {name}: the tables of {run.out} are from before its classes. Make them again: cellpose-fiji summarize {run.out}")  # fmt: skip
    return pd.MultiIndex.from_frame(table[table["class"] == name][["field_id", "label"]])


def _ordered(context: Context, order: Sequence[str], control: str | None) -> Context:
    plan = context.plan
    control = control_of(plan.conditions, control or context.settings.control, context.settings.edu_control)
    first = [require_condition(plan.conditions, name, "--order") for name in order]
    conditions = tuple(ordered(plan.conditions, first, control)) if first else plan.conditions
    if not first and control is not None:
        conditions = (control, *(name for name in plan.conditions if name != control))
    return replace(context, plan=replace(plan, conditions=conditions, control=control))


def _kept(whole: pd.DataFrame, cells: Path | None, area_px: tuple[float, float] | None, border: bool) -> pd.DataFrame:
    kept: Any = whole
    if cells is not None:
        try:
            named = pd.read_csv(cells, usecols=["field_id", "label"], dtype={"field_id": str})
        except (OSError, ValueError) as error:
            raise TableError(
                f"{cells}: not a table of cells ({error}). It needs the columns field_id and label."
            ) from error
        kept = kept[pd.MultiIndex.from_frame(kept[["field_id", "label"]]).isin(pd.MultiIndex.from_frame(named))]
    if area_px is not None:
        kept = kept[kept["cell_area_px2"].between(*area_px)]
    if not border:
        kept = kept[~kept["touches_border"]]
    return pd.DataFrame(kept)
