"""Figures of all fields: distributions of cells in each condition, cells against nuclei."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge.names import safe_name
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.measure import columns_of
from bridge.pipeline.steps.tables import all_cells, all_counts
from bridge.report.figures import cells_against_nuclei, violin_figure
from bridge.tables import measure_column

_SHOWN = (
    ("Mean", "mean", "grey level"),
    ("IntDen", "integrated density", "grey level × the image's unit of area"),
)
_COUNTED = "cells_and_nuclei"


def _how(task: Task) -> str:
    radius = task.settings.rolling_ball
    return "no background subtraction" if radius == "none" else f"rolling ball {float(radius):g} px"


def _distributions(task: Task) -> list[tuple[str, str, str, str]]:
    """File name, column, label of the axis and title of each figure."""
    names = {column.name for column in columns_of(task.context)}
    channels = task.context.plan.measure_channels
    if not channels:
        return [("cell_area", "cell_area_px2", "cell area (px²)", "cell area")]
    return [
        (
            f"{safe_name(channel)}_{measure}",
            measure_column(channel, measure),
            f"{channel} {words} per cell ({unit}, {_how(task)})",
            f"{channel} {words}",
        )
        for channel in channels
        for measure, words, unit in _SHOWN
        if measure_column(channel, measure) in names
    ]


def _figures(task: Task) -> Outcome:
    conditions = task.context.plan.conditions
    cells = all_cells(task)
    for name, column, label, title in _distributions(task):
        violin_figure(task.folder.figure(name)[0].with_suffix(""), cells, column, label, conditions, title)
    if task.context.plan.count_channel:
        cells_against_nuclei(task.folder.figure(_COUNTED)[0].with_suffix(""), all_counts(task), conditions)
    return Outcome()


def _files(task: Task) -> list[Path]:
    names = [name for name, *_ in _distributions(task)]
    names += [_COUNTED] if task.context.plan.count_channel else []
    return [path for name in names for path in task.folder.figure(name)]


def _made_from(task: Task) -> dict[str, Any]:
    return {"conditions": list(task.context.plan.conditions), "how": _how(task)}


FIGURES = Step(
    "figures", "experiment", _figures, lane="tables", needs=("segment", "filter", "measure", "count"), outputs=_files, made_from=_made_from,
    derived=True,
)  # fmt: skip
