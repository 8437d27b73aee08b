"""Files of microscopes -> files that other programs open, every pixel read back and compared."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bridge.errors import BridgeError, InputError, OutputError
from bridge.experiment.channel_words import same, split_channel, tidy
from bridge.experiment.discover import image_files
from bridge.experiment.fields import root_of
from bridge.experiment.opened import Opened, opened
from bridge.images.reader import inspect, read_plane
from bridge.images.write import write_image
from bridge.images.write_ome import COLOURS, write_colour, write_ome_tiff, write_ome_zarr
from bridge.names import safe_name
from bridge.settings import Settings
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
    failures: list[tuple[Path, str]] = []
    targets = []
    for image in found:
        try:
            targets += _targets(image, out, form, name, channels, colours, z)
        except BridgeError as error:
            if error.exit_code == 3:
                raise
            failures.append((image.path, str(error)))
    _require_free(targets)
    if channels and not targets and not failures:
        known = ", ".join(dict.fromkeys(c for image in found for c in _channels(image)))
        raise InputError(f"{images}: no image has a channel {' or '.join(channels)} (got {known or 'none that has a name'}). Correct --channels.")  # fmt: skip
    written = []
    for target in targets:
        try:
            _write(target, form, colours, ngff, z)
            written.append(target.path)
        except BridgeError as error:
            if isinstance(error, OutputError) or error.exit_code == 3:
                raise
            failures.append((target.image.path, str(error)))
    used = {target.image.path for target in targets} | {path for path, _ in failures}
    others += [(image.path, "no channel of it was asked for") for image in found if image.path not in used]
    return Converted(tuple(written), tuple(failures), (*parts, *dict.fromkeys(others)))


@dataclass(frozen=True)
class _Target:
    """A file to be written: of one image, some channels, by what they are called there and in the image's file."""

    path: Path
    image: Opened
    channels: dict[str, str | None]


def _require_free(targets: Sequence[_Target]) -> None:
    """Refuse to overwrite a file, or to write two images into one, before anything is written."""
    paths: dict[Path, _Target] = {}
    for target in targets:
        other = paths.setdefault(target.path, target)
        if other is not target:
            raise OutputError(f"{target.path}: two images would be written to it (got {other.image.path.name} and {target.image.path.name}). Put what differs into --name.")  # fmt: skip
        if target.path.exists():
            raise OutputError(f"{target.path}: is there already. It is not overwritten: move it elsewhere, or name another --out.")  # fmt: skip


def _require_usable(name: str, form: Form, colours: Mapping[str, str] | None) -> None:
    try:
        used = [field for _, field, _, _ in string.Formatter().parse(name) if field is not None]
    except ValueError as error:
        raise InputError(f"--name: a brace too many or too few (got {name}: {error}). Correct it.") from None
    unknown = [word for word in used if word not in _PLACEHOLDERS]
    if unknown:
        raise InputError(f"--name: no placeholder {{{unknown[0]}}} (got {name}, expected {', '.join(f'{{{w}}}' for w in _PLACEHOLDERS)}). Correct it.")  # fmt: skip
    if (form == "png") != bool(colours):
        raise InputError(
            "--as png: channels in colours (expected e.g. --colours DAPI=blue GFP=green). Give both or none."
        )
    wrong = [colour for colour in (colours or {}).values() if colour not in COLOURS]
    if wrong:
        raise InputError(f"--colours: no colour {wrong[0]} (expected {', '.join(COLOURS)}). Correct it.")


def _channels(image: Opened) -> tuple[str, ...]:
    """Return the names of an image's channels: inside the file, or of a single one the word in the file's name."""
    if len(image.channels) != 1 or not image.channels[0].isdecimal():
        return image.channels
    word = split_channel(image.parts[-1], Settings())[1]
    return (word,) if word else image.channels


def _targets(
    image: Opened, out: Path, form: Form, name: str, channels: Sequence[str], colours: Mapping[str, str] | None, z: str | None
) -> list[_Target]:  # fmt: skip
    """Return the files to be written of an image.

    Raises
    ------
    InputError
        It cannot be read, or lacks a channel that a colour was given for.
    """
    info = inspect(ChannelFile(image.path, None, image.scene, image.frame, z))
    known = _channels(image)
    wanted: dict[str, str | None] = {}
    for channel in channels or colours or known:
        number = _number(known, channel)
        if number is None and colours:
            raise InputError(f"{image.path}: has no channel {channel} (got {', '.join(known)}). Correct --colours.")
        if number is not None:
            said = channel if form == "png" else known[number]
            wanted[said] = f"#{number + 1}" if len(info.channels) > 1 else None
    if not wanted:
        return []
    if form != "tiff":
        return [_Target(_path(image, out, form, name, ""), image, wanted)]
    return [_Target(_path(image, out, form, name, c if len(known) > 1 else ""), image, {c: at}) for c, at in wanted.items()]  # fmt: skip


def _number(known: Sequence[str], channel: str) -> int | None:
    """Return the place of a channel, by name or number."""
    for k, name in enumerate(known):
        if same(name) == same(channel):
            return k
    digits = channel.removeprefix("#")
    return int(digits) - 1 if digits.isdecimal() and 1 <= int(digits) <= len(known) else None


def _path(image: Opened, out: Path, form: Form, name: str, channel: str) -> Path:
    *folders, _ = image.path.relative_to(image.root).parts
    said = {
        "folder": "/".join(folders), "file": image.parts[-1 if image.scene is None else -2], "scene": image.scene_name.replace("/", "_") if image.scene is not None else "",
        "frame": f"{image.frame + 1:0{len(str(image.n_frames))}d}" if image.frame is not None else "", "channel": channel,
    }  # fmt: skip
    if not said["frame"]:
        name = name.replace("_t{frame}", "").replace("t{frame}", "")
    parts = [safe_name(part) for part in tidy(name.format(**said)).split("/") if part] or [safe_name(said["file"])]
    return out.joinpath(*parts[:-1], parts[-1] + _SUFFIX[form])


def _write(
    target: _Target, form: Form, colours: Mapping[str, str] | None, ngff: Literal["0.4", "0.5"], z: str | None
) -> None:
    path, names = target.path, list(target.channels)
    planes = {
        name: read_plane(target.image.file(at, z), measured=form != "png") for name, at in target.channels.items()
    }
    pixels, first = [plane.pixels for plane in planes.values()], next(iter(planes.values()))
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
    for k, plane in enumerate(planes.values(), 1):
        back = read_plane(ChannelFile(path, f"#{k}" if len(names) > 1 else None))
        if back.pixels.dtype != plane.pixels.dtype or not np.array_equal(back.pixels, plane.pixels):
            raise OutputError(f"{path}: does not read back as it was written (channel {names[k - 1]}). Look at the disk, and convert again.")  # fmt: skip
