"""Does the conclusion survive? The effect of each condition under other choices, from what is already segmented."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bridge.errors import InputError
from bridge.experiment.condition_order import require_condition
from bridge.imagej.native import NativeEngine
from bridge.images.reader import read_plane
from bridge.names import number
from bridge.pipeline.assay import assay, positive_channels, unit_of
from bridge.pipeline.columns import columns_of
from bridge.pipeline.engines import background_of, calibration_of
from bridge.pipeline.finished_run import FinishedRun, open_run
from bridge.pipeline.graph import EXPERIMENT
from bridge.pipeline.preflight import make_plan
from bridge.pipeline.prepared import prepared
from bridge.pipeline.segmented_again import segmented_again
from bridge.report.robustness_figure import robustness_figure
from bridge.report.style import Look
from bridge.rois.roiset import read_roiset
from bridge.settings_file import settings_from
from bridge.tables import CELL, COUNTS, NUCLEUS, Column, measure_column, read_table, typed_table, write_table

if TYPE_CHECKING:
    from bridge.experiment.fields import Field, Plan
    from bridge.pipeline.step import Context
    from bridge.settings import Settings

ROBUSTNESS = (
    Column("choice", "str", "", "what was chosen in another way; 'as run' for the run itself"),
    Column("value", "str", "", "how it was chosen"),
    Column("what", "str", "", "what is compared"),
    Column("condition", "str", "", "treatment"),
    Column("difference", "float64", "", "mean difference of its replicates from the control; points for a share"),
    Column("low", "float64", "", "lower end of its 95 % interval; empty with one replicate"),
    Column("high", "float64", "", "upper end"),
    Column("note", "str", "", "why there is no number"),
)
AS_RUN = "as run"
_RADII: tuple[float | str, ...] = ("none", 25.0, 50.0, 100.0, 200.0)
_PERCENTILES = (95.0, 99.0, 99.9)
_FACTORS = (0.8, 1.25)  # of a gate by hand
_SMALLEST = (0.5, 0.75)  # parts of the median area


@dataclass(frozen=True)
class Robustness:
    """How the effects move.

    Attributes
    ----------
    table : DataFrame
        `ROBUSTNESS`.
    sentence : str
    files : tuple of Path
        The table and the picture.
    """

    table: pd.DataFrame
    sentence: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Choice:
    choice: str
    value: str
    context: Context
    units: pd.DataFrame


def robustness(
    results: Path | str,
    control: str | None = None,
    flow_thresholds: Sequence[float] = (),
    announce: Callable[[str], None] | None = None,
) -> Robustness:
    """Show how the difference of each condition from the control moves under other choices.

    The rolling ball's radius (measured again by the native engine), the gate, whole cells or nuclei, cells at the border,
    and the smallest cells; the segmentation stays as it is, unless other flow thresholds are asked for.

    Parameters
    ----------
    results : Path or str
        Folder of a run.
    control : str or None
        Condition that the others are compared with, where the run has none.
    flow_thresholds : sequence of float
        The network looks again at what is called positive or not (nuclei, else cells), and masks are made at these.
    announce : callable, optional
        Called with what is being done.

    Returns
    -------
    Robustness
        Also written: `robustness.csv` and ``figures/robustness.png`` and ``.svg``.

    Raises
    ------
    InputError
        Not the folder of a run, nothing to compare, or the images are not where they were.
    OutputError
        A file was changed by hand.
    """
    run = open_run(Path(results))
    context = run.context
    if control is not None:
        context = replace(
            context, plan=replace(context.plan, control=require_condition(run.plan.conditions, control, "--control"))
        )
    if context.plan.control is None:
        raise InputError(
            f"{results}: no control to compare with (expected a condition such as DMSO). Name one with --control."
        )
    if not context.plan.measure_channels:
        raise InputError(f"{results}: nothing was measured. There is nothing to compare.")
    counts = read_table(run.out / "counts.csv", COUNTS)
    channel = (*positive_channels(context), *context.plan.measure_channels)[0]
    parts = []
    for choice in _choices(run, context, channel, flow_thresholds, announce or (lambda _: None)):
        parts.append(_effects(choice, counts, channel))
    table = pd.concat(parts, ignore_index=True)
    if table["difference"].notna().sum() == 0:
        raise InputError(
            f"{results}: no condition can be compared with {context.plan.control} (expected replicates that both have). Name replicates in folders, or in a sample sheet."
        )
    said = _sentence(table, context.plan.control)
    return Robustness(table, said, _written(run, context, table, said))


def _choices(
    run: FinishedRun,
    context: Context,
    channel: str,
    flow_thresholds: Sequence[float],
    announce: Callable[[str], None],
) -> Iterator[_Choice]:
    s, unit = context.settings, unit_of(context)
    units = run.rows(unit, {c.name for c in columns_of(context, unit)})
    yield _Choice(AS_RUN, "", context, units)
    plan = make_plan(run.images(), s)
    for radius in _RADII:
        if radius == s.rolling_ball:
            continue
        words = "off" if radius == "none" else f"{radius:g} px"
        announce(f"rolling ball {words}")
        other = settings_from({**s.as_json(), "rolling_ball": radius}, "robustness")
        yield _Choice("rolling ball", words, context, _measured_again(run, plan, other, units, unit, channel))
    yield from _gates(context, units, channel)
    if unit == NUCLEUS:
        cells = run.rows(CELL, {c.name for c in columns_of(context, CELL)})
        of_cells = replace(context, plan=replace(context.plan, count_channel=None))
        yield _Choice("compartment", "whole cell", of_cells, cells)
    inside = units[~units["touches_border"]]
    yield _Choice("border", "without those it cuts", context, inside)
    area = f"{unit}_area_px2"
    for part in _SMALLEST:
        least = part * float(units[area].median()) if len(units) else 0.0
        yield _Choice("smallest", f"{least:.0f} px", context, units[units[area] >= least])
    if flow_thresholds:
        again = segmented_again(
            plan, s, unit, channel, flow_thresholds, announce, run.folder.network if s.keep_network else None
        )
        for threshold, found in again.items():
            yield _Choice("flow threshold", f"{threshold:g}", context, found)


def _gates(context: Context, units: pd.DataFrame, channel: str) -> Iterator[_Choice]:
    s, channels = context.settings, positive_channels(context)
    if channel not in channels:
        return
    by_hand = s.thresholds(channels[0])
    if channel in by_hand:
        for factor in _FACTORS:
            gates = tuple(f"{c}={v * (factor if c == channel else 1):.10g}" for c, v in by_hand.items())
            value = f"{by_hand[channel] * factor:.4g}"
            yield _Choice("gate", value, replace(context, settings=replace(s, edu_threshold=gates)), units)
    elif s.edu_control is not None:
        for percentile in _PERCENTILES:
            if percentile != s.gate_percentile:
                other = replace(context, settings=replace(s, gate_percentile=percentile))
                yield _Choice("gate", f"{percentile:g}th percentile", other, units)


def _measured_again(
    run: FinishedRun, plan: Plan, settings: Settings, units: pd.DataFrame, unit: str, channel: str
) -> pd.DataFrame:
    """Return the table with what this channel measures after another background subtraction."""
    headings = [c for c in units.columns if c.startswith(f"{unit}_{channel}_")]
    parts = []
    fields = {item.field_id: item for item in plan.fields}
    for field_id, part in units.groupby("field_id", sort=False):
        item = fields.get(str(field_id))
        if item is None:
            raise InputError(f"{plan.images}: the field {field_id} is not there any more. Bring its images back.")
        columns = _columns(run, item, settings, unit, channel)
        new = {name: columns[h] for name in headings if (h := name.removeprefix(f"{unit}_{channel}_")) in columns}
        parts.append(part.assign(**new))
    return pd.concat(parts, ignore_index=True)


def _columns(run: FinishedRun, item: Field, settings: Settings, unit: str, channel: str) -> dict[str, Any]:
    file = run.plan.measured(item)[channel]
    plane = prepared(read_plane(file, settings.rgb_channel), channel, settings)
    path = run.folder.nuclei_roiset(item) if unit == NUCLEUS else run.folder.roiset(item)
    selections = read_roiset(path, (plane.pixels.shape[0], plane.pixels.shape[1]))
    calibration = calibration_of(settings, plane.calibration)
    measured = NativeEngine().measure(
        plane.pixels, selections, plane.title, background_of(settings), calibration, settings.measurements
    )
    return measured.columns


def _effects(choice: _Choice, counts: pd.DataFrame, channel: str) -> pd.DataFrame:
    assayed = assay(choice.context, choice.units, counts)
    shares = channel in positive_channels(choice.context)
    unit = unit_of(choice.context)
    column = measure_column(channel, "Mean", unit)
    begins = f"{channel}-positive " if shares else f"{column}, "
    own = assayed.comparisons[assayed.comparisons["what"].str.startswith(begins)].set_index("condition")
    declined = assayed.gates[(assayed.gates["channel"] == channel) & assayed.gates["value"].isna()]["note"]
    rows = []
    plan, edu_control = choice.context.plan, choice.context.settings.edu_control
    for condition in plan.conditions:
        if condition in (plan.control, edu_control):
            continue
        row: dict[str, Any] = {"choice": choice.choice, "value": choice.value, "condition": condition}
        row["what"] = f"{channel}-positive (%)" if shares else f"{channel}, mean grey level"
        of: dict[str, Any] = (
            {} if condition not in own.index else dict(own.loc[condition, ["difference", "low", "high"]])
        )
        found = bool(pd.notna(of.get("difference")))
        if found:
            row |= of
        row["note"] = "" if found else next(iter(declined), "no replicate in common with the control")
        rows.append(row)
    return typed_table([{**dict.fromkeys(("difference", "low", "high")), **row} for row in rows], ROBUSTNESS)


def _sentence(table: pd.DataFrame, control: str) -> str:
    """Say in one sentence whether the effects keep their side of the control."""
    n = len(table[["choice", "value"]].drop_duplicates()) - 1
    as_run = table[table["choice"] == AS_RUN].set_index("condition")["difference"]
    turned = []
    for condition, before in as_run.dropna().items():
        others = table[(table["condition"] == condition) & (table["choice"] != AS_RUN)]
        other = others[(others["difference"] * before < 0)]
        turned += [f"{condition} with {row.choice} {row.value}" for row in other.itertuples()]
    undecided = int(table.loc[table["choice"] != AS_RUN, "difference"].isna().sum())
    more = f"; {number(undecided, 'difference')} could not be computed (see note)" if undecided else ""
    if not turned:
        return f"Every condition stays on its side of {control} in all {n} other choices{more}."
    listed = ", ".join(turned[:4]) + (f" and {len(turned) - 4} more" if len(turned) > 4 else "")
    return f"Not every difference from {control} survives: the sign turns for {listed} ({n} other choices tried){more}."


def _written(run: FinishedRun, context: Context, table: pd.DataFrame, said: str) -> tuple[Path, ...]:
    path, figure = run.out / "robustness.csv", run.folder.figure("robustness")
    files = [path, *figure]
    made_from = {"control": context.plan.control, "tables": run.records.outputs(EXPERIMENT, "tables")}
    run.records.current(EXPERIMENT, "robustness", made_from, files, derived=True)  # refuses what a person changed
    run.records.begin(EXPERIMENT, "robustness", made_from, files)
    write_table(path, table, ROBUSTNESS)
    robustness_figure(figure[0].with_suffix(""), table, context.plan.control or "", said, Look())
    run.records.finish(EXPERIMENT, "robustness", made_from, files, {"sentence": said})
    return tuple(files)
