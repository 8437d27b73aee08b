"""ImageJ's calibrated grey levels (Analyze > Calibrate), and what it measures with them, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import Calibration, ValueCalibration
from bridge.errors import InputError
from bridge.imagej.statistics import Doubles, Statistics, statistics
from bridge.kernels import kernel
from bridge.selections import Selections

_POLYNOMIALS = (0, 1, 2, 3)  # ij.measure.Calibration.STRAIGHT_LINE, POLY2 to POLY4
_UNCALIBRATED_OD = 21


def native_computes(values: ValueCalibration) -> bool:
    """Whether a value calibration can be computed here to the last bit."""
    return not values or values.function in (*_POLYNOMIALS, _UNCALIBRATED_OD)


class Values:
    """What ImageJ makes of the grey levels of an image.

    Parameters
    ----------
    calibration : Calibration
    dtype : dtype
        Of the pixels.
    title : str
        Named in messages.

    Raises
    ------
    InputError
        A function whose last bit depends on the Java machine's own exponential or logarithm.
    """

    def __init__(self, calibration: Calibration, dtype: Any, title: str = "image") -> None:
        self._values, self._inverted = calibration.values, calibration.inverted_lut
        self._is_byte = np.dtype(dtype) == np.uint8
        self._levels = np.arange(256 if self._is_byte else 65536, dtype=np.float64)
        self.table: npt.NDArray[np.float32] | None = None
        self._of_level: Doubles | None = None  # what the median is looked up in
        if np.dtype(dtype) == np.float32 or not self._values:
            return
        if not native_computes(self._values):
            raise InputError(
                f"{title}: its grey levels are calibrated with ImageJ's function {self._values.function}, which is computed by ImageJ only "
                "(got engine native or both, expected fiji). Use --engine fiji."
            )
        if self._values.function in _POLYNOMIALS:
            self._polynomial()
        else:
            self._optical_density()
        if self.table is not None and not np.isfinite(self.table).all():
            raise InputError(
                f"{title}: its value calibration gives infinite numbers (function {self._values.function}, coefficients "
                f"{', '.join(map(repr, self._values.coefficients))}). Calibrate the image again in Fiji (Analyze > Calibrate)."
            )

    def _polynomial(self) -> None:
        """Source: ij.measure.CurveFitter.f, in its order; Calibration.makeCTable, make16BitCTable."""
        *others, value = self._values.coefficients[: self._values.function + 2]
        level: Any = np.full(self._levels.shape, value)
        for coefficient in reversed(others):
            level = coefficient + self._levels * level
        clipped = np.where(level < 0.0, 0.0, level) if self._values.zero_clip else level
        self._of_level = clipped
        # A table of 16 bit does not clip.
        with np.errstate(over="ignore"):
            self.table = (clipped if self._is_byte else level).astype(np.float32)

    def _optical_density(self) -> None:
        """Source: ij.measure.Calibration.od; for 16 bit ImageJ makes no table, so nothing of it."""
        if not self._is_byte:
            return
        level = self._levels.copy()
        if self._inverted:
            level[255] = 254.5
            density = 0.434294481 * np.log(255.0 / (255.0 - level))
        else:
            level[0] = 0.5
            density = 0.434294481 * np.log(255.0 / level)
        self.table = density.astype(np.float32)
        self._of_level = self.table.astype(np.float64)

    def of_levels(self, levels: Doubles) -> Doubles:
        """Return the calibrated values of single grey levels (Calibration.getCValue)."""
        return self._looked_up(self._of_level, levels)

    def of_table(self, levels: Doubles) -> Doubles:
        """Return the entries of ImageJ's table for single grey levels."""
        return self._looked_up(None if self.table is None else self.table.astype(np.float64), levels)

    @staticmethod
    def _looked_up(table: Doubles | None, levels: Doubles) -> Doubles:
        if table is None:
            return levels
        known = np.isfinite(levels)
        found: Doubles = np.where(known, table[np.where(known, levels, 0).astype(np.int64)], levels)
        return found


def calibrated_statistics(
    pixels: npt.NDArray[Any], selections: Selections, values: Values
) -> tuple[Statistics, Doubles]:
    """Measure calibrated grey levels: sums over the histogram, from dark to bright, as ImageJ makes them.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
    selections : Selections
    values : Values

    Returns
    -------
    statistics : Statistics
    raw_mean : ndarray of float64, shape (n_rois,)
        ImageJ's ``umean``, from which RawIntDen follows: the mean of the grey levels themselves for 8 bit alone.
    """
    raw = statistics(pixels, selections)
    if values.table is None:
        return raw, raw.mean
    sums = np.zeros((5, len(selections.names)))
    runs = selections.row, selections.left, selections.right, selections.first
    _sum_calibrated(np.ascontiguousarray(pixels), *runs, values.table, sums)
    total, squares, low, high, wrapped = sums
    if pixels.dtype == np.uint8:
        low[raw.n == 0] = high[raw.n == 0] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / raw.n
        variance = (raw.n * squares - total * total) / raw.n
        standard = np.where(variance > 0, np.sqrt(np.maximum(variance, 0) / (raw.n - 1.0)), 0.0)
        raw_mean = wrapped / raw.n if pixels.dtype == np.uint8 else mean
    return Statistics(raw.n, mean, standard, low, high, raw.x_px, raw.y_px), raw_mean


@kernel
def _sum_calibrated(pixels: Any, row: Any, left: Any, right: Any, first: Any, table: Any, sums: Any) -> None:
    histogram = np.zeros(table.size, np.int64)
    for k in range(sums.shape[1]):
        low: Any = table.size - 1
        high: Any = 0
        for i in range(first[k], first[k + 1]):
            for j in range(left[i], right[i]):
                grey = np.int64(pixels[row[i], j])
                histogram[grey] += 1
                low, high = min(low, grey), max(high, grey)
        total: Any = 0.0
        squares: Any = 0.0
        wrapped: Any = 0.0
        least, most = np.float64(1.7976931348623157e308), np.float64(-1.7976931348623157e308)
        for level in range(low, high + 1):
            count = histogram[level]
            if count == 0:
                continue
            value = np.float64(table[level])
            total += value * np.float64(count)
            squares += (value * value) * np.float64(count)
            wrapped += np.float64(np.int32(level * count))  # ByteStatistics multiplies in 32 bits
            least, most = min(least, value), max(most, value)
        sums[0, k], sums[1, k], sums[2, k], sums[3, k], sums[4, k] = total, squares, least, most, wrapped
        histogram[low : high + 1] = 0
