"""The images of a tree, each file opened as far as its header: a file may hold many, as scenes and as frames."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import InputError
from bridge.images.formats import holds_several
from bridge.images.reader import scenes
from bridge.names import one_spelling
from bridge.source import ChannelFile


@dataclass(frozen=True)
class Opened:
    """One image of one frame in a file.

    Attributes
    ----------
    path, root : Path
        The file, and the folder below which all are.
    channels : tuple of str
        Inside the file; empty where it cannot be read.
    scene, frame : int or None
        As in `ChannelFile`.
    scene_name : str
    n_frames, side_px : int
        The longer side in px; 0 where the file cannot be read.
    """

    path: Path
    root: Path
    channels: tuple[str, ...] = ()
    scene: int | None = None
    scene_name: str = ""
    frame: int | None = None
    n_frames: int = 1
    side_px: int = 0

    @functools.cached_property
    def parts(self) -> tuple[str, ...]:
        """Folders and name, without suffix, in one spelling; a file of several images counts as a folder."""
        *folders, name = self.path.relative_to(self.root).parts
        stem = one_spelling(without_suffix(name))
        scene = one_spelling(self.scene_name).replace("/", "_")
        return (*map(one_spelling, folders), stem, *([scene] if self.scene is not None else []))

    @property
    def text(self) -> str:
        """What a name pattern is compared with."""
        text = one_spelling(self.path.relative_to(self.root).as_posix())
        return f"{text}/{one_spelling(self.scene_name).replace('/', '_')}" if self.scene is not None else text

    @property
    def is_named_inside(self) -> bool:
        """Whether its channels have their names inside the file, as in a microscope's own that cannot be read."""
        return len(self.channels) > 1 or (not self.channels and holds_several(self.path))

    @property
    def may_be_named_inside(self) -> bool:
        """Whether the name of a single channel may be inside the file."""
        known = holds_several(self.path) or ".ome." in self.path.name.lower()
        return known and len(self.channels) == 1 and not self.channels[0].isdecimal()

    def file(self, channel: str | None, z: str | None) -> ChannelFile:
        """Return one of its channels."""
        return ChannelFile(self.path, channel, self.scene, self.frame, z)


def without_suffix(name: str) -> str:
    """Return a file's name without its suffix, the two of an OME file together.

    Examples
    --------
    >>> without_suffix("f1.ome.tif"), without_suffix("a.b_EdU.tif"), without_suffix("plate.companion.ome")
    ('f1', 'a.b_EdU', 'plate')
    """
    for end in (".ome.tif", ".ome.tiff", ".companion.ome", ".ome.zarr"):
        if name.lower().endswith(end):
            return name[: -len(end)]
    return Path(name).stem


def opened(root: Path, files: Sequence[Path]) -> tuple[list[Opened], list[tuple[Path, str]]]:
    """Open files as far as their headers.

    Parameters
    ----------
    root : Path
    files : sequence of Path

    Returns
    -------
    images : list of Opened
        In the order of the files; one that cannot be read is among them, without channels.
    ignored : list of (Path, str)
        Files that hold planes of another one's image, and why.
    """
    images: list[Opened] = []
    part_of: dict[Path, Path] = {}
    for path in sorted(files, key=lambda file: not file.name.lower().endswith(".companion.ome")):
        if path in part_of:
            continue
        try:
            found = scenes(path)
        except InputError:
            images.append(Opened(path, root))
            continue
        part_of |= {part: path for info in found for part in info.parts if part != path}
        for info in found:
            scene = info.scene if len(found) > 1 else None
            for frame in range(info.n_frames) if info.n_frames > 1 else (None,):
                side = max(info.height, info.width)
                images.append(Opened(path, root, info.channels, scene, info.scene_name, frame, info.n_frames, side))
    order = {path: k for k, path in enumerate(files)}
    images = [one for one in sorted(images, key=lambda one: order[one.path]) if one.path not in part_of]
    return images, [(part, f"a part of {whole.name}") for part, whole in part_of.items() if part in order]
