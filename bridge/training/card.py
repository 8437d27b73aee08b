"""The model card: what a model was made from, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bridge.evaluation.model_history import record_beside
from bridge.evaluation.sweep import SCORES
from bridge.segmentation.cyto_0 import CYTO_0
from bridge.segmentation.models import DEMO, ModelFile

_LICENCES = {
    CYTO_0: "The base weights (cyto_0) come from a package under the GPL, version 3; a model made from them is shared under its terms.",
    DEMO: "The base weights (demo) were made by this project from synthetic images, under its own licence (BSD-3-Clause).",
    "none": "Begun from nothing: no weights of others are in it.",
}  # fmt: skip
_LICENCE_CELLPOSE = "Cellpose's own weights are published under BSD-3-Clause; some of their training images allow no commercial use (CC BY-NC). Read the licence of the base model before you share this one."
_LICENCE_UNKNOWN = (
    "The base model is a file whose origin is not known here. Read its licence before you share this one."
)


def record_of(base: ModelFile) -> dict[str, Any]:
    """Return the record of the training that made a model, if it is the one beside it."""
    record = record_beside(base.path)
    return record if record.get("model_sha256") == base.sha256 else {}


def licence(base: ModelFile, record: Mapping[str, Any]) -> str:
    """What the licence of the base says, also through the models between."""
    if base.built_in:
        return _LICENCE_CELLPOSE
    return str(record.get("licence") or _LICENCES.get(base.name) or _LICENCE_UNKNOWN)


def card(record: Mapping[str, Any], sets: pd.DataFrame, images: pd.DataFrame) -> str:
    """The model card: what a person needs to know before using or sharing the model."""
    made, recipe = record["made_from"], record["recipe"]
    lines = [
        f"# {record['model']}",
        "",
        f"A Cellpose {made['cellpose']} model, cycle {record['cycle']}, trained by cellpose-fiji-bridge {record['versions']['cellpose-fiji-bridge']}.",
        "",
        f"**{record['advice']}**",
        "",
        *(f"- Warning: {warning}." for warning in record["warnings"]),
        "",
        "## Made from",
        "",
        f"- Base: {record['base']} (SHA-256 {made['base_sha256']})",
        f"- Model file: SHA-256 {record['model_sha256']}",
        f"- Diameter of the cells: {record['diameter_px']:.1f} px" if record["diameter_px"] else "- Images are not rescaled",
        f"- Recipe: {recipe['optimizer']}, learning rate {max(recipe['learning_rates']):g}, weight decay {recipe['weight_decay']:g}, {len(recipe['learning_rates'])} epochs of {recipe['crops']} crops of {recipe['crop_px']} px, {recipe['batch_size']} at once, seed {recipe['seed']}; weights of epoch {record['epoch_kept']} kept",
        f"- Versions: Python {record['python']}, " + ", ".join(f"{name} {v}" for name, v in record["versions"].items()),
        f"- Time: {in_words(record['took_s'])}",
        f"- Licence: {record['licence']}",
        "",
        "## Scores",
        "",
        "Mean over images; the number of ROIs alone is no accuracy.",
        "",
        "| set | images | ROIs: truth | base | trained | AP 0.5: base | trained | AP 0.75: base | trained | AP 0.9: base | trained | F1: base | trained |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [_card_row(row, str(row["n_images"])) for row in sets.to_dict("records")]
    lines += ["", "| image | set | ROIs: truth | base | trained | AP 0.5: base | trained | AP 0.75: base | trained | AP 0.9: base | trained | F1: base | trained |", "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    lines += [_card_row(row | {"set": row["image"]}, row["set"]) for row in images.to_dict("records")]
    lines += ["", "## Images", "", "| image | for | cells | SHA-256 of its pixels | of its labels |", "|---|---|---|---|---|"]  # fmt: skip
    for role in ("train", "validation", "held_out"):
        lines += [
            f"| {_cell(name)} | {role.replace('_', '-')} | {record['n_cells'][name]} | {made['images'][name][:16]} | {made['labels'][name][:16]} |"
            for name in made[role]
        ]
    return "\n".join([*lines, ""])


def _card_row(row: Mapping[Any, Any], second: str) -> str:
    base = "-" if pd.isna(row["n_base"]) else row["n_base"]
    cells = [_cell(row["set"]), second, row["n_true"], base, row["n_tuned"]]
    for key in SCORES:
        cells += ["-" if pd.isna(row[f"{key}_base"]) else f"{row[f'{key}_base']:.3f}", f"{row[f'{key}_tuned']:.3f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def in_words(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
