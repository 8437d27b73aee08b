"""Folders outside the user's data."""

from __future__ import annotations

import os
from pathlib import Path

from bridge.errors import MissingDependencyError

VARIABLE = "CELLPOSE_FIJI_CACHE"


def cache_folder() -> Path:
    """Return the folder for what is made or fetched once: compiled kernels, ImageJ's jars and converted weights.

    The environment variable ``CELLPOSE_FIJI_CACHE`` names another one.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("cellpose-fiji-bridge", appauthor=False))


def writable_cache(name: str = "") -> Path:
    """Return a folder in the cache, made where it is not there.

    Raises
    ------
    MissingDependencyError
        It cannot be written.
    """
    folder = cache_folder() / name
    try:
        _make(folder)
    except OSError as error:
        raise MissingDependencyError(
            f"{folder}: cannot be written ({error.strerror}; expected a folder for what is made or fetched once). "
            f"Set {VARIABLE} to a folder that can be written."
        ) from error
    return folder


def is_writable(folder: Path) -> bool:
    """Return whether a folder is there, or can be made, and takes files."""
    try:
        _make(folder)
    except OSError:
        return False
    return True


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(13, "Permission denied")
