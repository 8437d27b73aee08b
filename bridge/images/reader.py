"""Any readable image -> one plane and its calibration. Nothing is guessed, and a damaged file never becomes numbers."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridge.errors import InputError
from bridge.images.colour import one_of_rgb, two_planes
from bridge.images.image import ImageInfo, Plane
from bridge.images.pixels import measurable
from bridge.images.png import decode_with_pillow, inspect_with_pillow
from bridge.images.tiff import decode_tiff, inspect_tiff

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def inspect(path: Path) -> ImageInfo:
    """Read what a file says about itself and check that it is whole as far as its directory tells.

    Parameters
    ----------
    path : Path
        TIFF (8, 16, 32 bit; ImageJ hyperstack and OME-TIFF with several channels), PNG or JPEG.

    Returns
    -------
    ImageInfo

    Raises
    ------
    InputError
        Unreadable, damaged, a z or t stack, or of a type that cannot be measured.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such image. Check the path.")
    state = path.stat()
    return _inspect(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=100_000)
def _inspect(path: Path, changed_ns: int, size: int) -> ImageInfo:  # noqa: ARG001 what a new file has anew
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        return inspect_tiff(path)
    if suffix in SUFFIXES:
        return inspect_with_pillow(path)
    raise InputError(
        f"{path}: not an image this program reads (got {suffix or 'no suffix'}, expected TIFF, PNG or JPEG). Save it as TIFF."
    )


def read_plane(
    path: Path,
    channel: str | None = None,
    rgb_channel: str | None = None,
    measured: bool = True,
    colour: str | None = None,
) -> Plane:
    """Decode one channel of an image completely.

    Parameters
    ----------
    path : Path
    channel : str, optional
        Name or number (from 1) of the channel; needed when the file has several.
    rgb_channel : {"red", "green", "blue"}, optional
        Which channel of a colour image to take. Without it a colour image is used only where one channel holds
        all of the signal or all three are equal.
    measured : bool
        False for an image that only shows where the cells are: then JPEG is allowed.
    colour : {"adaptive", "merged"}, optional
        Also return the two planes a network sees: see `two_planes`.

    Returns
    -------
    Plane

    Raises
    ------
    InputError
        Damaged in any way, NaN or infinite pixels, ambiguous colour, lossy format for a measured image.

    Examples
    --------
    >>> import numpy as np, tempfile, tifffile
    >>> file = Path(tempfile.mkdtemp()) / "edu.tif"
    >>> tifffile.imwrite(file, np.full((4, 5), 7, np.uint16))
    >>> read_plane(file).pixels.shape
    (4, 5)
    """
    info = inspect(path)
    require_readable(info, measured)
    index = channel_index(info, channel)
    pixels = decode(info, index)
    warnings = list(info.warnings)
    seen = two_planes(pixels, colour) if colour is not None else None
    sample: int | None = None
    if pixels.ndim == 3 and seen is not None:
        sample, pixels = 1, pixels[..., 1]
        warnings.append(f"colour image: the network sees its channels as {colour}")
    elif pixels.ndim == 3:
        sample, warning = one_of_rgb(path, pixels, rgb_channel)
        pixels = pixels[..., sample]
        warnings.append(warning)
    calibration = dataclasses.replace(info.calibration, inverted_lut=info.inverted[index])
    source = info.plane_source(index, sample)
    return Plane(measurable(path, pixels), calibration, path.name, tuple(warnings), seen, source)


def require_readable(info: ImageInfo, measured: bool) -> None:
    """Refuse an image whose grey levels are not those that were saved, or not those that ImageJ would have.

    Raises
    ------
    InputError
        An inverted grey scale; of a measured image also JPEG or the like, and what Java opens with other grey levels.
    """
    reasons = [info.refused]
    if measured:
        lossy = f"JPEG changes grey values (got {info.lossy}, expected TIFF or PNG). Export the original as TIFF."
        reasons += [info.unmeasured, lossy if info.lossy else ""]
    for reason in filter(None, reasons):
        raise InputError(f"{info.path}: {reason}")


def decode(info: ImageInfo, index: int = 0) -> npt.NDArray[Any]:
    """Return the pixels of one channel as they are in the file, (Y, X) or (Y, X, RGB), in native byte order.

    Raises
    ------
    InputError
        The file is damaged in any way.
    """
    if info.path.suffix.lower() in (".tif", ".tiff"):
        return decode_tiff(info.path, info.page_of_channel[index])
    return decode_with_pillow(info.path)


def channel_index(info: ImageInfo, channel: str | None) -> int:
    """Return the position of a channel, given by name (any case) or number from 1, also as ``#1``.

    Raises
    ------
    InputError
        No such channel, or none named where there are several; a number that is the name of another channel.
    """
    if len(info.channels) == 1:
        return 0
    listed = ", ".join(f"{i} = {name}" if name != str(i) else name for i, name in enumerate(info.channels, 1))
    if channel is None:
        raise InputError(f"{info.path}: has {len(info.channels)} channels ({listed}). Name one.")
    meant = channels_meant(info, channel)
    if len(meant) > 1:
        first, other = (f"channel #{i + 1}, named {info.channels[i]}" for i in meant)
        raise InputError(
            f"{info.path}: channel {channel} could be two (got {first}, and {other}; expected one). Give #{meant[0] + 1} or #{meant[1] + 1}."
        )
    if meant:
        return meant[0]
    raise InputError(f"{info.path}: no such channel (got {channel}, expected one of {listed}). Correct the channel.")


def channels_meant(info: ImageInfo, channel: str) -> list[int]:
    """Return the positions that a channel's name or number can mean: none, one, or by number and by name two."""
    digits = channel.removeprefix("#")
    by_number = [int(digits) - 1] if digits.isdecimal() and 1 <= int(digits) <= len(info.channels) else []
    if channel.startswith("#"):
        return by_number
    by_name = [i for i, name in enumerate(info.channels) if name.lower() == channel.lower()][:1]
    return list(dict.fromkeys([*by_number, *by_name]))
