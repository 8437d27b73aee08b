"""Sheets of the workbook that are no tables of ours: what Prism takes, and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from bridge.pipeline.assay import unit_of
from bridge.report.prism import column_rows, nested_rows
from bridge.setting_options import MACHINE, PATHS, options_of
from bridge.settings import Settings
from bridge.tables import measure_column

if TYPE_CHECKING:
    import pandas as pd

    from bridge.pipeline.step import Context

_MOST_CELLS = 200_000  # in a Nested table; beyond, nobody pastes it


def extra_sheets(context: Context, units: pd.DataFrame, shares: pd.DataFrame) -> dict[str, list[list[Any]]]:
    """Return the sheets for Prism and of the settings.

    Parameters
    ----------
    context : Context
    units : DataFrame
        The nuclei of all fields, or the cells where no nuclei are found.
    shares : DataFrame
        `bridge.assay.shares.SHARES`.
    """
    conditions, found = list(context.plan.conditions), {}
    replicates = sorted(set(units["replicate"])) if len(units) else []
    own = shares[shares["level"] == "replicate"] if len(shares) else shares
    for positive in dict.fromkeys(own["positive"]):
        rows = column_rows(own[own["positive"] == positive], conditions, "share", replicates)
        found[f"Prism {positive} share (Column)"] = rows
    for channel in context.plan.measure_channels[:1]:
        name = measure_column(channel, "Mean", unit_of(context))
        if name not in units:
            continue
        means = units.groupby(["condition", "replicate"])[name].mean().reset_index()
        found[f"Prism {channel} mean (Column)"] = column_rows(means, conditions, name, replicates)
        if len(units) <= _MOST_CELLS:
            found[f"Prism {channel} cells (Nested)"] = nested_rows(units, conditions, name)
    rows = [[name.replace("_", "-"), value, options_of(Settings)[name].help] for name, value in setting_texts(context.settings.as_json()).items()]  # fmt: skip
    return {**found, "settings": [["setting", "value", "meaning"], *rows]}


def setting_texts(plain: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as people read them: without those that change no number; of a path its last part.

    Parameters
    ----------
    plain : mapping
        As `Settings.as_json` gives them.
    """
    options, found = options_of(Settings), {}
    for name, value in plain.items():
        if name not in options or options[name].group == MACHINE:
            continue
        if name in PATHS and isinstance(value, str) and ("/" in value or "\\" in value):
            value = PureWindowsPath(value).name if "\\" in value else PurePosixPath(value).name
        found[name] = "" if value is None or value == [] else ", ".join(map(str, value)) if isinstance(value, list) else str(value)  # fmt: skip
    return found
