"""Folders of label images as one COCO json, and back."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bridge.errors import InputError, LabelError
from bridge.files import all_or_none, new_file, write_text
from bridge.images.formats import PLAIN
from bridge.images.label_files import label_files
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import MAX_LABEL, as_labels, parts_of_ids
from bridge.names import MASK_SUFFIXES, image_name, is_marked, safe_name
from bridge.scores.coco import annotations_of, counts_of, drawn, whole
from bridge.tables import Column, read_table

_log = logging.getLogger(__name__)

_NUCLEI, _CLASSES = "_nuclei", "_classes.csv"
_MOST_PX = 400_000_000  # of an image that a json file claims: 20,000 x 20,000


def export_coco(
    labels: Path | str,
    out: Path | str,
    category: str = "cell",
    images: Path | str | None = None,
    accept_labels: bool = False,
    classes: Path | str | None = None,
) -> Path:
    """Write label images as a COCO json: one annotation for each cell, its mask as run lengths.

    The runs are decoded again and compared with the label images before the file is written.

    Parameters
    ----------
    labels : Path or str
        A label image, or a folder of them; those of a run have a folder for each condition.
    out : Path or str
        ``*.json``.
    category : str
        What the cells are called.
    images : Path or str, optional
        Folder of the images the label images belong to: their names are written instead of the label images'.
    accept_labels : bool
        Take label images that do not look like any.
    classes : Path or str, optional
        The folder ``classes`` of a run: each cell is of the category of its class.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        No label images, or an image is missing.
    LabelError
        Not a label image.
    OutputError
        `out` is there already, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_labels(folder / "f1_mask.tif", np.array([[0, 3], [3, 3]], np.uint16))
    >>> coco = json.loads(export_coco(folder / "f1_mask.tif", folder / "cells.json").read_text())
    >>> coco["annotations"][0]["segmentation"], coco["annotations"][0]["label"]
    ({'size': [2, 2], 'counts': [1, 3]}, 3)
    """
    labels, out = Path(labels), Path(out)
    new_file(out)
    files = [labels] if labels.is_file() else _label_files(labels)
    shown = _images(Path(images)) if images is not None else []
    content: dict[str, Any] = {
        "info": {"description": "cells as run lengths; `label` is the id of the cell in its label image"},
        "images": [],
        "annotations": [],
        "categories": [],
    }
    root = labels.parent if labels.is_file() else labels
    of_cell = {} if classes is None else _classes(Path(classes))
    numbers: dict[str, int] = {category: 1} if classes is None else {}
    for k, path in enumerate(files, 1):
        ids = read_labels(path, foreign=not accept_labels)
        height, width = ids.shape
        file = path.relative_to(root).as_posix()
        if images is not None:
            file = _image_of(path, file, shown, Path(images))
        content["images"].append({"id": k, "file_name": file, "height": height, "width": width})
        annotations = annotations_of(ids)
        if not np.array_equal(drawn([(a["label"], a["segmentation"]["counts"]) for a in annotations], ids.shape), ids):
            raise LabelError(f"{path}: the run lengths do not equal the label image. This is a fault of the program: please report it.")  # fmt: skip
        first = len(content["annotations"]) + 1
        if classes is not None:
            own = of_cell.get(image_name(path))
            if own is None or not {a["label"] for a in annotations} <= own.keys():
                raise InputError(f"{path}: not all of its cells have a class in {classes} (expected {image_name(path)}_classes.csv). Run classify, and name its folder classes.")  # fmt: skip
            for a in annotations:
                a["category_id"] = numbers.setdefault(own[a["label"]], len(numbers) + 1)
        content["annotations"] += [{"id": first + i, "image_id": k, **a} for i, a in enumerate(annotations)]
    content["categories"] = [{"id": n, "name": name, "supercategory": ""} for name, n in numbers.items()]
    write_text(out, json.dumps(content, ensure_ascii=False) + "\n")
    return out


def import_coco(coco: Path | str, out: Path | str, category: str | None = None) -> list[Path]:
    """Write the annotations of a COCO json as label images.

    Run lengths are taken pixel for pixel; polygons, which have no pixels of their own, as COCO's own tools fill them.

    Parameters
    ----------
    coco : Path or str
    out : Path or str
        Folder for ``<image>_mask.tif``; with several categories one folder for each.
    category : str, optional
        Only this one.

    Returns
    -------
    list of Path
        Each cell has the id in its annotation's `label`, as `export_coco` writes it; without, they are numbered in their
        order. Where annotations overlap, a pixel belongs to the first of them; a warning is logged. A mask that is
        marked as a crowd and lies in one place is a cell, as CVAT writes it; other crowds are left out with a warning.

    Raises
    ------
    InputError
        Not a COCO json, or no such category.
    LabelError
        Annotations that cannot be read; the label images are written without them.
    OutputError
        A label image is there already.
    """
    coco, out = Path(coco), Path(out)
    try:
        content = json.loads(coco.read_text("utf-8-sig"))
        images = {_id(i["id"]): (_safe(i["file_name"]), whole(i["height"]), whole(i["width"])) for i in content["images"]}  # fmt: skip
        categories = {_id(c["id"]): str(c["name"]) for c in content["categories"]}
        if not images or not categories:
            raise ValueError("no images, or no categories")
        if len(images) < len(content["images"]) or len(categories) < len(content["categories"]):
            raise ValueError("an id twice")
        if len({safe_name(name).casefold() for name in categories.values()}) < len(categories):
            raise ValueError("two categories of one name")
        annotations_of: dict[Any, dict[Any, list[dict[str, Any]]]] = {c: {i: [] for i in images} for c in categories}
        for a in content["annotations"]:
            image, cat = _id(a["image_id"]), _id(a["category_id"])
            if image not in images or cat not in categories:
                raise ValueError(f"an annotation of image {image} and category {cat}, which are not both listed")
            _ = a["segmentation"]
            annotations_of[cat][image].append(a)
    except OSError as error:
        raise InputError(f"{coco}: cannot be read ({error.strerror}). Check the path.") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        problem = str(error)[:200]
        if isinstance(error, KeyError):
            problem = f"got none of {problem} where it should be"
        elif isinstance(error, TypeError | AttributeError):
            problem = "got something else where a list or an object should be"
        raise InputError(f"{coco}: not a COCO json ({problem}; expected images, annotations and categories). Export it again.") from error  # fmt: skip
    if category is not None and category not in categories.values():
        raise InputError(f"{coco}: no such category (got {category}, expected one of {', '.join(categories.values())}). Correct --category.")  # fmt: skip
    used = [c for c in categories if any(annotations_of[c].values())] or list(categories)[:1]
    chosen = {c: name for c, name in categories.items() if (name == category if category is not None else c in used)}
    work: dict[Path, tuple[list[tuple[int, Sequence[int]]], tuple[int, int]]] = {}
    taken: set[str] = set()
    crowds, odd, n_read = 0, list[str](), 0
    for cat, title in chosen.items():
        folder = out / safe_name(title) if len(chosen) > 1 else out
        for image, (name, height, width) in images.items():
            path = folder / f"{name}{MASK_SUFFIXES[0]}.tif"
            if str(path).casefold() in taken:
                raise InputError(f"{coco}: two images of one name (got {name} twice, expected each once). Rename one.")
            taken.add(str(path).casefold())
            new_file(path)
            if not (height > 0 and width > 0 and height * width <= _MOST_PX):
                raise InputError(f"{coco}: {name} has no size an image can have (got {height} x {width} px, expected at most {_MOST_PX} px). Export it again.")  # fmt: skip
            cells: list[tuple[Any, Sequence[int]]] = []
            for a in annotations_of[cat][image]:
                try:
                    counts = _runs(a["segmentation"], height, width)
                except (KeyError, TypeError, ValueError, IndexError, OverflowError, MemoryError) as error:
                    odd.append(f"{name} has an annotation that cannot be read ({str(error)[:200]})")
                    continue
                if a.get("iscrowd") and "label" not in a and _n_places(counts, height, width) > 1:
                    crowds += 1
                else:
                    cells.append((a.get("label"), counts))
            n_read += len(cells)
            labels = [label for label, _ in cells]
            numbered = all(isinstance(n, int) and 0 < n <= MAX_LABEL for n in labels) and len(set(labels)) == len(labels)  # fmt: skip
            ids = labels if numbered else range(1, len(labels) + 1)
            if not numbered and any(label is not None for label in labels):
                _log.warning("%s: %s has annotations without a `label` of their own (a whole number from 1 to %d): its cells are numbered anew", coco, name, MAX_LABEL)  # fmt: skip
            runs = [(int(k), counts) for k, (_, counts) in zip(ids, cells, strict=True)]
            work[path] = runs, (height, width)
    if odd and not n_read:
        raise InputError(f"{coco}: {odd[0]}. Export it again.")
    if crowds:
        _log.warning("%s: %d annotations of crowds left out: they are no single cells", coco, crowds)
    with all_or_none(list(work)):
        for path, (runs, shape) in work.items():
            write_labels(path, as_labels(drawn(runs, shape, str(path)), str(path)))
    if odd:
        raise LabelError(f"{coco}: {odd[0]}; such are {len(odd)} of {len(odd) + n_read}. The others were written to {out}: export those again, or remove them.")  # fmt: skip
    return list(work)


def _classes(folder: Path) -> dict[str, dict[int, str]]:
    """Return the class of each cell, by field and label."""
    paths = sorted(folder.rglob(f"*{_CLASSES}"))
    if not paths:
        raise InputError(f"{folder}: no classes of cells in it (expected <field_id>{_CLASSES}). Run classify first.")
    found = {}
    for path in paths:
        table = read_table(path, (Column("label", "int64", "", ""), Column("class", "str", "", "")))
        found[path.name.removesuffix(_CLASSES)] = dict(
            zip(table["label"].tolist(), table["class"].tolist(), strict=True)
        )
    return found


def _runs(segmentation: Any, height: int, width: int) -> Sequence[int]:
    """Return the run lengths of an annotation that fits its image."""
    counts = counts_of(segmentation, height, width)
    if any(count < 0 for count in counts):
        raise ValueError(f"a run of {min(counts)} px")
    if sum(counts) != height * width:
        raise ValueError(f"runs of {sum(counts)} px in an image of {height * width}")
    return counts


def _n_places(counts: Sequence[int], height: int, width: int) -> int:
    """Return in how many places a mask lies: CVAT marks each brushed cell as a crowd; a real one has several."""
    return int(parts_of_ids(drawn([(1, counts)], (height, width)))[1].sum())


def _id(value: Any) -> int | str:
    if not isinstance(value, int | str):
        raise ValueError(f"{value!r} as an id")
    return value


def _label_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such file or folder (expected label images). Check the path.")
    files = list(label_files(folder, seg=False))
    marked = [p for p in files if is_marked(p)]
    if not files:
        raise InputError(f"{folder}: no label images in it (expected .tif or .png). Check the path.")
    # A run that counts nuclei has their label images beside those of the cells.
    cells = {path.with_name(image_name(path)) for path in marked}
    nuclei = [
        p for p in marked if (n := image_name(p)).endswith(_NUCLEI) and p.with_name(n.removesuffix(_NUCLEI)) in cells
    ]
    if nuclei:
        _log.warning("%s: %d label images of nuclei left out (e.g. %s); the cells' are taken", folder, len(nuclei), nuclei[0].name)  # fmt: skip
    return [path for path in marked if path not in nuclei] or files


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (expected images). Check the path given with --images.")
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PLAIN]


def _image_of(mask: Path, file: str, images: Sequence[Path], folder: Path) -> str:
    """Return the name of a label image's image: the one in the same sub-folder, else the only one of its name."""
    name = image_name(mask)
    fits = [path.relative_to(folder) for path in images if path.stem == name]
    same = [path for path in fits if path.parent == Path(file).parent]
    fits = same or fits
    if len(fits) != 1:
        problem = "has no image" if not fits else f"has several images (got {fits[0]} and {fits[1]})"
        raise InputError(f"{mask}: {problem} (expected {name}.tif or .png in {folder}). Add it, or leave out --images.")
    return fits[0].as_posix()


def _safe(file_name: Any) -> str:
    """The name of an image without what marks a label image, and without folders that lead elsewhere."""
    if not isinstance(file_name, str):
        raise ValueError(f"{file_name!r} as the name of an image")
    parts = [part for part in file_name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts:
        raise ValueError("an image without a name")
    return "/".join([*(safe_name(part) for part in parts[:-1]), safe_name(image_name(Path(parts[-1])))])
