"""Predicted annotations against true ones by COCO's own rule: average precision of each class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from bridge.classification.classifier import UNCERTAIN
from bridge.errors import InputError
from bridge.files import new_file
from bridge.names import image_name
from bridge.scores.coco_average_precision import average_precision
from bridge.tables import Column, typed_table, write_table

COCO_SCORES = (
    Column("class", "str", "", "category, or all: mean over categories"),
    Column("n_true", "int64", "", "true annotations"),
    Column("n_predicted", "int64", "", "predicted ones"),
    Column("ap", "float64", "", "average precision, mean over IoU 0.5 to 0.95; empty without a true one"),
    Column("ap_50", "float64", "", "average precision at IoU 0.5"),
    Column("ap_75", "float64", "", "average precision at IoU 0.75"),
)


def evaluate_coco(truth: Path | str, predicted: Path | str, out: Path | str) -> pd.DataFrame:
    """Score a COCO json against a true one, class by class, by pycocotools.

    Images are the same where their names are (without suffix and ``_mask``), categories where theirs are. A ``score`` of a
    predicted annotation counts; without one all are equally sure.

    Parameters
    ----------
    truth, predicted : Path or str
        COCO json files.
    out : Path or str
        Folder for ``coco_scores.csv``.

    Returns
    -------
    DataFrame
        `COCO_SCORES`.

    Raises
    ------
    InputError
        Not a COCO json, or images and categories that the truth does not have.
    OutputError
        The file is there already.
    """
    file = new_file(Path(out) / "coco_scores.csv")
    true, other = read_coco(Path(truth)), read_coco(Path(predicted))
    images = {image_name(Path(i["file_name"])): i["id"] for i in true["images"]}
    if len(images) < len(true["images"]):
        raise InputError(f"{truth}: two images of one name (expected names that differ without their folders). Rename one.")  # fmt: skip
    categories = {c["name"]: c["id"] for c in true["categories"]}
    of_image, of_category = {}, {}
    for i in other["images"]:
        name = image_name(Path(i["file_name"]))
        if name not in images:
            raise InputError(f"{predicted}: an image that the truth does not have (got {i['file_name']}, expected one of {', '.join([*images][:5])}). Compare the same images.")  # fmt: skip
        of_image[i["id"]] = images[name]
    used = {a["category_id"] for a in other["annotations"]}
    for c in other["categories"]:
        if c["name"] in categories:
            of_category[c["id"]] = categories[c["name"]]
        elif c["id"] in used and c["name"] != UNCERTAIN:
            raise InputError(f"{predicted}: a category that the truth does not have (got {c['name']}, expected one of {', '.join(categories)}). Rename it.")  # fmt: skip
    found = [
        {"image_id": of_image[a["image_id"]], "category_id": of_category[a["category_id"]], "segmentation": a["segmentation"], "score": float(1.0 if a.get("score") is None else a["score"])}
        for a in other["annotations"]
        if a["category_id"] in of_category
    ]  # fmt: skip
    precision = average_precision(true, found)
    rows = []
    for name, category in categories.items():
        counts = [
            sum(a["category_id"] == category for a in annotations) for annotations in (true["annotations"], found)
        ]
        rows.append(dict(zip((c.name for c in COCO_SCORES), (name, *counts, *precision[category]), strict=True)))
    table = pd.DataFrame(rows)
    every = {"class": "all", **table[["n_true", "n_predicted"]].sum(), **table[["ap", "ap_50", "ap_75"]].mean()}
    typed = typed_table([every, *rows], COCO_SCORES)
    write_table(file, typed, COCO_SCORES)
    return typed


def read_coco(path: Path) -> dict[str, Any]:
    """Read a COCO json with images, annotations and categories.

    Raises
    ------
    InputError
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
        for key, names in (("images", ("id", "file_name", "height", "width")), ("categories", ("id", "name")), ("annotations", ("image_id", "category_id", "segmentation"))):  # fmt: skip
            if not isinstance(content[key], list):
                raise ValueError(f"{key} is no list")
            for entry in content[key]:
                for name in names:
                    _ = entry[name]
        if not content["categories"]:
            raise ValueError("no categories")
        if not content["images"]:
            raise ValueError("no images")
        known = {i["id"] for i in content["images"]}, {c["id"] for c in content["categories"]}
        if any(a["image_id"] not in known[0] or a["category_id"] not in known[1] for a in content["annotations"]):
            raise ValueError("an annotation of an image or category that is not listed")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (expected a COCO json). Check the path.") from None
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)[:120]
        raise InputError(f"{path}: not a COCO json ({what}; expected images, annotations and categories). Export it again.") from None  # fmt: skip
    return dict(content)
