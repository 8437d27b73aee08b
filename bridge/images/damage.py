"""A damaged TIFF must never become numbers: ImageJ and tifffile would fill what is missing with zeros."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bridge.errors import InputError


class _Listener(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.problems: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "correcting LSM" not in (message := record.getMessage()):  # a quirk of all such files, not damage
            self.problems.append(message)


@contextmanager
def tifffile_on_record(path: Path) -> Iterator[list[str]]:
    """Tifffile logs damage and goes on with zeros; here what it logs is an error."""
    import tifffile

    listener = _Listener(logging.WARNING)
    problems = listener.problems
    logger = logging.getLogger("tifffile")
    logger.addHandler(listener)
    try:
        yield problems
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            f"{path}: needs more memory than there is, or is damaged (got a file of {path.stat().st_size} bytes). Crop it, or copy it again."
        ) from error
    except tifffile.TiffFileError as error:
        raise damaged(path, str(error)) from error
    except Exception as error:
        # The codecs raise types of their own (zlib.error, imagecodecs' DeflateError, struct.error, ...).
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    finally:
        logger.removeHandler(listener)
    if problems:
        raise damaged(path, problems[0])


def damaged(path: Path, why: str) -> InputError:
    """Return what is said about a damaged TIFF."""
    why = re.sub(r"<tifffile[^>]*>\s*", "", why.replace(str(path), path.name)).strip().rstrip(".")
    return InputError(f"{path}: damaged TIFF ({why}). Export or copy the image again.")


def require_whole(path: Path, file_size: int, page: Any) -> None:
    """Every strip and tile must be there: tifffile reads a byte count of 0 as zeros, ImageJ hangs on it."""
    offsets, counts = page.dataoffsets, page.databytecounts
    expected = int(np.prod(page.chunked))
    # tifffile (and ImageJ) write one long strip for a contiguous image of several planes.
    one_strip = len(offsets) == 1 and page.compression == 1
    if (len(offsets) != len(counts) or len(offsets) < expected) and not one_strip:
        raise damaged(path, f"{len(offsets)} of {expected} strips")
    for i, (offset, count) in enumerate(zip(offsets, counts, strict=False)):
        if count == 0 or offset == 0:
            raise damaged(path, f"strip {i + 1} of {len(offsets)} is empty")
        if offset + count > file_size:
            raise damaged(
                path, f"strip {i + 1} of {len(offsets)} ends at byte {offset + count} of {file_size}: the file was cut"
            )
    if page.compression == 1:
        needed = (page.imagelength * page.imagewidth * page.samplesperpixel * page.bitspersample + 7) // 8
        if not page.is_tiled and sum(counts) < needed:
            raise damaged(path, f"{sum(counts)} bytes of pixels where {needed} are needed")


def require_depth(path: Path, page: Any) -> None:
    """Refuse pixels of a type that ImageJ does not measure."""
    if page.dtype is None or page.dtype.name not in ("uint8", "uint16", "uint32", "int32", "float32", "bool"):
        name = "an unknown type" if page.dtype is None else page.dtype.name
        raise InputError(
            f"{path}: pixels of a type ImageJ does not measure (got {name}, expected 8- or 16-bit unsigned or 32-bit). Save it as 16-bit or 32-bit."
        )
