"""A field as the report holds it: a small grey picture of each channel, and the ids of its cells and nuclei."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.files import write_bytes
from bridge.labels import Labels

_MOST_PX = 450_000_000  # of all pictures together: about 40 MB as WebP and base64
_QUALITY = 75  # 36 to 43 dB for fluorescence images, at a thirtieth of a byte a pixel
LARGEST_SCALE = 8


def scale_for(pixels: int) -> int:
    """Return by how much the fields of a report are made smaller.

    Parameters
    ----------
    pixels : int
        Of all channels of all fields.

    Returns
    -------
    int
        1 for full size, up to `LARGEST_SCALE`.

    Examples
    --------
    >>> scale_for(60 * 3 * 1024**2), scale_for(30 * 3 * 4096**2)
    (1, 2)
    """
    return min(LARGEST_SCALE, max(1, math.ceil(math.sqrt(pixels / _MOST_PX))))


def write_channel(path: Path, pixels: npt.NDArray[Any], shown: tuple[float, float], scale: int) -> None:
    """Write a channel as a grey WebP.

    Parameters
    ----------
    path : Path
    pixels : ndarray, shape (Y, X)
    shown : (float, float)
        Grey levels shown as black and white: the same for all fields of a channel.
    scale : int
        So many pixels a side become one, their mean.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from PIL import Image

    low, high = shown
    small = _means(pixels.astype(np.float32), scale)
    grey = np.clip((small - low) * (255.0 / (high - low)), 0, 255)
    content = io.BytesIO()
    Image.fromarray(np.rint(grey).astype(np.uint8)).save(content, format="WEBP", quality=_QUALITY, method=4)
    write_bytes(path, content.getvalue())


def write_ids(path: Path, labels: Labels, scale: int) -> None:
    """Write a label image as a PNG whose colours are the ids: red + 256 green + 65536 blue.

    Parameters
    ----------
    path : Path
    labels : ndarray of unsigned int, shape (Y, X)
    scale : int
        Every so manieth pixel is kept.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    write_bytes(path, ids_png(labels, scale))


def ids_png(labels: Labels, scale: int) -> bytes:
    """Return the PNG that `write_ids` writes."""
    from PIL import Image

    offset = scale // 2 if min(labels.shape) > scale else 0
    ids = labels[offset::scale, offset::scale].astype(np.uint32)
    ids = ids[: max(1, labels.shape[0] // scale), : max(1, labels.shape[1] // scale)]
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(colours).save(content, format="PNG", compress_level=6)
    return content.getvalue()


def _means(pixels: npt.NDArray[np.float32], scale: int) -> npt.NDArray[np.float32]:
    """Return the mean of blocks; what is left over at the edges is dropped."""
    height, width = (side // scale for side in pixels.shape)
    if scale == 1 or not height or not width:
        return pixels
    blocks = pixels[: height * scale, : width * scale].reshape(height, scale, width, scale)
    found: npt.NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return found
