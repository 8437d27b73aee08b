"""How well a label image agrees with ground truth: by cells and by pixels, defined for any labels, also for none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import LabelError
from bridge.labels import Labels, label_areas, outlines

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
_BORDER_PX = 2  # the strip of the NeurIPS rule
_WHOLE_PX = 25_000_000  # from here on the NeurIPS rule takes an image in patches ...
_PATCH_PX = 2000  # ... of this size

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


@dataclass(frozen=True)
class _Agreement:
    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        """TP / (TP + FP); without anything predicted 1 if there was nothing to find, else 0."""
        return _share(self.tp, self.tp + self.fp, self.fn == 0)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); without anything to find 1 if nothing was predicted, else 0."""
        return _share(self.tp, self.tp + self.fn, self.fp == 0)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 where nothing was to be found and nothing was."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def _jaccard(self) -> float:
        return _share(self.tp, self.tp + self.fp + self.fn)


@dataclass(frozen=True)
class Counts(_Agreement):
    """Cells found and missed at one threshold; counts of several images add up.

    Attributes
    ----------
    tp, fp, fn : int
        Predicted cells with a true partner, those without, true cells without.
    iou_sum : float
        Sum of the partners' intersection over union.
    """

    iou_sum: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou_sum + other.iou_sum)

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN); 1 where nothing was to be found and nothing was."""
        return self._jaccard

    @property
    def mean_iou(self) -> float:
        """Mean intersection over union of the partners; NaN without any."""
        return self.iou_sum / self.tp if self.tp else float("nan")

    @property
    def panoptic_quality(self) -> float:
        """Sum of the partners' IoU / (TP + FP / 2 + FN / 2); Kirillov et al. 2019 define it at 0.5."""
        return _share(self.iou_sum, self.tp + self.fp / 2 + self.fn / 2)


@dataclass(frozen=True)
class Pixels(_Agreement):
    """Cell against background, pixel by pixel; several images add up.

    Attributes
    ----------
    tp, fp, fn, tn : int
    """

    tn: int = 0

    def __add__(self, other: Pixels) -> Pixels:
        return Pixels(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN): F1 by another name; 1 where both images are empty."""
        return self.f1

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); 1 where both images are empty."""
        return self._jaccard

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all pixels."""
        return _share(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)


@dataclass(frozen=True)
class Scores:
    """One predicted label image against its ground truth.

    Attributes
    ----------
    n_true, n_predicted : int
    by_iou : dict of float to Counts
        At each threshold of `IOU_THRESHOLDS`: a predicted cell has a true partner at this IoU or above.
    merged : int
        Predicted cells with more than half of each of several true cells.
    split : int
        True cells that have more than half of each of several predicted cells.
    pixels : Pixels
    """

    n_true: int
    n_predicted: int
    by_iou: dict[float, Counts] = field(default_factory=dict)
    merged: int = 0
    split: int = 0
    pixels: Pixels = field(default_factory=Pixels)

    @property
    def count_error(self) -> int:
        """Predicted less true cells."""
        return self.n_predicted - self.n_true

    @property
    def in_short(self) -> dict[str, Any]:
        """AP at IoU 0.5, 0.75 and 0.9 (ap_50 ...), f1 at 0.5, n_true and n_predicted."""
        by = {f"ap_{round(100 * t)}": self.by_iou[t].average_precision for t in (0.5, 0.75, 0.9)}
        return {**by, "f1": self.by_iou[0.5].f1, "n_true": self.n_true, "n_predicted": self.n_predicted}


def _share(part: float, whole: float, else_one: bool = True) -> float:
    return part / whole if whole else float(else_one)


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


def score(true: Labels, predicted: Labels) -> Scores:
    """Score a label image against ground truth.

    Parameters
    ----------
    true, predicted : ndarray of unsigned int, shape (Y, X)

    Returns
    -------
    Scores

    Raises
    ------
    LabelError
        The images differ in size.

    Examples
    --------
    >>> found = score(np.array([[1, 1, 0, 5]], np.uint16), np.array([[9, 9, 9, 0]], np.uint16))
    >>> found.by_iou[0.5].average_precision, found.by_iou[0.7].average_precision, found.pixels.accuracy
    (0.5, 0.0, 0.5)
    """
    return score_pairs(overlaps(true, predicted))


def score_pairs(pairs: Overlaps) -> Scores:
    """Score a label image whose overlaps with the ground truth are counted already; as `score`."""
    fate = fates(pairs)
    tp = int(pairs.both_px.sum())
    true_px, predicted_px = int(pairs.true_px.sum()), int(pairs.predicted_px.sum())
    return Scores(
        pairs.n_true,
        pairs.n_predicted,
        {threshold: count(pairs, threshold) for threshold in IOU_THRESHOLDS},
        int(fate.merged.size),
        int(fate.split.size),
        Pixels(tp, predicted_px - tp, true_px - tp, pairs.image_px - true_px - predicted_px + tp),
    )


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


def count(pairs: Overlaps, threshold: float) -> Counts:
    """Count the cells with a partner at an intersection over union of `threshold` or above."""
    iou = pairs.iou[partners(pairs, threshold)]
    n = int(iou.size)
    return Counts(n, pairs.n_predicted - n, pairs.n_true - n, float(iou.sum()))


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


def aggregated_jaccard(pairs: Overlaps) -> float:
    """Return the aggregated Jaccard index of Kumar et al. 2017: shared pixels over the union, cell by cell.

    Each true cell takes the predicted cell with the largest IoU; predicted cells that none takes add to the union.

    Examples
    --------
    >>> aggregated_jaccard(overlaps(np.array([[1, 1, 0, 5]], np.uint16), np.array([[9, 9, 9, 0]], np.uint16)))
    0.5
    """
    order = np.lexsort((-pairs.iou, pairs.true))
    best = order[np.unique(pairs.true[order], return_index=True)[1]]
    shared = int(pairs.both_px[best].sum())
    union = int((pairs.true_px[pairs.true[best]] + pairs.predicted_px[pairs.predicted[best]]).sum()) - shared
    lonely = np.setdiff1d(np.flatnonzero(pairs.true_px), pairs.true[best])
    unused = np.setdiff1d(np.flatnonzero(pairs.predicted_px), pairs.predicted[best])
    union += int(pairs.true_px[lonely].sum() + pairs.predicted_px[unused].sum())
    return _share(shared, union)


def score_neurips(true: Labels, predicted: Labels) -> Counts:
    """Count as the NeurIPS 2022 cell segmentation challenge does: F1 at an intersection over union of 0.5.

    Cells in the 2 px along the border are left out of both images; images of 25 million px and more are taken in patches
    of 2000 x 2000 px, each with a border of its own, the last ones filled up with background. One difference: where
    nothing is predicted the challenge's script counts no true cell as missed; here all of them are.

    Examples
    --------
    >>> cell = np.zeros((9, 9), np.uint16)
    >>> cell[3:6, 3:6] = 1
    >>> cell[0, 0] = 2
    >>> score_neurips(cell, cell)
    Counts(tp=1, fp=0, fn=0, iou_sum=1.0)
    """
    if true.shape != predicted.shape:
        overlaps(true, predicted)
    height, width = true.shape
    step = max(height, width, 1) if true.size < _WHOLE_PX else _PATCH_PX
    total = Counts()
    for y in range(0, height, step):
        for x in range(0, width, step):
            patches = [labels[y : y + step, x : x + step] for labels in (true, predicted)]
            if true.size >= _WHOLE_PX:
                fill = [(0, step - side) for side in patches[0].shape]
                patches = [np.pad(patch, fill) for patch in patches]
            total += count(overlaps(*map(_inside, patches)), 0.5)
    return total


def _inside(labels: Labels) -> Labels:
    at_border = np.zeros(int(labels.max(initial=0)) + 1, bool)
    for edge in (labels[:_BORDER_PX], labels[-_BORDER_PX:], labels[:, :_BORDER_PX], labels[:, -_BORDER_PX:]):
        at_border[edge] = True
    return np.where(at_border[labels], 0, labels)


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
    return _share(2 * precision * recall, precision + recall, else_one=False)
