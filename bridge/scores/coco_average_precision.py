"""Average precision by COCO's own rule and tools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MOST = 10_000  # annotations of an image: COCO's own limit of 100 cuts a field of cells in silence


def average_precision(
    true: Mapping[str, Any], found: Sequence[Mapping[str, Any]]
) -> dict[Any, tuple[float, float, float]]:
    """Return AP over IoU 0.5 to 0.95, at 0.5 and at 0.75 of each category; NaN without a true annotation.

    Parameters
    ----------
    true : mapping
        A COCO json.
    found : sequence of mapping
        ``image_id``, ``category_id``, ``segmentation`` and ``score``, of the same images and categories.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    size = {i["id"]: (i["height"], i["width"]) for i in true["images"]}
    dataset = [
        {"iscrowd": 0, "area": 0, **a, "id": k, "segmentation": _packed(a["segmentation"], *size[a["image_id"]])}
        for k, a in enumerate(true["annotations"], 1)
    ]
    first = true["images"][0]
    # pycocotools cannot read an empty list: an annotation without pixels is none.
    nothing = {"image_id": first["id"], "category_id": true["categories"][0]["id"], "score": 0.0}
    nothing["segmentation"] = {"size": [first["height"], first["width"]], "counts": [first["height"] * first["width"]]}
    results = [{**a, "segmentation": _packed(a["segmentation"], *size[a["image_id"]])} for a in (found or [nothing])]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        coco = COCO()
        coco.dataset = {**true, "annotations": dataset}
        coco.createIndex()
        scored = COCOeval(coco, coco.loadRes(results), "segm")
        scored.params.maxDets = [1, 100, MOST]
        scored.evaluate()
        scored.accumulate()
    precision = scored.eval["precision"][:, :, :, 0, -1]  # IoU, recall, category
    return {
        category: (_mean(precision[:, :, k]), _mean(precision[0, :, k]), _mean(precision[5, :, k]))
        for k, category in enumerate(scored.params.catIds)
    }


def _packed(segmentation: Any, height: int, width: int) -> Any:
    """Return compressed run lengths: what pycocotools computes with."""
    from pycocotools import mask

    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return segmentation
    packed = mask.frPyObjects(segmentation, height, width)
    return mask.merge(packed) if isinstance(packed, list) else packed


def _mean(values: Any) -> float:
    known = values[values > -1]
    return float(np.mean(known)) if known.size else float("nan")
