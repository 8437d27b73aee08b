"""What ImageJ measures: every measurement of Analyze > Set Measurements, declared once.

Settings, both engines, Results files, `cells.csv`, the workbooks' explanations and the check of names follow from this
table. A new measurement is one row here, and one function of the name in `native` in `bridge.imagej.computations`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

GREY = "grey level"


@dataclass(frozen=True)
class MeasuredColumn:
    """One column of ImageJ's Results table.

    Attributes
    ----------
    heading : str
        As ImageJ prints it.
    rank : int
        Its place among ImageJ's columns (the constants of ``ij.measure.ResultsTable``): in this order they are printed.
    unit, meaning : str
    native : str
        The function of `bridge.imagej.computations` that computes it, bit for bit; empty where ImageJ alone can.
    of_outline : bool
        It follows from the outline alone, which `cells.csv` describes in columns of its own.
    decimals_always : bool
        ImageJ prints it with decimals even where all its values are whole.
    """

    heading: str
    rank: int
    unit: str
    meaning: str
    native: str = ""
    of_outline: bool = False
    decimals_always: bool = False


@dataclass(frozen=True)
class Measurement:
    """One check box of Analyze > Set Measurements.

    Attributes
    ----------
    word : str
        ImageJ's key word, as in ``run("Set Measurements...", "area mean")``.
    bit : int
        Its constant in ``ij.measure.Measurements``.
    columns : tuple of MeasuredColumn
    default : bool
        Measured unless something else is asked for.
    """

    word: str
    bit: int
    columns: tuple[MeasuredColumn, ...]
    default: bool = False


_C = MeasuredColumn
MEASUREMENTS = (
    Measurement("area", 1, (_C("Area", 0, "area", "area", "area", of_outline=True),), default=True),
    Measurement("mean", 2, (_C("Mean", 1, GREY, "mean after background subtraction", "mean"),), default=True),
    Measurement(
        "standard",
        4,
        (_C("StdDev", 2, GREY, "standard deviation after background subtraction", "standard_deviation"),),
        default=True,
    ),
    Measurement(
        "modal",
        8,
        (_C("Mode", 3, GREY, "most frequent grey level after background subtraction (32-bit: of 256 bins)", "mode"),),
    ),
    Measurement(
        "min",
        16,
        (
            _C("Min", 4, GREY, "minimum after background subtraction", "minimum"),
            _C("Max", 5, GREY, "maximum after background subtraction", "maximum"),
        ),
        default=True,
    ),
    Measurement(
        "centroid",
        32,
        (
            _C("X", 6, "length", "centroid, from the left edge", "centroid_x", of_outline=True),
            _C("Y", 7, "length", "centroid, from the upper edge", "centroid_y", of_outline=True),
        ),
        default=True,
    ),
    Measurement(
        "center",
        64,
        (
            _C("XM", 8, "length", "center of mass, from the left edge", "center_of_mass_x"),
            _C("YM", 9, "length", "center of mass, from the upper edge", "center_of_mass_y"),
        ),
    ),
    Measurement("perimeter", 128, (_C("Perim.", 10, "length", "length of the outline", "perimeter"),)),
    Measurement(
        "bounding",
        512,
        (
            _C("BX", 11, "length", "left edge of the bounding rectangle", "bounds_left"),
            _C("BY", 12, "length", "upper edge of the bounding rectangle", "bounds_top"),
            _C("Width", 13, "length", "width of the bounding rectangle", "bounds_width"),
            _C("Height", 14, "length", "height of the bounding rectangle", "bounds_height"),
        ),
    ),
    Measurement(
        "fit",
        2048,
        (
            _C("Major", 15, "length", "longer axis of the fitted ellipse"),
            _C("Minor", 16, "length", "shorter axis of the fitted ellipse"),
            _C("Angle", 17, "degrees", "angle of the longer axis of the fitted ellipse"),
        ),
    ),
    Measurement(
        "shape",
        8192,
        (
            _C("Circ.", 18, "", "circularity: 4 pi area / perimeter^2", decimals_always=True),
            _C("AR", 33, "", "aspect ratio of the fitted ellipse", decimals_always=True),
            _C("Round", 34, "", "roundness: 4 area / (pi major axis^2)", decimals_always=True),
            _C("Solidity", 35, "", "area / area of the convex hull", decimals_always=True),
        ),
    ),
    Measurement(
        "feret's",
        16384,
        (
            _C(
                "Feret",
                19,
                "length",
                "Feret's diameter: the longest distance of two points of the outline",
                "feret_diameter",
            ),
            _C("FeretX", 29, "px", "where Feret's diameter begins, from the left edge", "feret_x"),
            _C("FeretY", 30, "px", "where Feret's diameter begins, from the upper edge", "feret_y"),
            _C("FeretAngle", 31, "degrees", "angle of Feret's diameter", "feret_angle"),
            _C("MinFeret", 32, "length", "least caliper diameter", "feret_minimum"),
        ),
    ),
    Measurement(
        "integrated",
        32768,
        (
            _C(
                "IntDen",
                20,
                f"{GREY} x area",
                "integrated density: Mean x Area, in the image's unit of area",
                "integrated_density",
            ),
            _C(
                "RawIntDen",
                25,
                GREY,
                "raw integrated density: sum of the pixels after background subtraction",
                "raw_integrated_density",
            ),
        ),
        default=True,
    ),
    Measurement("median", 65536, (_C("Median", 21, GREY, "median after background subtraction", "median"),)),
    Measurement("skewness", 131072, (_C("Skew", 22, "", "skewness after background subtraction", "skewness"),)),
    Measurement("kurtosis", 262144, (_C("Kurt", 23, "", "kurtosis after background subtraction", "kurtosis"),)),
    Measurement(
        "area_fraction",
        524288,
        (_C("%Area", 24, "%", "share of the pixels that are not 0 after background subtraction", "area_fraction"),),
    ),
)

WORDS = tuple(measurement.word for measurement in MEASUREMENTS)
DEFAULT_WORDS = tuple(measurement.word for measurement in MEASUREMENTS if measurement.default)
IMAGEJ_ONLY = tuple(m.word for m in MEASUREMENTS if not all(column.native for column in m.columns))
ALL_COLUMNS = tuple(sorted((c for m in MEASUREMENTS for c in m.columns), key=lambda column: column.rank))


def columns_of(words: Iterable[str]) -> tuple[MeasuredColumn, ...]:
    """Return the columns that these measurements make, in ImageJ's order.

    Examples
    --------
    >>> [column.heading for column in columns_of(["area", "integrated", "median"])]
    ['Area', 'IntDen', 'Median', 'RawIntDen']
    """
    wanted = {id(column) for m in MEASUREMENTS if m.word in set(words) for column in m.columns}
    return tuple(column for column in ALL_COLUMNS if id(column) in wanted)


def bits_of(words: Iterable[str]) -> int:
    """Return ImageJ's number for a choice of measurements.

    Examples
    --------
    >>> bits_of(["area", "mean"])
    3
    """
    return sum(m.bit for m in MEASUREMENTS if m.word in set(words))
