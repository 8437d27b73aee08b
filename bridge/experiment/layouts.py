"""How instruments name their files: ImageXpress, Opera Phenix, Incucyte and the like -> well, site, channel, frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import InputError
from bridge.experiment.channel_words import role_of_word, same, split_channel
from bridge.experiment.discover import PICTURE, NamedFile
from bridge.experiment.instrument_files import channel_names
from bridge.experiment.opened import Opened
from bridge.names import number
from bridge.settings import Settings

_GUID = r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"
_WELL = r"(?P<well>(?:A[A-F]|[A-P])\d{1,2})"


@dataclass(frozen=True)
class Layout:
    """How one kind of instrument names its files.

    Attributes
    ----------
    name : str
    pattern : str
        Of the file's name without suffix, in capitals or not. Groups: ``rest, well, row, column, site, channel, frame,
        time, z, thumb``.
    channel : str
        What stands before a channel's number.
    folder : str
        Of folders that are no condition; groups ``frame, site, z``.
    vague : bool
        Other programs name their files so, too: it counts only where names hold no channel word.
    """

    name: str
    pattern: str
    channel: str = ""
    folder: str = ""
    vague: bool = False


LAYOUTS = (
    Layout("ImageXpress", rf"(?:(?P<rest>.+)_)?{_WELL}(?:_s(?P<site>\d+))?_w(?P<channel>\d)(?P<thumb>_thumb)?(?:{_GUID})?", "w", r"TimePoint_(?P<frame>\d+)|ZStep_(?P<z>\d+)"),
    Layout("Opera Phenix", r"r(?P<row>\d\d)c(?P<column>\d\d)f(?P<site>\d+)p(?P<z>\d+)-ch(?P<channel>\d+)(?:sk(?P<frame>\d+))?(?:fk\d+)?(?:fl\d+)?", "ch", r"Images"),
    Layout("CellVoyager", rf"(?P<rest>.+)_{_WELL}_T(?P<frame>\d{{4}})F(?P<site>\d+)L\d+A\d+Z(?P<z>\d+)C(?P<channel>\d+)", "C"),
    Layout("Cytation", rf"{_WELL}_-?\d+_\d+_(?P<site>\d+)_(?P<channel>[^_]+)_(?P<frame>\d{{3}})"),
    Layout("Incucyte", rf"(?P<rest>.+)_{_WELL}_(?P<site>\d+)_(?P<time>\d{{4}}y\d\dm\d\dd_\d\dh\d\dm|\d\dd\d\dh\d\dm)"),
    Layout("EVOS", rf"(?P<rest>.+?)_R_p\d+_\d+_{_WELL}f(?P<site>\d+)d(?P<channel>\d)", "d"),
    Layout("ArrayScan", rf"(?P<rest>.+)_{_WELL}f(?P<site>\d+)d(?P<channel>\d)", "d"),
    Layout("Micro-Manager", r"img_(?P<frame>\d{9})_(?P<channel>.+)_(?P<z>\d{3})", "", r"(?:\d+-)?Pos_?(?P<site>\w+)"),
    Layout("Micro-Manager 2", r"img_channel(?P<channel>\d{3})_position(?P<site>\d{3})_time(?P<frame>\d{9})_z(?P<z>\d{3})", "channel"),
    Layout("Keyence", r"(?P<rest>.*?)_?(?:XY(?P<site>\d+)_?)?(?:T(?P<frame>\d+)_?)?(?:Z(?P<z>\d+)_?)?(?:CH(?P<channel>\d)|(?P<thumb>Overlay))", "CH", r"XY(?P<site>\d+)", vague=True),
    Layout("NIS-Elements", r"(?P<rest>.*?)_?(?:t(?P<frame>\d+))?xy(?P<site>\d+)(?:z(?P<z>\d+))?c(?P<channel>\d+)", "c", vague=True),
    Layout("Leica", r"(?P<rest>.+?)(?:_t(?P<frame>\d+))?(?:_s(?P<site>\d+))?(?:_z(?P<z>\d+))?_ch(?P<channel>\d\d)", "ch", vague=True),
    Layout("ZEN", r"(?P<rest>.+?)[_-](?:b\d+)?(?:v\d+)?(?:s(?P<site>\d+))?(?:h\d+)?(?:t(?P<frame>\d+))?(?:z(?P<z>\d+))?c(?P<channel>\d+)(?:_ORG)?(?:x\d+-\d+y\d+-\d+)?", "c", vague=True),
)  # fmt: skip
NAMES = tuple(layout.name for layout in LAYOUTS)
_LEAST = 0.8  # of the images must be named so


@dataclass
class _Read:
    """An image and what its name says by a layout."""

    image: Opened
    said: dict[str, str]
    folders: tuple[str, ...]


def layout_of(files: Sequence[Opened], settings: Settings) -> Layout | None:
    """Return the layout that was asked for, or that most of the names have; None where they have none.

    Raises
    ------
    InputError
        There is no layout of this name.
    """
    if settings.layout is not None:
        if settings.layout.lower() == "none":
            return None
        asked = [layout for layout in LAYOUTS if layout.name.lower() == settings.layout.lower()]
        if not asked:
            raise InputError(f"--layout {settings.layout}: not known (expected none, {', '.join(NAMES)}). Correct it, or say how names are built with --pattern.")  # fmt: skip
        return asked[0]
    single = [image for image in files if not image.is_named_inside]
    if len(single) < max(2, _LEAST * len(files)):
        return None
    worded = sum(role_of_word(split_channel(image.parts[-1], settings)[1] or "") is not None for image in single)
    for layout in LAYOUTS:
        if layout.vague and worded > len(single) / 2:
            continue
        regex = re.compile(layout.pattern, re.IGNORECASE)
        if sum(regex.fullmatch(image.parts[-1]) is not None for image in single) >= _LEAST * len(files):
            return layout
    return None


def by_layout(
    images: Path, files: Sequence[Opened], layout: Layout, settings: Settings
) -> tuple[list[NamedFile], list[tuple[Path, str]]]:
    """Return the images of a tree as an instrument named them, and what is ignored.

    Parameters
    ----------
    images : Path
    files : sequence of Opened
    layout : Layout
    settings : Settings

    Raises
    ------
    InputError
        No name fits, or slices of a z stack in files of their own of which none was chosen.
    """
    regex, folder = (re.compile(p, re.IGNORECASE) for p in (layout.pattern, layout.folder or r"(?!)"))
    read: list[_Read] = []
    ignored: list[tuple[Path, str]] = []
    for image in files:
        match = regex.fullmatch(image.parts[-1])
        if match is None:
            ignored.append((image.path, f"not named as {layout.name} names its files"))
            continue
        said = {name: value for name, value in match.groupdict().items() if value}
        if said.pop("thumb", None):
            ignored.append((image.path, PICTURE))
            continue
        folders = []
        for part in image.parts[:-1]:
            inner = folder.fullmatch(part)
            said |= {name: value for name, value in (inner.groupdict() if inner else {}).items() if value}
            folders += [] if inner else [part]
        read.append(_Read(image, said, tuple(folders)))
    if not read:
        raise InputError(f"{images}: no file is named as {layout.name} names them (got {files[0].text}). Correct --layout, or say how names are built with --pattern.")  # fmt: skip
    read = _one_slice(images, read, ignored, settings)
    _number_times(read)
    series = len({one.said.get("frame") for one in read}) > 1
    names = channel_names(layout.name, images)
    return [_named(one, layout, names, series, settings) for one in read], ignored


def _one_slice(images: Path, read: list[_Read], ignored: list[tuple[Path, str]], settings: Settings) -> list[_Read]:
    """Return the images of one slice, where slices are files of their own."""
    slices = sorted({int(one.said["z"]) for one in read if one.said.get("z", "").isdecimal()})
    if len(slices) < 2:
        return read
    wanted = settings.z or ""
    if not wanted.isdecimal() or not 1 <= int(wanted) <= len(slices):
        raise InputError(f"{images}: {len(slices)} slices of a z stack in files of their own (got --z {wanted or 'none'}, expected 1 to {len(slices)}). Choose one with --z, or save projections from Fiji.")  # fmt: skip
    chosen = slices[int(wanted) - 1]
    kept = [one for one in read if int(one.said.get("z", "-1")) == chosen]
    lost = sorted({_place(one) for one in read} - {_place(one) for one in kept})
    if lost:
        raise InputError(f"{images}: {number(len(lost), 'field')} without slice {wanted} (e.g. {lost[0]}). Choose another with --z, or move their files away.")  # fmt: skip
    ignored += [
        (one.image.path, "another slice of its z stack") for one in read if int(one.said.get("z", "-1")) != chosen
    ]
    return kept


def _place(one: _Read) -> str:
    """Return folders, well and site of an image."""
    said = one.said
    name = "_".join(filter(None, [said.get("rest", ""), _well(said), f"s{said['site']}" if "site" in said else ""]))
    return "/".join([*one.folders, name])


def _number_times(read: list[_Read]) -> None:
    """Frames of names that give a time instead of a number: in the order of the times."""
    times = sorted({one.said["time"] for one in read if "time" in one.said})
    for one in read:
        if "time" in one.said:
            one.said["frame"] = str(times.index(one.said["time"]) + 1)


def _named(one: _Read, layout: Layout, names: dict[str, str], series: bool, settings: Settings) -> NamedFile:
    said = one.said
    well = _well(said)
    channel = said.get("channel", "")
    if channel:
        channel = names.get(str(int(channel)), layout.channel + channel) if channel.isdecimal() else channel
    folders = one.folders
    if not channel:  # its name has none: a word of it, or a folder's name
        rest, word = split_channel(said.get("rest", ""), settings)
        named = next((part for part in reversed(folders) if split_channel(part, settings)[1] is not None), None)
        channel = word or named or said.get("rest", "")
        one.said["rest"] = rest if word else "" if named is None else said.get("rest", "")
    folders = tuple(part for part in folders if same(part) != same(channel))
    series_key = _place(_Read(one.image, one.said, folders))
    key = series_key + (f"_t{int(said['frame']):03d}" if series and "frame" in said else "")
    factors = {"condition": folders[0] if folders else "", "replicate": "/".join(folders[1:]), "well": well}
    if series and "frame" in said:
        factors |= {"series": series_key, "frame": str(int(said["frame"]))}
    return NamedFile(one.image, key, {name: value for name, value in factors.items() if value}, channel)


def _well(said: dict[str, str]) -> str:
    """Return the well as people write it.

    Examples
    --------
    >>> _well({"row": "02", "column": "03"}), _well({"well": "b3"}), _well({})
    ('B03', 'B03', '')
    """
    if "row" in said:
        row = int(said["row"])
        return f"{'A' if row > 26 else ''}{chr(64 + (row - 1) % 26 + 1)}{int(said['column']):02d}"
    match = re.fullmatch(r"([A-Za-z]+)(\d+)", said.get("well", ""))
    return f"{match[1].upper()}{int(match[2]):02d}" if match else ""
