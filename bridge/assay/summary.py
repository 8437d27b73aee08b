"""Cells -> replicates -> conditions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bridge.tables import Column, measured_columns, replicate_columns


def replicate_table(
    cells: pd.DataFrame, counts: pd.DataFrame, columns: Sequence[Column], conditions: Sequence[str]
) -> pd.DataFrame:
    """Return counts, medians and means for each condition and replicate.

    Parameters
    ----------
    cells : DataFrame
        One row a cell, with `columns`.
    counts : DataFrame
        One row a field (`bridge.tables.COUNTS`); fields without cells are in it.
    columns : sequence of Column
        Of `cells`.
    conditions : sequence of str
        In their order.

    Returns
    -------
    DataFrame
        `bridge.tables.replicate_columns`; where no replicate is known there is one row a condition, with an empty
        replicate.
    """
    return _grouped(cells, counts, columns, conditions, ["condition", "replicate"])


def condition_table(
    cells: pd.DataFrame, counts: pd.DataFrame, columns: Sequence[Column], conditions: Sequence[str]
) -> pd.DataFrame:
    """Return counts, medians and means for each condition, with its number of replicates.

    Parameters
    ----------
    cells, counts, columns, conditions
        As in `replicate_table`.

    Returns
    -------
    DataFrame
        One row a condition, also for one without cells.
    """
    table = _grouped(cells, counts, columns, conditions, ["condition"])
    known = counts[counts["replicate"] != ""].groupby("condition")["replicate"].nunique()
    table.insert(1, "n_replicates", table["condition"].map(known).fillna(0).astype("int64"))
    return table


def _grouped(
    cells: pd.DataFrame, counts: pd.DataFrame, columns: Sequence[Column], conditions: Sequence[str], by: list[str]
) -> pd.DataFrame:
    measured = measured_columns(columns)
    rows = []
    for condition in conditions:
        fields = counts[counts["condition"] == condition]
        for key, part in [*fields.groupby(by[-1], sort=True)] or [(condition if by == ["condition"] else "", fields)]:
            of_key = cells[cells["condition"] == condition]
            if by[-1] == "replicate":
                of_key = of_key[of_key["replicate"] == key]
            row: dict[str, object] = {
                "condition": condition,
                "n_fields": len(part),
                "n_cells": len(of_key),
                "n_nuclei": part["n_nuclei"].sum(min_count=1),
            }
            if by[-1] == "replicate":
                row["replicate"] = key
            for column in measured:
                values = of_key[column.name]
                row[f"{column.name}_median"] = values.median()
                row[f"{column.name}_mean"] = values.mean()
            rows.append(row)
    declared = [c for c in replicate_columns(measured) if c.name != "replicate" or by[-1] == "replicate"]
    table = pd.DataFrame(rows, columns=[c.name for c in declared])
    return table.astype({c.name: c.dtype for c in declared})
