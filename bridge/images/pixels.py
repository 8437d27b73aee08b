"""Grey levels: what ImageJ can measure, and where the camera was full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError


def saturation_level(pixels: npt.NDArray[Any]) -> float | None:
    """Return the grey level at which the camera was full, or None where nothing is saturated.

    The level is the image's maximum if it is that of a full 8-, 10-, 12-, 14- or 16-bit camera, or if at least 0.01 % of
    the pixels pile up at it (some cameras stop below a power of two).

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)

    Returns
    -------
    float or None

    Examples
    --------
    >>> saturation_level(np.array([[0, 4095]], np.uint16))
    4095.0
    """
    top = float(pixels.max())
    if top == float(pixels.min()):
        return None
    depths = {"uint8": (8,), "uint16": (10, 12, 14, 16)}.get(pixels.dtype.name, ())
    if top in {float(2**k - 1) for k in depths}:
        return top
    count = int(np.count_nonzero(pixels == top))
    if pixels.dtype == np.float32 or count < max(20, 1e-4 * pixels.size):
        return None
    # A camera that is full piles its pixels up at one level; the tail of a histogram does not.
    below = max(int(np.count_nonzero(pixels == level)) for level in (top - 1, top - 2, top - 3))
    return top if count > 4 * max(below, 1) else None


def measurable(path: Path, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return pixels in a type that ImageJ measures, or refuse them."""
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype in (np.uint32, np.int32):
        if pixels.min() < -(2**24) or pixels.max() > 2**24:
            raise InputError(
                f"{path}: 32-bit integers that ImageJ cannot hold exactly (got up to {pixels.max()}, expected at most "
                f"{2**24}). Save it as 16-bit."
            )
        pixels = pixels.astype(np.float32)
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        bad = int(np.count_nonzero(~np.isfinite(pixels)))
        raise InputError(
            f"{path}: NaN or infinite pixels (got {bad}, expected none). ImageJ would leave them out of areas and means; replace them first."
        )
    return pixels
