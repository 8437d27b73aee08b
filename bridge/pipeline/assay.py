"""Who is positive, and the shares of positives: gates, calls and intervals over all fields."""

from __future__ import annotations

import importlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from bridge.assay.comparison import COMPARISONS, Quantity, compare, quantity_of_means, quantity_of_shares
from bridge.assay.gate import Gate, control_gate, mixture_gate
from bridge.assay.shares import SHARES, Called, control_units, share_table, with_counts
from bridge.experiment.condition_order import require_condition
from bridge.pipeline.columns import columns_of
from bridge.pipeline.step import Context
from bridge.tables import CELL, KEYS, NUCLEUS, Column, empty_table, measure_column, typed_table

if TYPE_CHECKING:
    from bridge.settings import Settings

GATES = (
    Column("channel", "str", "", "channel the gate is for"),
    Column("replicate", "str", "", "replicate the gate is for; empty where none is known"),
    Column("method", "str", "", "control (its percentile), threshold (given by hand), mixture (between two groups)"),
    Column("measure", "str", "", "what is compared with the gate"),
    Column("value", "float64", "", "a unit above it is positive; empty where nothing is called"),
    Column("n_control", "int64", "", "units of the control"),
    Column("false_positive_rate", "float64", "", "share of the control above the gate, taken off the shares"),
    Column("separation", "float64", "", "of a mixture: Ashman's D of the two groups; above 2 they are apart"),
    Column("valley", "float64", "", "of a mixture: density between the groups, as a part of the lower peak's"),
    Column("note", "str", "", "why nothing is called, or what weakens the gate"),
)


class Assayed(NamedTuple):
    """What the gates give: the gates, the shares, and for each channel whether each unit is positive."""

    gates: pd.DataFrame
    shares: pd.DataFrame
    comparisons: pd.DataFrame
    calls: dict[str, pd.Series[Any]]

    def of(self, rows: pd.Series[bool]) -> Assayed:
        """Return it with the calls of these units alone."""
        return self._replace(calls={channel: calls[rows] for channel, calls in self.calls.items()})


def load(settings: Settings) -> None:
    """Load the libraries that the assay will need: meanwhile, for it takes seconds."""
    # With label images given, a run may be over before it is loaded.
    if (
        settings.masks is None
        and settings.edu_control is None
        and not settings.edu_threshold
        and "none" not in settings.positive
    ):
        importlib.import_module("sklearn.mixture")


def unit_of(context: Context) -> str:
    """Return what is positive or not: a nucleus, or a cell where no nuclei are found."""
    return NUCLEUS if context.plan.count_channel else CELL


def positive_channels(context: Context) -> tuple[str, ...]:
    """Return the channels that have a gate."""
    asked, plan = context.settings.positive, context.plan
    if "none" in asked:
        return ()
    given = tuple(c for c in context.settings.thresholds("") if c)
    channels = asked or tuple(dict.fromkeys([*plan.measure_channels[:1], *given]))
    names = {column.name for column in columns_of(context, unit_of(context))}
    measure = context.settings.gate_measure
    return tuple(c for c in channels if measure_column(c, measure, unit_of(context)) in names)


def assay_columns(context: Context) -> set[str]:
    """Return the columns of units that gates, shares, comparisons and the cell cycle follow from."""
    plan, unit = context.plan, unit_of(context)
    measures = [(channel, context.settings.gate_measure) for channel in positive_channels(context)]
    measures += [(channel, "Mean") for channel in plan.measure_channels]
    measures += [(plan.count_channel, "IntDen")] if plan.count_channel else []
    return {*(key.name for key in KEYS), *(measure_column(channel, measure, unit) for channel, measure in measures)}


def assay(context: Context, found: pd.DataFrame, counts: pd.DataFrame) -> Assayed:
    """Find the gates, call every unit, count, and compare conditions.

    Parameters
    ----------
    context : Context
    found : DataFrame
        The nuclei of all finished fields, or the cells where no nuclei are found.
    counts : DataFrame
        `bridge.tables.COUNTS`.
    """
    s, unit = context.settings, unit_of(context)
    channels = positive_channels(context)
    measures = {channel: measure_column(channel, s.gate_measure, unit) for channel in channels}
    units = found[["condition", "replicate", "sample", "field_id", *measures.values()]]
    units = units.rename(columns={column: channel for channel, column in measures.items()})
    control = (
        None if s.edu_control is None else require_condition(context.plan.conditions, s.edu_control, "--edu-control")
    )
    gates = {channel: _gates(context, units, channel, channels, control) for channel in channels}
    rows = [
        {"channel": channel, "replicate": batch, "measure": measures[channel], **asdict(gate)}
        for channel, of_batch in gates.items()
        for batch, gate in of_batch.items()
    ]
    sets = [(channel,) for channel in channels] + ([channels] if len(channels) > 1 else [])
    parts, calls = [], {}
    for together in sets:
        called = Called(units, together, gates, control, s.gate_percentile)
        if len(units):
            parts.append(share_table(called, unit, context.plan.conditions))
        if len(together) == 1:
            calls[together[0]] = called.calls()
    shares = pd.concat(parts, ignore_index=True) if parts else empty_table(SHARES)
    shares = with_counts(shares, counts, "n_nuclei" if unit == NUCLEUS else "n_cells", context.plan.control)
    return Assayed(typed_table(rows, GATES), shares, _comparisons(context, found, shares, control), calls)


def _comparisons(context: Context, found: pd.DataFrame, shares: pd.DataFrame, edu_control: str | None) -> pd.DataFrame:
    plan, unit = context.plan, unit_of(context)
    columns = [measure_column(channel, "Mean", unit) for channel in plan.measure_channels]
    quantities = [quantity_of_shares(shares, str(name)) for name in shares["positive"].unique()]
    quantities += [quantity_of_means(found, column) for column in columns if column in found]
    conditions = [name for name in plan.conditions if name != edu_control]
    parts = [
        part
        for quantity in quantities
        if len(part := compare(_without(quantity, edu_control), conditions, plan.control))
    ]
    return pd.concat(parts, ignore_index=True) if parts else empty_table(COMPARISONS)


def _without(quantity: Quantity, condition: str | None) -> Quantity:
    """Leave out the control of the gate: it is no treatment."""
    tables = (quantity.values, quantity.n)
    kept = [None if table is None else table.drop(columns=[condition], errors="ignore") for table in tables]
    assert kept[0] is not None
    return Quantity(quantity.name, kept[0], kept[1])


def _gates(
    context: Context, units: pd.DataFrame, channel: str, channels: tuple[str, ...], control: str | None
) -> dict[str, Gate]:
    s = context.settings
    by_hand = s.thresholds(channels[0])
    gates = {}
    for batch, part in units.groupby("replicate", sort=True):
        if channel in by_hand:
            gate = Gate("threshold", by_hand[channel])
        elif control is not None:
            of_control = control_units(units, control, str(batch))
            gate = control_gate(of_control[channel].to_numpy(float), s.gate_percentile)
            if len(of_control) and not (of_control["replicate"] == batch).any():
                more = f"; {gate.note}" if gate.note else ""
                gate = Gate(
                    gate.method, gate.value, gate.n_control, gate.false_positive_rate,
                    note=f"no control in this replicate: that of the others is used{more}",
                )  # fmt: skip
        else:
            gate = mixture_gate(part[channel].to_numpy(float))
        gates[str(batch)] = gate
    return gates


def gate_warnings(assayed: Assayed) -> list[str]:
    """Say where nobody is called positive, and what weakens a gate."""
    found = []
    for (channel, note), rows in assayed.gates[assayed.gates["note"] != ""].groupby(["channel", "note"], sort=False):
        where = ", ".join(filter(None, rows["replicate"]))
        nothing = rows["value"].isna().all()
        found.append(
            f"{channel}: {'nobody is called positive' if nothing else 'the gate is weak'}{f' in {where}' if where else ''} ({note})"
            + (
                ". Give --edu-control CONDITION, or --edu-threshold"
                if nothing and (rows["method"] == "mixture").all()
                else ""
            )
        )
    return found


def called_columns(context: Context) -> tuple[Column, ...]:
    """Return the columns that say who is positive."""
    return tuple(
        Column(f"{channel}_positive", "boolean", "", f"above the gate in {channel}; empty where nothing is called")
        for channel in positive_channels(context)
    )


def with_calls(
    assayed: Assayed, cells: pd.DataFrame, nuclei: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Add who is positive to the tables; a cell is where one of its nuclei is, and missing without any."""
    columns = {f"{channel}_positive": calls.array for channel, calls in assayed.calls.items()}
    if nuclei is None:
        return cells.assign(**columns), None
    nuclei = nuclei.assign(**columns)
    for name in columns:
        inside = nuclei[nuclei["cell"].notna()]
        positive = inside.groupby(["field_id", "cell"])[name].max()
        at = pd.MultiIndex.from_arrays([cells["field_id"], cells["label"]])
        cells = cells.assign(**{name: pd.array(positive.reindex(at).array, "boolean")})
    return cells, nuclei
