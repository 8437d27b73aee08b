"""Ground truth in other forms: a colour for each object, or a file for each object."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bridge.errors import InputError, LabelError
from bridge.images.label_check import require_plausible
from bridge.images.label_files import ENDINGS
from bridge.images.label_images import read_labels
from bridge.images.reader import decode, inspect
from bridge.labels import Labels, as_labels, parts_of_ids
from bridge.names import SEG_SUFFIX


def read_objects(path: Path, foreign: bool = False, binary: bool = False) -> Labels:
    """Read a label image, a picture in which each object has a colour, or a folder with one file per object.

    Parameters
    ----------
    path : Path
    foreign : bool
        As in `bridge.images.label_images.read_labels`.
    binary : bool
        Accept a binary mask, as a prediction of pixels.

    Raises
    ------
    InputError
        It cannot be read.
    LabelError
        Not a label image; objects that overlap.
    """
    if path.is_dir():
        return _one_file_per_object(path)
    if not _is_colour(path):
        labels = read_labels(path)
        if foreign:
            require_plausible(labels, path, binary)
        return labels
    colours = decode(inspect(path))[..., :3]
    code = np.zeros(colours.shape[:2], np.uint64)
    for k in range(3):
        code = (code << np.uint64(16)) | colours[..., k].astype(np.uint64)
    ids, labels = np.unique(code, return_inverse=True)
    labels = labels.reshape(code.shape)
    if ids[0] != 0:
        raise LabelError(f"{path}: a colour image without black (expected black where no object is). Save it as a label image: 0 for the background, one id for each object.")  # fmt: skip
    n = int(parts_of_ids(labels)[1].sum())
    if n > 2 * (ids.size - 1):
        raise LabelError(f"{path}: {ids.size - 1} colours in {n} separate places (expected a colour of its own for each object). Save it as a label image: one id for each object.")  # fmt: skip
    return as_labels(labels, str(path))


def _is_colour(path: Path) -> bool:
    if path.name.endswith(SEG_SUFFIX):
        return False
    try:
        return inspect(path).colour
    except InputError:
        return False  # of a type that is not measured, but may hold ids


def _one_file_per_object(folder: Path) -> Labels:
    labels: Labels | None = None
    for k, path in enumerate(sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS), 1):
        info = inspect(path)
        pixels = decode(info)
        inside = pixels.reshape(pixels.shape[0], pixels.shape[1], -1)[..., :3].any(axis=2)
        if labels is None:
            labels = np.zeros(inside.shape, np.uint32)
        if inside.shape != labels.shape:
            raise LabelError(f"{path}: not the size of the other objects (got {inside.shape}, expected {labels.shape}). Use the masks of one image.")  # fmt: skip
        if labels[inside].any():
            raise LabelError(f"{path}: lies over another object of {folder} (expected objects apart). A label image cannot hold both.")  # fmt: skip
        labels[inside] = k
    if labels is None:
        raise InputError(f"{folder}: no objects in it (expected one TIFF or PNG for each). Check the folder.")
    return as_labels(labels, str(folder))
