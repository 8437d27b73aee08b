"""Where the spread of cells comes from: cells of a field, fields, samples, replicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.tables import Column, typed_table

Values = npt.NDArray[np.float64]
LEVELS = ("replicate", "sample", "field_id")  # within a condition, from the outside in; cells are the last
VARIANCE = (
    Column("what", "str", "", "what was measured"),
    Column("level", "str", "", "between what: replicates of a condition, samples of a replicate, fields of a sample, cells of a field"),
    Column("groups", "int64", "", "how many of them there are"),
    Column("variance", "float64", "", "its part of the variance of a cell; a negative estimate is 0"),
    Column("share", "float64", "%", "of the whole, conditions left out"),
)  # fmt: skip
_WORDS = {"replicate": "replicates", "sample": "samples", "field_id": "fields"}


def variance_split(units: pd.DataFrame, column: str, unit: str = "cell") -> pd.DataFrame:
    """Split the variance of a cell into its levels, by the method of moments for nested groups of any size.

    Parameters
    ----------
    units : DataFrame
        One row a cell or nucleus, with condition, replicate, sample, field_id.
    column : str
    unit : str
        ``cell`` or ``nucleus``.

    Returns
    -------
    DataFrame
        `VARIANCE`; levels with one group in each outer one are left out, for they cannot be told from it.

    Notes
    -----
    Searle, Casella and McCulloch, Variance Components (1992), chapter 5.

    Examples
    --------
    >>> units = pd.DataFrame({"condition": "A", "replicate": list("1122"), "sample": "", "field_id": list("abcd"), "x": [1.0, 3, 5, 7]})
    >>> variance_split(pd.concat([units] * 3), "x")["level"].tolist()
    ['replicates', 'fields', 'cells']
    """
    known = units[units[column].notna()]
    codes = [_codes(known, ["condition"])]
    names = []
    for k, level in enumerate(LEVELS):
        inner = _codes(known, ["condition", *LEVELS[: k + 1]])
        if inner.max(initial=-1) > codes[-1].max(initial=-1):
            codes.append(inner)
            names.append(_WORDS[level])
    codes.append(np.arange(len(known)))
    names.append("nuclei" if unit == "nucleus" else "cells")
    groups = [int(code.max(initial=-1)) + 1 for code in codes]
    degrees = np.diff(groups)
    if not len(known) or degrees[-1] <= 0:
        return typed_table([], VARIANCE)
    values = known[column].to_numpy(np.float64)
    squares = np.diff([_sum_of_squares(values, code) for code in codes])
    # Expected mean squares: the variance of each inner level counts by how its groups are spread over the outer ones.
    n = len(names)
    expected = np.zeros((n, n))
    for j in range(n):
        for i in range(j, n):
            expected[j, i] = _weight(codes[i + 1], codes[j + 1]) - _weight(codes[i + 1], codes[j])
    components: Values = np.zeros(n)
    for j in reversed(range(n)):
        rest = squares[j] - expected[j, j + 1 :] @ components[j + 1 :]
        components[j] = rest / expected[j, j] if expected[j, j] > 0 else 0.0
    components = np.maximum(components, 0)
    total = float(components.sum())
    rows: list[dict[str, Any]] = [
        {
            "what": column, "level": name, "groups": groups[k + 1], "variance": float(components[k]),
            "share": 100 * float(components[k]) / total if total > 0 else np.nan,
        }
        for k, name in enumerate(names)
    ]  # fmt: skip
    return typed_table(rows, VARIANCE)


def _codes(table: pd.DataFrame, columns: list[str]) -> npt.NDArray[np.int64]:
    return np.asarray(table.groupby(columns, sort=False, dropna=False).ngroup(), np.int64)


def _sum_of_squares(values: Values, code: npt.NDArray[np.int64]) -> float:
    """Sum over groups of n times the squared mean."""
    return float((np.bincount(code, values) ** 2 / np.bincount(code)).sum())


def _weight(inner: npt.NDArray[np.int64], outer: npt.NDArray[np.int64]) -> float:
    """Sum over outer groups of the squared sizes of their inner groups, each by the outer size."""
    sizes = np.bincount(inner).astype(np.float64)
    of_outer = np.zeros(sizes.size, np.int64)
    of_outer[inner] = outer
    return float((sizes**2 / np.bincount(outer)[of_outer]).sum())
