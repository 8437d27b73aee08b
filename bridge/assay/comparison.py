"""Conditions compared with their control, on replicates alone: cells are no repeats of an experiment."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.assay.shares import logit
from bridge.tables import KEYS, Column, typed_table

Values = npt.NDArray[np.float64]
_FEWEST = 3  # replicates
_WILD = 3.0  # times the residual spread of the others
COMPARISONS = (
    Column("what", "str", "", "what is compared: a share of positives, or a mean of cells"),
    KEYS[1],
    Column("control", "str", "", "condition it is compared with"),
    Column("n_replicates", "int64", "", "replicates that both have"),
    Column("mean", "float64", "", "mean of the condition's replicates"),
    Column("sd", "float64", "", "their standard deviation"),
    Column("control_mean", "float64", "", "mean of the control's replicates"),
    Column("difference", "float64", "", "mean difference from the control; points for a share"),
    Column("low", "float64", "", "lower end of its 95 % interval, from the replicates' own differences"),
    Column("high", "float64", "", "upper end"),
    Column("odds_ratio", "float64", "", "of a share: odds of being positive, against the control's"),
    Column("p", "float64", "", "replicates as blocks, all conditions in one model (shares on the logit scale); Welch's t test where no replicate is shared"),
    Column("p_holm", "float64", "", "the same, corrected for all conditions (Holm)"),
    Column("p_paired", "float64", "", "paired t test of this condition alone, which borrows no spread from the others"),
    Column("replicates_needed", "Int64", "", "to see this difference at this spread with a paired test in 8 of 10 experiments"),
    Column("in_words", "str", "", "what the data say, and what they cannot say"),
)  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """What is compared: one value a condition and replicate.

    Attributes
    ----------
    name : str
    values : DataFrame
        One row a replicate, one column a condition; missing where there is none. Shares in percent.
    n : DataFrame or None
        Units behind each share; None for a mean.
    """

    name: str
    values: pd.DataFrame
    n: pd.DataFrame | None = None


def compare(quantity: Quantity, conditions: Sequence[str], control: str | None) -> pd.DataFrame:
    """Compare each condition with the control.

    With three replicates and more: ordinary least squares with condition and replicate as terms (replicate as block),
    contrasts with the control, Holm's correction; beside it the paired t test, since one wild condition spoils a shared
    spread. With fewer there is no p-value. Conditions without a replicate in common are compared by Welch's t test.

    Parameters
    ----------
    quantity : Quantity
    conditions : sequence of str
        In their order, without the control of the gate.
    control : str or None
        None: nothing is compared.

    Returns
    -------
    DataFrame
        `COMPARISONS`.
    """
    if control is None or control not in quantity.values:
        return typed_table([], COMPARISONS)
    scaled = _scaled(quantity)
    blocked = _blocked(scaled, control)
    rows = []
    for condition in conditions:
        if condition == control or condition not in quantity.values:
            continue
        pairs = quantity.values[[control, condition]].dropna()
        rows.append(
            {
                "what": quantity.name,
                "condition": condition,
                "control": control,
                **(
                    _row(quantity, scaled, pairs, blocked.get(condition))
                    if len(pairs)
                    else _unpaired_row(quantity, scaled, control, condition)
                ),
            }
        )
    table = typed_table([{**row, "p_holm": np.nan, "in_words": ""} for row in rows], COMPARISONS)
    table["p_holm"] = _holm(table["p"].to_numpy(np.float64))
    wild = _wild(scaled, control)
    table["in_words"] = [_words(row, quantity.n is not None, row["condition"] in wild) for _, row in table.iterrows()]
    return table


def _scaled(quantity: Quantity) -> pd.DataFrame:
    if quantity.n is None:
        return quantity.values
    share, n = quantity.values.to_numpy(np.float64) / 100, quantity.n.to_numpy(np.float64)
    return pd.DataFrame(logit(share, n), quantity.values.index, quantity.values.columns)


def _row(quantity: Quantity, scaled: pd.DataFrame, pairs: pd.DataFrame, p: float | None) -> dict[str, Any]:
    from scipy import special  # scipy.stats takes two seconds to load

    control, condition = pairs.columns
    n = len(pairs)
    own = quantity.values[condition].dropna()
    difference = (pairs[condition] - pairs[control]).to_numpy(np.float64)
    apart = (scaled.loc[pairs.index, condition] - scaled.loc[pairs.index, control]).to_numpy(np.float64)
    row: dict[str, Any] = {
        "n_replicates": n,
        "mean": own.mean(),
        "sd": own.std(ddof=1) if len(own) > 1 else np.nan,
        "control_mean": quantity.values[control].mean(),
        "difference": difference.mean() if n else np.nan,
        "odds_ratio": float(np.exp(apart.mean())) if n and quantity.n is not None else np.nan,
    }
    if n > 1:
        half = special.stdtrit(n - 1, 0.975) * difference.std(ddof=1) / np.sqrt(n)
        row |= {"low": row["difference"] - half, "high": row["difference"] + half}
    spread = apart.std(ddof=1) if n > 1 else 0.0
    row["replicates_needed"] = _needed(abs(apart.mean()) / spread) if spread > 0 else None
    if n >= _FEWEST and spread > 0:  # equal differences would give p = 0
        row |= {"p": p, "p_paired": float(2 * special.stdtr(n - 1, -abs(apart.mean()) / (spread / np.sqrt(n))))}
    return row


def _unpaired_row(quantity: Quantity, scaled: pd.DataFrame, control: str, condition: str) -> dict[str, Any]:
    """Compare conditions that have no replicate in common: Welch's t test, which takes no spread for shared."""
    from scipy import stats

    own, other = quantity.values[condition].dropna(), quantity.values[control].dropna()
    row: dict[str, Any] = {
        "n_replicates": 0,
        "mean": own.mean(),
        "sd": own.std(ddof=1) if len(own) > 1 else np.nan,
        "control_mean": other.mean(),
        "difference": own.mean() - other.mean(),
    }
    if min(len(own), len(other)) > 1 and own.std() + other.std() > 0:
        interval = stats.ttest_ind(own, other, equal_var=False).confidence_interval()
        row |= {"low": float(interval.low), "high": float(interval.high)}
    a, b = scaled[condition].dropna(), scaled[control].dropna()
    if quantity.n is not None:
        row["odds_ratio"] = float(np.exp(a.mean() - b.mean()))
    if min(len(a), len(b)) >= _FEWEST and a.std() + b.std() > 0:
        row["p"] = float(stats.ttest_ind(a, b, equal_var=False).pvalue)
    return row


def _blocked(scaled: pd.DataFrame, control: str) -> dict[str, float]:
    """Return p of each condition's contrast with the control, with replicates as blocks."""
    # A condition without a replicate of the control's would make the model's terms depend on each other.
    scaled = scaled.loc[:, [bool((scaled[name].notna() & scaled[control].notna()).any()) for name in scaled]]
    table = scaled.stack().dropna()
    if len(scaled) < _FEWEST or len(scaled.columns) < 2:
        return {}
    # Names never become a formula: they are a user's.
    replicate = pd.Categorical(table.index.get_level_values(0))
    condition = table.index.get_level_values(1)
    others = [name for name in scaled.columns if name != control]
    design = np.column_stack(
        [
            np.ones(len(table)),
            *(replicate.codes == k for k in range(1, len(replicate.categories))),
            *(condition == c for c in others),
        ]
    ).astype(np.float64)
    if np.linalg.matrix_rank(design) < design.shape[1] or len(table) <= design.shape[1]:
        return {}
    import statsmodels.api as sm  # takes seconds to load

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = sm.OLS(table.to_numpy(np.float64), design).fit()
    if not fit.mse_resid > 1e-20:
        return {}
    return dict(zip(others, map(float, fit.pvalues[-len(others) :]), strict=True))


def _holm(p: Values) -> Values:
    """Correct the known p-values; statsmodels would count a missing one as a test."""
    known = np.isfinite(p)
    corrected = np.full(p.size, np.nan)
    if known.any():
        from statsmodels.stats.multitest import multipletests  # takes a second to load

        corrected[known] = multipletests(p[known], method="holm")[1]
    return corrected


def _needed(effect: float) -> int | None:
    """Return how many replicates a paired test would need to see an effect, in standard deviations of differences."""
    from scipy import special

    if not effect > 0.05:
        return None
    n = _FEWEST
    while True:
        least = special.stdtrit(n - 1, 0.975)
        # What the noncentral t leaves on the other side is nothing at this power.
        if 1 - special.nctdtr(n - 1, effect * np.sqrt(n), least) >= 0.8:
            return n
        n += 1


def _wild(scaled: pd.DataFrame, control: str) -> set[str]:
    """Return conditions whose differences from the control spread far more than those of the others."""
    spread = scaled.drop(columns=control).sub(scaled[control], axis=0).std(ddof=1)
    return {
        str(name)
        for name in spread.index
        if spread.size > 2 and spread[name] > _WILD * float(spread.drop(name).median())
    }


def _words(row: pd.Series[Any], share: bool, wild: bool) -> str:
    unit = " points" if share else ""
    n, difference = int(row["n_replicates"]), row["difference"]
    effect = f"{row['condition']} differs from {row['control']} by {difference:+.3g}{unit}"
    if not n:
        text = f"{effect}; they have no replicate in common"
        if pd.isna(row["p"]):
            return f"{text}: too few replicates for a test of independent ones ({_FEWEST} of each)."
        shown = (
            "more than chance would give"
            if row["p_holm"] < 0.05
            else "chance gives as much, which is no proof of equality"
        )
        return (
            f"{text} (95 % interval {row['low']:+.3g} to {row['high']:+.3g}{unit}): {shown} (Welch's t test, p = {row['p_holm']:.2g} after Holm)."
            " Replicates on the same days would show smaller differences."
        )
    if n < _FEWEST:
        need = (
            ""
            if pd.isna(row["replicates_needed"])
            else f"; at this spread {row['replicates_needed']} replicates would be needed"
        )
        repeats = "no replicate is repeated" if n == 1 else f"{n} replicates"
        return f"{effect} ({repeats}): too few for a test{need}."
    if pd.isna(row["p"]) and not pd.isna(row["p_paired"]):
        return f"{effect} ({n} replicates): no model of all conditions can be fitted; alone, paired p = {row['p_paired']:.2g}."
    if pd.isna(row["p"]):
        return f"{effect}, by the same in all replicates: a test cannot be made of that."
    interval = f"95 % interval {row['low']:+.3g} to {row['high']:+.3g}{unit}, {n} replicates"
    if row["p_holm"] < 0.05:
        text = f"{effect} ({interval}): more than chance would give (p = {row['p_holm']:.2g} after Holm)."
        if row["p_paired"] >= 0.05:
            text += f" Alone, without the spread of the other conditions, it is not shown (paired p = {row['p_paired']:.2g})."
    else:
        need = (
            ""
            if pd.isna(row["replicates_needed"])
            else f" To show a difference of this size, {row['replicates_needed']} replicates would be needed."
        )
        text = f"{effect} ({interval}): chance gives as much (p = {row['p_holm']:.2g} after Holm). That is no proof of equality.{need}"
    return text + (" Its replicates spread far more than those of the others: trust the paired p." if wild else "")


def quantity_of_shares(shares: pd.DataFrame, name: str) -> Quantity:
    """Return the shares of positives of replicates, to be compared; `shares` as `bridge.assay.shares.SHARES`."""
    own = shares[(shares["level"] == "replicate") & (shares["replicate"] != "") & (shares["positive"] == name)]
    unit = {"nucleus": "nuclei", "cell": "cells"}[own["unit"].iloc[0]] if len(own) else "cells"
    return Quantity(
        f"{name}-positive {unit} (%)",
        own.pivot(index="replicate", columns="condition", values="share"),
        own.pivot(index="replicate", columns="condition", values="n_units"),
    )


def quantity_of_means(units: pd.DataFrame, column: str) -> Quantity:
    """Return the means of replicates, to be compared; one row of `units` a cell or nucleus."""
    known = units[units["replicate"] != ""]
    return Quantity(
        f"{column}, mean", known.pivot_table(index="replicate", columns="condition", values=column, aggfunc="mean")
    )
