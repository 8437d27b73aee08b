"""Mode, median, share of zeros and moments of the pixels of each ROI, in numba, bit for bit as ij.process has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.kernels import kernel
from bridge.selections import Selections

Doubles = npt.NDArray[np.float64]
_TINY = 5e-324  # Double.MIN_VALUE, which ImageJ adds to each 8- and 32-bit pixel so that no sum is 0


@dataclass(frozen=True)
class Distribution:
    """Grey levels of each ROI.

    Attributes
    ----------
    mode, median, percent_not_zero : ndarray of float64, shape (n_rois,)
        As ImageStatistics' dmode, median and areaFraction.
    """

    mode: Doubles
    median: Doubles
    percent_not_zero: Doubles


@dataclass(frozen=True)
class Moments:
    """Sums over the pixels of each ROI, row by row, as ImageStatistics.calculateMoments makes them.

    Attributes
    ----------
    first, second, third, fourth : ndarray of float64, shape (n_rois,)
        Of the powers of the grey levels.
    x, y : ndarray of float64, shape (n_rois,)
        Of column and row, weighted by the grey level.
    """

    first: Doubles
    second: Doubles
    third: Doubles
    fourth: Doubles
    x: Doubles
    y: Doubles


def distribution(pixels: npt.NDArray[Any], selections: Selections) -> Distribution:
    """Return mode, median and share of pixels that are not 0.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
    selections : Selections

    Returns
    -------
    Distribution
    """
    found = np.zeros((3, len(selections.names)))
    runs = selections.row, selections.left, selections.right, selections.first
    kernel = _of_floats if pixels.dtype == np.float32 else _of_integers
    kernel(np.ascontiguousarray(pixels), *runs, found[0], found[1], found[2])
    return Distribution(found[0], found[1], found[2])


def moments(pixels: npt.NDArray[Any], selections: Selections, table: npt.NDArray[np.float32] | None = None) -> Moments:
    """Return the sums from which skewness, kurtosis and center of mass follow.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
    selections : Selections
    table : ndarray of float32, shape (n_levels,), or None
        What each grey level stands for.

    Returns
    -------
    Moments
    """
    found = np.zeros((6, len(selections.names)))
    runs = selections.row, selections.left, selections.right, selections.first
    tiny = 0.0 if pixels.dtype == np.uint16 else _TINY
    pixels = np.ascontiguousarray(pixels)
    if table is None:
        _sum_moments(pixels, *runs, tiny, found)
    else:
        _sum_moments(table[pixels], *runs, tiny, found)
    return Moments(*found)


@kernel
def _of_integers(
    pixels: Any, row: Any, left: Any, right: Any, first: Any, mode: Any, median: Any, not_zero: Any
) -> None:
    histogram = np.zeros(65536, np.int64)
    for k in range(mode.size):
        n: Any = 0
        low: Any = 65535
        high: Any = 0
        for i in range(first[k], first[k + 1]):
            for j in range(left[i], right[i]):
                grey = np.int64(pixels[row[i], j])
                histogram[grey] += 1
                low, high = min(low, grey), max(high, grey)
            n += np.int64(right[i]) - left[i]
        if n == 0:
            mode[k], median[k], not_zero[k] = 0.0, np.nan, np.nan
            continue
        most: Any = 0
        for rung in range(low, high + 1):
            if histogram[rung] > most:
                most = histogram[rung]
                mode[k] = rung
        # ImageStatistics.calculateMedian: the level at which more than half is reached.
        level: Any = low
        total: Any = histogram[low]
        while total <= n / 2.0 and level < high:
            level += 1
            total += histogram[level]
        median[k] = level
        not_zero[k] = (n - histogram[0]) * 100.0 / n
        histogram[low : high + 1] = 0


@kernel
def _of_floats(pixels: Any, row: Any, left: Any, right: Any, first: Any, mode: Any, median: Any, not_zero: Any) -> None:
    bins = np.zeros(256, np.int64)
    for k in range(mode.size):
        n, n_all, n_lit = 0, 0, 0
        for i in range(first[k], first[k + 1]):
            n_all += np.int64(right[i]) - left[i]
        values = np.empty(n_all, np.float32)
        for i in range(first[k], first[k + 1]):
            for j in range(left[i], right[i]):
                grey = pixels[row[i], j]
                n_lit += grey != 0
                if grey - grey == 0:  # neither NaN nor infinite
                    values[n] = grey
                    n += 1
        not_zero[k] = n_lit * 100.0 / n_all if n_all else np.nan
        if n == 0:
            mode[k], median[k] = np.nan, np.nan
            continue
        values = values[:n]
        # FloatStatistics.getMode: 256 bins between the lowest and the highest level.
        low: Any = np.float64(values.min())
        high: Any = np.float64(values.max())
        size = (high - low) / 256
        bins[:] = 0
        if high > low:
            scale = 256 / (high - low)
            for value in values:
                bins[min(int(scale * (np.float64(value) - low)), 255)] += 1
        else:
            bins[0] = n
        most, fullest = 0, 0
        for b in range(256):
            if bins[b] > most:
                most, fullest = bins[b], b
        level = low + fullest * size
        if size != 1.0:
            level += size / 2.0
        mode[k] = level
        # Java sorts -0.0 before 0.0: as integers whose order is that of the numbers.
        keys = values.view(np.int32)
        for i in range(n):
            if keys[i] < 0:
                keys[i] = np.int32(keys[i] ^ np.int32(0x7FFFFFFF))
        keys.sort()
        for i in range(n):
            if keys[i] < 0:
                keys[i] = np.int32(keys[i] ^ np.int32(0x7FFFFFFF))
        middle = n // 2
        if n % 2 == 0:
            median[k] = np.float32(np.float32(values[middle - 1] + values[middle]) / np.float32(2))
        else:
            median[k] = values[middle]


@kernel
def _sum_moments(pixels: Any, row: Any, left: Any, right: Any, first: Any, tiny: Any, found: Any) -> None:
    for k in range(found.shape[1]):
        one, two, three, four, x, y = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(first[k], first[k + 1]):
            for j in range(left[i], right[i]):
                v: Any = np.float64(pixels[row[i], j]) + tiny
                if v - v != 0:
                    continue
                square = v * v
                one += v
                two += square
                three += v * square
                four += square * square
                x += j * v
                y += row[i] * v
        found[0, k], found[1, k], found[2, k] = one, two, three
        found[3, k], found[4, k], found[5, k] = four, x, y
