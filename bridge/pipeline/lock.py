"""A results folder is held by one run at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from bridge.errors import OutputError
from bridge.files import PART_SUFFIX
from bridge.foreign import read_json


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a results folder against a second run; the system lets go of it when this process ends, however it ends.

    Raises
    ------
    OutputError
        Another run holds it.
    """
    path, owner = out / ".lock", out / ".lock.json"
    try:
        with filelock.FileLock(path, blocking=False):
            # Who holds it, for people: the lock itself is the system's.
            owner.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
            try:
                _remove_parts(out)
                yield
            finally:
                owner.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # Windows removes no open file; one that is left holds nobody
                    path.unlink()
    except filelock.Timeout:
        raise OutputError(
            f"{out}: another run is writing to it ({_owner(owner)}). Wait for it, or name another folder with --out."
        ) from None


def _remove_parts(out: Path) -> None:
    """Remove what a killed run left half written; before it wrote run.json there was nothing but that."""
    begun = (out / "run.json").exists()
    for part in (out.rglob if begun else out.glob)(f".{'*' if begun else 'run.json'}.????????{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def _owner(path: Path) -> str:
    try:
        owner = read_json(path)
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "process unknown"
