"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import MissingDependencyError, OutputError

PART_SUFFIX = ".part"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s place only if the block ends without an error.

    Parameters
    ----------
    path : Path
        The file to be; its folder is made.

    Yields
    ------
    Path
        A path in the same folder (so that the rename cannot cross disks).

    Raises
    ------
    OutputError
        The folder is not writable, or another program holds the file open.
    MissingDependencyError
        The disk is full.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with whole_file(target) as part:
    ...     _ = part.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=PART_SUFFIX, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _output_error(path, error) from error
    part = Path(name)
    try:
        yield part
        os.chmod(part, 0o666 & ~_umask())
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _output_error(path, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Write a folder so that it appears whole or not at all; one that is there is replaced.

    Yields
    ------
    Path
        A folder beside it, which does not exist yet.

    Raises
    ------
    OutputError, MissingDependencyError
        As `whole_file`.
    """
    part = path.with_name(f".{path.name}{PART_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        yield part
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(part, path)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise _output_error(path, error) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(content)


def write_new(path: Path, content: bytes) -> None:
    """Write `content` to `path` where it is not what is there already."""
    if not (path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content):
        write_bytes(path, content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8 with line feeds, whole or not at all."""
    # A name that is no UTF-8 is written as Python and JSON escape it.
    write_bytes(path, content.encode(errors="backslashreplace"))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def signature(path: Path) -> list[int] | None:
    """Return size, times of change and inode of a file: while they are the same, so is its content; None if there is none."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]


@contextmanager
def all_or_none(paths: Sequence[Path]) -> Iterator[None]:
    """Remove new files again if the block ends with an error: half of them would stand in the way of the next try."""
    try:
        yield
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def new_file(path: Path) -> Path:
    """Return the path of a file that is about to be written for the first time.

    Raises
    ------
    OutputError
        It is there already.
    """
    if path.exists():
        raise OutputError(
            f"{path}: is there already. It is not overwritten: move it elsewhere, or name another folder with --out."
        )
    return path


def require_writable(folder: Path) -> None:
    """Make `folder` and prove that files can be written to it, before any work is done.

    Raises
    ------
    OutputError
        It is a file, or not writable.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file (got a file, expected a folder). Name another folder with --out.")
    probe = folder / ".writable"
    write_bytes(probe, b"")
    probe.unlink()


def _output_error(path: Path, error: OSError) -> OutputError | MissingDependencyError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return MissingDependencyError(
            f"{path}: the disk is full or over its quota ({error.strerror}). "
            "Make room and give the same command again; what is done is kept."
        )
    if path.exists() and not path.is_dir() and error.errno in (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY):
        return OutputError(
            f"{path}: cannot be replaced ({error.strerror}). "
            "Close the program that has it open, or make it writable, and give the same command again."
        )
    return OutputError(
        f"{path}: cannot be written ({error.strerror}). Make the folder writable or name another one with --out."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
