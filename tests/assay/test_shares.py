"""Shares of positives at every level, net of the control's false positives, with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bridge.assay.gate import Gate, control_gate
from bridge.assay.shares import Called, logit_interval, net, share_table, with_counts

CONDITIONS = ("DMSO", "Drug", "No_EdU")


def experiment(
    seed: int, shares: dict[str, float], n: int = 120, replicates: int = 3, spread: float = 0.0
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for condition, share in shares.items():
        for r in range(1, replicates + 1):
            odds = share / (1 - share) * np.exp(spread * rng.normal()) if share else 0.0
            for f in range(3):
                positive = rng.random(n) < odds / (1 + odds)
                values = np.where(positive, 900 * rng.lognormal(0, 0.4, n), rng.normal(0, 25, n))
                field = f"{condition}_{r}_{f}"
                rows += [(condition, f"day{r}", "", field, value, value / 2) for value in values]
    return pd.DataFrame(rows, columns=["condition", "replicate", "sample", "field_id", "EdU", "pH3"])


def called(units: pd.DataFrame, channels: tuple[str, ...] = ("EdU",)) -> Called:
    gates = {
        channel: {
            batch: control_gate(part.loc[part["condition"] == "No_EdU", channel].to_numpy(float), 99)
            for batch, part in units.groupby("replicate")
        }
        for channel in channels
    }
    return Called(units, channels, gates, "No_EdU", 99.0)


def test_every_level_counts_the_same_cells() -> None:
    units = experiment(1, {"DMSO": 0.4, "Drug": 0.02, "No_EdU": 0.0})
    table = share_table(called(units), "nucleus", CONDITIONS)
    assert list(table.groupby("level").size()) == [3, 27, 9]  # condition, field, replicate; no sample is known
    for condition in CONDITIONS:
        own = table[table["condition"] == condition]
        totals = own.groupby("level")[["n_units", "n_positive"]].sum()
        assert (totals == totals.iloc[0]).all(axis=None)
    known = table[table["n_positive"].notna()]
    assert ((known["low"] <= known["share"]) & (known["share"] <= known["high"])).all()
    assert ((known["low"] >= 0) & (known["high"] <= 100)).all()
    whole = table[table["level"] == "condition"].set_index("condition")
    assert whole.loc["DMSO", "share"] == pytest.approx(40, abs=4)
    assert whole.loc["Drug", "share_raw"] > whole.loc["Drug", "share"]
    assert whole.loc["Drug", "share"] == pytest.approx(2, abs=1.2)
    assert whole.loc["No_EdU", "share"] < 0.5
    assert whole.loc["DMSO", "quote"].endswith("% (mean ± SD, n = 3 replicates, 1080 counted)")
    assert whole.loc["DMSO", "interval"] == "t on the logits of 3 replicates"


def test_the_same_experiment_gives_the_same_table() -> None:
    units = experiment(2, {"DMSO": 0.3, "No_EdU": 0.0})
    first, second = (share_table(called(units), "cell", ("DMSO", "No_EdU")) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_false_positives_are_taken_off_and_never_more_than_there_are() -> None:
    assert net(0.02, 0.01) == pytest.approx(0.010101, abs=1e-6)
    assert net(0.005, 0.01) == 0.0


def test_without_replicates_the_share_is_called_technical() -> None:
    units = experiment(3, {"DMSO": 0.3, "No_EdU": 0.0}, replicates=1).assign(replicate="")
    whole = share_table(called(units), "cell", ("DMSO", "No_EdU")).query("level == 'condition'").iloc[0]
    assert whole["interval"] == "bootstrap of the gate and of fields and cells (no replicate is known: technical)"
    assert whole["n_replicates"] == 0
    assert whole["quote"] == ""


def test_where_nothing_is_called_nothing_is_counted() -> None:
    units = experiment(4, {"DMSO": 0.3, "Drug": 0.3})
    gates = {"EdU": {f"day{r}": Gate("mixture", 100.0 if r > 1 else float("nan")) for r in (1, 2, 3)}}
    one = Called(units, ("EdU",), gates, None, 99.0)
    assert one.calls()[units["replicate"] == "day1"].isna().all()
    table = share_table(one, "cell", ("DMSO", "Drug"))
    assert table.loc[table["replicate"] == "day1", "share"].isna().all()
    whole = table[table["level"] == "condition"]
    assert set(whole["interval"]) == {"nothing is called in day1"}
    assert whole["share"].isna().all()


def test_double_positives() -> None:
    units = experiment(5, {"DMSO": 0.4, "No_EdU": 0.0})
    both = share_table(called(units, ("EdU", "pH3")), "cell", ("DMSO", "No_EdU"))
    assert set(both["positive"]) == {"EdU + pH3"}
    single = share_table(called(units), "cell", ("DMSO", "No_EdU"))
    assert (both["n_positive"] <= single["n_positive"]).all()
    assert both["share_raw"].max() > 30


def test_equal_replicates_are_not_certain() -> None:
    low, high = logit_interval(np.array([0.2, 0.2, 0.2]), np.array([100.0, 100.0, 100.0]))
    assert low < 0.16
    assert high > 0.25


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_the_interval_holds_the_truth(share: float) -> None:
    """A small version of scripts/coverage.py, whose 1,000 experiments are in docs/assay.md."""
    inside = 0
    for seed in range(200):
        units = experiment(10_000 + seed, {"DMSO": share, "No_EdU": 0.0}, spread=0.3)
        whole = share_table(called(units), "cell", ("DMSO", "No_EdU"), draws=2).query("level == 'condition'").iloc[0]
        inside += whole["low"] <= 100 * share <= whole["high"]
    assert 0.9 <= inside / 200 <= 0.995


def test_what_a_treatment_kills_is_seen() -> None:
    units = experiment(6, {"DMSO": 0.4, "Drug": 0.4})
    gates = {"EdU": {f"day{r}": Gate("threshold", 100.0) for r in (1, 2, 3)}}
    table = share_table(Called(units, ("EdU",), gates, None, 99.0), "nucleus", ("DMSO", "Drug"), draws=10)
    counts = pd.DataFrame(
        [(c, f"day{r}", n) for c, n in (("DMSO", 100), ("Drug", 50), ("Drug", 0)) for r in (1, 2, 3)],
        columns=["condition", "replicate", "n_nuclei"],
    )
    whole = with_counts(table, counts, "n_nuclei", "DMSO").query("level == 'condition'").set_index("condition")
    assert whole["count_of_control"].tolist() == [100.0, 25.0]  # a field without a nucleus counts
    assert with_counts(table, counts, "n_nuclei", None)["count_of_control"].isna().all()
