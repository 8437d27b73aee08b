"""Grey levels that ImageJ can measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError


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
