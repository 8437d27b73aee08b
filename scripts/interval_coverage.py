"""Do the intervals hold the truth as often as they say, and do comparisons find nothing where there is nothing?

uv run python scripts/interval_coverage.py [EXPERIMENTS] [SEED ...]

Simulated experiments with a control without EdU; three replicates that differ (logit SD 0.35 for the day, 0.2 for day and
condition), three fields, 100 nuclei in each. The truth is the experiment's parameter.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bridge.assay.comparison import compare, quantity_of_means, quantity_of_shares
from bridge.assay.gate import control_gate
from bridge.assay.shares import Called, share_table

SHARES = {"DMSO": 0.40, "A": 0.40, "B": 0.40, "C": 0.10, "D": 0.02, "E": 0.60}
NULL = ("A", "B")
DAY, DAY_AND_CONDITION = 0.35, 0.20


def experiment(rng: np.random.Generator, n: int = 100, fields: int = 3) -> pd.DataFrame:
    parts = []
    for replicate in ("day1", "day2", "day3"):
        day = rng.normal(0, DAY)
        for condition, share in {**SHARES, "No_EdU": 0.0}.items():
            odds = share / (1 - share) * np.exp(day + rng.normal(0, DAY_AND_CONDITION))
            for field in range(fields):
                positive = rng.random(n) < odds / (1 + odds)
                values = np.where(positive, 900 * rng.lognormal(0, 0.4, n), rng.normal(0, 25, n))
                name = f"{condition}_{replicate}_{field}"
                parts.append(
                    pd.DataFrame(
                        {"condition": condition, "replicate": replicate, "sample": "", "field_id": name, "EdU": values}
                    )
                )
    return pd.concat(parts, ignore_index=True)


def main(n: int, seeds: list[int]) -> None:
    warnings.simplefilter("ignore")
    conditions = (*SHARES, "No_EdU")
    print(
        "seed  " + "  ".join(f"{name} {share:.0%}" for name, share in SHARES.items()),
        " wrong p: blocked  paired  cells; in one comparison of two: blocked  paired  cells",
    )
    for seed in seeds:
        rng = np.random.default_rng(seed)
        inside: npt.NDArray[np.int64] = np.zeros(len(SHARES), np.int64)
        wrong, any_wrong = np.zeros(3), np.zeros(3)
        for _ in range(n):
            units = experiment(rng)
            gates = {
                "EdU": {
                    str(batch): control_gate(part.loc[part["condition"] == "No_EdU", "EdU"].to_numpy(float), 99)
                    for batch, part in units.groupby("replicate")
                }
            }
            shares = share_table(Called(units, ("EdU",), gates, "No_EdU", 99.0), "nucleus", conditions, draws=2)
            whole: Any = shares[shares["level"] == "condition"].set_index("condition")
            for k, (condition, share) in enumerate(SHARES.items()):
                inside[k] += whole.loc[condition, "low"] <= 100 * share <= whole.loc[condition, "high"]
            table: Any = compare(quantity_of_shares(shares, "EdU"), list(SHARES), "DMSO").set_index("condition")
            means: Any = compare(quantity_of_means(units, "EdU"), list(SHARES), "DMSO").set_index("condition")
            assert len(means) == len(table)
            control = units.loc[units["condition"] == "DMSO", "EdU"]
            found = np.zeros(3)
            for name in NULL:
                cells = stats.ttest_ind(units.loc[units["condition"] == name, "EdU"], control).pvalue
                found += np.array(
                    [table.loc[name, "p"] < 0.05, table.loc[name, "p_paired"] < 0.05, cells < 0.05], float
                )
            wrong += found
            any_wrong += found > 0
        rates = "  ".join(f"{x / n:6.3f}" for x in inside)
        print(
            f"{seed:4d}  {rates}   "
            + "  ".join(f"{x / n / len(NULL):.3f}" for x in wrong)
            + "   "
            + "  ".join(f"{x / n:.3f}" for x in any_wrong),
            flush=True,
        )


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    main(arguments[0] if arguments else 1000, arguments[1:] or [1, 2, 3])
