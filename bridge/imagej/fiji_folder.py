"""A Fiji folder of the user's: where its ImageJ is, and its update sites."""

from __future__ import annotations

import gzip
import html
import re
import zlib
from pathlib import Path

from bridge.errors import MissingDependencyError


def fiji_root(path: Path) -> Path:
    """Return the folder of a Fiji that holds `jars`: the one named, or `Fiji.app` / `Fiji` in it.

    Raises
    ------
    MissingDependencyError
        It is no Fiji.
    """
    for candidate in (path, path / "Fiji.app", path / "Fiji", *path.parents[:3]):
        if list(candidate.glob("jars/ij-1.*.jar")):
            if not list(candidate.glob("jars/imagej-legacy-*.jar")):
                raise MissingDependencyError(
                    f"{candidate}: ImageJ alone, no Fiji (expected jars/imagej-legacy-*.jar in it). "
                    "Give the folder that Fiji was unpacked to, or leave out --fiji."
                )
            return candidate
    raise MissingDependencyError(
        f"{path}: no Fiji (expected jars/ij-1.*.jar in it). Give the folder that Fiji was unpacked to."
    )


def update_sites(fiji: Path) -> list[str]:
    """Return the update sites a Fiji follows, as its updater has them in `db.xml.gz`; empty where it has none.

    Examples
    --------
    >>> update_sites(Path("no such folder"))
    []
    """
    try:
        content = gzip.decompress((fiji / "db.xml.gz").read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return []
    # Not by an XML parser: the file has a document type of its own. What is switched off is a <disabled-update-site>.
    return [html.unescape(name) for name in re.findall(r'<update-site\b[^>]*?\bname="([^"]*)"', content)]
