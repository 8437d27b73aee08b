"""What the pixels of one image say about how it was taken."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from bridge.grey_scale import saturation_level
from bridge.labels import Labels

OUTSIDE_PX = 5  # from a cell, so that its glow is not taken for the ground
_DARK = 0.1  # percentile that stands for the camera's offset
_BLOCKS = 16


class ImageNumbers(TypedDict):
    """Numbers of one image; plain data, as they stand in a record.

    Attributes
    ----------
    dtype : str
    low, high : float
        Grey levels.
    full_level : float or None
        The grey level at which the camera was full.
    full_share : float
        Share of the cells' pixels at that level; of all pixels where no cells are known.
    black_share : float
        Share of pixels at grey level 0 (of integers).
    empty_levels : float or None
        Share of the grey levels between `low` and `high` that no pixel has; of 8-bit images alone.
    focus : float
        Vollath's F4 divided by the square of the mean above the dark level.
    ground, ground_mad : float or None
        Median and median absolute deviation of the pixels at least `OUTSIDE_PX` from every cell.
    shading : list of list of float
        Mean grey level of 16 x 16 blocks, as parts of the image's median.
    """

    dtype: str
    low: float
    high: float
    full_level: float | None
    full_share: float
    black_share: float
    empty_levels: float | None
    focus: float
    ground: float | None
    ground_mad: float | None
    shading: list[list[float]]


def ground_of(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return every second pixel of every second row: whether it lies at least `OUTSIDE_PX` from every cell."""
    from scipy import ndimage

    inside = (labels[::2, ::2] > 0).view(np.uint8)
    ground: npt.NDArray[np.bool_] = ndimage.maximum_filter(inside, 2 * (OUTSIDE_PX // 2 + 1) + 1) == 0
    return ground


def image_numbers(
    pixels: npt.NDArray[Any], labels: Labels | None = None, ground: npt.NDArray[np.bool_] | None = None
) -> ImageNumbers:
    """Return what the pixels of an image say about how it was taken.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
    labels : ndarray of uint16 or uint32, shape (Y, X), optional
        The cells.
    ground : ndarray of bool, optional
        `ground_of` the cells, where several images share them.

    Returns
    -------
    ImageNumbers

    Notes
    -----
    Focus: Vollath, J. Microscopy 147 (1987) 279; of the measures in common use the one that noise changes least.

    Examples
    --------
    >>> image_numbers(np.tile(np.array([[0, 4095]], np.uint16), (20, 10)))["full_share"]
    0.5
    """
    inside = np.ones(pixels.shape, bool) if labels is None else labels > 0
    level = saturation_level(pixels)
    integer = pixels.dtype != np.float32
    if labels is not None and ground is None:
        ground = ground_of(labels)
    middle, spread = _ground(pixels, ground) if ground is not None else (None, None)
    return {
        "dtype": pixels.dtype.name,
        "low": float(pixels.min()),
        "high": float(pixels.max()),
        "full_level": level,
        "full_share": 0.0 if level is None else float((pixels == level)[inside].sum() / max(1, inside.sum())),
        "black_share": float(np.mean(pixels == 0)) if integer else 0.0,
        "empty_levels": _empty_levels(pixels) if pixels.dtype == np.uint8 else None,
        "focus": _focus(pixels),
        "ground": middle,
        "ground_mad": spread,
        "shading": _shading(pixels),
    }


def _focus(pixels: npt.NDArray[Any]) -> float:
    values = pixels.astype(np.float32)
    values -= np.float32(np.percentile(values[::4, ::4], _DARK))
    mean = float(values.mean(dtype=np.float64))
    if values.shape[1] < 3 or mean <= 0:
        return 0.0
    near = np.einsum("yx,yx->", values[:, :-1], values[:, 1:], dtype=np.float64) / values[:, 1:].size
    far = np.einsum("yx,yx->", values[:, :-2], values[:, 2:], dtype=np.float64) / values[:, 2:].size
    # The last digits of a sum depend on where the array lies in memory.
    return float(f"{(near - far) / mean**2:.6g}")


def _ground(pixels: npt.NDArray[Any], ground: npt.NDArray[np.bool_]) -> tuple[float | None, float | None]:
    values = pixels[::2, ::2][ground].astype(np.float64)
    if values.size < 100:
        return None, None
    middle = float(np.median(values))
    return middle, float(np.median(np.abs(values - middle)))


def _empty_levels(pixels: npt.NDArray[Any]) -> float:
    counts = np.bincount(pixels.ravel(), minlength=256)
    low, high = np.flatnonzero(counts)[[0, -1]]
    return float(np.mean(counts[low : high + 1] == 0))


def _shading(pixels: npt.NDArray[Any]) -> list[list[float]]:
    height, width = (n // _BLOCKS * _BLOCKS for n in pixels.shape)
    if not height or not width:
        return []
    blocks = pixels[:height, :width].reshape(_BLOCKS, height // _BLOCKS, _BLOCKS, width // _BLOCKS)
    means = blocks.mean(axis=(1, 3), dtype=np.float64)
    middle = float(np.median(means))
    return [[round(float(v), 4) for v in row] for row in means / middle] if middle > 0 else []
