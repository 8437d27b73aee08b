"""A results folder is held by one run at a time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridge.errors import OutputError
from bridge.files import PART_SUFFIX


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a results folder against a second run.

    Raises
    ------
    OutputError
        Another run holds it.
    """
    path = out / ".lock"
    mine = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
    for _ in range(2):
        try:
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "w") as file:
                file.write(mine)
            break
        except FileExistsError:
            try:
                owner = json.loads(path.read_text())
            except (OSError, json.JSONDecodeError):
                owner = {}
            if owner.get("host") != socket.gethostname() or _alive(owner.get("pid")):
                who = f"process {owner.get('pid')} on {owner.get('host')}"
                raise OutputError(
                    f"{out}: another run is writing to it ({who}). Wait for it; if it is gone, delete {path}."
                ) from None
            path.unlink(missing_ok=True)  # its owner was killed
    try:
        # Left by a killed run; before it wrote run.json there was nothing but that.
        ours = out.rglob if (out / "run.json").exists() else out.glob
        name = "*" if (out / "run.json").exists() else "run.json"
        for part in ours(f".{name}.????????{PART_SUFFIX}"):
            part.unlink(missing_ok=True)
        yield
    finally:
        path.unlink(missing_ok=True)


def _alive(pid: Any) -> bool:
    if not isinstance(pid, int):
        return False
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
