"""Folders, file names and sample sheets -> fields."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from natsort import natsorted, ns

from bridge.errors import InputError
from bridge.experiment.channel_words import same, split_channel
from bridge.images.reader import SUFFIXES, inspect
from bridge.names import number, one_spelling
from bridge.settings import Settings

LABEL_IMAGE = "a label image"


@dataclass
class NamedFile:
    """A file and what its name says."""

    path: Path
    key: str
    factors: dict[str, str]
    channel: str | None


def image_files(images: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the images below a folder, in natural order, without the results of runs; and all other files, with why."""
    if not images.is_dir():
        problem = "is a file" if images.is_file() else "no such folder"
        raise InputError(f"{images}: {problem} (expected a folder with images). Check the path.")
    # Results of a run may lie among the images.
    results = {
        file.parent
        for file in images.rglob("run.json")
        if '"cellpose-fiji-bridge"' in file.read_text("utf-8", errors="replace")
    }
    files: list[Path] = []
    others: list[tuple[Path, str]] = []
    _require_utf8(images)
    for path in natsorted(images.rglob("*"), key=str, alg=ns.IGNORECASE):
        hidden = any(part.startswith(".") for part in path.relative_to(images).parts)
        if hidden or not path.is_file() or not results.isdisjoint(path.parents):
            continue
        if path.suffix.lower() in SUFFIXES:
            files.append(path)
        else:
            others.append((path, f"of a kind that is not read ({path.suffix.lower() or 'no suffix'})"))
    if not files:
        kinds = ", ".join(dict.fromkeys(path.suffix.lower() or path.name for path, _ in others))
        raise InputError(
            f"{images}: no image found (got {kinds or 'nothing'}, expected {', '.join(SUFFIXES)} in it or in its folders). Check the path."
        )
    return files, others


def _require_utf8(images: Path) -> None:
    """Names from old shares and zips may be no UTF-8, and a POSIX locale reads none beyond ASCII."""
    for path in images.rglob("*"):
        name = path.relative_to(images).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError:
            plain = sys.getfilesystemencoding().lower().replace("-", "") == "utf8"
            todo = "Rename it (e.g. with convmv)" if plain else "Set LC_ALL=C.UTF-8 in this shell"
            raise InputError(
                f"{images}: a name whose letters cannot be read (got {name.encode('ascii', 'backslashreplace').decode()}, expected UTF-8). {todo}."
            ) from None


def lost_folders(images: Path, found: Iterable[Path], ignored: Sequence[tuple[Path, str]]) -> list[str]:
    """Say which folders of conditions have no field, and why."""
    with_fields = {path.relative_to(images).parts[0] for path in found}
    lost = []
    for folder in natsorted((p for p in images.iterdir() if p.is_dir()), key=str, alg=ns.IGNORECASE):
        if folder.name in with_fields or folder.name.startswith(".") or any(folder.rglob("run.json")):
            continue
        reasons = Counter(why for path, why in ignored if folder in path.parents)
        if set(reasons) and set(reasons) <= {LABEL_IMAGE, "of a kind that is not read (.zip)"}:
            continue  # label images and ROI sets, not a condition
        listed = ", ".join(f"{number(n, 'file')} {why}" for why, n in reasons.items()) or "no file in it"
        lost.append(f"{folder.name}: no field ({listed})")
    return lost


def relative(images: Path, path: Path) -> str:
    """Return the path of an image below the folder of images, without its ending, in one spelling."""
    return one_spelling(path.relative_to(images).with_suffix("").as_posix())


def found_by_name(images: Path, path: Path, settings: Settings) -> NamedFile:
    """Return an image and the channel that its name says."""
    if is_multi_channel(path):
        return NamedFile(path, relative(images, path), {}, None)
    key, channel = split_channel(relative(images, path), settings)
    return NamedFile(path, key, {}, channel or "")


def is_multi_channel(path: Path) -> bool:
    """Return whether a file holds several channels."""
    try:
        return len(inspect(path).channels) > 1
    except InputError:
        return False


def by_folder(images: Path, files: list[Path], settings: Settings) -> tuple[list[NamedFile], list[tuple[Path, str]]]:
    """Return the images of a tree with a folder for each condition, and what is ignored."""
    found: list[NamedFile] = []
    ignored: list[tuple[Path, str]] = []
    for path in files:
        folders = [one_spelling(part) for part in path.relative_to(images).parts[:-1]]
        if not folders:
            ignored.append((path, "not in a folder of a condition"))
            continue
        item = found_by_name(images / path.relative_to(images).parts[0], path, settings)
        item.key = f"{folders[0]}/{item.key}"
        if item.channel == "":
            ignored.append((path, "no channel word in its name"))
            continue
        # A folder is the channel's only where the file's own name says none.
        named = item.channel is None or split_channel(one_spelling(path.stem), settings)[1] is not None
        deeper = [part if named else split_channel(part, settings)[0] for part in folders[1:]]
        deeper = [part for part in deeper if part and (named or same(part) != same(item.channel or ""))]
        item.factors = {"condition": folders[0], "replicate": "/".join(deeper)}
        found.append(item)
    if not found:
        raise no_channel(images, files)
    return found, ignored


def no_channel(images: Path, files: list[Path], sheet: bool = False) -> InputError:
    """Return what is said where no file name holds a channel."""
    flat = all(len(path.relative_to(images).parts) == 1 for path in files)
    names = ", ".join(path.name for path in files[:3])
    if flat and not sheet:
        return InputError(
            f"{images}: a flat folder (got {names}{', ...' if len(files) > 3 else ''}; expected a folder for each condition). "
            "Say how the names are built with --pattern, e.g. '{condition}_{field}_{channel}.tif', or give a sample sheet with --samples."
        )
    return InputError(
        f"{images}: no channel word in any file name (got {names}; expected phase, EdU, TO-PRO-3 and the like). "
        "Name the channels with --segment, --measure and --count, or the parts of the names with --pattern."
    )
