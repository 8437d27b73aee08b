"""ImageJ's Results file, digit for digit."""

from __future__ import annotations

import decimal
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.source import Source

_EXACT_DIGITS = 15  # so many significant digits are the same however a double is printed
_FIRST_ROWS = 24  # which decide whether a column has decimals in all its rows


def results_csv(
    title: str,
    names: Sequence[str],
    columns: Mapping[str, npt.NDArray[np.float64]],
    decimals: int,
    decimals_always: Collection[str] = (),
    slice_label: str = "",
) -> bytes:
    """Write a Results table as ImageJ's Results window saves it.

    Parameters
    ----------
    title : str
        Title of the image.
    names : sequence of str
        Names of the ROIs, one for each row.
    columns : dict of str to ndarray of float64, shape (n_rois,)
        ImageJ's headings and the numbers.
    decimals : int
        ImageJ's setting "Decimal places", 0 to 9.
    decimals_always : collection of str
        Headings of columns that are printed with decimals even where all numbers are whole.
    slice_label : str
        Of the slice, where the image is one of a stack: see `slice_label`.

    Returns
    -------
    bytes
        UTF-8, with the system's line ends. Without rows the header line alone (ImageJ saves an empty file).

    Examples
    --------
    >>> results_csv("a.tif", ["00001"], {"Area": np.array([9.0]), "Mean": np.array([1 / 3])}, 3).splitlines()
    [b' ,Label,Area,Mean', b'1,a.tif:00001,9,0.333']
    """
    lines = [",".join((" ", "Label", *columns))]
    labels = [_label(title, name, slice_label) for name in names]
    printed = [_column(values, decimals, heading in decimals_always) for heading, values in columns.items()]
    row = ",".join(("%d", "%s", *(how for how, _ in printed)))
    rows = zip(range(1, len(labels) + 1), labels, *(values for _, values in printed), strict=True)
    lines += [row % values for values in rows]  # one call a row: the text takes longer than the measuring
    # Half of a character beyond the first plane, where a name was cut, becomes a question mark, as in Java.
    return (os.linesep.join(lines) + os.linesep).encode(errors="replace")


def slice_label(source: Source | None) -> str:
    """Return what ImageJ appends for a slice of a stack: its label, shortened, else its number; empty for a single image.

    Source: ij.ImageStack.getShortSliceLabel, ij.plugin.filter.Analyzer.getFileName.
    """
    if source is None or source.n_planes < 2:
        return ""
    units = _utf16(source.label.partition("\n")[0])
    if len(units) > 2 * 4 and units[-8:-6] == _utf16(".") and not _text(units[-2:]).isdigit():
        units = units[:-8]
    return _text(units[: 2 * 60]) or str(source.plane + 1)


def _label(title: str, name: str, of_slice: str) -> str:
    # ij.plugin.filter.Analyzer.getFileName; Java counts UTF-16 units, not characters.
    units = _utf16(name)
    if len(units) > 2 * 30:
        units = units[: 2 * 27] + _utf16("...")
    parts = [title, *([] if "." in name else [_text(units)]), *([of_slice] if of_slice else [])]
    return ":".join(parts).replace(",", ";")


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")


def _text(units: bytes) -> str:
    return units.decode("utf-16-be", "surrogatepass")


def _column(values: npt.NDArray[np.float64], decimals: int, always: bool) -> tuple[str, list[Any]]:
    """Return how the numbers of a column are printed, and the numbers, or their texts where they differ in that."""
    with np.errstate(invalid="ignore"):
        # Java's (int)v == v: whole, and within 32 bits.
        whole = (np.trunc(values) == values) & (values >= -(2.0**31)) & (values <= 2.0**31 - 1)
    if always or not (whole | np.isnan(values))[:_FIRST_ROWS].all():
        whole = np.zeros(values.shape, np.bool_)
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        # As numbers are usually printed; Python rounds to even on the exact value, as Java does.
        usual = np.isfinite(values) & (size <= 999_999_999_999) & ((size >= 10.0**-decimals) | (values == 0))
    usual &= (decimals > 0) & ~((values == 0) & np.signbit(values)) & (size < 10.0 ** (_EXACT_DIGITS - decimals))
    fraction = f"%.{decimals}f"
    if not (whole | ~usual).any():
        return fraction, values.tolist()
    if (whole & usual).all():
        return "%d", values.tolist()
    texts = [("%d" if w else fraction) % value for value, w in zip(values.tolist(), whole.tolist(), strict=True)]
    for k in np.flatnonzero(~usual).tolist():
        texts[k] = _number(float(values[k]), 0 if whole[k] else decimals)
    return "%s", texts


def _number(value: float, decimals: int) -> str:
    """Print one number as ResultsTable.d2s does."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == float(np.finfo(np.float32).max):
        return "3.4e38"
    if (value != 0 and abs(value) < 1.0 / 10**decimals) or abs(value) > 999_999_999_999:
        # Java takes the digits of whole numbers below 2**63 for inexact and so rounds their halves up (java.text.DigitList).
        halves_up = value == int(value) and abs(value) < 2.0**63
        rounding = decimal.ROUND_HALF_UP if halves_up else decimal.ROUND_HALF_EVEN
        four_digits = decimal.Context(prec=4, rounding=rounding).create_decimal_from_float(value)
        mantissa, exponent = f"{four_digits:.3E}".split("E")
        return f"{mantissa}E{int(exponent)}"
    if decimals == 0:
        # The one format of ImageJ that rounds halves up.
        return f"{decimal.Decimal(value).quantize(decimal.Decimal(1), decimal.ROUND_HALF_UP):f}"
    shortest = decimal.Decimal(repr(value))
    if -int(shortest.as_tuple().exponent) <= decimals:
        return (
            f"{shortest:.{decimals}f}"  # Java has no more digits than tell the double from its neighbours: zeros follow
        )
    return f"{value:.{decimals}f}"
