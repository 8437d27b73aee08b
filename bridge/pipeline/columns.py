"""Which columns the tables of cells and nuclei have in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.tables import CELL, NUCLEUS, cell_columns, nucleus_columns

if TYPE_CHECKING:
    from bridge.pipeline.step import Context
    from bridge.tables import Column


def columns_of(context: Context, what: str = CELL) -> tuple[Column, ...]:
    """Return the columns of the table of cells, or of nuclei."""
    channels, measurements = context.plan.measured_channels, context.settings.measurements
    if what == NUCLEUS:
        return nucleus_columns(channels, measurements, rings=context.settings.ring is not None)
    return cell_columns(channels, measurements, nuclei=context.plan.count_channel is not None)
