"""Any readable image -> one plane and its calibration. Nothing is guessed, and a damaged file never becomes numbers."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError
from bridge.images.colour import one_of_rgb, two_planes
from bridge.images.formats import format_of
from bridge.images.image import ImageInfo, Plane
from bridge.images.pixels import measurable
from bridge.images.z_stack import projected, slices_of
from bridge.source import ChannelFile


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what a file says about the images in it, and check that it is whole as far as its directory tells.

    Parameters
    ----------
    path : Path
        A file of a kind that `bridge.images.formats` names, or the folder of an OME-Zarr.

    Returns
    -------
    tuple of ImageInfo
        One for each scene.

    Raises
    ------
    InputError
        Unreadable, damaged, or of a type that cannot be measured.
    """
    try:
        state = path.stat()
    except OSError as error:
        if path.exists():
            raise
        raise InputError(f"{path}: no such image. Check the path.") from error
    return _scenes(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=400_000)  # 2.6 kB each; one pass over more files than that, and none of them would be found again
def _scenes(path: Path, changed_ns: int, size: int) -> tuple[ImageInfo, ...]:  # noqa: ARG001 what a new file has anew
    return format_of(path).scenes(path)


def inspect(image: Path | ChannelFile) -> ImageInfo:
    """Read what a file says about one image in it.

    Parameters
    ----------
    image : Path or ChannelFile
        A path stands for a file with one image, of one slice and one frame.

    Returns
    -------
    ImageInfo

    Raises
    ------
    InputError
        As `scenes`; several scenes, frames or slices where none was chosen, or one that is not there.
    """
    file = image if isinstance(image, ChannelFile) else ChannelFile(image)
    found = scenes(file.path)
    if len(found) > 1 and file.scene is None:
        names = ", ".join(info.scene_name for info in found[:3])
        raise InputError(f"{file.path}: {len(found)} images in one file (got {names}{', ...' if len(found) > 3 else ''}; expected 1). Give its folder to run or convert, which take each as a field.")  # fmt: skip
    info = found[_within(file.path, "scene", file.scene or 0, len(found))]
    if info.n_frames > 1 and file.frame is None:
        raise InputError(f"{file.path}: a stack of {info.n_frames} frames (expected 1). Give its folder to run or convert, which take each as a field.")  # fmt: skip
    _within(file.path, "frame", file.frame or 0, info.n_frames)
    slices_of(info, file.z)
    return info


def _within(path: Path, what: str, number: int, n: int) -> int:
    if not 0 <= number < n:
        raise InputError(
            f"{path}: no {what} {number + 1} in it (got {n}). It was changed since the plan was made: plan again."
        )
    return number


def read_plane(
    image: Path | ChannelFile,
    rgb_channel: str | None = None,
    measured: bool = True,
    colour: str | None = None,
) -> Plane:
    """Decode one channel of an image completely.

    Parameters
    ----------
    image : Path or ChannelFile
        A path stands for a file with one channel of one image.
    rgb_channel : {"red", "green", "blue"}, optional
        Which channel of a colour image to take. Without it a colour image is used only where one channel holds
        all of the signal or all three are equal.
    measured : bool
        False for an image that only shows where the cells are: then JPEG is allowed, and what goes with the channel is
        read, too (`ChannelFile.also`).
    colour : {"adaptive", "merged"}, optional
        Also return the two planes a network sees: see `two_planes`.

    Returns
    -------
    Plane

    Raises
    ------
    InputError
        Damaged in any way, NaN or infinite pixels, ambiguous colour, lossy format for a measured image; channels of
        unlike sizes.

    Examples
    --------
    >>> import numpy as np, tempfile, tifffile
    >>> file = Path(tempfile.mkdtemp()) / "edu.tif"
    >>> tifffile.imwrite(file, np.full((4, 5), 7, np.uint16))
    >>> read_plane(file).pixels.shape
    (4, 5)
    """
    file = image if isinstance(image, ChannelFile) else ChannelFile(image)
    path, info = file.path, inspect(file)
    require_readable(info, measured)
    index, frame, slices = channel_index(info, file.channel), file.frame or 0, slices_of(info, file.z)
    pixels = projected((decode(info, index, frame, z) for z in slices), file.z, len(slices))
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
    if file.also and not measured:
        if colour is not None:
            raise InputError(f"{path}: the network is shown its colours and further channels (got --colour {colour} and --segment-with, expected one of them). Leave one out.")  # fmt: skip
        seen = _with_others(file, pixels, rgb_channel)
    calibration = dataclasses.replace(info.calibration, inverted_lut=info.inverted[index])
    # ImageJ is no witness of a projection.
    source = info.plane_source(index, sample, frame, slices[0]) if len(slices) == 1 else None
    return Plane(measurable(path, pixels), calibration, info.title, tuple(warnings), seen, source)


def _with_others(file: ChannelFile, pixels: npt.NDArray[Any], rgb_channel: str | None) -> npt.NDArray[Any]:
    """Return a channel and those that a network sees with it, float32 (C, Y, X)."""
    places = [(one.path, one.scene, one.frame, channel_index(inspect(one), one.channel)) for one in (file, *file.also)]
    for k, place in enumerate(places):
        if place in places[:k]:
            raise InputError(f"{file.path}: the network would see one channel twice (got {file.also[k - 1].channel} beside {file.channel or 'the only one'}, expected another one). Correct --segment-with.")  # fmt: skip
    others = [read_plane(other, rgb_channel, measured=False).pixels for other in file.also]
    for other, found in zip(file.also, others, strict=True):
        if found.shape != pixels.shape:
            raise InputError(
                f"{other.path}: not the size of {file.name} (got {found.shape[0]} x {found.shape[1]}, expected {pixels.shape[0]} x {pixels.shape[1]} px). Use channels of one field."
            )
    together: npt.NDArray[Any] = np.stack([pixels, *others]).astype(np.float32)
    return together


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


def decode(info: ImageInfo, index: int = 0, frame: int = 0, z: int = 0) -> npt.NDArray[Any]:
    """Return the pixels of one channel as they are in the file, (Y, X) or (Y, X, RGB), in native byte order.

    Raises
    ------
    InputError
        The file is damaged in any way.
    """
    return format_of(info.path).decode(info, index, frame, z)


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
