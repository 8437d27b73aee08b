"""Tables of cells -> tables of conditions, workbooks, figures and pictures."""

from bridge.analysis.figures import cells_against_nuclei, violin_figure
from bridge.analysis.pictures import common_range, contact_sheet, display_range, overlay
from bridge.analysis.summary import condition_table, replicate_table
from bridge.analysis.workbook import write_workbook

__all__ = [
    "cells_against_nuclei",
    "common_range",
    "condition_table",
    "contact_sheet",
    "display_range",
    "overlay",
    "replicate_table",
    "violin_figure",
    "write_workbook",
]
