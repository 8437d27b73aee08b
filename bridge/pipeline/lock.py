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
from bridge.pipeline.lease import held


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a results folder against a second run; the system lets go of it when this process ends, however it ends.

    Raises
    ------
    OutputError
        Another run holds it, or a part of one does.
    """
    for lease in sorted(shards_folder(out).glob("*.lease")):
        if holder := held(lease):
            raise OutputError(
                f"{out}: a part of a run is writing to it ({lease.stem.replace('-of-', '/')}: {holder}). Wait for it, or name another folder with --out."
            )
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


def shards_folder(out: Path) -> Path:
    """Return where the parts of a run say how far they are."""
    return out / "shards"


def require_unlocked(out: Path) -> None:
    """Refuse a folder that a run in one piece holds.

    Raises
    ------
    OutputError
    """
    if (out / ".lock.json").exists():
        with locked(out):
            pass


def _remove_parts(out: Path) -> None:
    """Remove what a killed run left half written; before it wrote run.json there was nothing but that."""
    begun = (out / "run.json").exists() or shards_folder(out).is_dir()
    for part in (out.rglob if begun else out.glob)(f".{'*' if begun else 'run.json'}.????????{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def _owner(path: Path) -> str:
    try:
        owner = read_json(path)
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "process unknown"
