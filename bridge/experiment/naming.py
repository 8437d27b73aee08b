"""Which image is what: by a pattern, an instrument's way of naming, a sample sheet, or folders, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bridge.errors import InputError
from bridge.experiment.discover import LABEL_IMAGE, PICTURE, SMALL, NamedFile, by_folder, image_files
from bridge.experiment.fields import root_of
from bridge.experiment.layouts import by_layout, layout_of
from bridge.experiment.opened import Opened, opened
from bridge.experiment.patterns import by_pattern
from bridge.experiment.sample_sheet import Sheet, by_sheet, join_sheet, read_sheet
from bridge.names import MASK_SUFFIXES, is_leftover
from bridge.settings import Settings

_SMALL = 8  # a side of an image's neighbours is so many times as long
_MARKS = ("thumbnail", "thumb", "preview", "overlay")


@dataclass
class Named:
    """The images of an experiment and what is known of each.

    Attributes
    ----------
    files : list of NamedFile
    ignored : list of (Path, str)
        Files that play no part, and why.
    sheet : Sheet or None
    unfitted : list of str
        Lines of the sheet without an image.
    layout : str
        Name of the instrument's way of naming; empty where none was used.
    """

    files: list[NamedFile]
    ignored: list[tuple[Path, str]]
    sheet: Sheet | None = None
    unfitted: list[str] = field(default_factory=list)
    layout: str = ""


def name_files(images: Path, settings: Settings) -> Named:
    """Find the images and say what each is.

    Parameters
    ----------
    images : Path
    settings : Settings

    Raises
    ------
    InputError
        No image, or none whose part is known.
    """
    files, others = image_files(images)
    beside = [path for path in files if path.stem.lower().endswith(MASK_SUFFIXES)]
    leftovers = [path for path in files if is_leftover(path)]
    left_out = {*beside, *leftovers}
    files = [path for path in files if path not in left_out]
    if not files:
        raise InputError(
            f"{images}: no image found (got {len(beside)} label images, expected images beside them). Check the path."
        )
    found, parts = opened(root_of(images), files)
    found, small = _without_previews(found)
    sheet = read_sheet(settings.samples, settings.samples_sheet) if settings.samples else None
    named = _named(images, found, settings, sheet)
    named.ignored += [(path, LABEL_IMAGE) for path in beside] + small + parts + others
    named.ignored += [(path, "a picture that Cellpose saved") for path in leftovers]
    return named


def _named(images: Path, found: list[Opened], settings: Settings, sheet: Sheet | None) -> Named:
    unfitted: list[str] = []
    layout = None if settings.pattern else layout_of(found, settings)
    if settings.pattern:
        named, ignored = by_pattern(images, found, settings)
    elif layout:
        named, ignored = by_layout(images, found, layout, settings)
    elif sheet:
        named, ignored = by_sheet(images, found, settings, sheet, unfitted)
    else:
        named, ignored = by_folder(images, found, settings)
    if sheet and (settings.pattern or layout):
        named, unmatched = join_sheet(images, named, sheet, unfitted)
        ignored += unmatched
    return Named(named, ignored, sheet, unfitted, layout.name if layout else "")


def _without_previews(found: Sequence[Opened]) -> tuple[list[Opened], list[tuple[Path, str]]]:
    """Take out images that only show others: by their name, or by their size."""
    stems = {(image.path.parent, image.path.stem.lower()) for image in found}
    sides: dict[Path, list[int]] = {}
    for image in found:
        if image.side_px:
            sides.setdefault(image.path.parent, []).append(image.side_px)
    usual = {folder: float(np.median(of)) for folder, of in sides.items() if len(of) > 2}
    kept, ignored = [], []
    for image in found:
        median = usual.get(image.path.parent, 0.0)
        if _shows_another(image.path, stems):
            ignored.append((image.path, PICTURE))
        elif image.scene is None and 0 < image.side_px * _SMALL <= median:
            ignored.append((image.path, SMALL))
        else:
            kept.append(image)
    return kept, ignored


def _shows_another(path: Path, stems: set[tuple[Path, str]]) -> bool:
    """Return whether an image has the name of another one, but for a word such as thumb or overlay."""
    stem = path.stem.lower()
    for mark in _MARKS:
        if mark not in stem:
            continue
        before, _, after = stem.rpartition(mark)
        bare = {before.rstrip("_-. ") + after, before + after.lstrip("_-. "), (before + after).strip("_-. ")}
        if any((path.parent, name) in stems for name in bare):
            return True
    return False
