"""Large images: overlapping tiles, and how their label images are joined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


def tiles(shape: tuple[int, ...], tile: int, overlap: int) -> Iterator[tuple[slice, slice]]:
    """Yield windows of at most `tile` px a side that cover an image, neighbours sharing at least `overlap` px."""

    def cuts(length: int) -> list[slice]:
        if length <= tile:
            return [slice(0, length)]
        n = int(np.ceil((length - overlap) / (tile - overlap)))
        starts = np.linspace(0, length - tile, n).round().astype(int)
        return [slice(int(start), int(start) + tile) for start in starts]

    for rows in cuts(shape[0]):
        for columns in cuts(shape[1]):
            yield rows, columns


def cellpose_tiles(
    transforms: Any, shape: tuple[int, ...], rescale: float, tile_px: int, **padding: Any
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the middles of the tiles into which Cellpose cuts an image, along y and x, in px of the scaled image.

    Parameters
    ----------
    transforms : module
        Of the installed Cellpose, which cuts.
    shape : (int, int)
    rescale : float
        By which Cellpose scales the image before.
    tile_px : int
    **padding
        How this version of Cellpose pads the image.
    """
    height, width = (int(side * rescale) for side in shape)
    top, bottom, left, right = transforms.get_pad_yx(height, width, **padding)
    padded = np.zeros((0, height + top + bottom, width + left + right), np.float32)
    _, rows, columns, *_ = transforms.make_tiles(padded, bsize=tile_px)
    return np.unique(np.mean(rows, axis=1)) - top, np.unique(np.mean(columns, axis=1)) - left


def stitch(
    parts: Iterator[tuple[tuple[slice, slice], npt.NDArray[Any]]], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Join the label images of overlapping tiles; a cell is taken from a tile that holds it whole.

    Parameters
    ----------
    parts : iterator of (window, label image of the window)
    shape : (int, int)
        Of the whole image.

    Returns
    -------
    labels : ndarray of int64, shape (Y, X)
    cut : list of int
        Labels that no tile held whole.
    """
    whole = np.zeros(shape, np.int64)
    count = 0
    left_over: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []

    def place(y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]) -> bool:
        nonlocal count
        free = whole[y, x] == 0
        # Mostly there already: the neighbouring tile found the same cell.
        if free.sum() * 2 <= free.size:
            return False
        count += 1
        whole[y[free], x[free]] = count
        return True

    for (rows, columns), labels in parts:
        inner = _at_inner_edge(labels, rows, columns, shape)
        order = np.argsort(labels, axis=None, kind="stable")
        ids = labels.ravel()[order]
        starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), ids.size], strict=True):
            if ids[start] == 0:
                continue
            y, x = np.divmod(order[start:end], labels.shape[1])
            y, x = y + rows.start, x + columns.start
            if inner[ids[start]]:
                left_over.append((y, x))
            else:
                place(y, x)
    cut = []
    for y, x in sorted(left_over, key=lambda pixels: -pixels[0].size):
        if place(y, x):
            cut.append(count)
    return whole, cut


def _at_inner_edge(
    labels: npt.NDArray[Any], rows: slice, columns: slice, shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    touching = np.zeros(int(labels.max()) + 1, bool)
    if rows.start > 0:
        touching[labels[0]] = True
    if rows.stop < shape[0]:
        touching[labels[-1]] = True
    if columns.start > 0:
        touching[labels[:, 0]] = True
    if columns.stop < shape[1]:
        touching[labels[:, -1]] = True
    return touching
