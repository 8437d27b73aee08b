"""Files of microscopes -> files that other programs open, every pixel read back and compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bridge.errors import BridgeError, InputError, OutputError
from bridge.experiment.channel_words import tidy
from bridge.experiment.discover import image_files
from bridge.experiment.fields import root_of
from bridge.experiment.opened import Opened, opened
from bridge.images.image import Plane
from bridge.images.reader import channel_index, inspect, read_plane
from bridge.images.write import write_image
from bridge.images.write_ome import COLOURS, write_colour, write_ome_tiff, write_ome_zarr
from bridge.names import safe_name
from bridge.source import ChannelFile

Form = Literal["tiff", "ome-tiff", "ome-zarr", "png"]
_SUFFIX = {"tiff": ".tif", "ome-tiff": ".ome.tif", "ome-zarr": ".zarr", "png": ".png"}
_NAME = "{folder}/{file}_{scene}_t{frame}_{channel}"
_PLACEHOLDERS = ("folder", "file", "scene", "frame", "channel")


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote.

    Attributes
    ----------
    files : tuple of Path
    failures : tuple of (Path, str)
        Sources that could not be converted, and why.
    ignored : tuple of (Path, str)
        Files that are no images, and why.
    """

    files: tuple[Path, ...]
    failures: tuple[tuple[Path, str], ...]
    ignored: tuple[tuple[Path, str], ...]


def convert(
    images: Path | str,
    out: Path | str,
    form: Form = "tiff",
    name: str = _NAME,
    channels: Sequence[str] = (),
    colours: Mapping[str, str] | None = None,
    z: str | None = None,
    ngff: Literal["0.4", "0.5"] = "0.5",
) -> Converted:
    """Write images as other programs read them.

    Parameters
    ----------
    images : Path or str
        A file of any kind that is read, or a folder of such.
    out : Path or str
        Folder for what is written.
    form : {"tiff", "ome-tiff", "ome-zarr", "png"}
        ``tiff``: one for each channel, that Fiji opens with its scale; ``ome-tiff`` and ``ome-zarr``: one for each
        field; ``png``: channels in colours, 8 bit, to be looked at or learnt from.
    name : str
        How files are named; ``{folder}``, ``{file}``, ``{scene}``, ``{frame}``, ``{channel}`` stand for what is known,
        and what is empty leaves no separator behind.
    channels : sequence of str
        Those that are written, by name or number; all unless given.
    colours : mapping of str to str
        Of ``png``: channel to colour, e.g. ``{"DAPI": "blue", "GFP": "green"}``.
    z : str, optional
        Of z stacks: the number of a slice, or ``max``, ``mean``, ``sum``, ``min``.
    ngff : {"0.4", "0.5"}
        Version of OME-Zarr.

    Returns
    -------
    Converted

    Raises
    ------
    InputError
        No image, or a name or colour that cannot be used.
    OutputError
        A file is there already, or what was written does not read back as it was.

    Examples
    --------
    >>> import bridge
    >>> bridge.convert("plate.czi", "tiffs", z="max")                     # doctest: +SKIP
    """
    images, out = Path(images), Path(out)
    _require_usable(name, form, colours)
    files, others = image_files(images)
    found, parts = opened(root_of(images), files)
    written: list[Path] = []
    failures: list[tuple[Path, str]] = []
    for image in found:
        try:
            for path, planes in _targets(image, out, form, name, channels, colours, z):
                if path.exists() or path in written:
                    raise OutputError(f"{path}: is there already. It is not overwritten: move it elsewhere, name another --out, or put what differs into --name.")  # fmt: skip
                _write(path, planes, form, colours, ngff)
                written.append(path)
        except BridgeError as error:
            if isinstance(error, OutputError) or error.exit_code == 3:
                raise
            failures.append((image.path, str(error)))
    return Converted(tuple(written), tuple(failures), (*parts, *others))


def _require_usable(name: str, form: Form, colours: Mapping[str, str] | None) -> None:
    unknown = [word for word in re.findall(r"{([^}]*)}", name) if word not in _PLACEHOLDERS]
    if unknown:
        raise InputError(f"--name: no placeholder {{{unknown[0]}}} (got {name}, expected {', '.join(f'{{{w}}}' for w in _PLACEHOLDERS)}). Correct it.")  # fmt: skip
    if (form == "png") != bool(colours):
        raise InputError(
            "--as png: channels in colours (expected e.g. --colours DAPI=blue GFP=green). Give both or none."
        )
    wrong = [colour for colour in (colours or {}).values() if colour not in COLOURS]
    if wrong:
        raise InputError(f"--colours: no colour {wrong[0]} (expected {', '.join(COLOURS)}). Correct it.")


def _targets(
    image: Opened, out: Path, form: Form, name: str, channels: Sequence[str], colours: Mapping[str, str] | None, z: str | None
) -> Iterator[tuple[Path, dict[str, Plane]]]:  # fmt: skip
    """Give each file to be written and its planes by the names of their channels."""
    info = inspect(ChannelFile(image.path, None, image.scene, image.frame, z))
    wanted = list(channels or colours or info.channels)
    planes: dict[str, Plane] = {}
    for channel in wanted:
        known = channel if form == "png" else info.channels[channel_index(info, channel)]
        planes[known] = read_plane(image.file(channel, z), measured=form != "png")
        if form == "tiff":
            yield _path(image, out, form, name, known if len(info.channels) > 1 else ""), {known: planes.pop(known)}
    if form != "tiff":
        yield _path(image, out, form, name, ""), planes


def _path(image: Opened, out: Path, form: Form, name: str, channel: str) -> Path:
    *folders, _ = image.path.relative_to(image.root).parts
    said = {
        "folder": "/".join(folders), "file": image.parts[-1 if image.scene is None else -2], "scene": image.scene_name.replace("/", "_") if image.scene is not None else "",
        "frame": f"{image.frame + 1:0{len(str(image.n_frames))}d}" if image.frame is not None else "", "channel": channel,
    }  # fmt: skip
    if not said["frame"]:
        name = name.replace("_t{frame}", "").replace("t{frame}", "")
    text = tidy(name.format(**said))
    return out.joinpath(*(safe_name(part) for part in text.split("/") if part)).with_name(safe_name(text.split("/")[-1]) + _SUFFIX[form])  # fmt: skip


def _write(
    path: Path, planes: Mapping[str, Plane], form: Form, colours: Mapping[str, str] | None, ngff: Literal["0.4", "0.5"]
) -> None:
    names, first = list(planes), next(iter(planes.values()))
    pixels = [plane.pixels for plane in planes.values()]
    if len({(p.shape, str(p.dtype)) for p in pixels}) > 1:
        raise InputError(f"{first.title}: channels of different sizes or types (expected one). Write each alone, with --as tiff.")  # fmt: skip
    if form == "png":
        write_colour(path, {(colours or {})[name]: plane.pixels for name, plane in planes.items()})
        return
    if form == "tiff":
        write_image(path, pixels[0], replace(first.calibration, inverted_lut=False))
    elif form == "ome-tiff":
        write_ome_tiff(path, pixels, names, first.calibration)
    else:
        write_ome_zarr(path, pixels, names, first.calibration, version=ngff)
    for name, plane in planes.items():
        back = read_plane(ChannelFile(path, name if len(names) > 1 else None))
        if back.pixels.dtype != plane.pixels.dtype or not np.array_equal(back.pixels, plane.pixels):
            raise OutputError(f"{path}: does not read back as it was written (channel {name}). Look at the disk, and convert again.")  # fmt: skip
