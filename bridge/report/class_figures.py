"""Figures of classes: how well they are told apart, and what each condition has of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bridge.report.style import COLOURS, Look, legend_below, name_conditions, new_figure, plain, save, style, tidy

_UNCERTAIN_COLOUR = "#999999"


def validation_figure(path: Path, confusion: pd.DataFrame, curve: pd.DataFrame, balanced: float | None) -> list[Path]:
    """Draw who was taken for whom, and how many labelled cells it takes.

    Parameters
    ----------
    path : Path
        Without suffix.
    confusion, curve : DataFrame
        `bridge.classification.validation.CONFUSION` and `CURVE`.
    balanced : float or None
        Balanced accuracy on held-out fields.

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl

    look = Look(formats=("png",))
    kinds = list(dict.fromkeys(confusion["validation"]))
    names = list(dict.fromkeys(confusion["true"]))
    with mpl.rc_context(style(look, *names)):
        figure = new_figure(look, 70.0)
        panels = figure.subplots(1, len(kinds) + 1, squeeze=False)[0]
        for axes, kind in zip(panels, kinds, strict=False):
            part = confusion[confusion["validation"] == kind]
            table = part.pivot(index="true", columns="called", values="n_cells")
            table = table.loc[names, list(dict.fromkeys(part["called"]))]
            share = table.div(table.sum(axis=1).clip(lower=1), axis=0)
            axes.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
            for y, x in np.ndindex(*table.shape):
                n, s = int(table.iloc[y, x]), float(share.iloc[y, x])
                axes.text(x, y, f"{n}\n{s:.0%}", ha="center", va="center", color="white" if s > 0.6 else "black")
            axes.set_xticks(range(table.shape[1]), [plain(str(c)) for c in table.columns], rotation=30, ha="right")
            axes.set_yticks(range(table.shape[0]), [plain(str(c)) for c in table.index])
            words = "held-out fields" if kind == "held out" else "pure fields → mixed ones"
            axes.set(xlabel="called", ylabel="true", title=words)
        axes = panels[len(kinds)]
        if len(curve):
            steps = curve["cells_of_each_class"].tolist()
            axes.fill_between(steps, curve["lowest"], curve["highest"], color=COLOURS[0], alpha=0.2, linewidth=0)
            axes.plot(steps, curve["balanced_accuracy"], "o-", color=COLOURS[0], markersize=4)
            axes.set_xscale("log")
            axes.set_xticks(steps, [f"{n}" for n in steps])
            axes.minorticks_off()
            low = min(float(curve["lowest"].min()), 0.5)
            axes.set(xlabel="labelled cells of each class", ylim=(low - 0.02, 1.02))
            tidy(axes, look, "balanced accuracy, held-out fields")
            axes.set_title("mean, lowest and highest" if balanced is None else f"all labelled cells: {balanced:.3f}")
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "not validated:\na class in one\nfield only", ha="center", va="center")
        return save(figure, path, look)


def class_figure(
    path: Path, counts: pd.DataFrame, names: Sequence[str], conditions: Sequence[str], look: Look
) -> list[Path]:
    """Draw the share of each class in each condition and, with a gate, the share of positives in each class.

    Parameters
    ----------
    path : Path
        Without suffix.
    counts : DataFrame
        `bridge.pipeline.cell_classes.CLASS_COUNTS`.
    names : sequence of str
        Classes in their order, the uncertain last.
    conditions : sequence of str
        In their order.
    look : Look

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl
    from matplotlib.lines import Line2D

    channel = next((c for c in counts["channel"] if c), "")
    counts = counts[counts["channel"] == channel]
    panels = [("share_of_cells", "share of all cells (%)", "classes")]
    if channel:
        panels.append(("share_positive", f"{channel}-positive cells of the class (%)", f"{channel}-positive"))
    with mpl.rc_context(style(look, *names, *conditions)):
        figure = new_figure(look, 62.0 * len(panels), conditions, len(names))
        all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        handles = {}
        for axes, (column, label, title) in zip(all_axes, panels, strict=True):
            shown = [name for name in names if name != names[-1] or column == "share_of_cells"]
            for k, name in enumerate(shown):
                colour = _UNCERTAIN_COLOUR if name == names[-1] else COLOURS[k % len(COLOURS)]
                for x, condition in enumerate(conditions):
                    own = counts[(counts["condition"] == condition) & (counts["class"] == name)]
                    whole, parts = own[own["replicate"] == ""], own[own["replicate"] != ""]
                    at = x + 0.7 * ((k + 0.5) / len(shown) - 0.5)
                    values = parts[column].dropna() if len(parts) else whole[column].dropna()
                    if not len(values):
                        continue
                    axes.bar(at, values.mean(), 0.6 / len(shown), color=colour, alpha=0.45, linewidth=0)
                    axes.plot(np.full(len(values), at), values, "o", color=colour, markersize=4, markeredgecolor="black", markeredgewidth=0.4)  # fmt: skip
                handles[plain(name)] = Line2D([], [], linestyle="none", marker="s", color=colour)
            axes.set_ylim(0, min(102, 1.1 * max(5.0, float(np.nanmax([*counts[column].to_numpy(float), 5.0])))))
            name_conditions(axes, look, conditions, {})
            tidy(axes, look, label)
            axes.set_title(plain(title + ": a dot a replicate, the bar their mean"))
        legend_below(figure, look, handles)
        return save(figure, path, look)
