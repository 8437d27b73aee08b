"""SHA-256 of inputs, each read once in a run."""

from __future__ import annotations

from pathlib import Path

from bridge.errors import InputError
from bridge.files import sha256


class Hashes:
    """The hashes of a run's inputs.

    Parameters
    ----------
    out : Path
        The results folder: what lies in it may change, and is read each time.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file.

        Raises
        ------
        InputError
            It cannot be read.
        """
        if path.is_relative_to(self.out):
            return sha256(path)
        if path not in self.known:
            try:
                self.known[path] = sha256(path)
            except OSError as error:
                raise InputError(
                    f"{path}: cannot be read ({error.strerror}). Check the disk or the network drive."
                ) from error
        return self.known[path]
