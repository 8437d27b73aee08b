"""What a training brought: base and trained model on each image, as tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from bridge.evaluation.split import difference_interval
from bridge.evaluation.sweep import SCORES
from bridge.labels import Labels, label_ids
from bridge.names import safe_name
from bridge.report.fates import Panel, fates_picture
from bridge.scores.overlaps import fates, overlaps, partners
from bridge.scores.score import score
from bridge.tables import typed_table
from bridge.training.data import Data
from bridge.training.tables import BEFORE_AFTER, BEFORE_AFTER_SETS

# Set and name of an image, its cells as the base model finds them (None without one), and as the trained one does.
Found = tuple[str, str, Labels | None, Labels]


def before_after(data: Data, found: Sequence[Found]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score base and trained model on each image, and on each set of images; return both tables."""
    rows = []
    for which, name, of_base, of_tuned in found:
        tuned = score(data.labels[name], of_tuned).in_short
        base = score(data.labels[name], of_base).in_short if of_base is not None else None
        row: dict[str, Any] = {"set": which, "image": name, "n_true": tuned["n_true"], "n_tuned": tuned["n_predicted"], "n_base": base["n_predicted"] if base else pd.NA}  # fmt: skip
        for key in SCORES:
            row[f"{key}_tuned"] = tuned[key]
            row[f"{key}_base"] = base[key] if base else float("nan")
            row[f"{key}_difference"] = tuned[key] - base[key] if base else float("nan")
        rows.append(row)
    images = typed_table(rows, BEFORE_AFTER)
    totals = []
    for group, part in images.groupby("set", sort=False):  # held-out first
        no_base = bool(part["n_base"].isna().any())
        total: dict[str, Any] = {"set": group, "n_images": len(part), "n_true": part["n_true"].sum()}
        total |= {"n_base": pd.NA if no_base else part["n_base"].sum(), "n_tuned": part["n_tuned"].sum()}
        for key in SCORES:
            total |= {f"{key}_{end}": part[f"{key}_{end}"].mean() for end in ("base", "tuned", "difference")}
            low, high = difference_interval([] if no_base else part[f"{key}_difference"].tolist())
            total |= {f"{key}_difference_low": low, f"{key}_difference_high": high}
        totals.append(total)
    return images, typed_table(totals, BEFORE_AFTER_SETS)


def draw_pictures(folder: Path, data: Data, images: pd.DataFrame, found: Sequence[Found], base_name: str) -> None:
    """Draw what became of each cell, by base and trained model, beside the truth."""
    cells = {(which, name): (of_base, of_tuned) for which, name, of_base, of_tuned in found}
    for row in images.to_dict("records"):
        name = str(row["image"])
        true = data.labels[name]
        panels = []
        for which, title in (("base", f"base ({Path(base_name).name})"), ("tuned", "trained")):
            labels = cells[row["set"], name][which == "tuned"]
            if labels is None:
                continue
            text = f"{title}: {row[f'n_{which}']} cells, AP {row[f'ap_50_{which}']:.2f}, F1 {row[f'f1_{which}']:.2f}"
            panels.append(Panel(text, layers(true, labels)))
        panels.append(Panel(f"ground truth: {row['n_true']} cells", ((true, {"found": label_ids(true).tolist()}),)))
        fates_picture(
            folder / "pictures" / f"{row['set']}_{safe_name(name)}.png", _shown(data.images[name]), panels, f"{row['set']} image {name}"
        )  # fmt: skip


def _shown(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return image if image.ndim == 2 else image[0]


def layers(true: Labels, found: Labels) -> tuple[tuple[Labels, dict[str, list[int]]], ...]:
    """What is drawn of a prediction: missed and split true cells, and over them the predicted ones."""
    pairs = overlaps(true, found)
    fate = fates(pairs)
    good = pairs.predicted[partners(pairs, 0.5)]
    return (
        (true, {"missed": fate.missed.tolist(), "split": fate.split.tolist()}),
        (found, {"found": good.tolist(), "false": fate.false.tolist(), "merged": fate.merged.tolist()}),
    )


def advice_on(sets: pd.DataFrame) -> str:
    """Say whether the trained model is better than its base, as far as images that it has not seen tell."""
    judged = sets[sets["set"].isin(["held-out", "leave-one-out"])]
    if judged.empty:
        return "Whether the trained model is better on other images is not known: none was held out."
    row = judged.iloc[0]
    n = row["n_images"]
    on = f"{n} {'held-out image' + 's' * (n > 1) if row['set'] == 'held-out' else 'images, each left out once'}"
    if pd.isna(row["ap_50_base"]):
        return f"AP {row['ap_50_tuned']:.3f} at IoU 0.5 on {on}; there is no base model to compare with."
    said = f"AP {row['ap_50_base']:.3f} -> {row['ap_50_tuned']:.3f} at IoU 0.5 on {on}"
    if row["ap_50_difference"] > 0:
        low = row["ap_50_difference_low"]
        sure = "" if pd.isna(low) or low > 0 else "; the interval of the difference includes 0"
        return f"Use the trained model: {said}{sure}."
    return f"Use the base model: the trained one is not better ({said})."
