"""Pairs of cells of two label images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bridge.labels import Labels
from bridge.scores.overlaps import overlaps


@dataclass(frozen=True)
class Matching:
    """Pairs of one true and one predicted label that overlap by more than half of their union.

    Attributes
    ----------
    true, predicted : ndarray of int64, shape (n_matched,)
        Labels of the pairs, ascending by true label.
    iou : ndarray of float64, shape (n_matched,)
        Intersection over union of each pair.
    n_true, n_predicted : int
        Labels in each image, matched or not.
    """

    true: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]
    n_true: int
    n_predicted: int


def match_labels(true: Labels, predicted: Labels, min_area_px: int = 0) -> Matching:
    """Match true and predicted labels at an intersection over union above 0.5.

    Above one half a label can overlap with one other only, so the pairs are unique without any search. Ids may have
    gaps.

    Parameters
    ----------
    true, predicted : ndarray of unsigned int, shape (Y, X)
    min_area_px : int
        True labels of fewer px are left out of `n_true` and of the pairs.

    Returns
    -------
    Matching

    Raises
    ------
    LabelError
        The images differ in size.

    Examples
    --------
    >>> a = np.array([[1, 1, 0, 5]], np.uint16)
    >>> b = np.array([[9, 9, 9, 0]], np.uint16)
    >>> match = match_labels(a, b)
    >>> match.true.tolist(), match.predicted.tolist(), match.n_true
    ([1], [9], 2)
    """
    pairs = overlaps(true, predicted)
    wanted = pairs.true_px >= max(1, min_area_px)
    matched = (pairs.iou > 0.5) & wanted[pairs.true]
    n_true = int(np.count_nonzero(wanted))
    return Matching(pairs.true[matched], pairs.predicted[matched], pairs.iou[matched], n_true, pairs.n_predicted)
