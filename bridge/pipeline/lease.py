"""A part of a run is held by one process at a time, also where several computers share a disk."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridge.errors import OutputError
from bridge.foreign import read_json

STALE_S = 600.0
"""A lease that nobody renewed for so long is taken over."""
_RENEW_EVERY_S = 30.0


@contextmanager
def leased(path: Path, stale_s: float = STALE_S) -> Iterator[None]:
    """Hold a lease: a file that only one process can make; renewed while it lives, removed at its end.

    Locks of the system do not reach across every network file system; the exclusive creation of a file does.

    Parameters
    ----------
    path : Path
    stale_s : float
        One that was not renewed for so long is taken over: its holder died.

    Raises
    ------
    OutputError
        Another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _made(path):
        _take_over(path, stale_s)
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, over), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        path.unlink(missing_ok=True)


def held(path: Path, stale_s: float = STALE_S) -> str:
    """Say who holds a lease; empty where nobody does any more.

    Examples
    --------
    >>> held(Path("no such lease"))
    ''
    """
    try:
        age = _now(path.parent) - path.stat().st_mtime
    except OSError:
        return ""
    return _holder(path) if age <= stale_s else ""


def _made(path: Path) -> bool:
    told = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(told))
    except FileExistsError:
        return False
    return True


def _take_over(path: Path, stale_s: float) -> None:
    """Take the place of a holder that died; of several that try, one comes through."""
    turn = path.with_name(f"{path.name}.turn")
    if held(turn, stale_s) or (holder := held(path, stale_s)):
        holder = held(path, stale_s) or _holder(path)
        raise OutputError(
            f"{path}: is held by another process ({holder}). Wait for it; where that one is gone, it is taken over after {stale_s / 60:g} minutes."
        )
    turn.unlink(missing_ok=True)
    if _made(turn):
        try:
            if not held(path, stale_s):
                path.unlink(missing_ok=True)
                if _made(path):
                    return
        finally:
            turn.unlink(missing_ok=True)
    raise OutputError(
        f"{path}: is held by another process ({_holder(path)}). Wait for it; where that one is gone, it is taken over after {stale_s / 60:g} minutes."
    )


def _renew(path: Path, over: threading.Event) -> None:
    while not over.wait(_RENEW_EVERY_S):
        with suppress(OSError):
            os.utime(path)


def _now(folder: Path) -> float:
    """The time of the disk, not of this computer: their clocks may differ by minutes."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".now.") as file:
        return os.stat(file.name).st_mtime


def _holder(path: Path) -> str:
    try:
        told = read_json(path)
        return f"process {told['pid']} on {told['host']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "process unknown"
