"""The tables of a training."""

from __future__ import annotations

from bridge.evaluation.tables import MEAN_SCORES
from bridge.tables import Column

_TUNED = tuple(
    Column(f"{score}_{which}", "float64", "", f"{meaning}, {of}")
    for score, meaning in (
        ("ap_50", "average precision at IoU 0.5"),
        ("ap_75", "average precision at IoU 0.75"),
        ("ap_90", "average precision at IoU 0.9"),
        ("f1", "F1 at IoU 0.5"),
    )
    for which, of in (("base", "base model"), ("tuned", "trained model"), ("difference", "trained less base model"))
)
_ROIS = (
    Column("n_true", "int64", "", "cells in the ground truth"),
    Column("n_base", "Int64", "", "ROIs of the base model; empty without one"),
    Column("n_tuned", "int64", "", "ROIs of the trained model"),
)
BEFORE_AFTER = (
    Column("set", "str", "", "held-out, training, or leave-one-out (a model trained without this image)"),
    Column("image", "str", "", "name of the image"),
    *_ROIS,
    *_TUNED,
)
BEFORE_AFTER_SETS = (
    Column("set", "str", "", "as in before_after.csv"),
    Column("n_images", "int64", "", "images"),
    *_ROIS,
    *_TUNED,
    *(
        Column(
            f"{c.name}_{end}",
            "float64",
            "",
            f"{c.meaning}: {end} end of the 95 % bootstrap interval over images; from six on",
        )
        for c in _TUNED
        if c.name.endswith("_difference")
        for end in ("low", "high")
    ),
)
TRAINING_CURVE = (
    Column("epoch", "int64", "", "epoch, from 1"),
    Column("learning_rate", "float64", "", "learning rate"),
    Column("loss", "float64", "", "mean loss of the epoch's crops"),
    Column(
        "validation_ap_50",
        "float64",
        "",
        "average precision at IoU 0.5 of the validation images; empty where not looked",
    ),
)
CYCLES = (
    Column("cycle", "int64", "", "number of the training"),
    Column("model", "str", "", "model file"),
    Column("base", "str", "", "model it began from"),
    Column("n_images", "int64", "", "images trained on"),
    Column("n_cells", "int64", "", "cells in them"),
    Column("model_sha256", "str", "", "of the model file"),
    Column("n_held_out", "int64", "", "images held out"),
    *(Column(f"held_out_{c.name}", c.dtype, "", f"{c.meaning}; mean over held-out images") for c in _TUNED),
)
ABLATION = (
    Column("arm", "str", "", "what was changed"),
    *MEAN_SCORES,
    Column("ap_50_difference", "float64", "", "to the row above; of 'instead', to the last '+'"),
)
