"""A ``.companion.ome`` file: the header of TIFFs that lie beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridge.errors import InputError
from bridge.foreign import read_text
from bridge.images import tiff
from bridge.images.image import ImageInfo
from bridge.images.ome import read_ome
from bridge.images.ome_files import images_in_files
from bridge.images.vendor import on_record


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what a companion file says about its images."""
    with on_record(path, "OME header"):
        images = read_ome(path, read_text(path), 0)
        names = [name for image in images for name, _ in image.planes]
        if not all(names):
            raise InputError(f"{path}: planes without a file (expected the name of one for each). Export the field as one OME-TIFF.")  # fmt: skip
        return images_in_files(path, images, (), tiff.page_kinds)


def decode(info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:
    """Return one plane."""
    return tiff.decode(info, channel, frame, z)
