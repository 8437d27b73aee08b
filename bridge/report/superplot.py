"""SuperPlots: all cells, and on top of them the means of replicates, which are what is compared (Lord et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_DOTS = 3000  # of a condition
_MANY_FIELDS = 100  # of a condition
_TECHNICAL = "mean of a field (technical: no replicate is known)"


def superplot(
    path: Path,
    units: pd.DataFrame,
    column: str,
    label: str,
    conditions: Sequence[str],
    title: str = "",
    gates: Mapping[str, float] | None = None,
    unit: str = "cell",
    look: Look | None = None,
) -> list[Path]:
    """Draw the cells of each condition in the colour and shape of their replicate, with the replicates' means on top.

    The means of one replicate are linked. Where no replicate is known the means of fields are drawn hollow and called
    technical. There are no p-values here: cells are not replicates.

    Parameters
    ----------
    path : Path
        Without suffix.
    units : DataFrame
        One row a cell or nucleus.
    column : str
        What is drawn.
    label : str
        Name and unit for the axis.
    conditions : sequence of str
        In their order.
    title : str
    gates : mapping of str to float, optional
        By replicate; drawn as dashed lines.
    unit : str
        ``cell`` or ``nucleus``.
    look : Look, optional

    Returns
    -------
    list of Path
        The files written.
    """
    import matplotlib as mpl

    look = look or Look()
    replicates = sorted({name for name in units["replicate"].unique() if name})
    with mpl.rc_context(style(look, *conditions, *replicates)):
        figure = new_figure(look, 95.0, conditions, len(replicates))
        axes = figure.add_subplot()
        values = units[column].to_numpy(np.float64)
        if look.log and np.isfinite(values).any():
            axes.set_yscale("asinh", linear_width=max(1.0, float(np.nanpercentile(np.abs(values), 30))))
            axes.yaxis.set_major_formatter("{x:g}")
        handles: dict[str, Any] = {}
        means: dict[str, list[tuple[float, float]]] = {}
        # One bandwidth for all conditions, 2.5 % of what is shown: a rule that follows the standard deviation draws a
        # hump between two groups, where there are no cells.
        shown = axes.yaxis.get_transform().transform(values[np.isfinite(values)])
        bandwidth = 0.025 * float(np.ptp(shown)) if shown.size and np.ptp(shown) else 1.0
        below = {}
        for x, condition in enumerate(conditions):
            part = units[units["condition"] == condition]
            own = part[column].to_numpy(np.float64)
            own = own[np.isfinite(own)]
            _distribution(axes, x, own, look.kind, bandwidth)
            if look.kind == "dots" or look.kind == "violin":
                _dots(axes, x, part, column, replicates)
            _means(axes, x, part, column, replicates, handles, means)
            below[condition] = _numbers(part, unit)
        for linked in means.values():
            axes.plot(*zip(*linked, strict=True), color="#555555", linewidth=0.6, zorder=4)
        for text, value in _gate_lines(gates):
            line = axes.axhline(value, color="#B00020", linewidth=0.8, linestyle=(0, (4, 3)), zorder=3)
            handles.setdefault(text, line)
        name_conditions(axes, look, conditions, below)
        tidy(axes, look, label)
        axes.set_title(plain(title))
        legend_below(figure, look, handles)
        return save(figure, path, look)


def _distribution(axes: Axes, x: int, values: npt.NDArray[np.float64], kind: str, bandwidth: float) -> None:
    if kind in ("violin", "both") and values.size >= 5 and np.ptp(values) > 0:
        y, density = _density(axes, values, bandwidth)
        half = 0.42 * density / density.max()
        axes.fill_betweenx(y, x - half, x + half, facecolor="#BBBBBB", edgecolor="none", alpha=0.55)
    if kind in ("box", "both") and values.size:
        axes.boxplot(
            values, positions=[x], widths=0.2 if kind == "both" else 0.5, showfliers=kind == "box", manage_ticks=False,
            medianprops={"color": "black"}, boxprops={"linewidth": 0.7}, whiskerprops={"linewidth": 0.7},
            flierprops={"markersize": 1.5, "marker": ".", "markeredgecolor": "#777777"},
        )  # fmt: skip


def _density(
    axes: Axes, values: npt.NDArray[np.float64], bandwidth: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the density along the scale that is shown, between the smallest and the largest value: never below the data."""
    from scipy.stats import gaussian_kde

    scale = axes.yaxis.get_transform()
    shown = scale.transform(values)
    grid = np.linspace(shown.min(), shown.max(), 300)
    density = gaussian_kde(shown, bandwidth / float(np.std(shown, ddof=1)))(grid)
    y = np.clip(scale.inverted().transform(grid), values.min(), values.max())
    return y, density


def _dots(axes: Axes, x: int, part: pd.DataFrame, column: str, replicates: Sequence[str]) -> None:
    rng = np.random.default_rng(x)
    if len(part) > _MOST_DOTS:
        part = part.iloc[np.sort(rng.choice(len(part), _MOST_DOTS, replace=False))]
    size = 1.6 if len(part) > 300 else 2.4
    for name, own in part.groupby("replicate"):
        colour, marker = replicate_look(replicates.index(str(name))) if name else ("#777777", "o")
        axes.plot(
            x + rng.uniform(-0.32, 0.32, len(own)), own[column], marker, color=colour, markersize=size,
            markeredgewidth=0, alpha=0.35, linestyle="", rasterized=True, zorder=1,
        )  # fmt: skip


def _means(
    axes: Axes,
    x: int,
    part: pd.DataFrame,
    column: str,
    replicates: Sequence[str],
    handles: dict[str, Any],
    means: dict[str, list[tuple[float, float]]],
) -> None:
    from matplotlib.lines import Line2D

    if not bool((part["replicate"] != "").any()):
        _field_means(axes, x, part, column, handles)
        return
    of, n = part.groupby("replicate")[column].mean().dropna(), len(replicates)
    for name, mean in of.items():
        k = replicates.index(str(name))
        at = x + (0.4 * (k + 0.5) / n - 0.2 if n > 1 else 0.0)
        colour, marker = replicate_look(k)
        look: dict[str, Any] = {"markerfacecolor": colour, "markeredgecolor": "black", "markeredgewidth": 0.6}
        axes.plot(at, mean, marker, markersize=5.5, zorder=5, **look)
        text = f"mean of replicate {plain(str(name))}"
        handles.setdefault(text, Line2D([], [], linestyle="none", marker=marker, markersize=5, **look))
        means.setdefault(str(name), []).append((at, float(mean)))


def _field_means(axes: Axes, x: int, part: pd.DataFrame, column: str, handles: dict[str, Any]) -> None:
    """Where no replicate is known: the fields, which are technical; of very many, small."""
    from matplotlib.lines import Line2D

    of = part.groupby("field_id")[column].mean().dropna()
    n, many = max(len(of), 1), len(of) > _MANY_FIELDS
    at = x + (0.4 * (np.arange(len(of)) + 0.5) / n - 0.2 if n > 1 else np.zeros(len(of)))
    look: dict[str, Any] = {
        "markerfacecolor": "none",
        "markeredgecolor": "black",
        "markeredgewidth": 0.3 if many else 0.6,
    }
    if len(of) == 0:
        return
    axes.plot(at, of, "o", markersize=2 if many else 5.5, linestyle="", zorder=5, rasterized=many, **look)
    handles.setdefault(_TECHNICAL, Line2D([], [], linestyle="none", marker="o", markersize=5, **look))


def _numbers(part: pd.DataFrame, unit: str) -> list[str]:
    n = part.loc[part["replicate"] != "", "replicate"].nunique()
    fields = part["field_id"].nunique()
    plural = {"cell": "cells", "nucleus": "nuclei"}[unit] if len(part) != 1 else unit
    repeats = f"{n} replicate{'s' if n != 1 else ''}" if n else f"n = 1, {fields} field{'s' if fields != 1 else ''}"
    return [f"{len(part)} {plural}", repeats]


def _gate_lines(gates: Mapping[str, float] | None) -> list[tuple[str, float]]:
    known = {batch: value for batch, value in (gates or {}).items() if np.isfinite(value)}
    lines = sorted(set(known.values()))
    return [("gate" if len(lines) == 1 else "gates of the replicates", value) for value in lines]
