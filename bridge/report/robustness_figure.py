"""One picture of how the effects of conditions move under other choices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bridge.report.style import COLOURS, Look, new_figure, plain, save, style, wrap


def robustness_figure(path: Path, table: pd.DataFrame, control: str, said: str, look: Look) -> list[Path]:
    """Draw a panel for each condition: a line for each choice, its difference from the control and the interval.

    Parameters
    ----------
    path : Path
        Without suffix.
    table : DataFrame
        `bridge.pipeline.robustness.ROBUSTNESS`.
    control : str
    said : str
        The sentence above the panels.
    look : Look

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl

    conditions = list(dict.fromkeys(table["condition"]))
    choices = [(str(a), str(b)) for a, b in dict.fromkeys(zip(table["choice"], table["value"], strict=True))]
    columns = min(3 if look.width_mm > 120 else 1, len(conditions))
    rows = -(-len(conditions) // columns)
    with mpl.rc_context(style(look, *conditions)):
        figure = new_figure(look, 16 + rows * (12 + 4.2 * len(choices)))
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, condition in zip(grid.flat, conditions, strict=False):
            own = table[table["condition"] == condition]
            as_run: Any = own.iloc[0]
            if pd.notna(as_run["difference"]):
                axes.axvline(as_run["difference"], color=COLOURS[0], linewidth=0.6, linestyle=(0, (3, 2)), zorder=1)
            axes.axvline(0, color="black", linewidth=0.6, zorder=1)
            for y, row in enumerate(own.itertuples()):
                value, low, high = (float(str(v)) for v in (row.difference, row.low, row.high))
                if np.isnan(value):
                    axes.text(0.5, y, "not called", transform=axes.get_yaxis_transform(), ha="center", va="center", color="#777777")  # fmt: skip
                    continue
                axes.plot([low, high], [y, y], color="#999999", linewidth=0.8, zorder=2)
                axes.plot(
                    value, y, "o", color=COLOURS[0] if y == 0 else "black", markersize=4 if y == 0 else 3, zorder=3
                )
            axes.set_title(plain(condition), fontsize=look.font_pt)
            axes.spines[["top", "right"]].set_visible(False)
            # Intervals of two replicates are endless; the differences are what is compared.
            values = table["difference"].dropna()
            room = 0.6 * max(float(values.max() - values.min()), abs(float(values.abs().max())), 1e-9)
            axes.set_xlim(min(0.0, float(values.min())) - room, max(0.0, float(values.max())) + room)
        grid[0, 0].set_yticks(range(len(choices)), [plain(f"{a} {b}".strip()) for a, b in choices])
        grid[0, 0].invert_yaxis()
        for k in range(len(conditions), grid.size):
            grid.flat[k].set_visible(False)
            if k >= columns:
                grid.flat[k - columns].tick_params(labelbottom=True)
        what = str(table["what"].iloc[0])
        unit = "points" if "%" in what else "grey levels"
        figure.supxlabel(plain(f"{what.replace(' (%)', '')}: difference from {control} ({unit}; line: 95 % interval)"), fontsize=look.font_pt)  # fmt: skip
        letters = int(look.width_mm / (0.19 * look.font_pt))
        figure.suptitle("\n".join(wrap(plain(said), letters)), fontsize=look.font_pt + 1)
        return save(figure, path, look)
