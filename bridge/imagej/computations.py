"""The native engine's measurements: a function for each column, named in `bridge.measurements`.

Each makes ImageJ's own operations in ImageJ's order (ij.process.ImageStatistics, ij.plugin.filter.Analyzer), so that
every bit is ImageJ's.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import Calibration
from bridge.imagej.distribution import Distribution, Moments, distribution, moments
from bridge.imagej.outlines import Feret, feret, traced_perimeter
from bridge.imagej.statistics import Doubles, Statistics
from bridge.imagej.values import Values, calibrated_statistics
from bridge.selections import Selections


class Measuring:
    """The ROIs of one image, and what several columns follow from, each computed once when it is needed.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or float32, shape (Y, X)
    selections : Selections
    calibration : Calibration
    title : str
        Of the image; named in messages.
    """

    def __init__(
        self, pixels: npt.NDArray[Any], selections: Selections, calibration: Calibration, title: str = "image"
    ) -> None:
        self.pixels, self.selections, self.calibration, self.title = pixels, selections, calibration, title

    @cached_property
    def values(self) -> Values:
        """What the grey levels stand for."""
        return Values(self.calibration, self.pixels.dtype, self.title)

    @cached_property
    def _calibrated(self) -> tuple[Statistics, Doubles]:
        return calibrated_statistics(self.pixels, self.selections, self.values)

    @property
    def statistics(self) -> Statistics:
        """Sums, and what follows from them."""
        return self._calibrated[0]

    @property
    def raw_mean(self) -> Doubles:
        """Mean from which ImageJ computes the raw integrated density."""
        return self._calibrated[1]

    @cached_property
    def distribution(self) -> Distribution:
        """Mode, median and zeros."""
        return distribution(self.pixels, self.selections)

    @cached_property
    def moments(self) -> Moments:
        """Sums of powers."""
        return moments(self.pixels, self.selections, self.values.table)

    @cached_property
    def feret(self) -> Feret:
        """Caliper diameters."""
        return feret(self.selections, self.calibration, self.title)

    @cached_property
    def variance(self) -> Doubles:
        """ImageJ's variance of skewness and kurtosis (not that of the standard deviation)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Doubles = self.moments.second / self.statistics.n - self.statistics.mean * self.statistics.mean
        return found

    def x_of(self, x_px: npt.NDArray[Any]) -> Doubles:
        """Return columns as ImageJ's coordinates (ij.measure.Calibration.getX)."""
        found: Doubles = (x_px - self.calibration.x_origin) * self.calibration.width
        return found

    def y_of(self, y_px: npt.NDArray[Any]) -> Doubles:
        """Return rows as ImageJ's coordinates (ij.measure.Calibration.getY)."""
        c = self.calibration
        along: Any = y_px - c.y_origin
        if c.invert_y:
            along = c.y_origin - y_px if c.y_origin else self.pixels.shape[0] - y_px - 1
        found: Doubles = along * c.height
        return found


def area(m: Measuring) -> Doubles:
    """Pixels, in the image's unit of area."""
    found: Doubles = m.statistics.n.astype(np.float64) * m.calibration.width * m.calibration.height
    return found


def mean(m: Measuring) -> Doubles:
    """Mean grey level."""
    return m.statistics.mean


def standard_deviation(m: Measuring) -> Doubles:
    """Standard deviation of the grey levels."""
    return m.statistics.standard


def mode(m: Measuring) -> Doubles:
    """Most frequent grey level."""
    return m.values.of_table(m.distribution.mode)


def minimum(m: Measuring) -> Doubles:
    """Least grey level."""
    return m.statistics.low


def maximum(m: Measuring) -> Doubles:
    """Highest grey level."""
    return m.statistics.high


def centroid_x(m: Measuring) -> Doubles:
    """Mean column, in the image's unit of length."""
    found: Doubles = m.x_of(m.statistics.x_px)
    return found


def centroid_y(m: Measuring) -> Doubles:
    """Mean row, in the image's unit of length."""
    found: Doubles = m.y_of(m.statistics.y_px)
    return found


def center_of_mass_x(m: Measuring) -> Doubles:
    """Mean column, weighted by the grey levels."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Doubles = m.x_of(m.moments.x / m.moments.first + 0.5)
        return found


def center_of_mass_y(m: Measuring) -> Doubles:
    """Mean row, weighted by the grey levels."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Doubles = m.y_of(m.moments.y / m.moments.first + 0.5)
        return found


def perimeter(m: Measuring) -> Doubles:
    """Length of the outline, corners cut as ImageJ cuts them."""
    return traced_perimeter(m.selections, m.calibration, m.title)


def bounds_left(m: Measuring) -> Doubles:
    """Left edge of the bounding rectangle."""
    found: Doubles = m.x_of(m.selections.bounds_px[:, 0])
    return found


def bounds_top(m: Measuring) -> Doubles:
    """Upper edge of the bounding rectangle."""
    found: Doubles = m.y_of(m.selections.bounds_px[:, 1])
    return found


def bounds_width(m: Measuring) -> Doubles:
    """Width of the bounding rectangle."""
    found: Doubles = m.selections.bounds_px[:, 2] * m.calibration.width
    return found


def bounds_height(m: Measuring) -> Doubles:
    """Height of the bounding rectangle."""
    found: Doubles = m.selections.bounds_px[:, 3] * m.calibration.height
    return found


def feret_diameter(m: Measuring) -> Doubles:
    """Longest distance of two points of the outline."""
    return m.feret.diameter


def feret_x(m: Measuring) -> Doubles:
    """Column where it begins, in px whatever the unit: so ImageJ has it."""
    return m.feret.x_px


def feret_y(m: Measuring) -> Doubles:
    """Row where it begins, in px."""
    return m.feret.y_px


def feret_angle(m: Measuring) -> Doubles:
    """Its angle."""
    return m.feret.angle


def feret_minimum(m: Measuring) -> Doubles:
    """Least caliper diameter."""
    return m.feret.minimum


def integrated_density(m: Measuring) -> Doubles:
    """Area times mean."""
    found: Doubles = area(m) * m.statistics.mean
    return found


def raw_integrated_density(m: Measuring) -> Doubles:
    """Pixels times mean: ImageJ's own product, not the sum."""
    found: Doubles = m.statistics.n * m.raw_mean
    return found


def median(m: Measuring) -> Doubles:
    """Median grey level."""
    return m.values.of_levels(m.distribution.median)


def skewness(m: Measuring) -> Doubles:
    """Third moment about the mean."""
    n, mean, sums = m.statistics.n, m.statistics.mean, m.moments
    with np.errstate(divide="ignore", invalid="ignore"):
        third = (sums.third - 3.0 * mean * sums.second) / n + 2.0 * mean * (mean * mean)
        found: Doubles = third / (m.variance * np.sqrt(m.variance))
        return found


def kurtosis(m: Measuring) -> Doubles:
    """Fourth moment about the mean, less 3."""
    n, mean, sums = m.statistics.n, m.statistics.mean, m.moments
    square = mean * mean
    with np.errstate(divide="ignore", invalid="ignore"):
        fourth = (sums.fourth - 4.0 * mean * sums.third + 6.0 * square * sums.second) / n - 3.0 * square * square
        found: Doubles = fourth / (m.variance * m.variance) - 3.0
        return found


def area_fraction(m: Measuring) -> Doubles:
    """Percentage of the pixels that are not 0."""
    return m.distribution.percent_not_zero
