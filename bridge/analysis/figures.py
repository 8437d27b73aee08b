"""Figures: every cell, and on top of them what counts, the replicates."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision; markers, too, so that colour is never alone.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_MOST_IMAGES = 30  # on the axis of a figure
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def load() -> None:
    """Import what draws, which takes a second or two: for a thread that has nothing else to do."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401


def violin_figure(
    path: Path, cells: pd.DataFrame, column: str, label: str, conditions: Sequence[str], title: str = ""
) -> list[Path]:
    """Draw violin and box of all cells of each condition, with the mean of each replicate on top.

    Where no replicate is known the means of the fields are drawn hollow and called technical: they are no repeats of
    the experiment. There are no p-values: cells are not replicates.

    Parameters
    ----------
    path : Path
        Without suffix; PNG and SVG are written.
    cells : DataFrame
        One row a cell.
    column : str
        What is drawn.
    label : str
        Name and unit for the axis.
    conditions : sequence of str
        In their order.
    title : str

    Returns
    -------
    list of Path
        The files written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with mpl.rc_context(_STYLE):
        longest = max(
            (len(line) for condition in conditions for line in _tick(cells, condition).splitlines()), default=0
        )
        figure = Figure(
            figsize=(max(5.0, max(1.15, 0.085 * longest) * len(conditions) + 1.6), 4.8), layout="constrained"
        )
        axes = figure.add_subplot()
        rng = np.random.default_rng(0)
        replicates = sorted({r for r in cells["replicate"].unique() if r})
        handles = {}
        # One bandwidth for all conditions, 2.5 % of what is shown: a rule that follows the standard deviation draws a
        # hump between two groups, where there are no cells.
        bandwidth = 0.025 * float(np.ptp(cells[column].dropna())) if cells[column].notna().any() else 1.0
        for x, condition in enumerate(conditions):
            part = cells[cells["condition"] == condition]
            values = part[column].to_numpy(np.float64)
            values = values[np.isfinite(values)]
            if values.size >= 5 and np.ptp(values) > 0:
                # matplotlib evaluates the density between the smallest and the largest value: never below the data.
                shape = axes.violinplot(
                    values,
                    [x],
                    widths=0.85,
                    showextrema=False,
                    points=300,
                    bw_method=bandwidth / float(np.std(values, ddof=1)),
                )
                for body in shape["bodies"]:  # type: ignore[attr-defined]
                    body.set(facecolor="#BBBBBB", edgecolor="none", alpha=0.55)
            if values.size:
                axes.boxplot(
                    values, positions=[x], widths=0.2, showfliers=False, manage_ticks=False,
                    medianprops={"color": "black"}, boxprops={"linewidth": 0.9}, whiskerprops={"linewidth": 0.9},
                )  # fmt: skip
                drawn = values if values.size <= 2000 else rng.choice(values, 2000, replace=False)
                axes.plot(
                    x + rng.uniform(-0.3, 0.3, drawn.size), drawn, ".", color="#777777", markersize=1.6, alpha=0.5,
                    rasterized=True, zorder=1,
                )  # fmt: skip
            by = "replicate" if (part["replicate"] != "").any() else "field_id"
            means = part.groupby(by)[column].mean()
            offsets = np.linspace(-0.18, 0.18, len(means)) if len(means) > 1 else np.zeros(len(means))
            for offset, (name, mean) in zip(offsets, means.items(), strict=True):
                k = replicates.index(str(name)) if by == "replicate" and name in replicates else 0
                colour, marker = (
                    _COLOURS[k % len(_COLOURS)],
                    _MARKERS[k // len(_COLOURS) % len(_MARKERS)] if k >= len(_COLOURS) else _MARKERS[k],
                )
                look: dict[str, Any] = (
                    {"markerfacecolor": colour, "markeredgecolor": "white"}
                    if by == "replicate"
                    else {"markerfacecolor": "none", "markeredgecolor": "black"}
                )
                axes.plot(x + offset, mean, marker, markersize=8, zorder=5, **look)
                text = (
                    f"mean of replicate {_plain(str(name))}"
                    if by == "replicate"
                    else "mean of a field (technical, not a replicate)"
                )
                handles[text] = Line2D([], [], linestyle="none", marker=marker, markersize=7, **look)
        axes.set_xticks(range(len(conditions)), [_tick(cells, condition) for condition in conditions])
        axes.set_xlim(-0.6, len(conditions) - 0.4)
        axes.set_ylabel("\n".join(textwrap.wrap(_plain(label), 52)))
        axes.set_title(_plain(title), fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        if handles:
            figure.legend(
                handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 3), frameon=False
            )
        return _save(figure, path)


def cells_against_nuclei(path: Path, counts: pd.DataFrame, conditions: Sequence[str]) -> list[Path]:
    """Draw the number of nuclei against the number of cells of each field; on the line both agree.

    Parameters
    ----------
    path : Path
        Without suffix; PNG and SVG are written.
    counts : DataFrame
        `bridge.tables.COUNTS`.
    conditions : sequence of str

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.2, 4.6), layout="constrained")
        axes = figure.add_subplot()
        known = counts[counts["n_nuclei"].notna()]
        top = 1.05 * max([1, *known["n_cells"], *known["n_nuclei"]])
        axes.plot([0, top], [0, top], color="#999999", linewidth=0.8, zorder=0)
        for k, condition in enumerate(conditions):
            part = known[known["condition"] == condition]
            axes.plot(
                part["n_cells"],
                part["n_nuclei"],
                _MARKERS[k % len(_MARKERS)],
                color=_COLOURS[k % len(_COLOURS)],
                label=_plain(condition),
                markersize=6,
                alpha=0.85,
            )
        low = 0.0 if known.empty else 0.9 * min(known["n_cells"].min(), known["n_nuclei"].min())
        axes.set(xlabel="cells in a field", ylabel="nuclei in the same field", xlim=(low, top), ylim=(low, top))
        axes.set_title("Each point is a field; on the line both counts agree", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
        return _save(figure, path)


def _tick(cells: pd.DataFrame, condition: str) -> str:
    part = cells[cells["condition"] == condition]
    n = part.loc[part["replicate"] != "", "replicate"].nunique()
    repeats = (
        f"{n} replicate{'s' if n != 1 else ''}"
        if n
        else f"{part['field_id'].nunique()} field{'s' if part['field_id'].nunique() != 1 else ''}"
    )
    name = "\n".join(textwrap.wrap(condition, 22)) or condition
    return f"{_plain(name)}\n{len(part)} cells\n{repeats}"


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib would read a formula


_STYLE = {
    "font.size": 9,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "svg.hashsalt": "cellpose-fiji-bridge",
    "axes.linewidth": 0.8,
}


def precision_figure(
    path: Path, thresholds: Sequence[float], curves: Mapping[str, Sequence[float]], images: pd.DataFrame
) -> Path:
    """Draw average precision over the IoU threshold, and beside it every image, the worst first.

    Parameters
    ----------
    path : Path
        PNG.
    thresholds : sequence of float
    curves : dict of str to sequence of float
        For each prediction the mean over images at each threshold.
    images : DataFrame
        Columns prediction, image, ap_50.

    Returns
    -------
    Path
    """
    from matplotlib.figure import Figure

    worst = images.groupby("image")["ap_50"].mean().sort_values().index[:_MOST_IMAGES]
    n = images["image"].nunique()
    how = "" if len(curves) == 1 else ", by the mean of the predictions"
    which = f"the worst images first{how}" if n <= _MOST_IMAGES else f"the worst {_MOST_IMAGES} of {n} images{how}"
    figure = Figure(figsize=(11, max(4.5, 1.6 + 0.22 * len(worst))), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, (title, values) in enumerate(curves.items()):
        colour, marker = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
        left.plot(thresholds, values, color=colour, marker=marker, label=textwrap.shorten(title, 40))
        own = images[images["prediction"] == title].set_index("image")["ap_50"].reindex(worst)
        beside = (k - (len(curves) - 1) / 2) * 0.5 / len(curves)  # equal values do not hide each other
        right.plot(own.to_numpy(), np.arange(len(worst)) + beside, linestyle="", color=colour, marker=marker)
    left.set(xlabel="IoU threshold", ylabel="average precision, mean over images", ylim=(0, 1.02))
    left.legend(frameon=False)
    right.set(xlabel="average precision at IoU 0.5", xlim=(-0.02, 1.02))
    right.set_title(which, fontsize="medium")
    right.set_yticks(range(len(worst)), _short([str(name) for name in worst]))
    right.set_ylim(len(worst) - 0.4, -0.6)
    for axes in (left, right):
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=150, metadata={"Software": None})
    return path


def _short(names: Sequence[str], most: int = 28) -> list[str]:
    """Names that fit on an axis and still tell the images apart: their ends, else what follows their common beginning."""
    ends = [name if len(name) <= most else "…" + name[1 - most :] for name in names]
    if len(set(ends)) == len(ends):
        return ends
    shared = next((k for k, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)
    return [("…" + name[shared:])[:most] for name in names]


def training_figure(path: Path, curve: pd.DataFrame, best: int | None) -> Path:
    """Draw loss and validation accuracy over the epochs of a training.

    Parameters
    ----------
    path : Path
        PNG.
    curve : DataFrame
        `bridge.tables.TRAINING_CURVE`.
    best : int or None
        Epoch whose weights were kept; None where that is the last.

    Returns
    -------
    Path
    """
    from matplotlib.figure import Figure

    checked = curve[curve["validation_ap_50"].notna()]
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 if len(checked) else 1, squeeze=False)[0]
    axes[0].plot(curve["epoch"], curve["loss"], color=_COLOURS[0], linewidth=1)
    axes[0].set(xlabel="epoch", ylabel="loss of the training crops", ylim=(0, None))
    if len(checked):
        axes[1].plot(checked["epoch"], checked["validation_ap_50"], color=_COLOURS[1], marker="o", markersize=4)
        axes[1].set(xlabel="epoch", ylabel="average precision at IoU 0.5,\nvalidation images", ylim=(0, 1.02))
        if best is not None:
            axes[1].axvline(best, color="0.6", linestyle="--")
            axes[1].annotate(f" kept: epoch {best}", (best, 0.03), color="0.35")
    for each in axes:
        each.grid(color="0.9")
        each.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=150, metadata={"Software": None})
    return path


def sweep_figure(path: Path, grid: pd.DataFrame, best: tuple[float, float]) -> Path:
    """Draw the average precision over flow and cell probability threshold, the best one framed.

    Parameters
    ----------
    path : Path
        PNG.
    grid : DataFrame
        Flow thresholds down, cell probability thresholds across.
    best : (float, float)
        Flow and cell probability threshold.

    Returns
    -------
    Path
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    values = grid.to_numpy()
    figure = Figure(figsize=(6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(values, cmap="cividis", aspect="auto")
    middle = (values.min() + values.max()) / 2
    for (i, j), value in np.ndenumerate(values):
        axes.text(j, i, f"{value:.3f}", ha="center", va="center", color="white" if value < middle else "black")
    row, column = (
        int(np.flatnonzero(axis == at)[0]) for axis, at in zip((grid.index, grid.columns), best, strict=True)
    )
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=_COLOURS[1], linewidth=3))
    axes.set_xticks(range(len(grid.columns)), [f"{v:g}" for v in grid.columns])
    axes.set_yticks(range(len(grid.index)), [f"{v:g}" for v in grid.index])
    axes.set(xlabel="cell probability threshold", ylabel="flow threshold (0: not used)")
    figure.colorbar(shown, label="average precision at IoU 0.5, mean over images")
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=150, metadata={"Software": None})
    return path


def _save(figure: Figure, path: Path) -> list[Path]:
    written = []
    metadata: dict[str, dict[str, Any]] = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    for suffix, dated in metadata.items():
        file = path.with_name(path.name + suffix)
        with whole_file(file) as part:
            figure.savefig(part, format=suffix[1:], dpi=200, metadata=dated)
        written.append(file)
    return written
