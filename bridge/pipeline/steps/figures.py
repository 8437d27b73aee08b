"""Figures of all fields: who is positive, distributions in each condition, cells against nuclei, DNA against EdU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge.pipeline.cell_classes import class_names
from bridge.pipeline.draw import background_words, draw_figures, drawn_columns, figure_names
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.all_fields import all_counts, rows_of, with_classes
from bridge.report.style import Look
from bridge.setting_options import ASSAY
from bridge.tables import CELL, NUCLEUS


def _figures(task: Task) -> Outcome:
    def path_of(name: str) -> Path:
        return task.folder.figure(name)[0].with_suffix("")

    context = task.context
    cells = with_classes(task, rows_of(task, CELL, drawn_columns(context, CELL)))
    nuclei = rows_of(task, NUCLEUS, drawn_columns(context, NUCLEUS)) if context.plan.count_channel else None
    draw_figures(context, cells, nuclei, all_counts(task), path_of, Look())
    return Outcome()


def _files(task: Task) -> list[Path]:
    return [path for name in figure_names(task.context) for path in task.folder.figure(name)]


def _made_from(task: Task) -> dict[str, Any]:
    return {
        "conditions": list(task.context.plan.conditions),
        "how": background_words(task.context),
        "classes": list(class_names(task.context)),
    }


FIGURES = Step(
    "figures", "experiment", _figures, lane="tables", needs=("segment", "filter", "classes", "measure", "count"), outputs=_files,
    made_from=_made_from, settings=(ASSAY,), derived=True,
)  # fmt: skip
