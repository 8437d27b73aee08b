"""Uneven illumination: its estimate over many fields, and images divided by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError

SMOOTH_PART = 10  # of the image's width


def estimate_flat_field(images: Iterable[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Return how bright the light is at each pixel.

    Parameters
    ----------
    images : iterable of ndarray, shape (Y, X)
        Fields of one channel; cells lie elsewhere in each of them, so that the light is what they share.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Mean of the images, each divided by its median, smoothed over a tenth of the width; its mean is 1.

    Raises
    ------
    InputError
        The median of every image is 0.

    Examples
    --------
    >>> float(estimate_flat_field([np.full((20, 20), 7, np.uint8)])[3, 4])
    1.0
    """
    from scipy import ndimage

    total: npt.NDArray[np.float64] | None = None
    n = 0
    for image in images:
        middle = float(np.median(image))
        if middle > 0:
            part = image / middle
            total = part if total is None else total + part
            n += 1
    if total is None:
        raise InputError(
            "the median of every image is grey level 0 (expected light). Export the images without subtracting their background."
        )
    smooth = ndimage.gaussian_filter(total / n, total.shape[1] / SMOOTH_PART, mode="nearest")
    flat: npt.NDArray[np.float32] = (smooth / smooth.mean()).astype(np.float32)
    return flat


def divided(pixels: npt.NDArray[Any], flat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return an image divided by the light, as ImageJ's Image Calculator does (Divide, 32-bit result).

    Examples
    --------
    >>> divided(np.array([[6, 8]], np.uint8), np.array([[0.75, 1.25]], np.float32)).tolist()
    [[8.0, 6.400000095367432]]
    """
    result: npt.NDArray[np.float32] = pixels.astype(np.float32) / (flat / np.float32(flat.mean(dtype=np.float64)))
    return result


def moved(pixels: npt.NDArray[Any], x: int, y: int) -> npt.NDArray[Any]:
    """Return an image moved to the right and downwards; what comes in at an edge repeats the edge.

    Examples
    --------
    >>> moved(np.array([[1, 2, 3]]), 1, 0).tolist()
    [[1, 1, 2]]
    """
    height, width = pixels.shape
    rows = np.clip(np.arange(height) - y, 0, height - 1)
    columns = np.clip(np.arange(width) - x, 0, width - 1)
    return np.ascontiguousarray(pixels[rows[:, None], columns[None, :]])
