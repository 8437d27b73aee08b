"""The label-image contract and its files: (Y, X) unsigned integers, 0 = background, each cell one id."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import LabelError
from bridge.files import read_npy, whole_file
from bridge.images import PIXELS, Calibration, decode, imagej_scale, inspect

_YES_OR_NO = 5  # separate places of the only id of an image, from which on it is not one cell
MAX_LABEL = 2**24  # ImageJ reads 32-bit integers as floats: exact up to here
MASK_SUFFIXES = ("_mask", "_masks", "_cp_masks")
ROISET_MARK = "_RoiSet"
SEG_SUFFIX = "_seg.npy"  # what the Cellpose GUI saves

Labels = npt.NDArray[Any]


def as_labels(array: npt.ArrayLike, name: str = "label image") -> Labels:
    """Check an array against the label-image contract and give it the smallest type that holds its ids.

    Parameters
    ----------
    array : array_like, shape (Y, X)
        Integers (or floats that are whole numbers), 0 = background.
    name : str
        Named in messages.

    Returns
    -------
    ndarray of uint16 or uint32, shape (Y, X)
        The same ids: nothing is renumbered. uint32 if the largest id is above 65,535.

    Raises
    ------
    LabelError
        Not 2-D, not whole numbers, negative, or an id above 16,777,216.

    Examples
    --------
    >>> as_labels([[0, 7], [7, 70000]]).dtype.name
    'uint32'
    """
    labels = np.asarray(array)
    if labels.ndim != 2 or labels.size == 0:
        raise LabelError(f"{name}: not a 2-D label image (got shape {labels.shape}, expected (Y, X)). Save one plane.")
    if labels.dtype == bool:
        raise LabelError(f"{name}: a mask of yes and no (expected one id for each cell). Label the cells first.")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
            raise LabelError(
                f"{name}: ids that are not whole numbers (expected integers). Save the label image as 16-bit."
            )
    elif labels.dtype.kind not in "iu":
        raise LabelError(f"{name}: pixels of type {labels.dtype} (expected integers). Save the label image as 16-bit.")
    low, high = labels.min(), labels.max()
    if low < 0:
        raise LabelError(f"{name}: negative ids (got {int(low)}, expected 0 and above). Save the label image again.")
    if high > MAX_LABEL:
        raise LabelError(
            f"{name}: an id ImageJ cannot hold exactly (got {int(high)}, expected at most {MAX_LABEL}). Renumber the cells."
        )
    return np.ascontiguousarray(labels, np.uint16 if high <= 65535 else np.uint32)


def label_ids(labels: Labels) -> npt.NDArray[np.int64]:
    """Return the ids in a label image, ascending, without 0."""
    return np.flatnonzero(label_areas(labels))


def label_areas(labels: Labels) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each id, indexed by id; entry 0 is 0.

    Examples
    --------
    >>> label_areas(np.array([[0, 3], [3, 1]], np.uint16))
    array([0, 1, 0, 2])
    """
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return areas


def touches_border(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return whether each id has a pixel in the first or last row or column, indexed by id; entry 0 is False."""
    touching = np.zeros(int(labels.max()) + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touching[edge] = True
    touching[0] = False
    return touching


def outlines(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return the pixels of a label with a 4-neighbour outside it, or at the border of the image, shape (Y, X)."""
    framed = np.pad(labels, 1)
    centre = framed[1:-1, 1:-1]
    different = np.zeros(labels.shape, bool)
    for neighbour in (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]):
        different |= neighbour != centre
    return different & (centre > 0)


def write_labels(path: Path, labels: Labels, calibration: Calibration | None = None) -> None:
    """Write a label image as TIFF; ImageJ opens it with its ids, its contrast and its calibration.

    Parameters
    ----------
    path : Path
        ``<field_id>_mask.tif``.
    labels : ndarray of uint16 or uint32, shape (Y, X)
    calibration : Calibration, optional

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    import tifffile

    options: dict[str, Any] = {}
    if labels.dtype == np.uint16:
        scale, options = imagej_scale(calibration or PIXELS)
        lines = [
            "ImageJ=1.54p",
            *(f"{key}={value}" for key, value in scale.items()),
            "min=0.0",
            f"max={float(labels.max())}",
        ]
        options |= {"description": "\n".join([*lines, ""]), "resolutionunit": tifffile.RESUNIT.NONE}
    with whole_file(path) as part:
        tifffile.imwrite(part, labels, photometric="minisblack", compression="zlib", metadata=None, **options)


def read_labels(path: Path, foreign: bool = False) -> Labels:
    """Read a label image from TIFF, PNG or a ``_seg.npy`` of the Cellpose GUI, and check it.

    Parameters
    ----------
    path : Path
    foreign : bool
        From elsewhere: also refuse a picture of cells or not, which would count as one cell.

    Returns
    -------
    ndarray of uint16 or uint32, shape (Y, X)

    Raises
    ------
    InputError
        The file is damaged or not one plane.
    LabelError
        It breaks the label-image contract.
    """
    if path.name.endswith(SEG_SUFFIX):
        content = read_npy(path)
        masks = content.get("masks") if isinstance(content, dict) else None
        if not isinstance(masks, np.ndarray) or masks.ndim != 2:
            raise LabelError(
                f"{path}: holds no masks (expected the _seg.npy of a 2-D image). Save it in Cellpose again."
            )
        labels = as_labels(masks, str(path))
    else:
        labels = _labels_of_image(path)
    if foreign:
        _refuse_yes_or_no(labels, path)
    return labels


def _labels_of_image(path: Path) -> Labels:
    info = inspect(path)
    if info.colour or len(info.channels) > 1:
        raise LabelError(
            f"{path}: not a label image (got {'colour' if info.colour else 'several channels'}, expected one plane of ids). Save the ids as 16-bit."
        )
    return as_labels(decode(info), str(path))


def _refuse_yes_or_no(labels: Labels, path: Path) -> None:
    first, last = labels.ravel()[np.argmax(labels != 0)], labels.max()
    if first != last or first == 0 or (labels[labels != 0] != first).any():
        return
    if (n := separate_parts(labels != 0)) >= _YES_OR_NO:
        raise LabelError(
            f"{path}: a mask of yes and no (got one id, {first}, in {n} separate places, expected one id for each cell). Label the cells first."
        )


def separate_parts(labels: npt.NDArray[Any]) -> int:
    """Return the number of separate places: pixels of one id that touch, also at a corner.

    Examples
    --------
    >>> separate_parts(np.array([[1, 0, 1], [2, 2, 0]]))
    3
    """
    from scipy import ndimage

    boxes = enumerate(ndimage.find_objects(labels.astype(np.int64)), 1)
    return sum(ndimage.label(labels[box] == label, np.ones((3, 3)))[1] for label, box in boxes if box is not None)


def is_marked(path: Path) -> bool:
    """Return whether a file's name says that it holds labels.

    Examples
    --------
    >>> is_marked(Path("f1_mask.tif")), is_marked(Path("f1_seg.npy")), is_marked(Path("f1.tif"))
    (True, True, False)
    """
    return path.name.endswith(SEG_SUFFIX) or path.stem.lower().endswith(MASK_SUFFIXES)


def image_name(path: Path) -> str:
    """Return the name of the image a label file belongs to: its own (in NFC), without what marks it as one.

    Examples
    --------
    >>> image_name(Path("f1_mask.tif")), image_name(Path("f1_seg.npy")), image_name(Path("f1_RoiSet.zip"))
    ('f1', 'f1', 'f1')
    """
    name, stem = (unicodedata.normalize("NFC", text) for text in (path.name, path.stem))
    if name.endswith(SEG_SUFFIX):
        return name.removesuffix(SEG_SUFFIX)
    marks = (ROISET_MARK,) if path.suffix.lower() == ".zip" else MASK_SUFFIXES
    for mark in sorted(marks, key=len, reverse=True):
        if stem.lower().endswith(mark.lower()):
            return stem[: -len(mark)]
    return stem


def find_mask(folder: Path, names: list[str]) -> Path | None:
    """Return the label image of a field in a folder of label images, or None.

    Parameters
    ----------
    folder : Path
        Searched with its sub-folders.
    names : list of str
        Names the field goes by, without suffix; the first that matches wins.

    Raises
    ------
    LabelError
        More than one file fits.
    """
    by_name: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".tif", ".tiff", ".png"):
            # By its path in a folder built like the images', and by its name alone.
            for name in {path.relative_to(folder).with_suffix("").as_posix().lower(), path.stem.lower()}:
                by_name.setdefault(name, []).append(path)
    for name in names:
        found = [path for suffix in MASK_SUFFIXES for path in by_name.get(f"{name}{suffix}".lower(), [])]
        if len(found) > 1:
            raise LabelError(
                f"{name}: several label images fit (got {found[0]} and {found[1]}, expected one). Remove one."
            )
        if found:
            return found[0]
    return None
