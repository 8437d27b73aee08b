"""How well outlines agree."""

from __future__ import annotations

from bridge.labels import Labels, outlines
from bridge.scores.overlaps import overlaps
from bridge.scores.score import share


def boundary_f1(true: Labels, predicted: Labels, tolerance_px: float = 2.0) -> float:
    """Return the boundary F1 of Csurka et al. 2013: how much of each outline lies within a tolerance of the other.

    An outline pixel is one of a cell with a neighbour (of four) that is not of the same cell; so two touching cells have
    outlines between them, and merging them costs. 1 where neither image has a cell, 0 where only one has.

    Parameters
    ----------
    true, predicted : ndarray of unsigned int, shape (Y, X)
    tolerance_px : float

    Examples
    --------
    >>> import numpy as np
    >>> a = np.zeros((20, 20), np.uint16)
    >>> a[5:15, 5:15] = 1
    >>> boundary_f1(a, a), boundary_f1(a, np.roll(a, 4, axis=1), 0), boundary_f1(a, np.zeros_like(a))
    (1.0, 0.3333333333333333, 0.0)
    """
    if true.shape != predicted.shape:
        overlaps(true, predicted)
    ours, theirs = outlines(true), outlines(predicted)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    from scipy.ndimage import distance_transform_edt

    recall = float((distance_transform_edt(~theirs)[ours] <= tolerance_px).mean())
    precision = float((distance_transform_edt(~ours)[theirs] <= tolerance_px).mean())
    return share(2 * precision * recall, precision + recall, else_one=False)
