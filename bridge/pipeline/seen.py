"""SHA-256 of inputs and outputs: a file whose size, times and inode are as when it was hashed is not read again.

What was seen lies in the results folder, in ``records/_seen``: a list of files for each writer. It may be deleted at any time;
then everything is hashed again. The list of a run that is done also is its seal: while nothing in it differs, giving the
command of the run again is no more than a look at each file.
"""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bridge.files import sha256, signature, write_bytes

WHOLE = "run"  # the list of a whole run, not of a part of it
SEEN = "_seen"  # where a field's name would stand


class Seen:
    """The hashes of files, with what they looked like then.

    Parameters
    ----------
    out : Path
        The results folder.
    check : bool
        Read every file, whatever it looks like.
    part : str
        Whose list is kept: `WHOLE`, or that of a part of a run.
    """

    def __init__(self, out: Path, check: bool = False, part: str = WHOLE) -> None:
        self.out, self.check, self.part = out, check, part
        self._files: dict[str, tuple[list[int], str]] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Seen], tuple[Path, bool, str]]:
        return Seen, (self.out, self.check, self.part)  # another process reads the lists itself

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file.

        Raises
        ------
        OSError
            It cannot be read.
        """
        name, now = self._name(path), signature(path)
        if not self.check and now is not None:
            told = self._known().get(name)
            if told is not None and told[0] == now:
                return told[1]
        found = sha256(path)
        if now is not None and now == signature(path):
            self._known()[name] = (now, found)
        return found

    def keep(self, seals: Sequence[str] = (), more: Iterable[Path] = ()) -> None:
        """Write the list.

        Parameters
        ----------
        seals : sequence of str
            What must be the same beside the files, of a run that is done: each of them alone suffices.
        more : iterable of Path
            Files and folders without a hash that belong to it.
        """
        known = {name: told for name, told in sorted(self._known().items()) if signature(self.out / name) == told[0]}
        lines = [json.dumps(list(seals))]
        lines += [json.dumps([name, told[1], told[0]]) for name, told in known.items()]
        lines += [json.dumps([name, "", signature(self.out / name)]) for name in map(self._name, more)]
        content = "".join(f"{line}\n" for line in lines).encode()
        write_bytes(self._folder / f"{self.part}.gz", gzip.compress(content, 1, mtime=0))

        if seals:  # it holds what the parts saw
            for path in self._folder.iterdir():
                if path.stem != self.part:
                    path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Read the lists again when they are needed: others wrote some."""
        with self._lock:
            self._files = None

    def sealed(self, seal: str) -> bool:
        """Return whether the run is done, and everything looks as it did then."""
        lines = self._lines(self._folder / f"{WHOLE}.gz")
        seals = next(lines, None)
        if self.check or not isinstance(seals, list) or seal not in seals:
            return False
        return all(
            isinstance(line, list) and len(line) == 3 and signature(self.out / str(line[0])) == line[2]
            for line in lines
        )

    @property
    def _folder(self) -> Path:
        return self.out / "records" / SEEN

    def _name(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix() if path.is_relative_to(self.out) else str(path.absolute())

    def _known(self) -> dict[str, tuple[list[int], str]]:
        with self._lock:
            if self._files is None:
                self._files = {}
                for path in sorted(self._folder.glob("*.gz")) if not self.check else ():
                    for line in self._lines(path):
                        if isinstance(line, list) and len(line) == 3 and line[1] and isinstance(line[2], list):
                            self._files[str(line[0])] = (line[2], str(line[1]))
            return self._files

    @staticmethod
    def _lines(path: Path) -> Iterator[object]:
        """What a list holds; one that is cut ends early."""
        try:
            with gzip.open(path, "rt", encoding="ascii") as file:
                for line in file:
                    yield json.loads(line)
        except (OSError, EOFError, ValueError, zlib.error):
            yield None  # nothing is like it: a seal that cannot be read is broken
