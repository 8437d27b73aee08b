"""Label images in folders: found by their names, in one way for every verb."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.errors import InputError, LabelError
from bridge.names import MASK_SUFFIXES, SEG_SUFFIX, TRAINING_RECORD, image_name, is_marked, safe_name

ENDINGS = (".tif", ".tiff", ".png")
OBJECTS = "masks"  # a folder of this name holds one file per object


def label_files(folder: Path, seg: bool = True, rois: bool = False, objects: bool = False) -> Iterator[Path]:
    """Yield what may hold labels below a folder, in order; hidden files and what trainings wrote are passed over.

    Parameters
    ----------
    folder : Path
    seg : bool
        Also ``_seg.npy`` of the Cellpose GUI.
    rois : bool
        Also ROI sets.
    objects : bool
        Also folders ``<name>/masks`` with one file per object: the folder itself.
    """
    ours = {path.parent for path in folder.rglob(TRAINING_RECORD)}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if objects and path.name == OBJECTS and any(p.is_file() for p in path.iterdir()):
                yield path
            elif path not in ours:
                yield from label_files(path, seg, rois, objects)
        elif (
            path.suffix.lower() in ENDINGS
            or (seg and path.name.endswith(SEG_SUFFIX))
            or (rois and path.suffix.lower() == ".zip")
        ):
            yield path


def labelled_name(path: Path) -> str:
    """Return the name of the image that a label image, or a folder of objects, belongs to."""
    return unicodedata.normalize("NFC", path.parent.name) if path.is_dir() else image_name(path)


def by_name(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by the names of the images they belong to.

    Raises
    ------
    InputError
        Two of one name.
    """
    matches: dict[str, Path] = {}
    for path in paths:
        name = labelled_name(path)
        before = matches.get(name)
        # The Cellpose GUI saves both; that they are equal is checked where they are read.
        if before is not None and path.name.endswith(SEG_SUFFIX) != before.name.endswith(SEG_SUFFIX):
            matches[name] = before if path.name.endswith(SEG_SUFFIX) else path
            continue
        if name in matches:
            raise InputError(
                f"{folder}: two files of one name (got {matches[name]} and {path}, expected one for {name}). Rename one."
            )
        matches[name] = path
    return dict(sorted(matches.items()))


def marked_first(files: Iterable[Path]) -> list[Path]:
    """Return label images without the images they lie beside: ``f1_mask.tif`` is meant, not ``f1.tif``."""
    files = list(files)
    marked = {labelled_name(path) for path in files if is_marked(path)}
    return [path for path in files if is_marked(path) or labelled_name(path) not in marked]


class MaskFolder:
    """A folder of label images, with its sub-folders: looked through once.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._known: dict[str, list[Path]] = {}
        for path in label_files(folder):
            # By its path in a folder built like the images', and by its name alone.
            for name in {path.relative_to(folder).with_suffix("").as_posix().lower(), path.stem.lower()}:
                self._known.setdefault(name, []).append(path)

    def find(self, names: list[str]) -> Path | None:
        """Return the label image of a field, or None.

        Parameters
        ----------
        names : list of str
            Names the field goes by, without suffix; the first that matches wins.

        Raises
        ------
        LabelError
            More than one file fits.
        """
        seg = SEG_SUFFIX.removesuffix(".npy")
        for name in names:
            matches = [path for suffix in MASK_SUFFIXES for path in self._known.get(f"{name}{suffix}".lower(), [])]
            # The Cellpose GUI saves both: its label image is the newer where it was saved last, and what people look at.
            matches = matches or self._known.get(f"{name}{seg}".lower(), [])
            if len(matches) > 1:
                raise LabelError(
                    f"{name}: several label images fit (got {matches[0]} and {matches[1]}, expected one). Remove one."
                )
            if matches:
                return matches[0]
        return None


def find_region(regions: Path | None, names: list[str]) -> Path | None:
    """Return the ROIs of a field: the file itself, or the one in the folder that is named like the field or its images.

    Raises
    ------
    InputError
        Nothing is named like it.
    """
    if regions is None or regions.is_file():
        return regions
    for name in names:
        for suffix in ("_RoiSet.zip", ".zip", ".roi", ".geojson"):
            for text in (name, safe_name(name)):
                if (path := regions / f"{text}{suffix}").is_file():
                    return path
    raise InputError(
        f"{names[0]}: no region in {regions} (expected {names[0]}_RoiSet.zip or .roi). Draw it and save it there, or give one file for all."
    )
