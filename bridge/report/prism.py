"""What GraphPad Prism takes: a Column table of replicates, a Nested table of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

_MOST = 104  # data sets of a Prism table


def column_rows(
    values: pd.DataFrame, conditions: Sequence[str], name: str, replicates: Sequence[str]
) -> list[list[Any]]:
    """Return a Prism Column table: a column for each condition, a row for each replicate, in one order.

    Parameters
    ----------
    values : DataFrame
        Columns ``condition``, ``replicate`` and `name`.
    conditions, replicates : sequence of str
        In their order.
    name : str
        Which number.

    Returns
    -------
    list of list
        With the column titles in the first row and the replicates in the first column; missing is empty.

    Examples
    --------
    >>> table = pd.DataFrame({"condition": ["A", "B", "A"], "replicate": ["1", "1", "2"], "share": [10.0, 20.0, 12.0]})
    >>> column_rows(table, ["A", "B"], "share", ["1", "2"])
    [['replicate', 'A', 'B'], ['1', 10.0, 20.0], ['2', 12.0, None]]
    """
    at = {(c, r): v for c, r, v in zip(values["condition"], values["replicate"], values[name], strict=True)}
    return [
        ["replicate", *conditions],
        *([r, *(None if pd.isna(v := at.get((c, r))) else float(v) for c in conditions)] for r in replicates),
    ]


def nested_rows(cells: pd.DataFrame, conditions: Sequence[str], name: str) -> list[list[Any]]:
    """Return a Prism Nested table: a data set for each condition, its replicates side by side, cells below.

    Parameters
    ----------
    cells : DataFrame
        Columns ``condition``, ``replicate`` and `name`.
    conditions : sequence of str
        In their order.
    name : str
        Which number.

    Returns
    -------
    list of list
        Conditions in the first row, replicates in the second; select from the second on and paste.
    """
    groups = [
        (condition, str(replicate), part[name].dropna().astype(float).tolist())
        for condition in conditions
        for replicate, part in cells[cells["condition"] == condition].groupby("replicate", sort=True)
    ][:_MOST]
    longest = max((len(values) for _, _, values in groups), default=0)
    return [
        [condition for condition, _, _ in groups],
        [replicate or "not named" for _, replicate, _ in groups],
        *([values[k] if k < len(values) else None for _, _, values in groups] for k in range(longest)),
    ]
