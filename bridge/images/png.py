"""PNG and JPEG."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError
from bridge.images.image import ImageInfo, require_size


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what a PNG or JPEG says about itself."""
    from PIL import Image

    with _pillow_on_record(path), Image.open(path) as image:
        width, height = image.size
        require_size(path, height, width)
        mode = image.mode
    with path.open("rb") as file:
        head = file.read(25)
    if head.startswith(b"\x89PNG") and head[24] == 16 and not mode.startswith("I"):
        raise InputError(
            f"{path}: a 16-bit PNG with colour or transparency (its reader keeps 8 bit only). Save it as a 16-bit grey TIFF."
        )
    dtypes = {
        "L": "uint8",
        "LA": "uint8",
        "1": "uint8",
        "RGB": "uint8",
        "RGBA": "uint8",
        "I;16": "uint16",
        "I;16B": "uint16",
        "I": "uint16",
    }
    if mode not in dtypes:
        raise InputError(
            f"{path}: pixels of a kind that is not measured (got mode {mode}, expected 8- or 16-bit grey). Save it as TIFF."
        )
    info = ImageInfo(
        path,
        height,
        width,
        dtypes[mode],
        colour=mode in ("RGB", "RGBA"),
        lossy=path.suffix if path.suffix.lower() in (".jpg", ".jpeg") else "",
        unmeasured=_unmeasured(mode, head),
    )
    return (info,)


def _unmeasured(mode: str, head: bytes) -> str:
    if mode == "LA":
        return "a grey PNG with an alpha channel (expected grey alone). ImageJ opens it with other, brighter grey values; save it as TIFF."
    if head.startswith(b"\x89PNG") and mode == "L" and head[24] < 8:
        return f"a PNG of {head[24]} bits a pixel (expected 8 or 16). Its grey levels are scaled by whoever opens it; save it as TIFF."
    return ""


def decode(info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:  # noqa: ARG001 it holds one plane
    """Return the pixels of a PNG or JPEG."""
    from PIL import Image

    path = info.path
    with _pillow_on_record(path), Image.open(path) as opened:
        opened.load()
        image: Image.Image = opened
        if image.mode in ("LA", "RGBA"):
            alpha = np.asarray(image.getchannel("A"))
            if alpha.min() < 255:
                raise InputError(f"{path}: transparent pixels (expected none). Save it without transparency.")
            image = image.convert(image.mode[:-1])
        if image.mode == "1":
            image = image.convert("L")
        pixels = np.array(image)
    if pixels.dtype == np.int32:
        if pixels.min() < 0 or pixels.max() > 65535:
            raise InputError(
                f"{path}: grey values outside 16 bit (got {pixels.min()} to {pixels.max()}). Save it as TIFF."
            )
        pixels = pixels.astype(np.uint16)
    return pixels


@contextmanager
def _pillow_on_record(path: Path) -> Iterator[None]:
    from PIL import Image

    with warnings.catch_warnings():
        # Pillow only warns from 89 Mpx on; our own limit decides.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except (InputError, MemoryError):
            raise
        except Exception as error:
            why = str(error).replace(str(path), path.name).strip().rstrip(".")
            raise InputError(f"{path}: damaged or not an image ({why}). Export or copy the image again.") from error
