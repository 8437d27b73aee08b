"""The size of a pixel, as ImageJ reads it from a file and writes it into one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

_UINT32 = 2**32 - 1
# Units of length as programs spell them, singular and plural, by their size in um.
_PREFIXES = {"pico": 1e-6, "nano": 1e-3, "micro": 1.0, "milli": 1e3, "centi": 1e4, "": 1e6}
_IN_UM = {
    **{f"{prefix}{name}": size for prefix, size in _PREFIXES.items() for name in ("meter", "metre")},
    "pm": 1e-6, "\u00e5": 1e-4, "angstrom": 1e-4, "nm": 1e-3, "um": 1.0, "mum": 1.0, "\u00b5m": 1.0, "\u00b5": 1.0, "micron": 1.0,
    "mm": 1e3, "cm": 1e4, "m": 1e6,
}  # fmt: skip


def unit_in_um(unit: str) -> float | None:
    """Return how long a unit is, in um; None where it is no length that is known.

    Examples
    --------
    >>> unit_in_um("\u03bcm"), unit_in_um("Micrometers"), unit_in_um("nm"), unit_in_um("pixel")
    (1.0, 1.0, 0.001, None)
    """
    name = unit.strip().lower().replace("\u03bc", "\u00b5").replace("\\u00b5", "\u00b5")
    return _IN_UM.get(name, _IN_UM.get(name.removesuffix("s")) if len(name) > 3 else None)


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
        factor = unit_in_um(self.unit)
        return None if factor is None else self.width * factor

    @property
    def pixel_um(self) -> tuple[float, float]:
        """Width and height of a pixel in um; of an image that is not calibrated, 0."""
        factor = unit_in_um(self.unit) or 0.0
        return self.width * factor, self.height * factor

    @property
    def pixel_area_um2(self) -> float | None:
        """Area of a pixel in um2, None when the image is not calibrated."""
        factor = unit_in_um(self.unit)
        return None if factor is None else self.width * factor * self.height * factor


PIXELS = Calibration()


def imagej_scale(calibration: Calibration) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what tells ImageJ the scale of a TIFF: entries of its description, and options of `tifffile.imwrite`."""
    if calibration.unit == "pixel":
        return {}, {}
    return {"unit": _escaped(calibration.unit)}, {
        "resolution": (_per_pixel(calibration.width), _per_pixel(calibration.height))
    }


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
        entries["vunit"] = _escaped(values.unit)
        if values.zero_clip:
            entries["zeroclip"] = "true"
    if calibration.inverted_lut:
        options["photometric"] = "miniswhite"
    return entries, options


def _escaped(text: str) -> str:
    """Letters beyond ASCII as ImageJ writes them into a description (FileSaver.appendEscapedLine)."""
    return "".join(c if " " <= c <= "~" and c != "\\" else f"\\u{ord(c):04x}" for c in text)


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
