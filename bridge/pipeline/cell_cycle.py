"""DNA content and the phases of the cell cycle, where a run measures a nuclear stain beside EdU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.assay.dna import dna_content, phase_table
from bridge.pipeline.assay import positive_channels
from bridge.pipeline.columns import columns_of
from bridge.tables import NUCLEUS, measure_column

if TYPE_CHECKING:
    import pandas as pd

    from bridge.pipeline.step import Context


def has_dna(context: Context) -> bool:
    """Return whether DNA content can be had: a measured nuclear stain beside a channel with a gate."""
    count, positive = context.plan.count_channel, positive_channels(context)
    if count is None or not positive or count in positive:
        return False
    return measure_column(count, "IntDen", NUCLEUS) in {column.name for column in columns_of(context, NUCLEUS)}


def cell_cycle(context: Context, nuclei: pd.DataFrame) -> tuple[pd.Series[Any], pd.DataFrame]:
    """Return the DNA content of called nuclei, and `bridge.assay.dna.PHASES`."""
    channel, count = positive_channels(context)[0], str(context.plan.count_channel)
    positive = nuclei[f"{channel}_positive"]
    content = dna_content(nuclei, measure_column(count, "IntDen", NUCLEUS), positive)
    return content, phase_table(nuclei, content, positive, context.plan.conditions)
