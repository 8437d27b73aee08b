"""Figures of counts, and what draws at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bridge.report.style import Look, new_figure, plain, replicate_look, save, style


def load() -> None:
    """Import what draws, which takes a second or two: for a thread that has nothing else to do."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401


def cells_against_nuclei(
    path: Path, counts: pd.DataFrame, conditions: Sequence[str], look: Look | None = None
) -> list[Path]:
    """Draw the number of nuclei against the number of cells of each field; on the line both agree.

    Parameters
    ----------
    path : Path
        Without suffix; PNG and SVG are written.
    counts : DataFrame
        `bridge.tables.COUNTS`.
    conditions : sequence of str
    look : Look, optional

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl

    look = look or Look()
    with mpl.rc_context(style(look, *conditions)):
        figure = new_figure(look, 90.0)
        axes = figure.add_subplot()
        known = counts[counts["n_nuclei"].notna()]
        top = 1.05 * max([1, *known["n_cells"], *known["n_nuclei"]])
        axes.plot([0, top], [0, top], color="#999999", linewidth=0.8, zorder=0)
        for k, condition in enumerate(conditions):
            part = known[known["condition"] == condition]
            axes.plot(
                part["n_cells"],
                part["n_nuclei"],
                replicate_look(k)[1],
                color=replicate_look(k)[0],
                label=plain(condition),
                markersize=4,
                alpha=0.85,
            )
        low = 0.0 if known.empty else 0.9 * min(known["n_cells"].min(), known["n_nuclei"].min())
        axes.set(xlabel="cells in a field", ylabel="nuclei in the same field", xlim=(low, top), ylim=(low, top))
        axes.set_title("Each point is a field; on the line both counts agree")
        axes.set_aspect("equal")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
        return save(figure, path, look)
