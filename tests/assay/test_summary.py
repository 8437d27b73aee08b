"""Cells to replicates to conditions."""

from __future__ import annotations

import pandas as pd
from small import CELL_COLUMNS, CONDITIONS

from bridge.assay.summary import condition_table, replicate_table


def test_replicates_and_conditions(cells: pd.DataFrame, counts: pd.DataFrame) -> None:
    table = replicate_table(cells, counts, CELL_COLUMNS, CONDITIONS)
    assert table["condition"].tolist() == ["DMSO"] * 3 + ["=Drug & <b>"] * 3 + ["none"]
    assert table["n_cells"].tolist() == [30] * 6 + [0]
    assert table["n_nuclei"].tolist() == [32] * 6 + [pd.NA]
    part = cells[(cells["condition"] == "DMSO") & (cells["replicate"] == "2")]
    assert table.loc[1, "cell_EdU_Mean_median"] == part["cell_EdU_Mean"].median()
    summary = condition_table(cells, counts, CELL_COLUMNS, CONDITIONS)
    assert summary["n_replicates"].tolist() == [3, 3, 0]
    assert summary["n_fields"].tolist() == [3, 3, 0]
