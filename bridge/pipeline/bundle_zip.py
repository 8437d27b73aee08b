"""The zip of a bundle: written with the same bytes for the same files, and read as a stranger's."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from bridge.errors import InputError, MissingDependencyError
from bridge.files import sha256, whole_file
from bridge.foreign import read_text

METADATA = "ro-crate-metadata.json"
MANIFEST = "manifest-sha256.txt"
MOST_FILES = 20_000_000
MOST_BYTES = 2**37
MOST_BYTES_OF_ONE = 2**33
_PACKED_ALREADY = (".zip", ".xlsx")
_BLOCK = 2**20


def write_zip(path: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write a zip whose bytes depend on nothing but the names and contents of its files.

    Parameters
    ----------
    path : Path
    files : mapping of str to Path or bytes
        By their names in the zip.

    Raises
    ------
    OutputError, MissingDependencyError
        It cannot be written.
    """
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name in sorted(files):
            content = files[name]
            entry = zipfile.ZipInfo(name)  # of 1980: a zip knows nothing earlier
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED_ALREADY) else zipfile.ZIP_DEFLATED
            if isinstance(content, bytes):
                archive.writestr(entry, content)
                continue
            entry.file_size = content.stat().st_size
            with content.open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, _BLOCK)


def digest_of(content: Path | bytes) -> str:
    """Return the SHA-256 of a file, or of bytes."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256(content)


def manifest_text(digests: Mapping[str, str]) -> bytes:
    """Return the list of a bundle's files and their SHA-256, as ``sha256sum -c`` reads it."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def read_manifest(folder: Path, bundle: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that a bundle should hold, by name.

    Raises
    ------
    InputError
        There is no such list, or it is none.
    """
    for name in (METADATA, MANIFEST):
        if not (folder / name).is_file():
            raise InputError(
                f"{bundle}: not a bundle (got no {name}, expected one in it). Name a zip that cellpose-fiji bundle wrote."
            )
    listed: dict[str, str] = {}
    try:
        lines = read_text(folder / MANIFEST).splitlines()
    except ValueError as error:
        raise InputError(f"{bundle}: {MANIFEST} cannot be read ({error}). Get the bundle again.") from error
    for k, line in enumerate(lines, 1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef") or not name or name in listed:
            raise InputError(
                f"{bundle}: line {k} of {MANIFEST} is no SHA-256 and name (got {line[:90]!r}). It was changed: get the bundle again."
            )
        listed[name] = digest
    return listed


def unpack(bundle: Path, folder: Path) -> dict[str, str]:
    """Unpack a stranger's zip into a folder; return the SHA-256 of each file.

    Parameters
    ----------
    bundle : Path
    folder : Path
        Empty; nothing is written outside of it.

    Raises
    ------
    InputError
        No zip, a damaged one, a name that leads outside, two files of one name, or too large.
    MissingDependencyError
        The disk has no room for it.
    """
    if not bundle.is_file():
        raise InputError(f"{bundle}: no such file (expected a bundle). Check the path.")
    found: dict[str, str] = {}
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if min((entry.header_offset for entry in archive.infolist()), default=0) > 0:
                # The last ROI set of a bundle that was cut looks like a zip of its own.
                raise zipfile.BadZipFile("its end is missing")
            _require_small(bundle, entries, folder)
            _require_own_names(bundle, entries)
            for entry in entries:
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise zipfile.BadZipFile(f"{entry.filename} is packed by a method that bundles do not use")
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256()
                # No more comes out of an entry than it says, and a wrong checksum is an error.
                with archive.open(entry) as source, target.open("xb") as file:
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        file.write(block)
                found[entry.filename] = digest.hexdigest()
    except (
        zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError, zlib.error,
    ) as error:  # fmt: skip
        text = str(error).replace(f"{folder}", "")
        raise InputError(f"{bundle}: damaged, or not a bundle ({text}). Get the bundle again.") from error
    return found


def _require_small(bundle: Path, entries: list[zipfile.ZipInfo], folder: Path) -> None:
    large = next((entry for entry in entries if entry.file_size > MOST_BYTES_OF_ONE), None)
    if large is not None:
        raise InputError(
            f"{bundle}: {large.filename!r} is too large when unpacked (got {large.file_size} bytes, expected at most {MOST_BYTES_OF_ONE}). It is not a bundle of this program: do not use it."
        )
    # Counted over all entries: overlapping ones make much of little.
    total = sum(entry.file_size for entry in entries)
    if total > MOST_BYTES or len(entries) > MOST_FILES:
        raise InputError(
            f"{bundle}: too large when unpacked (got {total} bytes in {len(entries)} files, expected at most {MOST_BYTES} in {MOST_FILES}). It is not a bundle of this program: do not use it."
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise MissingDependencyError(
            f"{bundle}: no room to unpack it (got {free} bytes free in {tempfile.gettempdir()}, expected {total}). Make room, or set TMPDIR to a folder on another disk."
        )


def _require_own_names(bundle: Path, entries: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = entry.orig_filename
        parts, windows = name.split("/"), PureWindowsPath(name)
        inside = not windows.drive and not windows.root and not {"", ".", ".."} & {part.strip(" ") for part in parts}
        if not inside or "\\" in name or any(unicodedata.category(c)[0] == "C" for c in name):
            raise InputError(
                f"{bundle}: names a file outside of itself (got {name!r}, expected a plain name). It was changed or comes from elsewhere: do not use it."
            )
        if (key := unicodedata.normalize("NFC", name).casefold()) in seen:
            raise InputError(
                f"{bundle}: two files of one name (got {name!r} twice, expected each once). It was changed or comes from elsewhere: do not use it."
            )
        seen.add(key)
