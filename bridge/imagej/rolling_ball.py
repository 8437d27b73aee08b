"""ImageJ's rolling ball in numba, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.cores import in_bands
from bridge.errors import InputError
from bridge.imagej.background import FIFTY_PX, Background, require_rollable, shrink_factor
from bridge.kernels import kernel

Floats = npt.NDArray[np.float32]
_HIGHEST = np.float32(np.finfo(np.float32).max)
_BAND = 256  # rows of the small image that are worth a thread: fields of a run have several already


def subtract_background(
    pixels: npt.NDArray[Any], background: Background = FIFTY_PX, name: str = "image"
) -> npt.NDArray[Any]:
    """Subtract the background as ImageJ's Process > Subtract Background does.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
        Finite.
    background : Background
    name : str
        Named in messages.

    Returns
    -------
    ndarray of the same type and shape
        Equal to ImageJ 1.54p's in every bit. With `create_background` the background itself.

    Raises
    ------
    InputError
        A side not larger than the ball's shrink factor, where ImageJ has no defined answer; NaN or infinite pixels;
        the sliding paraboloid, which only ImageJ itself computes.

    Examples
    --------
    >>> image = np.full((60, 60), 300, np.uint16)
    >>> image[20:24, 20:24] = 900
    >>> subtract_background(image)[[0, 22], [0, 22]].tolist()
    [0, 600]
    """
    require_rollable((pixels.shape[0], pixels.shape[1]), background.radius, name)
    if background.sliding_paraboloid:
        raise InputError(
            f"{name}: the sliding paraboloid is computed by ImageJ only (got engine native, expected fiji). "
            "Use --engine fiji, or the rolling ball."
        )
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(
            f"{name}: pixels of type {pixels.dtype} (expected uint8, uint16 or float32). Save it as 8-, 16- or 32-bit."
        )
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype == np.float32 and not _all_finite(pixels):
        raise InputError(f"{name}: NaN or infinite pixels (expected none). Replace them first.")
    shrink = shrink_factor(background.radius)
    ball = _ball(background.radius, shrink)
    height, width = pixels.shape
    small = np.empty((-(-height // shrink), -(-width // shrink)), np.float32)
    sign = np.float32(-1 if background.light_background else 1)
    smooth = not background.disable_smoothing
    in_bands(
        lambda first, last: _smooth_and_shrink(pixels, shrink, smooth, sign, small, first, last), len(small), _BAND
    )
    rolled = _roll(small, ball)
    if shrink == 1:
        columns = rows = (np.zeros(0, np.int64), np.zeros(0, np.float32))
    else:
        columns, rows = _weights(width, small.shape[1], shrink), _weights(height, small.shape[0], shrink)
    out = np.empty_like(pixels)
    highest = np.float32(0 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max)
    # Half a grey level is for rounding; a light background stays white.
    offset = highest + np.float32(0.5) if background.light_background else np.float32(0.5)
    if background.create_background:
        _create(rolled, *columns, *rows, sign, highest, out)
    else:
        in_bands(
            lambda first, last: _subtract(pixels, rolled, *columns, *rows, sign, highest, offset, out, first, last),
            height, shrink * _BAND,
        )  # fmt: skip
    return out


@kernel
def _all_finite(pixels: Any) -> bool:
    flat = pixels.reshape(-1)
    finite = 0
    for i in range(flat.size):
        finite += flat[i] - flat[i] == 0
    return finite == flat.size  # type: ignore[no-any-return]


def _ball(radius: float, shrink: int) -> Floats:
    trim = {1: 24, 2: 24, 4: 32, 8: 40}[shrink]  # percent of the radius that is cut off at each side
    small_radius = max(radius / shrink, 1.0)
    half_width = math.floor(small_radius - int(trim * small_radius) // 100 + 0.5)
    squares = np.arange(-half_width, half_width + 1, dtype=np.float64) ** 2
    rest = small_radius * small_radius - squares[None, :] - squares[:, None]
    ball: Floats = np.sqrt(np.maximum(rest, 0)).astype(np.float32)
    return ball


def _roll(small: Floats, ball: Floats) -> Floats:
    """Push the ball up against the image from below, also where its centre lies outside; return what it touches."""
    reach = ball.shape[0] // 2
    height, width = small.shape
    around = np.full((height + 4 * reach, width + 4 * reach), _HIGHEST, np.float32)
    around[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width] = small
    centres = np.empty((height + 2 * reach, width + 2 * reach), np.float32)
    in_bands(lambda first, last: _lowest(around, ball, centres, first, last), len(centres), _BAND)
    in_bands(lambda first, last: _highest_of(centres, ball, small, first, last), height, _BAND)
    return small


def _weights(length: int, small_length: int, shrink: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """For each pixel the first of two pixels of the small image, and its weight."""
    i = np.arange(length)
    first = np.where(i < shrink // 2, 0, (i - shrink // 2) // shrink)
    first = np.minimum(first, small_length - 2)
    distance = (i.astype(np.float32) + np.float32(0.5)) / np.float32(shrink) - (
        first.astype(np.float32) + np.float32(0.5)
    )
    return first, np.float32(1) - distance


@kernel
def _smooth_and_shrink(
    pixels: Any, shrink: int, smooth: bool, sign: Any, small: Any, first_block: int, last_block: int
) -> None:
    """3 x 3 mean (along x, then y), then the minimum of blocks; without a float copy of the image."""
    height, width = pixels.shape
    third = np.float32(0.33333333)
    line = np.empty(width + 2, np.float32)  # of the image, with its ends repeated
    means = np.empty((3, width), np.float32)  # along x, of three rows
    # Two by turns, as below; the rest of the last block never counts.
    lowest = np.full(small.shape[1] * shrink, np.float32(3.4028234663852886e38))
    other = lowest.copy()
    for block in range(first_block, last_block):
        first, last = block * shrink, min(height, (block + 1) * shrink)
        lowest[:width] = np.float32(3.4028234663852886e38)
        for y in range(first, last):
            if smooth:
                for k in range(-1, 2):
                    if k < 1 and y > first:
                        continue  # two of the three are there already
                    read, mean = pixels[min(max(y + k, 0), height - 1)], means[(y + k) % 3]
                    inner = line[1:-1]
                    for x in range(width):
                        inner[x] = sign * np.float32(read[x])
                    line[0], line[-1] = line[1], line[-2]
                    before, after = line[:-2], line[2:]
                    for x in range(width):
                        mean[x] = (before[x] + inner[x] + after[x]) * third
                above, middle, below = means[(y - 1) % 3], means[y % 3], means[(y + 1) % 3]
                for x in range(width):
                    value = (above[x] + middle[x] + below[x]) * third
                    other[x] = value if value < lowest[x] else lowest[x]
            else:
                read = pixels[y]
                for x in range(width):
                    value = sign * np.float32(read[x])
                    other[x] = value if value < lowest[x] else lowest[x]
            lowest, other = other, lowest
        # Shrink factors are powers of two.
        n, step = lowest.size, 1
        while step < shrink:
            n, step = n // 2, 2 * step
            for i in range(n):
                a, b = lowest[2 * i], lowest[2 * i + 1]
                other[i] = a if a < b else b
            lowest, other = other, lowest
        small[block] = lowest[:n]


@kernel
def _lowest(image: Any, ball: Any, out: Any, first: int, last: int) -> None:
    """Minimum of image - ball under the ball. The ball is symmetric: mirrored rows and columns are folded first."""
    side = ball.shape[0]
    width, wide = out.shape[1], image.shape[1]
    folded = np.empty(wide, np.float32)
    # Two lines by turns: written in place, the minimum becomes a masked store, which is five times slower.
    line, other = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(first, last):
        line[:] = np.float32(3.4028234663852886e38)
        for dy in range(side // 2 + 1):
            a, b = image[y + dy], image[y + side - 1 - dy]
            for x in range(wide):
                folded[x] = a[x] if a[x] < b[x] else b[x]
            for dx in range(side // 2 + 1):
                rise = ball[dy, dx]
                left, right = folded[dx : dx + width], folded[side - 1 - dx : side - 1 - dx + width]
                for x in range(width):
                    value = (left[x] if left[x] < right[x] else right[x]) - rise
                    other[x] = value if value < line[x] else line[x]
                line, other = other, line
        out[y] = line


@kernel
def _highest_of(image: Any, ball: Any, out: Any, first: int, last: int) -> None:
    """Maximum of image + ball under the ball."""
    side = ball.shape[0]
    width, wide = out.shape[1], image.shape[1]
    folded = np.empty(wide, np.float32)
    line, other = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(first, last):
        line[:] = np.float32(-3.4028234663852886e38)
        for dy in range(side // 2 + 1):
            a, b = image[y + dy], image[y + side - 1 - dy]
            for x in range(wide):
                folded[x] = a[x] if a[x] > b[x] else b[x]
            for dx in range(side // 2 + 1):
                rise = ball[dy, dx]
                left, right = folded[dx : dx + width], folded[side - 1 - dx : side - 1 - dx + width]
                for x in range(width):
                    value = (left[x] if left[x] > right[x] else right[x]) + rise
                    other[x] = value if value > line[x] else line[x]
                line, other = other, line
        out[y] = line


@kernel
def _background_row(
    small: Any, column: Any, column_weight: Any, row: Any, y: int, upper: Any, lower: Any, done: int
) -> Any:
    """Prepare the two lines of the small image between which row y lies; return the first one's number."""
    if row.size == 0 or row[y] == done:
        return done
    one = np.float32(1)
    a, b = small[row[y]], small[row[y] + 1]
    for x in range(upper.size):
        i, weight = column[x], column_weight[x]
        upper[x] = a[i] * weight + a[i + 1] * (one - weight)
        lower[x] = b[i] * weight + b[i + 1] * (one - weight)
    return row[y]


@kernel
def _subtract(
    pixels: Any, small: Any, column: Any, column_weight: Any, row: Any, row_weight: Any, sign: Any, highest: Any,
    offset: Any, out: Any, first: int, last: int,
) -> None:  # fmt: skip
    """Enlarge the background by bilinear interpolation and subtract it; highest = 0: a float image."""
    width = pixels.shape[1]
    zero, one = np.float32(0), np.float32(1)
    upper, lower = np.empty(width, np.float32), np.empty(width, np.float32)
    level = np.empty(width, np.float32)
    done = -1
    for y in range(first, last):
        if row.size == 0:
            for x in range(width):
                level[x] = sign * small[y, x]
        else:
            done = _background_row(small, column, column_weight, row, y, upper, lower, done)
            weight = row_weight[y]
            rest = one - weight
            for x in range(width):
                level[x] = sign * (upper[x] * weight + lower[x] * rest)
        line, result = pixels[y], out[y]
        if highest == zero:
            for x in range(width):
                result[x] = np.float32(line[x]) - level[x]
        else:
            for x in range(width):
                value = np.float32(line[x]) - level[x] + offset
                value = value if value > zero else zero
                value = value if value < highest else highest
                result[x] = np.int32(value)


@kernel
def _create(
    small: Any, column: Any, column_weight: Any, row: Any, row_weight: Any, sign: Any, highest: Any, out: Any
) -> None:
    """Enlarge the background; highest = 0: a float image."""
    height, width = out.shape
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    upper, lower = np.empty(width, np.float32), np.empty(width, np.float32)
    done = -1
    for y in range(height):
        done = _background_row(small, column, column_weight, row, y, upper, lower, done)
        for x in range(width):
            if row.size == 0:
                level = sign * small[y, x]
            else:
                level = sign * (upper[x] * row_weight[y] + lower[x] * (one - row_weight[y]))
            if highest != zero:
                level += half
                level = level if level > zero else zero
                level = level if level < highest else highest
                out[y, x] = np.int32(level)
            else:
                out[y, x] = level
