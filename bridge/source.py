"""Where pixels come from: one channel of an image file, and the same plane as ImageJ would open it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.foreign import within
from bridge.names import readable


@dataclass(frozen=True)
class ChannelFile:
    """One channel of one field, in a file that may hold more.

    Attributes
    ----------
    path : Path
        A file, or the folder of an OME-Zarr.
    channel : str or None
        Name or number (from 1) of the channel inside the file; None when the file holds one.
    scene : int or None
        Number of the scene (series, position) in the file, from 0; None when the file holds one.
    frame : int or None
        Number of the frame, from 0; None when the file holds one.
    z : str or None
        What becomes of the slices of a z stack: the number of one (from 1), or ``max``, ``mean``, ``sum``, ``min``.
    also : tuple of ChannelFile
        What a network sees beside it: further channels of the same place.
    """

    path: Path
    channel: str | None = None
    scene: int | None = None
    frame: int | None = None
    z: str | None = None
    also: tuple[ChannelFile, ...] = ()

    @property
    def alone(self) -> ChannelFile:
        """Without what a network sees beside it."""
        return replace(self, also=()) if self.also else self

    def seen_with(self, channels: Iterable[str]) -> ChannelFile:
        """Return it with further channels of the same place, which a network sees beside it.

        Examples
        --------
        >>> [other.channel for other in ChannelFile(Path("a.tif"), "GFP", z="max").seen_with(["DAPI"]).also]
        ['DAPI']
        """
        return replace(self, also=tuple(replace(self, channel=channel, also=()) for channel in channels))

    @property
    def name(self) -> str:
        """What people are shown.

        Examples
        --------
        >>> ChannelFile(Path("a/plate.czi"), "EdU", scene=3).name
        'plate.czi [EdU, scene 4]'
        """
        said = [self.channel or ""]
        said += [f"{what} {number + 1}" for what, number in (("scene", self.scene), ("frame", self.frame)) if number is not None]  # fmt: skip
        said += [f"z {self.z}" if self.z else ""]
        return (
            f"{readable(self.path.name)} [{', '.join(filter(None, said))}]" if any(said) else readable(self.path.name)
        )

    def address(self, path: str) -> str:
        """Return how tables name the image: its path, and which image in the file, counted from 1.

        Examples
        --------
        >>> ChannelFile(Path("a/plate.czi"), "EdU", scene=3).address("a/plate.czi")
        'a/plate.czi#scene=4'
        """
        numbers = (("scene", self.scene), ("frame", self.frame))
        said = [f"{what}={number + 1}" for what, number in numbers if number is not None] + ([f"z={self.z}"] if self.z else [])  # fmt: skip
        return f"{path}#{'&'.join(said)}" if said else path


_ADDRESS = re.compile(r"(?P<path>.+?)#(?:scene=(?P<scene>\d+))?&?(?:frame=(?P<frame>\d+))?&?(?:z=(?P<z>\w+))?")


def at_address(folder: Path, text: str, said_by: Path, channel: str | None = None) -> ChannelFile:
    """Return the image that a table names.

    Parameters
    ----------
    folder : Path
        The images' folder, which the address must not leave.
    text : str
        As `ChannelFile.address` wrote it.
    said_by : Path
        The table; named in the message.
    channel : str, optional

    Raises
    ------
    InputError
        It leads outside of the folder.
    """
    text = re.sub(
        r"\\(udc[89a-f][0-9a-f])", lambda escape: chr(int(escape[1][1:], 16)), text
    )  # as `write_text` escapes
    match = None if (folder / text).exists() else _ADDRESS.fullmatch(text)
    path = within(folder, match["path"] if match else text, said_by)
    if match is None:
        return ChannelFile(path, channel)
    scene, frame = (int(match[what]) - 1 if match[what] else None for what in ("scene", "frame"))
    return ChannelFile(path, channel, scene, frame, match["z"])


@dataclass(frozen=True)
class Source:
    """One plane of an image file that ImageJ opens: what the witness compares, and what names its slices.

    Attributes
    ----------
    path : Path
    plane : int
        Its slice in the stack that ImageJ opens, from 0.
    n_planes : int
        Slices of that stack.
    label : str
        ImageJ's label of the slice.
    rgb_sample : int or None
        Of a colour image: 0 red, 1 green, 2 blue.
    own_scale : bool
        Its scale is, by intention, not the one that ImageJ reads: from an OME header, inch, or given by the user.
    """

    path: Path
    plane: int = 0
    n_planes: int = 1
    label: str = ""
    rgb_sample: int | None = None
    own_scale: bool = False
