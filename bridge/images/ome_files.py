"""The planes of an OME header in their files: in its own, or in others beside it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from bridge.errors import InputError
from bridge.foreign import within
from bridge.images.damage import damaged
from bridge.images.image import At, ImageInfo
from bridge.images.ome import OmeImage


def images_in_files(
    path: Path,
    images: Sequence[OmeImage],
    own: Sequence[tuple[int, ImageInfo]],
    pages_of: Callable[[Path], Sequence[ImageInfo]],
) -> tuple[ImageInfo, ...]:
    """Return what a header says of its images, each plane in its file.

    Parameters
    ----------
    path : Path
    images : sequence of OmeImage
    own : sequence of (int, ImageInfo)
        Number in the file, and kind, of each page of its own that is a plane; none for a header in a file of its own.
    pages_of : callable
        Returns what the pages of another file say, in their order.

    Raises
    ------
    InputError
        A file that is not beside the header.
    """
    found = []
    for number, image in enumerate(images):
        names = list(dict.fromkeys(name for name, _ in image.planes))
        parts = tuple(_beside(path, name, image.uuids.get(name, "")) for name in names)
        at = [At(own[page][0] if not name and own else page, names.index(name)) for name, page in image.planes]
        kinds = {_kind(path, name, parts[names.index(name)], page, own, pages_of) for name, page in dict.fromkeys(image.planes)}  # fmt: skip
        if len(kinds) > 1:
            raise damaged(
                path, f"the planes of its image {image.name or number + 1} differ in size, type or compression"
            )
        kind = kinds.pop()
        only_own = names == [""] and bool(own)
        found.append(
            dataclasses.replace(
                kind, channels=image.channels, n_slices=image.n_slices, n_frames=image.n_frames, planes=tuple(at),
                calibration=image.calibration, warnings=image.warnings, interval_s=image.interval_s,
                inverted=(False,) * len(image.channels), own_scale=True, parts=() if only_own else parts,
                scene=number, scene_name=(image.name or f"image {number + 1}") if len(images) > 1 else "",
                by_imagej=only_own,
            )
        )  # fmt: skip
    return tuple(found)


def _kind(
    path: Path,
    name: str,
    part: Path,
    page: int,
    own: Sequence[tuple[int, ImageInfo]],
    pages_of: Callable[[Path], Sequence[ImageInfo]],
) -> ImageInfo:
    """Return what a page says, without whose file it is in."""
    if not name and own:
        found = own[page][1]
    else:
        pages = pages_of(part)
        if page >= len(pages):
            raise damaged(part, f"page {page + 1} is missing: it has {len(pages)}")
        found = pages[page]
    return dataclasses.replace(found, path=path, n_planes=1, slice_labels=(), inverted=(False,))


def _beside(path: Path, name: str, uuid: str) -> Path:
    if not name:
        return path
    try:
        part = within(path.parent, name, path)
    except InputError:
        part = None
    if part is None or part.parent != path.parent or not part.is_file():
        raise InputError(
            f"{path}: its OME header refers to another file (got {Path(name).name}, expected it in the same folder). "
            "Copy it there, or export the field as one OME-TIFF that holds all of its channels."
        )
    state = part.stat()
    own = _uuid(part, state.st_mtime_ns, state.st_size)
    if uuid and own != uuid:
        raise InputError(f"{path}: {part.name} beside it is not the file that its OME header means (got {own or 'no UUID'}, expected {uuid}). Copy that file there.")  # fmt: skip
    return part


@lru_cache(maxsize=100_000)
def _uuid(path: Path, changed_ns: int, size: int) -> str:  # noqa: ARG001 what a new file has anew
    """Return the identity that an OME-TIFF gives itself; empty where it gives none."""
    import tifffile

    try:
        with tifffile.TiffFile(path, is_ome=False) as tif:
            head = (tif.pages.first.description or "")[:5000]
    except Exception:  # damaged: said when its pixels are read
        return ""
    found = re.search(r"""<OME\b[^>]*\sUUID=["']([^"']+)["']""", head)
    return found[1].strip().lower() if found else ""
