"""What ImageJ measures in the pixels of a ROI, in numba, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.kernels import kernel
from bridge.selections import Selections

Doubles = npt.NDArray[np.float64]
_SMALL_BOX = 250_000  # px, above which ImageJ takes the whole histogram
EXACT = 2.0**53  # whole numbers up to here are doubles


@dataclass(frozen=True)
class Statistics:
    """Uncalibrated statistics of the pixels that each ROI selects, as ij.process.ImageStatistics has them.

    Attributes
    ----------
    n : ndarray of int64, shape (n_rois,)
        Pixels; in a float image those that are finite.
    mean, standard, low, high : ndarray of float64, shape (n_rois,)
        Mean, standard deviation, minimum and maximum; NaN or ImageJ's own stand-ins where there is no pixel.
    x_px, y_px : ndarray of float64, shape (n_rois,)
        Centroid; the centre of the first pixel is (0.5, 0.5).
    """

    n: npt.NDArray[np.int64]
    mean: Doubles
    standard: Doubles
    low: Doubles
    high: Doubles
    x_px: Doubles
    y_px: Doubles


def statistics(pixels: npt.NDArray[Any], selections: Selections) -> Statistics:
    """Measure the pixels of each ROI in one pass.

    Sums run row by row, as in ij.process.FloatStatistics; for 8 and 16 bit ImageJ sums over the histogram, which gives
    the same doubles as long as the sums are exact, and is done where they are not.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
    selections : Selections

    Returns
    -------
    Statistics
    """
    n_rois = len(selections.names)
    n = np.zeros(n_rois, np.int64)
    total, squares, x, y = (np.zeros(n_rois) for _ in range(4))
    low, high = np.full(n_rois, np.finfo(np.float64).max), np.full(n_rois, -np.finfo(np.float64).max)
    pixels = np.ascontiguousarray(pixels)
    runs = selections.row, selections.left, selections.right, selections.first, selections.by_place
    if pixels.dtype == np.float32:
        _sum_floats(pixels, *runs, n, total, squares, low, high, x, y)
    else:
        _sum_integers(pixels, *runs, n, total, squares, low, high, x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        variance = (n * squares - total * total) / n
        standard = np.where(variance > 0, np.sqrt(np.maximum(variance, 0) / (n - 1.0)), 0.0)
        empty = np.flatnonzero(n == 0)
        if pixels.dtype != np.float32 and empty.size:
            low[empty], high[empty] = _of_nothing(pixels, selections, empty)
        return Statistics(n, mean, standard, low, high, x / n + 0.5, y / n + 0.5)


def _of_nothing(pixels: npt.NDArray[Any], selections: Selections, empty: npt.NDArray[Any]) -> tuple[Doubles, float]:
    """Return ImageJ's minimum and maximum of ROIs without pixels."""
    if pixels.dtype == np.uint8:
        return np.full(empty.size, np.nan), np.nan
    # ij.process.ShortStatistics: the end of the histogram, which is as long as the brightest pixel of the box needs.
    low = np.full(empty.size, 255.0)
    for i, (left, top, width, height) in enumerate(selections.bounds_px[empty].tolist()):
        if width > 0 and height > 0:
            box = pixels[top : top + height, left : left + width]
            low[i] = max(255, int(box.max())) if width * height < _SMALL_BOX else 65535
    return low, 0.0


@kernel
def _sum_integers(
    pixels: Any, row: Any, left: Any, right: Any, first: Any, order: Any, n: Any, total: Any, squares: Any, low: Any,
    high: Any, x: Any, y: Any,
) -> None:  # fmt: skip
    flat, width = pixels.reshape(-1), pixels.shape[1]
    histogram = np.zeros(1, np.int64)
    for k in order:
        added, of_squares = np.uint64(0), np.uint64(0)
        count, x_sum, y_sum = np.int64(0), np.int64(0), np.int64(0)
        if first[k] == first[k + 1]:
            continue
        least = most = pixels[row[first[k]], left[first[k]]]
        for i in range(first[k], first[k + 1]):
            # Unsigned indices: numba need not ask whether they are negative, and LLVM makes vector instructions.
            begin, size = np.uint64(np.int64(row[i]) * width + left[i]), np.uint64(right[i] - left[i])
            for j in range(size):
                value = np.uint64(flat[begin + j])
                added += value
                of_squares += value * value
            for j in range(size):
                grey = flat[begin + j]
                least = grey if grey < least else least
                most = grey if grey > most else most
            length = np.int64(right[i]) - left[i]
            count += length
            x_sum += (np.int64(left[i]) + right[i] - 1) * length // 2
            y_sum += np.int64(row[i]) * length
        n[k], total[k], squares[k], x[k], y[k] = count, added, of_squares, x_sum, y_sum
        low[k], high[k] = least, most
        if np.float64(of_squares) > EXACT:
            if histogram.size == 1:
                histogram = np.zeros(65536, np.int64)
            histogram[:] = 0
            for i in range(first[k], first[k + 1]):
                for j in range(left[i], right[i]):
                    histogram[pixels[row[i], j]] += 1
            squares[k] = 0.0
            for level in range(65536):
                squares[k] += (np.float64(level) * np.float64(level)) * np.float64(histogram[level])


@kernel
def _sum_floats(
    pixels: Any, row: Any, left: Any, right: Any, first: Any, order: Any, n: Any, total: Any, squares: Any, low: Any,
    high: Any, x: Any, y: Any,
) -> None:  # fmt: skip
    for k in order:
        count, x_sum, y_sum = np.int64(0), np.int64(0), np.int64(0)
        added, of_squares = np.float64(0), np.float64(0)
        least, most = np.float32(3.4028234663852886e38), np.float32(-3.4028234663852886e38)
        for i in range(first[k], first[k + 1]):
            run = pixels[row[i], left[i] : right[i]]
            numbers = 0
            for j in range(run.size):
                numbers += run[j] - run[j] == 0  # neither NaN nor infinite
            if numbers == run.size:
                for j in range(run.size):
                    value = np.float64(run[j])
                    added += value
                    of_squares += value * value
                for j in range(run.size):
                    grey = run[j]
                    least = grey if grey < least else least
                    most = grey if grey > most else most
                x_sum += (np.int64(left[i]) + right[i] - 1) * run.size // 2
            else:
                for j in range(run.size):
                    grey = run[j]
                    if grey - grey == 0:
                        value = np.float64(grey)
                        added += value
                        of_squares += value * value
                        least = grey if grey < least else least
                        most = grey if grey > most else most
                        x_sum += left[i] + j
            count += numbers
            y_sum += np.int64(row[i]) * numbers
        n[k], total[k], squares[k], x[k], y[k] = count, added, of_squares, x_sum, y_sum
        if count:
            low[k], high[k] = least, most
