"""What the readers of microscopes' own files share: their libraries, and what is said about damage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bridge.calibration import PIXELS, Calibration
from bridge.errors import BridgeError, InputError, MissingDependencyError
from bridge.images.image import ImageInfo

MOST_PLANES = 1_000_000
TYPES = ("uint8", "uint16", "float32")


def library(path: Path, module: str, extra: str) -> Any:
    """Return the library that reads a kind of file.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingDependencyError(
            f"{path}: {extra.upper()} files need a library that is not installed (expected the extra {extra}). "
            f"Install it: pip install 'cellpose-fiji-bridge[{extra}]'"
        ) from None


@contextmanager
def on_record(path: Path, kind: str) -> Iterator[None]:
    """Whatever a library raises about a file is said as damage."""
    try:
        yield
    except BridgeError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: needs more memory than there is, or is damaged (got a file of {path.stat().st_size} bytes). Crop it, or copy it again.") from error  # fmt: skip
    except Exception as error:  # the libraries raise types of their own
        why = " ".join(str(error).replace(str(path), path.name).split())[:200].rstrip(".")
        raise damaged(path, kind, why or type(error).__name__) from error


def damaged(path: Path, kind: str, why: str) -> InputError:
    """Return what is said about a damaged file."""
    return InputError(f"{path}: damaged {kind} ({why}). Copy the file again.")


def xml_of(path: Path, text: str) -> ElementTree.Element:
    """Return the root of a header.

    Raises
    ------
    InputError
        It declares a document type.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path}: its header declares a document type (expected none). Export the image again.")
    return ElementTree.fromstring(text.encode())


def in_um(metres: str | None) -> float | None:
    """Return a length in um, with all of its digits; None where there is none.

    Examples
    --------
    >>> in_um("6.5e-07"), in_um("0"), in_um("?")
    (0.65, None, None)
    """
    try:
        size = float(Decimal((metres or "").strip()) * 10**6)
    except InvalidOperation:
        return None
    return size if math.isfinite(size) and size > 0 else None


def micron(width: float | None, height: float | None) -> Calibration:
    """Return the calibration of pixels of this width and height in um."""
    return PIXELS if not width else Calibration(width, height or width, "micron")


def unique(names: list[str], n: int) -> tuple[str, ...]:
    """Return names of channels, or their numbers where the names do not tell them apart."""
    return tuple(names) if len(names) == n == len(set(names)) and all(names) else tuple(str(k + 1) for k in range(n))


def require_planes(path: Path, *sizes: int) -> None:
    """Refuse more planes than any file has: what a header says costs nothing to write.

    Raises
    ------
    InputError
    """
    if min(sizes) < 1 or math.prod(sizes) > MOST_PLANES:
        raise InputError(f"{path}: promises {' x '.join(map(str, sizes))} planes (expected 1 to {MOST_PLANES:,}). Copy the file again.")  # fmt: skip


def require_type(path: Path, dtype: str) -> None:
    """Refuse pixels of a type that ImageJ does not measure."""
    if dtype not in TYPES:
        raise InputError(f"{path}: pixels of a type ImageJ does not measure (got {dtype}, expected 8- or 16-bit unsigned or 32-bit). Export it as 16-bit.")  # fmt: skip


def like_promised(info: ImageInfo, pixels: Any, kind: str) -> None:
    """Refuse pixels of another size or type than the header promised."""
    shape = (info.height, info.width, *((3,) if info.colour else ()))
    if pixels.shape != shape or str(pixels.dtype) != info.dtype:
        raise damaged(info.path, kind, f"a plane of shape {pixels.shape}, {pixels.dtype}, where {shape}, {info.dtype} is promised")  # fmt: skip
