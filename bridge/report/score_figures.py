"""Figures of scores: average precision, a training's curve, a sweep."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bridge.files import whole_file
from bridge.report.style import COLOURS, MARKERS, short

if TYPE_CHECKING:
    pass

_MOST_IMAGES = 30  # on the axis of a figure


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
    averaged = "" if len(curves) == 1 else ", by the mean of the predictions"
    which = (
        f"the worst images first{averaged}"
        if n <= _MOST_IMAGES
        else f"the worst {_MOST_IMAGES} of {n} images{averaged}"
    )
    figure = Figure(figsize=(11, max(4.5, 1.6 + 0.22 * len(worst))), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, (title, values) in enumerate(curves.items()):
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        left.plot(thresholds, values, color=colour, marker=marker, label=textwrap.shorten(title, 40))
        own = images[images["prediction"] == title].set_index("image")["ap_50"].reindex(worst)
        beside = (k - (len(curves) - 1) / 2) * 0.5 / len(curves)  # equal values do not hide each other
        right.plot(own.to_numpy(), np.arange(len(worst)) + beside, linestyle="", color=colour, marker=marker)
    left.set(xlabel="IoU threshold", ylabel="average precision, mean over images", ylim=(0, 1.02))
    left.legend(frameon=False)
    right.set(xlabel="average precision at IoU 0.5", xlim=(-0.02, 1.02))
    right.set_title(which, fontsize="medium")
    right.set_yticks(range(len(worst)), short([str(name) for name in worst]))
    right.set_ylim(len(worst) - 0.4, -0.6)
    for axes in (left, right):
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=150, metadata={"Software": None})
    return path


def training_figure(path: Path, curve: pd.DataFrame, best: int | None) -> Path:
    """Draw loss and validation accuracy over the epochs of a training.

    Parameters
    ----------
    path : Path
        PNG.
    curve : DataFrame
        `bridge.training.tables.TRAINING_CURVE`.
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
    axes[0].plot(curve["epoch"], curve["loss"], color=COLOURS[0], linewidth=1)
    axes[0].set(xlabel="epoch", ylabel="loss of the training crops", ylim=(0, None))
    if len(checked):
        axes[1].plot(checked["epoch"], checked["validation_ap_50"], color=COLOURS[1], marker="o", markersize=4)
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
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=COLOURS[1], linewidth=3))
    axes.set_xticks(range(len(grid.columns)), [f"{v:g}" for v in grid.columns])
    axes.set_yticks(range(len(grid.index)), [f"{v:g}" for v in grid.index])
    axes.set(xlabel="cell probability threshold", ylabel="flow threshold (0: not used)")
    figure.colorbar(shown, label="average precision at IoU 0.5, mean over images")
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=150, metadata={"Software": None})
    return path
