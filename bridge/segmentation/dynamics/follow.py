"""Where each pixel of a cell ends when it follows the flows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.cores import on_all_cores
from bridge.kernels import kernel

PAD = 20  # of the histogram of ends, on each side: cellpose.dynamics.get_masks_torch (rpad)
_CHUNK, _BLOCK = 16384, 256  # pixels of a task, and pixels that are moved together
_PERIOD = 6


def ends_of(
    flows: npt.NDArray[np.float32], cellprob: npt.NDArray[np.float32], threshold: float, niter: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Follow the flows from each pixel that belongs to a cell.

    Parameters
    ----------
    flows : ndarray of float32, shape (2, Y, X)
        Along y and x.
    cellprob : ndarray of float32, shape (Y, X)
    threshold : float
        Pixels above it belong to a cell.
    niter : int
        Steps.

    Returns
    -------
    pixels : ndarray of int32, shape (n,)
        Of the flat image, those that belong to a cell.
    ends : ndarray of int32, shape (n,)
        Where each of them ends, in the flat image that is padded by `PAD` on each side.

    Notes
    -----
    As cellpose.dynamics.follow_flows of Cellpose 3 on a CPU (steps_interp, map_coordinates), to the last bit: the sum of
    the four corners in float64, rounded once to float32; place and step added in float32.
    """
    height, width = cellprob.shape
    field = np.empty((height + 1, width + 1, 2), np.float32)
    pixels = np.empty(height * width, np.int32)
    n = _prepare(flows, cellprob, np.float32(threshold), field, pixels)
    pixels, ends = pixels[:n], np.empty(n, np.int32)
    packed = field.view(np.int64).ravel()  # both flows of a pixel in one load

    def work(first: int) -> None:
        _follow(packed, pixels, first, min(n, first + _CHUNK), height, width, niter, ends)

    on_all_cores(work, range(0, n, _CHUNK))
    return pixels, ends


@kernel
def _prepare(flows: Any, cellprob: Any, threshold: Any, field: Any, pixels: Any) -> Any:
    """Scale the flows of cells by 1/5, 0 elsewhere; the last row and column stand twice, as Cellpose clamps there."""
    height, width = cellprob.shape
    n, five = 0, np.float32(5)
    for y in range(height):
        for x in range(width):
            if cellprob[y, x] > threshold:
                field[y, x, 0] = flows[0, y, x] / five
                field[y, x, 1] = flows[1, y, x] / five
                pixels[n] = y * width + x
                n += 1
            else:
                field[y, x, 0] = 0
                field[y, x, 1] = 0
        field[y, width, 0] = field[y, width - 1, 0]
        field[y, width, 1] = field[y, width - 1, 1]
    field[height] = field[height - 1]
    return n


# Three loops, not one: LLVM does not vectorise a loop that loads from anywhere.
@kernel
def _offsets(y: Any, x: Any, offset: Any, n: Any, stride: Any) -> None:
    for j in range(n):
        offset[j] = np.int32(y[j]) * stride + np.int32(x[j])


@kernel
def _load(field: Any, offset: Any, corners: Any, n: Any, stride: Any) -> None:
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    for j in range(n):
        p = np.intp(np.uint32(offset[j]))
        q = p + stride
        a[j] = field[p]
        b[j] = field[p + 1]
        c[j] = field[q]
        d[j] = field[q + 1]


@kernel
def _move(ys: Any, xs: Any, a: Any, b: Any, c: Any, d: Any, n: Any, last_y: Any, last_x: Any) -> None:
    zero = np.float32(0)
    for j in range(n):
        y, x = ys[j], xs[j]
        fy, fx = y - np.float32(np.int32(y)), x - np.float32(np.int32(x))
        gy, gx = 1.0 - np.float64(fy), 1.0 - np.float64(fx)
        # float32 times float32 is rounded to float32, with a float64 in it to float64: numba's types of Cellpose's words.
        dy = np.float32(a[2 * j] * gy * gx + b[2 * j] * gy * fx + c[2 * j] * fy * gx + d[2 * j] * fy * fx)
        dx = np.float32(
            a[2 * j + 1] * gy * gx + b[2 * j + 1] * gy * fx + c[2 * j + 1] * fy * gx + d[2 * j + 1] * fy * fx
        )
        y += dy
        x += dx
        y = y if y > zero else zero
        x = x if x > zero else zero
        ys[j] = y if y < last_y else last_y
        xs[j] = x if x < last_x else last_x


@kernel
def _follow(field: Any, pixels: Any, first: Any, last: Any, height: Any, width: Any, niter: Any, ends: Any) -> None:
    """Follow the pixels first..last, a block at a time; one that is done makes room for the next.

    A pixel that is, bit for bit, where it was `_PERIOD` steps ago goes round for ever: of its steps only the rest of the
    division by the period remain.
    """
    ys, xs = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    y0, x0 = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    who, left, offset = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    corners = np.empty((4, _BLOCK), np.int64)
    a, b = corners[0].view(np.float32), corners[1].view(np.float32)
    c, d = corners[2].view(np.float32), corners[3].view(np.float32)
    columns = np.int32(width)
    stride, padded = np.int32(columns + 1), np.int32(columns + 2 * PAD)
    last_y, last_x = np.float32(height - 1), np.float32(width - 1)
    following, n = first, 0
    while True:
        while n < _BLOCK and following < last:
            p = pixels[following]
            ys[n] = np.float32(p // columns)
            xs[n] = np.float32(p % columns)
            who[n] = following
            left[n] = niter
            n += 1
            following += 1
        if n == 0:
            return
        steps = np.int32(_PERIOD)
        for j in range(n):
            y0[j] = ys[j]
            x0[j] = xs[j]
            steps = min(steps, left[j])
        for _ in range(steps):
            _offsets(ys, xs, offset, n, stride)
            _load(field, offset, corners, n, stride)
            _move(ys, xs, a, b, c, d, n, last_y, last_x)
        kept = 0
        for j in range(n):
            rest = left[j] - steps
            if steps == _PERIOD and ys[j] == y0[j] and xs[j] == x0[j]:
                rest = rest % _PERIOD
            if rest == 0:
                ends[who[j]] = (np.int32(ys[j]) + PAD) * padded + np.int32(xs[j]) + PAD
            else:
                ys[kept] = ys[j]
                xs[kept] = xs[j]
                who[kept] = who[j]
                left[kept] = rest
                kept += 1
        n = kept
