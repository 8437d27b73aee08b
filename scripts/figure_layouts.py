"""Draw figures for odd experiments, to be looked at: nothing may be cut off or lie on something else.

uv run python scripts/figure_layouts.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bridge.assay.gate import Gate
from bridge.assay.shares import Called, share_table
from bridge.report.share_figure import share_figure
from bridge.report.style import WIDTHS_MM, Look
from bridge.report.superplot import superplot

LONG = "siRNA_knockdown_of_the_kinase_50nM_serum-free_medium_72h"
CASES = {
    # conditions, replicates, cells of a field
    "1_condition": (["DMSO"], 1, 60),
    "3x3": (["DMSO", "Drug A 1 µM", "Drug A 10 µM"], 3, 60),
    "8_replicates": (["DMSO", "Drug", "Serum-starved"], 8, 40),
    "12_conditions": ([f"Drug_{name}_{dose}uM" for name in "ABCDEF" for dose in (1, 10)], 3, 40),
    "24_conditions": ([f"Compound_{k:02d}_10uM" for k in range(24)], 2, 30),
    "long_names": (["DMSO", LONG, f"{LONG}_and_inhibitor"], 3, 40),
    "3_cells": (["DMSO", "Drug"], 1, 3),
    "20000_cells": (["DMSO", "Drug"], 3, 3334),
}


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, (conditions, replicates, n) in CASES.items():
        parts = []
        for k, condition in enumerate(conditions):
            for r in range(replicates):
                positive = rng.random(n) < 0.5 / (1 + k % 5)
                values = np.where(positive, 900 * rng.lognormal(0, 0.4, n), rng.normal(0, 25, n))
                parts.append(
                    pd.DataFrame(
                        {
                            "condition": condition,
                            "replicate": f"day {r + 1}",
                            "sample": "",
                            "field_id": f"{condition}{r}",
                            "EdU": values,
                        }
                    )
                )
        units = pd.concat(parts, ignore_index=True)
        gates = {f"day {r + 1}": Gate("threshold", 100.0 + r) for r in range(replicates)}
        shares = share_table(Called(units, ("EdU",), {"EdU": gates}, None, 99.0), "nucleus", conditions, draws=50)
        for width in WIDTHS_MM:
            look = Look(width_mm=width, formats=("png",), dpi=150)
            levels = {batch: gate.value for batch, gate in gates.items()}
            superplot(
                folder / f"{name}_{width}_cells",
                units,
                "EdU",
                "EdU mean per nucleus (grey level)",
                conditions,
                "EdU",
                levels,
                "nucleus",
                look,
            )
            share_figure(
                folder / f"{name}_{width}_share",
                shares,
                conditions,
                "EdU-positive nuclei",
                "EdU-positive nuclei (%)",
                look,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
