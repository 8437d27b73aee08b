"""DNA content from a nuclear stain, and the phases of the cell cycle with EdU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bridge.assay.gate import densest
from bridge.tables import KEYS, Column, typed_table

_BETWEEN = 3.0  # between 2N and 4N
_HIGHEST = 5.25  # above it: more than 4N, or two nuclei in one outline
_LOWEST = 1.2  # below it: debris, or a nucleus cut by the border
PHASES = (
    KEYS[1],
    KEYS[2],
    Column("n_nuclei", "int64", "", "nuclei"),
    Column("g1", "float64", "%", "EdU-negative, DNA content below 3N"),
    Column("s", "float64", "%", "EdU-positive, whatever the DNA content"),
    Column("g2_m", "float64", "%", "EdU-negative, DNA content from 3N on"),
    Column(
        "other", "float64", "%", "EdU-negative, below 1.2N or above 5.25N: debris, polyploid, or two in one outline"
    ),
)


def dna_content(nuclei: pd.DataFrame, column: str, positive: pd.Series[Any]) -> pd.Series[Any]:
    """Return DNA content in N: the integrated density of the stain, so scaled that the G1 peak is 2.

    The peak is where the EdU-negative nuclei of a replicate lie densest; where none is negative, all of them.

    Parameters
    ----------
    nuclei : DataFrame
    column : str
        Integrated density of the nuclear stain.
    positive : Series of bool
        Missing where nothing is called.

    Returns
    -------
    Series of float64
    """
    content = pd.Series(np.nan, nuclei.index)
    resting = ~positive.fillna(False).astype(bool) & (nuclei[column] > 0)
    for _, part in nuclei.groupby("replicate"):
        of = part.index[resting[part.index]] if resting[part.index].any() else part.index
        peak = densest(nuclei.loc[of, column].to_numpy(np.float64)) if len(of) else np.nan
        content[part.index] = 2.0 * part[column] / peak if peak > 0 else np.nan
    return content


def phase_table(
    nuclei: pd.DataFrame, content: pd.Series[Any], positive: pd.Series[Any], conditions: Sequence[str]
) -> pd.DataFrame:
    """Return the shares of G1, S and G2/M for each condition and replicate; none where EdU is not called.

    Returns
    -------
    DataFrame
        `PHASES`.
    """
    rows = []
    for condition in conditions:
        for replicate, part in nuclei[nuclei["condition"] == condition].groupby("replicate", sort=True):
            called, dna = positive[part.index], content[part.index]
            if called.isna().any():
                continue
            negative = ~called.astype(bool)
            odd = negative & ~((dna >= _LOWEST) & (dna <= _HIGHEST))
            groups = {
                "g1": negative & ~odd & (dna < _BETWEEN),
                "s": ~negative,
                "g2_m": negative & ~odd & (dna >= _BETWEEN),
                "other": odd,
            }
            shares = {name: 100.0 * float(group.mean()) for name, group in groups.items()}
            rows.append({"condition": condition, "replicate": replicate, "n_nuclei": len(part), **shares})
    return typed_table(rows, PHASES)
