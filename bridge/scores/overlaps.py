"""The overlaps of two label images, counted once; partners and fates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import LabelError
from bridge.labels import Labels, label_areas

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Overlaps:
    """Every pair of a true and a predicted label that share pixels.

    Attributes
    ----------
    true, predicted, both_px : ndarray of int64, shape (n_pairs,)
        The labels and the pixels they share, ascending by true label.
    true_px, predicted_px : ndarray of int64
        Pixels of each label, indexed by label; entry 0 is 0.
    image_px : int
        Pixels of the image.
    """

    true: Ints
    predicted: Ints
    both_px: Ints
    true_px: Ints
    predicted_px: Ints
    image_px: int

    @property
    def n_true(self) -> int:
        """True cells."""
        return int(np.count_nonzero(self.true_px))

    @property
    def n_predicted(self) -> int:
        """Predicted cells."""
        return int(np.count_nonzero(self.predicted_px))

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Intersection over union of each pair."""
        union = self.true_px[self.true] + self.predicted_px[self.predicted] - self.both_px
        found: npt.NDArray[np.float64] = self.both_px / union
        return found


def overlaps(true: Labels, predicted: Labels) -> Overlaps:
    """Count the pixels that each pair of labels shares; memory and time follow the image, not the number of pairs.

    Parameters
    ----------
    true, predicted : ndarray of unsigned int, shape (Y, X)
        Ids may have gaps.

    Raises
    ------
    LabelError
        The images differ in size.

    Examples
    --------
    >>> found = overlaps(np.array([[1, 1, 0, 5]], np.uint16), np.array([[9, 9, 9, 0]], np.uint16))
    >>> found.true.tolist(), found.predicted.tolist(), found.both_px.tolist()
    ([1], [9], [2])
    """
    if true.shape != predicted.shape:
        raise LabelError(
            f"label images differ in size (got {true.shape} and {predicted.shape}, expected the same). Compare images of one field."
        )
    t, p = true.ravel(), predicted.ravel()
    # Runs of one pair of labels: there are far fewer of them than pixels.
    first = np.flatnonzero((t[1:] != t[:-1]) | (p[1:] != p[:-1])) + 1
    first = np.concatenate([[0], first]) if t.size else first
    length = np.diff(np.append(first, t.size))
    t, p = t[first].astype(np.int64), p[first].astype(np.int64)
    cells = (t > 0) & (p > 0)
    n = int(p.max(initial=0)) + 1
    keys, where = np.unique(t[cells] * n + p[cells], return_inverse=True)
    both = np.bincount(where, weights=length[cells], minlength=keys.size).astype(np.int64)
    return Overlaps(keys // n, keys % n, both, label_areas(true), label_areas(predicted), true.size)


@dataclass(frozen=True)
class Fates:
    """What became of each cell at an intersection over union of 0.5.

    Attributes
    ----------
    missed, split : ndarray of int64
        True labels without a partner; those that have more than half of each of several predicted cells.
    false, merged : ndarray of int64
        Predicted labels without a partner; those with more than half of each of several true cells.
    """

    missed: Ints
    split: Ints
    false: Ints
    merged: Ints


def fates(pairs: Overlaps) -> Fates:
    """Tell what became of each cell.

    Examples
    --------
    >>> true, predicted = np.array([[1, 1, 2, 2, 0, 5]], np.uint16), np.array([[9, 9, 9, 9, 0, 0]], np.uint16)
    >>> found = fates(overlaps(true, predicted))
    >>> found.merged.tolist(), found.missed.tolist()
    ([9], [2, 5])
    """
    kept = partners(pairs, 0.5)
    in_one = np.unique(pairs.predicted[2 * pairs.both_px > pairs.true_px[pairs.true]], return_counts=True)
    over_one = np.unique(pairs.true[2 * pairs.both_px > pairs.predicted_px[pairs.predicted]], return_counts=True)
    return Fates(
        np.setdiff1d(np.flatnonzero(pairs.true_px), pairs.true[kept]),
        over_one[0][over_one[1] > 1],
        np.setdiff1d(np.flatnonzero(pairs.predicted_px), pairs.predicted[kept]),
        in_one[0][in_one[1] > 1],
    )


def partners(pairs: Overlaps, threshold: float) -> Ints:
    """Return which of the pairs are partners at an intersection over union of `threshold` or above, as many as can be.

    Above one half a cell can have one partner only. Exactly at one half (or below) the largest matching counts, which
    Hopcroft and Karp's algorithm finds.
    """
    good: Ints = np.flatnonzero(pairs.iou >= threshold)
    true, predicted = pairs.true[good], pairs.predicted[good]
    if np.unique(true).size < true.size or np.unique(predicted).size < predicted.size:
        good = good[_largest_matching(true, predicted)]
    return good


def _largest_matching(true: Ints, predicted: Ints) -> Ints:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rows, i = np.unique(true, return_inverse=True)
    columns, j = np.unique(predicted, return_inverse=True)
    graph: Any = csr_array((np.ones(i.size, np.int8), (i, j)), shape=(rows.size, columns.size))
    partner = maximum_bipartite_matching(graph, perm_type="column")
    chosen: Ints = np.flatnonzero(partner[i] == j)
    return chosen
