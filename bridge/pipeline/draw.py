"""The figures of an experiment: which there are, and what each shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from bridge.names import safe_name
from bridge.pipeline.assay import Assayed, assay, assay_columns, positive_channels, unit_of, with_calls
from bridge.pipeline.cell_classes import class_counts, class_names, is_classified
from bridge.pipeline.cell_cycle import cell_cycle, has_dna
from bridge.pipeline.columns import columns_of
from bridge.pipeline.step import Context
from bridge.report.class_figures import class_figure
from bridge.report.figures import cells_against_nuclei
from bridge.report.share_figure import dna_figure, share_figure
from bridge.report.style import Look
from bridge.report.superplot import superplot
from bridge.tables import CELL, KEYS, NUCLEUS, measure_column

_SHOWN = (
    ("Mean", "mean", "grey level"),
    ("IntDen", "integrated density", "grey level × the image's unit of area"),
)
_COUNTED, _CLASSES = "cells_and_nuclei", "classes"


def background_words(context: Context) -> str:
    """Say in words how the background was subtracted."""
    radius = context.settings.rolling_ball
    return "no background subtraction" if radius == "none" else f"rolling ball {float(radius):g} px"


def distributions(context: Context) -> list[tuple[str, str, str, str, str]]:
    """File name, whose, column, label of the axis and title of each distribution."""
    found = []
    for what in (NUCLEUS, CELL) if context.plan.count_channel else (CELL,):
        names = {column.name for column in columns_of(context, what)}
        for channel in context.plan.measure_channels:
            for measure, words, unit in _SHOWN:
                column = measure_column(channel, measure, what)
                if column in names and (what == CELL or measure == "Mean"):
                    mark = "" if what == CELL else "nucleus_"
                    label = f"{channel} {words} per {what} ({unit}, {background_words(context)})"
                    found.append(
                        (f"{mark}{safe_name(channel)}_{measure}", what, column, label, f"{channel} {words} per {what}")
                    )
    return found or [("cell_area", CELL, "cell_area_px2", "cell area (px²)", "cell area")]


def _positives(context: Context) -> list[str]:
    """Return the channels whose positives have a figure, and all of them together."""
    channels = positive_channels(context)
    return [*channels, *([" + ".join(channels)] if len(channels) > 1 else [])]


def _dna_name(context: Context) -> str:
    return f"DNA_and_{safe_name(positive_channels(context)[0])}"


def _share_name(channel: str) -> str:
    return f"{safe_name(channel)}_positive"


def drawn_columns(context: Context, what: str) -> set[str]:
    """Return the columns of cells, or of nuclei, that the figures are drawn from."""
    names = {column for _, whose, column, *_ in distributions(context) if whose == what}
    names |= {"label"} if what == CELL else {"cell"}
    return names | (assay_columns(context) if what == unit_of(context) else {key.name for key in KEYS})


def draw_figures(
    context: Context,
    cells: pd.DataFrame,
    nuclei: pd.DataFrame | None,
    counts: pd.DataFrame,
    path_of: Callable[[str], Path],
    look: Look,
) -> list[Path]:
    """Draw all figures; return their files, the shares first.

    Parameters
    ----------
    context : Context
    cells, nuclei, counts : DataFrame
        Of all finished fields; `nuclei` is None without a count channel.
    path_of : callable
        From the name of a figure to its path without suffix.
    look : Look

    Returns
    -------
    list of Path
    """
    conditions, unit = context.plan.conditions, unit_of(context)
    assayed = assay(context, cells if nuclei is None else nuclei, counts)
    if is_classified(context) or has_dna(context):
        cells, nuclei = with_calls(assayed, cells, nuclei)
    gates = {
        str(channel): dict(zip(rows["replicate"], rows["value"], strict=True))
        for channel, rows in assayed.gates.groupby("channel")
    }
    files = []
    for channel in _positives(context):
        files += _share(path_of(_share_name(channel)), context, assayed, channel, look)
    measured = {measure_column(c, context.settings.gate_measure, unit): c for c in gates}
    for name, what, column, label, title in distributions(context):
        units = nuclei if what == NUCLEUS and nuclei is not None else cells
        own = gates.get(measured.get(column, ""))
        files += superplot(path_of(name), units, column, label, conditions, title, own, what, look)
    if context.plan.count_channel:
        files += cells_against_nuclei(path_of(_COUNTED), counts, conditions, look)
    if is_classified(context) and "class" in cells:
        names = class_names(context)
        files += class_figure(path_of(_CLASSES), class_counts(cells, names, conditions), names, conditions, look)
    if has_dna(context) and nuclei is not None:
        files += _dna(path_of(_dna_name(context)), context, nuclei, gates, look)
    return files


def _share(path: Path, context: Context, assayed: Assayed, channel: str, look: Look) -> list[Path]:
    shares, unit = assayed.shares[assayed.shares["positive"] == channel], unit_of(context)
    methods = set(assayed.gates["method"])
    plural = "nuclei" if unit == NUCLEUS else "cells"
    title = f"{channel}-positive {plural}" + (
        ", net of the control's false positives" if methods == {"control"} else ""
    )
    return share_figure(path, shares, context.plan.conditions, title, f"{channel}-positive {plural} (%)", look)


def _dna(path: Path, context: Context, nuclei: Any, gates: dict[str, Any], look: Look) -> list[Path]:
    channel, count = positive_channels(context)[0], str(context.plan.count_channel)
    content, phases = cell_cycle(context, nuclei)
    words = {
        str(condition): f"G1 {part['g1'].mean():.0f}, S {part['s'].mean():.0f}, G2/M {part['g2_m'].mean():.0f} %"
        for condition, part in phases.groupby("condition")
    }
    edu = measure_column(channel, context.settings.gate_measure, NUCLEUS)
    labels = (f"DNA content ({count}, G1 peak = 2N)", f"{channel} {context.settings.gate_measure} per nucleus")
    return dna_figure(
        path,
        nuclei.assign(_dna=content),
        "_dna",
        edu,
        context.plan.conditions,
        labels,
        gates.get(channel, {}),
        words,
        look,
    )


def figure_names(context: Context) -> list[str]:
    """Return the names of all figures, the shares first."""
    names = [_share_name(channel) for channel in _positives(context)]
    names += [name for name, *_ in distributions(context)]
    names += [_COUNTED] if context.plan.count_channel else []
    names += [_CLASSES] if is_classified(context) else []
    return names + ([_dna_name(context)] if has_dna(context) else [])
