"""SHA-256 of inputs, each read once in a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from bridge.errors import InputError
from bridge.pipeline.seen import Seen


class Hashes:
    """The hashes of a run's inputs.

    Parameters
    ----------
    out : Path
        The results folder: what lies in it may change, and is looked at each time.
    seen : Seen, optional
        Knows which files need not be read again.
    """

    def __init__(self, out: Path, seen: Seen | None = None) -> None:
        self.out = out
        self.seen = seen or Seen(out)
        self.known: dict[Path, str] = {}
        self._whole: dict[tuple[Path, ...], str] = {}

    def of(self, path: Path, parts: Sequence[Path] = ()) -> str:
        """Return the SHA-256 of a file; of a folder or a file in several parts, that of all their hashes.

        Raises
        ------
        InputError
            It cannot be read.
        """
        if parts or path.is_dir():
            files = sorted({path, *parts}) if parts else sorted(p for p in path.rglob("*") if p.is_file())
            key = (path, *parts)
            if key not in self._whole:
                lines = (f"{self._one(p)} {p.name if parts else p.relative_to(path).as_posix()}\n" for p in files)
                self._whole[key] = hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
            return self._whole[key]
        return self._one(path)

    def _one(self, path: Path) -> str:
        if path.is_relative_to(self.out):
            return self.seen.digest(path)
        if path not in self.known:
            try:
                self.known[path] = self.seen.digest(path)
            except OSError as error:
                raise InputError(
                    f"{path}: cannot be read ({error.strerror}). Check the disk or the network drive."
                ) from error
        return self.known[path]
