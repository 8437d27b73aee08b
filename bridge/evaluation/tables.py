"""The tables of scores."""

from __future__ import annotations

from bridge.tables import Column

_SCORED = (
    Column("n_true", "int64", "", "true cells"),
    Column("n_predicted", "int64", "", "predicted cells"),
    Column("count_error", "int64", "", "predicted less true cells"),
    Column("merged", "int64", "", "predicted cells with more than half of each of several true cells"),
    Column("split", "int64", "", "true cells with more than half of each of several predicted cells"),
)
_THRESHOLDS = range(50, 100, 5)
_INSTANCES = (
    Column("tp", "int64", "", "predicted cells with a true partner (IoU 0.5 or above)"),
    Column("fp", "int64", "", "predicted cells without"),
    Column("fn", "int64", "", "true cells without"),
    Column("precision", "float64", "", "TP / (TP + FP)"),
    Column("recall", "float64", "", "TP / (TP + FN)"),
    Column("f1", "float64", "", "2 TP / (2 TP + FP + FN)"),
    Column("mean_iou", "float64", "", "mean IoU of the partners; empty without any"),
)
_PIXELS = tuple(
    Column(f"pixel_{name}", "float64", "", f"of pixels, cell against background: {meaning}")
    for name, meaning in (
        ("dice", "2 TP / (2 TP + FP + FN)"),
        ("iou", "TP / (TP + FP + FN)"),
        ("precision", "TP / (TP + FP)"),
        ("recall", "TP / (TP + FN)"),
        ("accuracy", "(TP + TN) / all"),
    )
)
_AVERAGE_PRECISION = tuple(
    Column(f"ap_{t}", "float64", "", f"TP / (TP + FP + FN), partners from an IoU of {t / 100:g} on")
    for t in _THRESHOLDS
)
_RULE = Column(
    "rule",
    "str",
    "",
    "which cells tp, fp, fn, precision, recall, f1 and mean_iou count: all, or those of the NeurIPS 2022 challenge; everything else counts all",
)
_ON_THE_SIDE = (
    Column("panoptic_quality", "float64", "", "sum of the partners' IoU / (TP + FP / 2 + FN / 2)"),
    Column("aggregated_jaccard", "float64", "", "shared pixels over the union, cell by cell"),
    Column("boundary_f1", "float64", "", "F1 of the pixels of the outlines; empty unless asked for"),
)
EVALUATED_IMAGES = (
    Column("prediction", "str", "", "whose label images"),
    Column("image", "str", "", "name of the image"),
    _RULE,
    *_SCORED,
    *_AVERAGE_PRECISION,
    *_INSTANCES,
    *_PIXELS,
    *_ON_THE_SIDE,
)
EVALUATED_SETS = (
    Column("prediction", "str", "", "whose label images"),
    _RULE,
    Column("n_images", "int64", "", "images"),
    *_SCORED,
    *(
        Column(f"{c.name}_pooled", c.dtype, c.unit, f"{c.meaning}; over the cells or pixels of all images")
        for c in (*_AVERAGE_PRECISION, *_INSTANCES, *_PIXELS)
    ),
    *(
        Column(f"{c.name}_{how}", "float64", c.unit, f"{c.meaning}; {how} over images")
        for c in (*_SCORED, *_AVERAGE_PRECISION, *_INSTANCES, *_PIXELS, *_ON_THE_SIDE)
        for how in ("mean", "lowest", "highest")
    ),
)
MATCHES = (
    Column("prediction", "str", "", "whose label image"),
    Column("image", "str", "", "name of the image"),
    Column("true_label", "int64", "", "true cell; 0 where a predicted one has no partner"),
    Column("predicted_label", "int64", "", "predicted cell; 0 where a true one has no partner"),
    Column("iou", "float64", "", "intersection over union; 0 without a partner"),
)
MEAN_SCORES = (
    Column("n_images", "int64", "", "images"),
    Column("n_true", "int64", "", "cells in the ground truth"),
    Column("n_predicted", "int64", "", "cells found"),
    Column("ap_50", "float64", "", "average precision at IoU 0.5, mean over images"),
    Column("ap_75", "float64", "", "average precision at IoU 0.75, mean over images"),
    Column("ap_90", "float64", "", "average precision at IoU 0.9, mean over images"),
    Column("f1", "float64", "", "F1 at IoU 0.5, mean over images"),
)
SWEEP = (
    Column("set", "str", "", "choosing, or held-out"),
    Column("flow_threshold", "float64", "", "largest flow error a cell may have; 0 keeps all"),
    Column("cellprob_threshold", "float64", "", "cell probability threshold"),
    *MEAN_SCORES,
)
DIAMETERS = (
    Column("image", "str", "", "name of the image"),
    Column("way", "str", "", "none, auto, style, or true (the ground truth's median, not known elsewhere)"),
    Column("true_diameter_px", "float64", "px", "median diameter of the cells in the ground truth"),
    Column("diameter_px", "float64", "px", "diameter the network was given; empty where it does not rescale"),
    *(c for c in MEAN_SCORES if c.name != "n_images"),
)
