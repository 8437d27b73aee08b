"""What becomes of a z stack: one of its slices, or ImageJ's projection of all (Image > Stacks > Z Project)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError
from bridge.images.image import ImageInfo

PROJECTIONS = ("max", "mean", "sum", "min")


def slices_of(info: ImageInfo, z: str | None) -> range:
    """Return the slices that are read: one, or all where they are projected.

    Raises
    ------
    InputError
        Several slices where nothing was said, or no such slice.
    """
    if info.n_slices == 1:
        return range(1)
    if z is None:
        raise InputError(f"{info.path}: a z stack of {info.n_slices} slices (expected 1). Say what to do with it: --z max, mean, sum or min, or --z with the number of a slice.")  # fmt: skip
    if z in PROJECTIONS:
        return range(info.n_slices)
    number = int(z) if z.isdecimal() else 0
    if not 1 <= number <= info.n_slices:
        raise InputError(f"{info.path}: no slice {z} in it (got {info.n_slices} slices). Correct --z.")
    return range(number - 1, number)


def projected(slices: Iterable[npt.NDArray[Any]], z: str | None, n: int) -> npt.NDArray[Any]:
    """Return one plane of the slices of a stack, one after the other.

    Parameters
    ----------
    slices : iterable of ndarray, shape (Y, X) or (Y, X, RGB)
    z : {"max", "mean", "sum", "min"}, number, or None
    n : int
        How many.

    Returns
    -------
    ndarray
        Of the type of the slices, means of whole numbers rounded half up; ``sum`` is float32, added slice by slice.
        Source: ij.plugin.ZProjector of ImageJ 1.54p.

    Examples
    --------
    >>> projected(iter([np.array([[1, 9]], np.uint8), np.array([[4, 2]], np.uint8)]), "mean", 2).tolist()
    [[3, 6]]
    """
    remaining = iter(slices)
    first = next(remaining)
    if n == 1 or z not in PROJECTIONS:
        return first
    if z in ("max", "min"):
        pick = np.maximum if z == "max" else np.minimum
        best = first.copy()
        for one in remaining:
            pick(best, one, out=best)
        return best
    if z == "sum":
        total = first.astype(np.float32)
        for one in remaining:
            total += one.astype(np.float32)
        return total
    exact = first.astype(np.float64)
    for one in remaining:
        exact += one
    mean = (exact / n).astype(np.float32)
    whole: npt.NDArray[Any] = np.floor(mean + np.float32(0.5)).astype(first.dtype)
    return mean if first.dtype.kind == "f" else whole
