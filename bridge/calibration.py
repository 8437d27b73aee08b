"""The size of a pixel, as ImageJ reads it from a file and writes it into one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

_UINT32 = 2**32 - 1
# What ImageJ writes into a file's description for a micrometre, and ImageJ's other metric units.
MICROMETRE = {"micron", "microns", "um", "µm", "μm", "\\u00b5m", "micrometer", "micrometre"}
_UNIT_IN_UM = {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, **dict.fromkeys(MICROMETRE, 1.0)}
OME_UNIT_IN_UM = {**dict.fromkeys(MICROMETRE, 1.0), "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4}


@dataclass(frozen=True)
class ValueCalibration:
    """What ImageJ makes of grey levels: Analyze > Calibrate, or the signed numbers of a 16-bit image.

    Attributes
    ----------
    function : int
        ImageJ's number of the function (``ij.measure.Calibration``): 0 a straight line, 21 uncalibrated OD, 20 none.
    coefficients : tuple of float
    unit : str
        Of the calibrated values.
    zero_clip : bool
        Negative values become 0.
    """

    function: int = 20
    coefficients: tuple[float, ...] = ()
    unit: str = "Gray Value"
    zero_clip: bool = False

    def __bool__(self) -> bool:
        return self.function != NOT_CALIBRATED


NOT_CALIBRATED = 20  # ij.measure.Calibration.NONE
GREY_LEVELS = ValueCalibration()


@dataclass(frozen=True)
class Calibration:
    """Everything beside the pixels that makes ImageJ's numbers of an image.

    Attributes
    ----------
    width, height : float
        Pixel width and height, in `unit`.
    unit : str
        ImageJ's unit (``"pixel"`` when the image is not calibrated).
    x_origin, y_origin : float
        Where ImageJ's coordinates begin, in px.
    invert_y : bool
        They run upwards.
    values : ValueCalibration
    inverted_lut : bool
        The image is shown with an inverted look-up table: Subtract Background then takes bright for background.
    """

    width: float = 1.0
    height: float = 1.0
    unit: str = "pixel"
    x_origin: float = 0.0
    y_origin: float = 0.0
    invert_y: bool = False
    values: ValueCalibration = GREY_LEVELS
    inverted_lut: bool = False

    @property
    def pixel_size_um(self) -> float | None:
        """Width of a pixel in um, None when the image is not calibrated."""
        factor = _UNIT_IN_UM.get(self.unit.lower())
        return None if factor is None else self.width * factor

    @property
    def pixel_area_um2(self) -> float | None:
        """Area of a pixel in um2, None when the image is not calibrated."""
        factor = _UNIT_IN_UM.get(self.unit.lower())
        return None if factor is None else self.width * factor * self.height * factor


PIXELS = Calibration()


def imagej_scale(calibration: Calibration) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what tells ImageJ the scale of a TIFF: entries of its description, and options of `tifffile.imwrite`."""
    if calibration.unit == "pixel":
        return {}, {}
    return {"unit": calibration.unit}, {"resolution": (_per_pixel(calibration.width), _per_pixel(calibration.height))}


def imagej_calibration(calibration: Calibration) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what tells ImageJ everything of a calibration: as `imagej_scale`."""
    entries, options = imagej_scale(calibration)
    origin = {"xorigin": calibration.x_origin, "yorigin": calibration.y_origin}
    entries |= {name: repr(value) for name, value in origin.items() if value}
    if calibration.invert_y:
        entries["inverty"] = "true"
    if values := calibration.values:
        entries["cf"] = values.function
        entries |= {f"c{i}": repr(c) for i, c in enumerate(values.coefficients)}
        entries["vunit"] = values.unit
        if values.zero_clip:
            entries["zeroclip"] = "true"
    if calibration.inverted_lut:
        options["photometric"] = "miniswhite"
    return entries, options


def _per_pixel(size: float) -> tuple[int, int]:
    """Return pixels per unit as the fraction from which ImageJ gets exactly this pixel size, or the nearest it can get.

    Every size that was read from a TIFF can be had; not each that a person gives: no double's inverse is 0.325.

    Examples
    --------
    >>> _per_pixel(0.5), _per_pixel(1 / (3076923 / 1000000))
    ((2, 1), (3076923, 1000000))
    """
    inverse = min(max(1 / size, 1 / _UINT32), float(_UINT32))
    parts = [
        # Both numbers of a TIFF's fraction have 32 bits.
        Fraction(float(wanted)).limit_denominator(max(1, min(most, int(_UINT32 / wanted))))
        for wanted in (inverse, np.nextafter(inverse, np.inf), np.nextafter(inverse, 0))
        for most in (10**3, 10**6, _UINT32)
    ]
    best = min(
        (part for part in parts if 0 < part <= _UINT32), key=lambda part: abs(size_of(*part.as_integer_ratio()) - size)
    )
    return best.as_integer_ratio()


def size_of(numerator: int, denominator: int) -> float:
    """Return the size of a pixel from pixels per unit, with ImageJ's own two divisions (TiffDecoder); 0 if there is none."""
    return 1.0 / (numerator / denominator) if numerator and denominator else 0.0
