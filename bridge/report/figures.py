"""Figures of an experiment: distributions of cells, cells against nuclei."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.files import whole_file
from bridge.report.fonts import families

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision; markers, too, so that colour is never alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
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

    with mpl.rc_context(style(*conditions)):
        longest = max(
            (len(line) for condition in conditions for line in tick(cells, condition).splitlines()), default=0
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
                    COLOURS[k % len(COLOURS)],
                    _MARKERS[k // len(COLOURS) % len(_MARKERS)] if k >= len(COLOURS) else _MARKERS[k],
                )
                look: dict[str, Any] = (
                    {"markerfacecolor": colour, "markeredgecolor": "white"}
                    if by == "replicate"
                    else {"markerfacecolor": "none", "markeredgecolor": "black"}
                )
                axes.plot(x + offset, mean, marker, markersize=8, zorder=5, **look)
                text = (
                    f"mean of replicate {plain(str(name))}"
                    if by == "replicate"
                    else "mean of a field (technical, not a replicate)"
                )
                handles[text] = Line2D([], [], linestyle="none", marker=marker, markersize=7, **look)
        axes.set_xticks(range(len(conditions)), [tick(cells, condition) for condition in conditions])
        axes.set_xlim(-0.6, len(conditions) - 0.4)
        axes.set_ylabel("\n".join(textwrap.wrap(plain(label), 52)))
        axes.set_title(plain(title), fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        if handles:
            figure.legend(
                handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 3), frameon=False
            )
        return save(figure, path)


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

    with mpl.rc_context(style(*conditions)):
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
                color=COLOURS[k % len(COLOURS)],
                label=plain(condition),
                markersize=6,
                alpha=0.85,
            )
        low = 0.0 if known.empty else 0.9 * min(known["n_cells"].min(), known["n_nuclei"].min())
        axes.set(xlabel="cells in a field", ylabel="nuclei in the same field", xlim=(low, top), ylim=(low, top))
        axes.set_title("Each point is a field; on the line both counts agree", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
        return save(figure, path)


def tick(cells: pd.DataFrame, condition: str) -> str:
    """Return the words under the violin of a condition."""
    part = cells[cells["condition"] == condition]
    n = part.loc[part["replicate"] != "", "replicate"].nunique()
    repeats = (
        f"{n} replicate{'s' if n != 1 else ''}"
        if n
        else f"{part['field_id'].nunique()} field{'s' if part['field_id'].nunique() != 1 else ''}"
    )
    name = "\n".join(textwrap.wrap(condition, 22)) or condition
    return f"{plain(name)}\n{len(part)} cells\n{repeats}"


def plain(text: str) -> str:
    """Return a text as matplotlib draws it to the letter."""
    return text.replace("$", r"\$")  # matplotlib would read a formula


def style(*texts: str) -> dict[str, Any]:
    """Return matplotlib's settings for figures in which these texts are drawn."""
    return {
        "font.size": 9,
        "font.family": families(texts)[0],
        "svg.fonttype": "none",
        "svg.hashsalt": "cellpose-fiji-bridge",
        "axes.linewidth": 0.8,
    }


def short(names: Sequence[str], most: int = 28) -> list[str]:
    """Names that fit on an axis and still tell the images apart: their ends, else what follows their common beginning."""
    ends = [name if len(name) <= most else "…" + name[1 - most :] for name in names]
    if len(set(ends)) == len(ends):
        return ends
    shared = next((k for k, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)
    return [("…" + name[shared:])[:most] for name in names]


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and SVG, the same bytes each time; return the files."""
    written = []
    metadata: dict[str, dict[str, Any]] = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    for suffix, dated in metadata.items():
        file = path.with_name(path.name + suffix)
        with whole_file(file) as part:
            figure.savefig(part, format=suffix[1:], dpi=200, metadata=dated)
        written.append(file)
    return written
