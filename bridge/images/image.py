"""What an image file says about itself, and one decoded channel of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.calibration import PIXELS, Calibration
from bridge.errors import InputError
from bridge.names import readable
from bridge.source import Source

MAX_PIXELS = 2**30


class At(NamedTuple):
    """Where one plane is.

    Attributes
    ----------
    page : int
        Of the file, from 0.
    part : int
        Of `ImageInfo.parts`: the file.
    sample : int or None
        Of pages that hold several channels: which one.
    """

    page: int
    part: int = 0
    sample: int | None = None


@dataclass(frozen=True)
class ImageInfo:
    """What an image file says about itself, before its pixels are decoded.

    Attributes
    ----------
    path : Path
    height, width : int
        In px.
    dtype : str
        NumPy name of the pixels' type.
    channels : tuple of str
        Names (or numbers, from 1) of the channels; one entry for a single plane.
    colour : bool
        Red, green and blue samples in each pixel.
    calibration : Calibration
    warnings : tuple of str
        What the user should be told about the file.
    lossy : str
        The compression, where it changes grey values; else empty.
    planes : tuple of At
        Where each plane is in the file, channels fastest, then slices, then frames; empty for files whose reader finds
        planes by number.
    n_planes : int
        Slices of the stack that ImageJ opens.
    slice_labels : tuple of str
        ImageJ's labels of them, as far as there are any.
    inverted : tuple of bool
        Whether ImageJ shows a channel with an inverted look-up table.
    own_scale : bool
        The calibration is, by intention, not the one that ImageJ reads.
    refused : str
        Why its pixels are not read; empty where they are.
    unmeasured : str
        Why its grey levels cannot be measured; empty where they can.
    n_slices, n_frames : int
        Of a z stack, of a series over time.
    scene : int
        Its number in the file, from 0.
    scene_name : str
        As the microscope named it; empty in a file of one image.
    interval_s : float or None
        Time from frame to frame, in s.
    parts : tuple of Path
        All files that hold its pixels, where they are several; the first stands for all.
    acquisition : tuple of dict
        Exposure, gain and objective of each channel, as far as the file says.
    by_imagej : bool
        ImageJ without plug-ins opens such a file.
    """

    path: Path
    height: int
    width: int
    dtype: str
    channels: tuple[str, ...] = ("1",)
    colour: bool = False
    calibration: Calibration = PIXELS
    warnings: tuple[str, ...] = ()
    lossy: str = ""
    planes: tuple[At, ...] = field(default=(), repr=False)
    n_planes: int = 1
    slice_labels: tuple[str, ...] = ()
    inverted: tuple[bool, ...] = (False,)
    own_scale: bool = False
    refused: str = ""
    unmeasured: str = ""
    n_slices: int = 1
    n_frames: int = 1
    scene: int = 0
    scene_name: str = ""
    interval_s: float | None = None
    parts: tuple[Path, ...] = ()
    acquisition: tuple[dict[str, str], ...] = ()
    by_imagej: bool = True

    def at(self, channel: int, frame: int = 0, z: int = 0) -> At:
        """Say where a plane is in the file."""
        n = (frame * self.n_slices + z) * len(self.channels) + channel
        return self.planes[n] if self.planes else At(n)

    @property
    def title(self) -> str:
        """The title of its window: the file's name, with the scene's where there are several, as Bio-Formats makes it."""
        name = readable(self.path.name)
        return f"{name} - {self.scene_name}" if self.scene_name else name

    def plane_source(self, index: int, rgb_sample: int | None, frame: int = 0, z: int = 0) -> Source | None:
        """Say where ImageJ without plug-ins finds a plane, or a sample of a colour image; None where it opens no such file."""
        if not self.by_imagej:
            return None
        if self.colour and self.dtype == "uint16":
            # ImageJ opens it as a stack of three (FileOpener, RGB48).
            names = ("Red", "Green", "Blue")
            return Source(self.path, rgb_sample or 0, len(names), names[rgb_sample or 0], None, self.own_scale)
        plane = self.at(index, frame, z).page
        label = self.slice_labels[plane] if plane < len(self.slice_labels) else ""
        return Source(self.path, plane, self.n_planes, label, rgb_sample if self.colour else None, self.own_scale)


@dataclass(frozen=True)
class Plane:
    """One decoded channel of one field.

    Attributes
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
    calibration : Calibration
    title : str
        The title ImageJ would give the image: its file name.
    warnings : tuple of str
    planes : ndarray of float32, shape (C, Y, X), or None
        What a network sees, where that is more than the pixels.
    source : Source or None
        Where ImageJ finds the same pixels.
    taken : ndarray or None
        The pixels as they were taken, where light or shift was corrected.
    """

    pixels: npt.NDArray[Any]
    calibration: Calibration
    title: str
    warnings: tuple[str, ...] = ()
    planes: npt.NDArray[np.float32] | None = None
    source: Source | None = None
    taken: npt.NDArray[Any] | None = None

    @cached_property
    def pixel_hash(self) -> str:
        """A hash of type, size and pixels as they were taken."""
        pixels = self.as_taken
        digest = hashlib.blake2b(f"{pixels.dtype} {pixels.shape}".encode(), digest_size=16)
        digest.update(np.ascontiguousarray(pixels).data)
        return digest.hexdigest()

    @property
    def as_taken(self) -> npt.NDArray[Any]:
        """The pixels before light or shift was corrected."""
        return self.pixels if self.taken is None else self.taken

    @property
    def seen(self) -> npt.NDArray[Any]:
        """What the network sees: the planes, or the pixels."""
        return self.pixels if self.planes is None else self.planes


def require_size(path: Path, height: int, width: int) -> None:
    """Refuse an image without pixels, or with more than can be held."""
    if height < 1 or width < 1:
        raise InputError(f"{path}: an image without pixels (got {height} x {width}). Export it again.")
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{path}: too large (got {height} x {width} px, expected at most {MAX_PIXELS} px in all). Crop it."
        )
