"""Puts `fiji_macros` into the menu of a Fiji, and takes them out again: the files that the update site brings, too."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import MissingDependencyError, OutputError
from bridge.files import sha256, write_bytes, write_text
from bridge.foreign import read_json, within
from bridge.names import escaped

FOLDER = "Cellpose Fiji Bridge"  # the name of the menu: Plugins > Cellpose Fiji Bridge
LIBRARY = "lib/cellpose-fiji-bridge"  # what the scripts share; of the update site also the wheel and its requirements
_ENDINGS = (".ijm", ".groovy")  # macros; scripts, which plain ImageJ does not have in its menu
_COMMAND = "command.txt"
_INSTALLED = "installed.json"


@dataclass(frozen=True)
class Installed:
    """What of the macros is in a Fiji.

    Attributes
    ----------
    folder : Path
        Where they are, or would be.
    missing, outdated : tuple of str
        Macros that are not there, or not as in this version.
    command : str
        The program they start; empty where none is named.
    """

    folder: Path
    missing: tuple[str, ...]
    outdated: tuple[str, ...]
    command: str

    @property
    def advice(self) -> str:
        """The command that mends it; empty where nothing is to fix."""
        gone = not self.command or not Path(self.command).is_file()
        return (
            f'cellpose-fiji macros install --fiji "{self.folder.parents[1]}"'
            if self.missing or self.outdated or gone
            else ""
        )


def macro_files() -> dict[str, bytes]:
    """Return the macros and scripts of this version: path within a Fiji, as ``plugins/Cellpose Fiji Bridge/X.ijm``, to content.

    Examples
    --------
    >>> sum(name.endswith(".ijm") for name in macro_files())
    5
    """
    own = importlib.resources.files("fiji_macros")
    return {
        f"{place}/{file.name}": file.read_bytes()
        for place, folder in ((f"plugins/{FOLDER}", own), (LIBRARY, own / "lib"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(_ENDINGS)
    }


def install(fiji: Path) -> Path:
    """Put the macros into Plugins > Cellpose Fiji Bridge; they remember this program.

    Parameters
    ----------
    fiji : Path
        Folder of a Fiji or of an ImageJ.

    Returns
    -------
    Path
        The folder with the macros.

    Raises
    ------
    MissingDependencyError
        It is no Fiji, or this program's own script is not there.
    OutputError
        A macro there was changed by hand, or the folder is not writable.
    """
    plugins = plugins_folder(fiji)
    root, folder = plugins.parent, plugins / FOLDER
    command = program()
    before = _digests(folder)
    new = macro_files()
    for name, content in new.items():
        path = root / name
        if path.exists() and sha256(path) not in (before.get(name), hashlib.sha256(content).hexdigest()):
            raise OutputError(
                f"{path}: was changed by hand. It is not overwritten: rename it (keep an underscore in its name to have it in the menu), and install again."
            )
    _remove(root, {name: digest for name, digest in before.items() if name not in new})
    for name, content in new.items():
        write_bytes(root / name, content)
    write_text(folder / _COMMAND, escaped(str(command)) + "\n")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in new.items()}
    version = importlib.metadata.version("cellpose-fiji-bridge")
    write_text(folder / _INSTALLED, json.dumps({"version": version, "files": digests}, indent=1) + "\n")
    return folder


def uninstall(fiji: Path) -> Path:
    """Take the macros out again; what is not ours, or was changed by hand, stays.

    Parameters
    ----------
    fiji : Path

    Returns
    -------
    Path
        The folder they were in.

    Raises
    ------
    MissingDependencyError
        It is no Fiji, or they are not there.
    """
    plugins = plugins_folder(fiji)
    folder = plugins / FOLDER
    if not (folder / _INSTALLED).is_file():
        raise MissingDependencyError(f"{folder}: the macros are not there. Nothing has to be taken out.")
    _remove(plugins.parent, _digests(folder))
    for name in (_COMMAND, _INSTALLED):
        (folder / name).unlink(missing_ok=True)
    for emptied in (folder, plugins.parent / LIBRARY):
        if emptied.is_dir() and not any(emptied.iterdir()):
            emptied.rmdir()
    return folder


def look(fiji: Path) -> Installed:
    """Say what of the macros is in a Fiji.

    Raises
    ------
    MissingDependencyError
        It is no Fiji.
    """
    plugins = plugins_folder(fiji)
    root, folder = plugins.parent, plugins / FOLDER
    new = macro_files()
    command = folder / _COMMAND
    named = command.read_text("ascii").strip() if command.is_file() else ""
    return Installed(
        folder,
        tuple(Path(name).name for name in new if not (root / name).is_file()),
        tuple(
            Path(name).name
            for name, content in new.items()
            if (root / name).is_file() and (root / name).read_bytes() != content
        ),
        json.loads(f'"{named}"'),
    )


def plugins_folder(fiji: Path) -> Path:
    """Return the `plugins` folder of a Fiji (old and new layout) or of an ImageJ.

    Raises
    ------
    MissingDependencyError
        There is none.
    """
    for root in (fiji, fiji / "Fiji.app", fiji / "Fiji", *fiji.absolute().parents[:3]):
        if (list(root.glob("jars/ij-1.*.jar")) or (root / "ij.jar").is_file()) and (root / "plugins").is_dir():
            return root / "plugins"
    raise MissingDependencyError(
        f"{fiji}: no Fiji (expected jars/ij-1.*.jar and plugins in it). Give the folder that Fiji was unpacked to."
    )


def program() -> Path:
    """Return the script this program was started by: absolute, so it needs no activated environment.

    Raises
    ------
    MissingDependencyError
        It was not installed.
    """
    found = shutil.which("cellpose-fiji", path=sysconfig.get_path("scripts"))
    if found is None:
        raise MissingDependencyError(
            f"{sysconfig.get_path('scripts')}: cellpose-fiji is not there. Install this program (pip install .) and try again."
        )
    return Path(found).absolute()


def _remove(root: Path, digests: dict[str, str]) -> None:
    for name, digest in digests.items():
        path = root / name
        if path.is_file() and sha256(path) == digest:
            path.unlink()


def _digests(folder: Path) -> dict[str, str]:
    """Return what was installed, path within the Fiji to hash."""
    record = folder / _INSTALLED
    try:
        files = dict(read_json(record)["files"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return {}
    # Of versions before there were scripts: names within the folder.
    files = {name if "/" in name else f"plugins/{FOLDER}/{name}": digest for name, digest in files.items()}
    for name in files:
        within(folder.parents[1], str(name), record)
    return files
