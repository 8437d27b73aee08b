"""ImageJ from Maven Central: its jars, downloaded once and checked at every start."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

from bridge.cache import VARIABLE, cache_folder, is_writable, writable_cache
from bridge.errors import MissingDependencyError
from bridge.files import sha256

# The one place for the version of ImageJ: the one Fiji pins (pom-scijava 44 to 45.1), and the layer that lets macros
# run headless.
IMAGEJ_VERSION = "1.54p"
_ENDPOINTS = {
    False: f"net.imagej:ij:{IMAGEJ_VERSION}",
    True: f"net.imagej:ij1-patcher:2.0.0+net.imagej:ij:{IMAGEJ_VERSION}",
}
_JARS = {
    False: {"ij-1.54p.jar": "2e1a09961dfb41cee66ddc821b2577a41a072566ce45a49bae69267099741e20"},
    True: {
        "ij-1.54p.jar": "2e1a09961dfb41cee66ddc821b2577a41a072566ce45a49bae69267099741e20",
        "ij1-patcher-2.0.0.jar": "b68810263f9521ddb34bac272816613ebb71607775c1fc337079a0476c2b581a",
        "javassist-3.30.2-GA.jar": "eba37290994b5e4868f3af98ff113f6244a6b099385d9ad46881307d3cb01aaf",
    },
}


def core_jars(macros: bool = False) -> list[Path]:
    """Return the jars of the embedded ImageJ, fetched once from Maven Central and checked at every start.

    Parameters
    ----------
    macros : bool
        With the layer that lets macros run headless.

    Raises
    ------
    MissingDependencyError
        Not fetched yet and no network, or other bytes than expected.
    """
    folder = cache_folder() / "imagej" / f"{IMAGEJ_VERSION}{'-macros' if macros else ''}"
    jars = [folder / name for name in _JARS[macros]]
    if _wrong_jar(folder, macros) is None:
        return jars
    writable_cache("imagej")
    # jgo takes a half-filled folder of an interrupted build for a whole one, so it builds in a folder of its own.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as building:
        fresh = Path(building) / "jars"
        fresh.mkdir()
        for jar in _resolve(_ENDPOINTS[macros], Path(building) / "jgo"):
            if jar.name in _JARS[macros]:
                shutil.copyfile(jar, fresh / jar.name)
        wrong = _wrong_jar(fresh, macros)
        if wrong is not None:
            raise MissingDependencyError(
                f"{wrong}: not the file ImageJ published (its SHA-256 differs or it is missing). "
                "Delete it from the local Maven repository (~/.m2) and try again."
            )
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(fresh, folder)
        except OSError:
            if _wrong_jar(folder, macros) is not None:  # unless another process was faster
                raise
    return jars


def _wrong_jar(folder: Path, macros: bool) -> str | None:
    for name, digest in _JARS[macros].items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            return name
    return None


def _resolve(endpoint: str, cache: Path) -> list[Path]:
    import jgo

    # jgo's local repository; it is Maven's own, unless a home cannot be written.
    if "M2_REPO" not in os.environ and not is_writable(Path.home() / ".m2" / "repository"):
        os.environ["M2_REPO"] = str(writable_cache("maven"))
    try:
        # No repositories: jgo then asks Maven Central alone.
        environment = jgo.build(
            endpoint=endpoint, cache_dir=cache, repositories={}, resolver=jgo.maven.PythonResolver(lenient=True)
        )
    except Exception as error:  # requests' and jgo's own errors share no parent
        if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.ENOSPC):
            raise MissingDependencyError(
                f"ImageJ {IMAGEJ_VERSION}: cannot be kept on this machine ({error.strerror}: {error.filename}). "
                f"Set {VARIABLE} to a folder that can be written."
            ) from error
        raise MissingDependencyError(
            f"ImageJ {IMAGEJ_VERSION}: could not be downloaded from Maven Central ({first_line(error)}). "
            "The first run needs a network, once; or name a Fiji folder with --fiji."
        ) from error
    return [jar for folder in (environment.jars_dir, environment.modules_dir) for jar in Path(folder).glob("*.jar")]


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    return re.sub(r"\s*https?://\S+", "", first)[:200]
