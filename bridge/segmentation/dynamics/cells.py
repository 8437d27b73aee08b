"""Cells from where their pixels end: seeds, their surroundings, and the pixels that end there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.kernels import kernel
from bridge.segmentation.dynamics.follow import PAD


def cells_of(pixels: npt.NDArray[np.int32], ends: npt.NDArray[np.int32], shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Return the label image of pixels that end at one place.

    Parameters
    ----------
    pixels, ends : ndarray of int32, shape (n,)
        As `bridge.segmentation.dynamics.follow.ends_of`.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    ndarray of uint16 or uint32, shape (Y, X)
        Labels 1..n by their first pixel.

    Notes
    -----
    As cellpose.dynamics.get_masks_torch of Cellpose 3, without its limit of size.
    """
    height, width = shape
    padded = width + 2 * PAD
    histogram = np.zeros((height + 2 * PAD) * padded, np.int32)
    seeds = _seeds(histogram, ends, padded)
    labels = np.zeros(shape, np.uint16 if seeds.size < 2**16 else np.uint32)
    if seeds.size:
        import torch

        # torch's own sort, so that ties fall as in Cellpose.
        seeds = seeds[torch.from_numpy(histogram[seeds]).argsort().numpy()]
        owner = np.zeros(histogram.size, np.int32)
        _grow(histogram, seeds, padded, owner)
        _paint(owner, ends, pixels, seeds.size, labels.ravel())
    return labels


@kernel
def _seeds(histogram: Any, ends: Any, width: Any) -> Any:
    """Return the places where more than ten pixels end, and nowhere within two pixels more."""
    for p in ends:
        histogram[p] += 1
    found = [0 for _ in range(0)]
    height = histogram.size // width
    for p in range(histogram.size):
        value = histogram[p]
        if value > 10:
            y, x, top = p // width, p % width, True
            for yy in range(max(0, y - 2), min(height, y + 3)):
                for xx in range(max(0, x - 2), min(width, x + 3)):
                    top = top and histogram[yy * width + xx] <= value
            if top:
                found.append(p)
    return np.array(found, np.int64)


@kernel
def _grow(histogram: Any, seeds: Any, width: Any, owner: Any) -> None:
    """Dilate each seed five times in its 11 x 11 window where more than two pixels end; a later seed overwrites."""
    now, then = np.zeros((13, 13), np.bool_), np.zeros((13, 13), np.bool_)
    for k in range(seeds.size):
        y, x = seeds[k] // width, seeds[k] % width
        now[:] = False
        now[6, 6] = True
        for step in range(1, 6):
            then[:] = now
            for i in range(6 - step, 7 + step):
                for j in range(6 - step, 7 + step):
                    if histogram[(y + i - 6) * width + x + j - 6] > 2 and now[i - 1 : i + 2, j - 1 : j + 2].any():
                        then[i, j] = True
            now, then = then, now
        for i in range(1, 12):
            for j in range(1, 12):
                if now[i, j]:
                    owner[(y + i - 6) * width + x + j - 6] = k + 1


@kernel
def _paint(owner: Any, ends: Any, pixels: Any, n_seeds: Any, labels: Any) -> None:
    """Give each pixel the label of its end; labels are numbered by their first pixel."""
    new = np.zeros(n_seeds + 1, np.int64)
    n = 0
    for i in range(ends.size):
        seed = owner[ends[i]]
        if seed:
            if new[seed] == 0:
                n += 1
                new[seed] = n
            labels[pixels[i]] = new[seed]
