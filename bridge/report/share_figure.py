"""Figures of positives: shares of conditions, and DNA content against EdU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bridge.report.style import (
    Look,
    legend_below,
    name_conditions,
    new_figure,
    plain,
    replicate_look,
    save,
    style,
    tidy,
)

_INTERVAL = "mean, 95 % interval"
_MEAN = "mean (two replicates have no useful interval)"
_POOLED = "share, 95 % interval (technical)"


def share_figure(
    path: Path, shares: pd.DataFrame, conditions: Sequence[str], title: str, label: str, look: Look | None = None
) -> list[Path]:
    """Draw the share of positives of each condition: a dot a replicate, their mean and its interval.

    Parameters
    ----------
    path : Path
        Without suffix.
    shares : DataFrame
        `bridge.assay.shares.SHARES` of one channel.
    conditions : sequence of str
        In their order.
    title, label : str
    look : Look, optional

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl
    from matplotlib.lines import Line2D

    look = look or Look()
    of_replicates = shares[shares["level"] == "replicate"]
    of_conditions = shares[shares["level"] == "condition"].set_index("condition")
    replicates = sorted({name for name in of_replicates["replicate"] if name})
    with mpl.rc_context(style(look, *conditions, *replicates)):
        figure = new_figure(look, 80.0, conditions, len(replicates))
        axes = figure.add_subplot()
        handles: dict[str, Any] = {}
        points: dict[str, list[tuple[float, float]]] = {}
        below, top = {}, 10.0
        for x, condition in enumerate(conditions):
            if condition not in of_conditions.index:
                continue
            whole: Any = of_conditions.loc[condition]
            below[condition] = [
                f"{whole['n_units']} {'nuclei' if whole['unit'] == 'nucleus' else 'cells'}",
                _repeats(whole),
            ]
            if pd.isna(whole["share"]):
                axes.text(x, 2, "not called", ha="center", va="bottom", rotation=90, color="#777777")
                continue
            share, low, high = (float(whole[name]) for name in ("share", "low", "high"))
            top = max(top, share)
            two = whole["n_replicates"] == 2
            if not two:  # of two replicates it is as wide as the axis, and says nothing
                top = max(top, min(100.0, high))
                axes.plot([x, x], [low, high], color="black", linewidth=0.8, zorder=3)
            axes.plot([x - 0.22, x + 0.22], [share, share], color="black", linewidth=1.4, zorder=3)
            n = len(replicates)
            line = _MEAN if two else _INTERVAL if whole["n_replicates"] > 2 else _POOLED
            handles.setdefault(line, Line2D([], [], color="black"))
            for row in of_replicates[of_replicates["condition"] == condition].itertuples():
                share = float(str(row.share))
                if not row.replicate or np.isnan(share):
                    continue
                k = replicates.index(str(row.replicate))
                at = x + (0.36 * (k + 0.5) / n - 0.18 if n > 1 else 0.0)
                colour, marker = replicate_look(k)
                seen: dict[str, Any] = {"markerfacecolor": colour, "markeredgecolor": "black", "markeredgewidth": 0.5}
                axes.plot(at, share, marker, markersize=5, zorder=5, **seen)
                text = f"replicate {plain(str(row.replicate))}"
                handles.setdefault(text, Line2D([], [], linestyle="none", marker=marker, markersize=5, **seen))
                points.setdefault(str(row.replicate), []).append((at, share))
                top = max(top, share)
        for linked in points.values():
            axes.plot(*zip(*linked, strict=True), color="#BBBBBB", linewidth=0.6, zorder=2)
        axes.set_ylim(0, min(100.0, 1.08 * top) if top < 95 else 102)
        name_conditions(axes, look, conditions, below)
        tidy(axes, look, label)
        axes.set_title(plain(title))
        legend_below(
            figure, look, dict(sorted(handles.items(), key=lambda entry: not entry[0].startswith("replicate")))
        )
        return save(figure, path, look)


def _repeats(whole: pd.Series[Any]) -> str:
    n = int(whole["n_replicates"]) if not pd.isna(whole["n_replicates"]) else 0
    return f"{n} replicate{'s' if n != 1 else ''}" if n else "n = 1"


def dna_figure(
    path: Path,
    units: pd.DataFrame,
    dna: str,
    edu: str,
    conditions: Sequence[str],
    labels: tuple[str, str],
    gates: Mapping[str, float],
    phases: Mapping[str, str],
    look: Look | None = None,
) -> list[Path]:
    """Draw EdU against DNA content, one panel a condition, as flow cytometry does.

    Parameters
    ----------
    path : Path
        Without suffix.
    units : DataFrame
        One row a nucleus; `dna` is normalised so that G1 is 2.
    dna, edu : str
        Columns.
    conditions : sequence of str
    labels : (str, str)
        Of the axes.
    gates : mapping of str to float
        By replicate.
    phases : mapping of str to str
        Words in the panel of a condition.
    look : Look, optional

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl

    look = look or Look()
    columns = min(4, max(1, len(conditions)))
    rows = -(-max(len(conditions), 1) // columns)
    with mpl.rc_context(style(look, *conditions)):
        figure = new_figure(look, 12 + 46.0 * rows * look.width_mm / 180 * 4 / columns * (columns / 4) ** 0.5)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        known = [value for value in gates.values() if np.isfinite(value)]
        for axes, condition in zip(grid.flat, conditions, strict=False):
            part = units[units["condition"] == condition]
            axes.plot(
                part[dna],
                part[edu],
                ".",
                color="#0072B2",
                markersize=1.6,
                alpha=0.35,
                markeredgewidth=0,
                rasterized=True,
            )
            for value in sorted(set(known)):
                axes.axhline(value, color="#B00020", linewidth=0.6, linestyle=(0, (4, 3)))
            axes.set_xlim(0, 6.5)
            axes.set_xticks([2, 4], ["2N", "4N"])
            axes.set_yscale("asinh", linear_width=max(1.0, float(np.median(known)) / 3 if known else 100.0))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.set_title("\n".join([plain(condition), phases.get(condition, "")]), fontsize=look.font_pt)
            axes.spines[["top", "right"]].set_visible(False)
        for k in range(len(conditions), grid.size):
            grid.flat[k].set_visible(False)
            if k >= columns:
                grid.flat[k - columns].tick_params(labelbottom=True)
        figure.supxlabel(plain(labels[0]), fontsize=look.font_pt)
        figure.supylabel(plain(labels[1]), fontsize=look.font_pt)
        return save(figure, path, look)
