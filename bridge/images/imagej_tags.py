"""What ImageJ reads from a TIFF beside its pixels, operation by operation: scale, origin, value calibration, look-up table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import GREY_LEVELS, PIXELS, Calibration, ValueCalibration, size_of, unit_in_um
from bridge.errors import InputError

_UNCALIBRATED_OD = 21  # ij.measure.Calibration.UNCALIBRATED_OD
# How many coefficients each function of ij.measure.Calibration has.
_COEFFICIENTS = {0: 2, 1: 3, 2: 4, 3: 5, 4: 2, 5: 2, 6: 2, 7: 4, 8: 4, 9: 3, 10: 4, 11: 3, 12: 4, 13: 3}


def imagej_properties(description: str) -> dict[str, str]:
    r"""Return the lines ``name=value`` of ImageJ's description of an image.

    Examples
    --------
    >>> imagej_properties("ImageJ=1.54p\nunit=\\u00B5m\n")
    {'ImageJ': '1.54p', 'unit': 'µm'}
    """
    pairs = (line.partition("=") for line in description.splitlines())
    return {name.strip(): _unescaped(value.strip()) for name, equals, value in pairs if equals}


def _unescaped(value: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), value)


def read_calibration(path: Path, page: Any, description: str, dtype: str, warnings: list[str]) -> Calibration:
    """Return the calibration that ImageJ 1.54p has of a TIFF (TiffDecoder, then FileOpener.setCalibration).

    Raises
    ------
    InputError
        A value calibration that ImageJ could not compute either.
    """
    scale = _scale(page, description, warnings)
    if not _is_imagejs(description):
        return scale
    said = imagej_properties(description)
    return Calibration(
        scale.width,
        scale.height,
        scale.unit,
        _number(said, "xorigin") or 0.0,
        _number(said, "yorigin") or 0.0,
        said.get("inverty") == "true",
        _values(path, said, dtype),
    )


def _is_imagejs(description: str) -> bool:
    return description.startswith("ImageJ") and len(description) >= 7


def _scale(page: Any, description: str, warnings: list[str]) -> Calibration:
    def per_pixel(name: str) -> float:
        tag = page.tags.get(name)
        return size_of(*tag.value) or 1.0 if tag is not None else 1.0

    width, height = per_pixel("XResolution"), per_pixel("YResolution")
    tag = page.tags.get("ResolutionUnit")
    unit = {1: " ", 2: "inch", 3: "cm"}.get(int(tag.value)) if tag is not None else None
    if unit == "inch" and width == 1.0 / 72.0:
        width = height = 1.0
        unit = None
    from_imagej = _is_imagejs(description)
    if from_imagej:
        said = imagej_properties(description).get("unit", "")
        if unit == "cm" and said == "um":
            width, height = width * 10000, height * 10000
        unit = said
    if unit is None:
        return PIXELS
    if unit == "cm" and width <= (0.0001 if from_imagej else 0.001):
        width, height, unit = width * 10000.0, height * 10000.0, "um"
    if unit in ("inch", "in"):
        if width != 1 or height != 1:
            warnings.append(f"its resolution is in inch, a printer's unit ({1 / width:g} dpi): taken as not calibrated")
        return PIXELS
    if width == height == 1 and unit.strip() in ("", "pixel", "pixels"):
        return PIXELS
    return Calibration(width, height, "micron" if unit_in_um(unit) == 1.0 else unit or "pixel")


def _values(path: Path, said: Mapping[str, str], dtype: str) -> ValueCalibration:
    # ImageJ calibrates no values of 32-bit images (Calibration.setImage).
    if "vunit" not in said or dtype not in ("uint8", "uint16"):
        return GREY_LEVELS
    number = _number(said, "cf")
    function = int(number) if number is not None and math.isfinite(number) else 0
    coefficients: list[float] = []
    while len(coefficients) < 5 and (coefficient := _number(said, f"c{len(coefficients)}")) is not None:
        coefficients.append(coefficient)
    unit, zero_clip = said["vunit"], said.get("zeroclip") == "true"
    if function == _UNCALIBRATED_OD:
        return ValueCalibration(function, (), unit, zero_clip)
    if function not in _COEFFICIENTS or len(coefficients) < 2:
        return GREY_LEVELS
    if len(coefficients) < _COEFFICIENTS[function] or not all(map(math.isfinite, coefficients)):
        raise InputError(
            f"{path}: a value calibration that cannot be computed (got {len(coefficients)} coefficients of function {function}, "
            f"expected {_COEFFICIENTS[function]} numbers). Calibrate the image again in Fiji (Analyze > Calibrate)."
        )
    return ValueCalibration(function, tuple(coefficients), unit, zero_clip)


def _number(said: Mapping[str, str], name: str) -> float | None:
    try:
        return float(said[name])
    except (KeyError, ValueError):
        return None


def slice_labels(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels of the slices that an ImageJ TIFF holds."""
    labels = metadata.get("Labels") or ()
    return tuple(str(label) for label in ([labels] if isinstance(labels, str) else labels))


def inverted_luts(page: Any, metadata: Mapping[str, Any], n: int) -> tuple[bool, ...]:
    """Return for each channel whether ImageJ shows it with an inverted look-up table."""
    luts = metadata.get("LUTs") or ()
    if page.colormap is not None and n == 1:
        # TiffDecoder.getColorMap takes the upper byte of each.
        luts = [np.asarray(page.colormap) >> 8]
    return tuple(k < len(luts) and _is_inverted(np.asarray(luts[k])) for k in range(n))


def _is_inverted(lut: npt.NDArray[Any]) -> bool:
    """Whether no entry is brighter than the one before it; ij.process.ImageProcessor.isInvertedLut looks no further."""
    brightness = lut.reshape(3, -1).astype(np.int64).sum(axis=0)[:255]
    return not bool((np.diff(brightness) > 0).any())
