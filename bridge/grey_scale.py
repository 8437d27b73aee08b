"""Grey levels: where the camera was full, and what a picture shows as black and white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def display_range(images: Sequence[npt.NDArray[Any]]) -> tuple[float, float]:
    """Return the grey levels shown as black and white: 0.1 and 99.9 % of the pixels of all images.

    One range for all fields of a channel: a range for each field would make a dim condition look like a bright one.
    """
    found = [percentiles(image, (0.1, 99.9)) for image in images]
    low, high = min(low for low, _ in found), max(high for _, high in found)
    return low, max(high, low + 1.0)


def percentiles(image: npt.NDArray[Any], wanted: Sequence[float]) -> list[float]:
    """Return percentiles as `numpy.percentile` does; of 8- and 16-bit images by counting, several times sooner.

    Examples
    --------
    >>> percentiles(np.array([0, 10, 20, 30], np.uint8), (50, 75))
    [15.0, 22.5]
    """
    if image.dtype not in (np.uint8, np.uint16):
        return [float(value) for value in np.percentile(image, wanted)]
    reached = np.cumsum(np.bincount(image.ravel()))
    at = np.asarray(wanted) / 100 * (image.size - 1)
    below, above = (np.searchsorted(reached, np.floor(at) + k, side="right") for k in (0, 1))
    return [float(a + (min(b, len(reached) - 1) - a) * part) for a, b, part in zip(below, above, at % 1, strict=True)]


def common_range(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return one range for the fields of a channel, in round numbers: one field more seldom changes it.

    Examples
    --------
    >>> common_range([(103.0, 3987.0), (96.0, 3870.0)])
    (50.0, 4000.0)
    """
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    step = 10.0 ** np.floor(np.log10(high - low)) / 20
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)


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
