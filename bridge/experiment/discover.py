"""Folders, file names and sample sheets -> fields."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from natsort import natsorted, ns

from bridge.errors import InputError
from bridge.experiment.channel_words import same, split_channel
from bridge.experiment.fields import root_of
from bridge.experiment.opened import Opened
from bridge.images.formats import KINDS, format_of, holds_several, suffix_of
from bridge.names import number
from bridge.settings import Settings

LABEL_IMAGE = "a label image"
PICTURE = "a small picture of another image (thumb, preview, overlay)"
SMALL = "much smaller than its neighbours"
JUNK = "left by the system (Thumbs.db, ._ files, shortcuts)"


@dataclass
class NamedFile:
    """An image and what its name says."""

    image: Opened
    key: str
    factors: dict[str, str]
    channel: str | None

    @property
    def path(self) -> Path:
        """Its file."""
        return self.image.path


def image_files(images: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the images below a folder, in natural order, without the results of runs; and all other files, with why.

    Parameters
    ----------
    images : Path
        A folder, or one file that holds everything.

    Raises
    ------
    InputError
        No image, or names whose letters cannot be read.
    """
    if images.is_file() or images.suffix.lower() == ".zarr":
        format_of(images)
        return [images], []
    if not images.is_dir():
        raise InputError(f"{images}: no such folder (expected a folder with images). Check the path.")
    files: list[Path] = []
    others: list[tuple[Path, str]] = []
    for path in natsorted(_below(images), key=str, alg=ns.IGNORECASE):
        if junk(path.name):
            others.append((path, JUNK))
        elif (mode := _mode(path)) is None:
            others.append((path, "a link that leads nowhere"))
        elif stat.S_ISDIR(mode) and path.suffix.lower() != ".zarr":
            others.append((path, "a folder that cannot be read"))
        elif suffix_of(path):
            files.append(path)
        else:
            others.append((path, f"of a kind that is not read ({path.suffix.lower() or 'no suffix'})"))
    if not files:
        kinds = ", ".join(dict.fromkeys(path.suffix.lower() or path.name for path, _ in others))
        raise InputError(
            f"{images}: no image found (got {kinds or 'nothing'}, expected {KINDS} in it or in its folders). Check the path."
        )
    return files, others


def junk(name: str) -> bool:
    """Return whether a file was left behind by a system, not by a person.

    Examples
    --------
    >>> [junk(name) for name in ("._f1.tif", "Thumbs.db", "f1.tif.lnk", "f1.tif")]
    [True, True, True, False]
    """
    return (
        name.startswith("._") or name.lower() in ("thumbs.db", "desktop.ini") or name.lower().endswith((".lnk", ".url"))
    )


def _below(images: Path) -> Iterator[Path]:
    """Give the files below a folder, OME-Zarrs as one; hidden ones and the results of runs are passed over."""
    seen: set[Path] = set()
    # Links to folders are followed, each folder once.
    for here, folders, names in os.walk(images, followlinks=True):
        folder = Path(here)
        if folder.resolve() in seen:
            folders.clear()
            continue
        seen.add(folder.resolve())
        for name in (*folders, *names):
            _require_utf8(images, folder / name)
        if folder != images and "run.json" in names and is_results(folder):
            folders.clear()
            continue
        yield from (folder / name for name in folders if name.lower().endswith(".zarr"))
        folders[:] = [
            n for n in folders if not n.startswith(".") and not n.lower().endswith(".zarr") and n != "__MACOSX"
        ]
        yield from (folder / name for name in names if (not name.startswith(".") or name.startswith("._")) and ((folder / name).is_file() or (folder / name).is_symlink()))  # fmt: skip
        yield from (folder / name for name in folders if not os.access(folder / name, os.R_OK | os.X_OK))


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def is_results(folder: Path) -> bool:
    """Return whether a folder holds the results of a run: it may lie among the images."""
    file = folder / "run.json"
    return file.is_file() and '"cellpose-fiji-bridge"' in file.read_text("utf-8", errors="replace")


def _require_utf8(images: Path, path: Path) -> None:
    """A POSIX locale reads no names beyond ASCII; names that are no UTF-8 (old shares, zips) are read elsewhere."""
    if sys.getfilesystemencoding().lower().replace("-", "") == "utf8":
        return
    name = path.relative_to(images).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{images}: a name whose letters cannot be read (got {name.encode('ascii', 'backslashreplace').decode()}, expected UTF-8). Set LC_ALL=C.UTF-8 in this shell."
        ) from None


def lost_folders(images: Path, found: Iterable[Path], ignored: Sequence[tuple[Path, str]]) -> list[str]:
    """Say which folders of conditions have no field, and why."""
    with_fields = {path.relative_to(images).parts[0] for path in found}
    lost = []
    for folder in natsorted((p for p in images.iterdir() if p.is_dir()), key=str, alg=ns.IGNORECASE):
        passed = folder.name.startswith(".") or folder.name == "__MACOSX" or folder.suffix.lower() == ".zarr"
        if folder.name in with_fields or passed or any(folder.rglob("run.json")):
            continue
        reasons = Counter(why for path, why in ignored if folder in path.parents)
        if set(reasons) and set(reasons) <= {LABEL_IMAGE, "of a kind that is not read (.zip)"}:
            continue  # label images and ROI sets, not a condition
        listed = ", ".join(f"{number(n, 'file')} {why}" for why, n in reasons.items()) or "no file in it"
        lost.append(f"{folder.name}: no field ({listed})")
    return lost


def found_by_name(image: Opened, below: int, settings: Settings) -> NamedFile:
    """Return an image and the channel that its name says, the first folders of its path left out."""
    name = "/".join(image.parts[below:])
    if image.is_named_inside:
        return NamedFile(image, name, {}, None)
    key, channel = split_channel(name, settings)
    # What cannot be read is a field with a problem, not a file without a channel.
    if channel is None and (image.may_be_named_inside or not image.channels):
        return NamedFile(image, name, {}, None)
    return NamedFile(image, key, {}, channel or "")


def by_folder(images: Path, files: list[Opened], settings: Settings) -> tuple[list[NamedFile], list[tuple[Path, str]]]:
    """Return the images of a tree with a folder for each condition, and what is ignored.

    A file of several images is the folder of its scenes; a file that was given alone is a condition.
    """
    found: list[NamedFile] = []
    ignored: list[tuple[Path, str]] = []
    # Files of several images beside each other: one with a single image is a condition, too.
    containers = any(len(image.parts) == 2 and image.scene is not None for image in files)
    for image in files:
        folders = image.parts[:-1]
        alone = not folders and (image.path == images or (containers and holds_several(image.path)))
        if not folders and not alone:
            ignored.append((image.path, "not in a folder of a condition"))
            continue
        condition = image.parts[0]
        item = found_by_name(image, 0 if alone else 1, settings)
        item.key = item.key if alone else f"{condition}/{item.key}"
        if item.channel == "":
            ignored.append((image.path, "no channel word in its name"))
            continue
        # A folder is the channel's only where the file's own name says none.
        named = item.channel is None or split_channel(image.parts[-1], settings)[1] is not None
        deeper = [part if named else split_channel(part, settings)[0] for part in folders[1:]]
        deeper = [part for part in deeper if part and (named or same(part) != same(item.channel or ""))]
        item.factors = {"condition": condition, "replicate": "/".join(deeper)}
        found.append(item)
    if not found:
        raise no_channel(images, [image.path for image in files])
    return found, ignored


def no_channel(images: Path, files: list[Path], sheet: bool = False) -> InputError:
    """Return what is said where no file name holds a channel."""
    flat = all(path.parent == root_of(images) for path in files)
    names = ", ".join(path.name for path in files[:3])
    if flat and not sheet:
        return InputError(
            f"{images}: a flat folder (got {names}{', ...' if len(files) > 3 else ''}; expected a folder for each condition). "
            "Say how the names are built with --pattern, e.g. '{condition}_{field}_{channel}.tif', or give a sample sheet with --samples."
        )
    # With a sheet the condition stands there, and no folder has to say it.
    whole = (
        f"; where every file is a field of its own: --pattern '{{condition}}/{{field}}{files[0].suffix}' --segment 1"
    )
    return InputError(
        f"{images}: no channel word in any file name (got {names}; expected phase, EdU, TO-PRO-3 and the like). "
        f"Name the channels with --segment, --measure and --count, or the parts of the names with --pattern{'' if sheet else whole}."
    )
