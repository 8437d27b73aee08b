"""What comes from a file that a stranger may have written: JSON of any content, and names that must stay in their folder."""

from __future__ import annotations

import json
from pathlib import Path, PureWindowsPath
from typing import Any

from bridge.errors import InputError

_MOST_BYTES = 2**28


def read_text(path: Path) -> str:
    """Return the text of a plain file, with or without a byte-order mark.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        A folder or a pipe, too large, or not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a plain file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it has {path.stat().st_size} bytes")
    return path.read_bytes().decode("utf-8-sig")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        Anything else that keeps it from being read, said in words.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.json"
    >>> _ = path.write_text('{"a": 1}')
    >>> read_json(path)
    {'a': 1}
    """
    try:
        content = json.loads(read_text(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(str(error.strerror)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds {_kind(content)}, not an object")
    return content


def _kind(content: Any) -> str:
    names = {list: "a list", str: "a text", type(None): "nothing", bool: "true or false"}
    return names.get(type(content), "a number")


def within(folder: Path, name: str, said_by: Path) -> Path:
    """Return the path of a file that another file names, if it lies in its folder.

    Parameters
    ----------
    folder : Path
    name : str
        Relative to the folder.
    said_by : Path
        The file that names it; named in the message.

    Raises
    ------
    InputError
        It leads outside, or is no name.

    Examples
    --------
    >>> within(Path("results"), "masks/a.tif", Path("x.json")).as_posix()
    'results/masks/a.tif'
    """
    path = folder / name
    if not leads_down(name) or not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{said_by}: names a file outside of {folder} (got {name!r}). It was changed or comes from elsewhere: do not use it."
        )
    return path


def leads_down(name: str) -> bool:
    """Return whether a name, as it is written, leads to nothing but what lies below, on Windows as well.

    Examples
    --------
    >>> [leads_down(name) for name in ("masks/a.tif", "../a.tif", "C:a.tif", "/a.tif", "")]
    [True, False, False, False, False]
    """
    windows = PureWindowsPath(name)
    return bool(name) and "\0" not in name and ".." not in windows.parts and not windows.drive and not windows.root
