"""The kinds of image files that are read, one module each: how they are looked at, and how a plane is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridge.errors import InputError
from bridge.images.image import ImageInfo


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
        In small letters.
    module : str
        Of this room: has ``scenes(path)`` and ``decode(info, channel, frame, z)``.
    several : bool
        A file holds a whole experiment, as microscopes write it: its channels are inside.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    several: bool = False

    def scenes(self, path: Path) -> tuple[ImageInfo, ...]:
        """Return what the file says about each image in it."""
        found: tuple[ImageInfo, ...] = self._of("scenes")(path)
        return found

    def decode(self, info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:
        """Return the pixels of one plane."""
        pixels: npt.NDArray[Any] = self._of("decode")(info, channel, frame, z)
        return pixels

    def _of(self, what: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(import_module(f"bridge.images.{self.module}"), what)
        return function


FORMATS = (
    Format("TIFF", (".tif", ".tiff", ".stk"), "tiff"),
    Format("LSM", (".lsm",), "tiff", True),
    Format("PNG or JPEG", (".png", ".jpg", ".jpeg"), "png"),
    Format("OME companion file", (".companion.ome",), "ome_companion", True),
    Format("CZI", (".czi",), "czi", True),
    Format("LIF", (".lif", ".lof", ".xlif", ".xlef"), "lif", True),
    Format("ND2", (".nd2",), "nd2_file", True),
    Format("OME-Zarr", (".zarr",), "ome_zarr", True),
    # Read by no library here; what Bio-Formats makes of them was never seen.
    Format(
        "Bio-Formats",
        (".oir", ".oib", ".oif", ".vsi", ".ims", ".dv", ".r3d", ".zvi", ".flex"),
        "bioformats",
        True,
    ),
)
KINDS = "TIFF, PNG, JPEG, CZI, LIF, ND2 or OME-Zarr"
SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
PLAIN = tuple(suffix for one in FORMATS if one.name in ("TIFF", "PNG or JPEG") for suffix in one.suffixes)


def suffix_of(path: Path) -> str:
    """Return the ending that says of what kind a file is; empty where it is of none that is read.

    Examples
    --------
    >>> suffix_of(Path("plate.companion.ome")), suffix_of(Path("a.ome.tif")), suffix_of(Path("notes.txt"))
    ('.companion.ome', '.tif', '')
    """
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def format_of(path: Path) -> Format:
    """Return the kind of a file, by its ending.

    Raises
    ------
    InputError
        It is of none that is read.
    """
    suffix = suffix_of(path)
    for one in FORMATS:
        if suffix in one.suffixes:
            return one
    raise InputError(
        f"{path}: not an image this program reads (got {path.suffix.lower() or 'no suffix'}, expected {KINDS}). Save it as TIFF."
    )


def holds_several(path: Path) -> bool:
    """Return whether a file is of a kind that holds a whole experiment."""
    return bool(suffix_of(path)) and format_of(path).several
