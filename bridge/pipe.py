"""Messages between this program and a worker of its own, which holds Java: a JSON header and raw bytes."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Sequence
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<I")


def send(stream: BinaryIO, header: dict[str, Any], blobs: Sequence[bytes | memoryview] = ()) -> None:
    """Write one message.

    Parameters
    ----------
    stream : binary file
    header : dict
        Anything JSON holds.
    blobs : sequence of bytes-like
        Raw bytes that follow the header.
    """
    views = [memoryview(blob).cast("B") for blob in blobs]
    text = json.dumps({**header, "blobs": [len(view) for view in views]}).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for view in views:
        stream.write(view)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], list[bytearray]]:
    """Read one message.

    Raises
    ------
    EOFError
        The other side is gone.
    """
    header = json.loads(_exactly(stream, _LENGTH.unpack(_exactly(stream, 4))[0]))
    return header, [_exactly(stream, size) for size in header.pop("blobs")]


def _exactly(stream: BinaryIO, size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    at = 0
    while at < size:
        n = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not n:
            raise EOFError
        at += n
    return content


def digest(blobs: Sequence[Any]) -> str:
    """Return a hash of the bytes that go with a message: pixels and ROIs."""
    found = hashlib.blake2b(digest_size=16)
    for blob in blobs:
        found.update(memoryview(blob).cast("B"))
    return found.hexdigest()


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for ourselves: Java code prints to descriptor 1, which from now on is stderr."""
    requests = os.fdopen(os.dup(0), "rb", buffering=1 << 20)
    answers = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return requests, answers


def watch_parent(parent: int) -> None:
    """End a worker whose parent is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
