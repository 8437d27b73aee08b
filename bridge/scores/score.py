"""Scores of a predicted label image against the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bridge.labels import Labels
from bridge.scores.overlaps import Overlaps, fates, overlaps, partners

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))


@dataclass(frozen=True)
class Agreement:
    """Cells and pixels on which two label images agree."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        """TP / (TP + FP); without anything predicted 1 if there was nothing to find, else 0."""
        return share(self.tp, self.tp + self.fp, self.fn == 0)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); without anything to find 1 if nothing was predicted, else 0."""
        return share(self.tp, self.tp + self.fn, self.fp == 0)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 where nothing was to be found and nothing was."""
        return share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def _jaccard(self) -> float:
        return share(self.tp, self.tp + self.fp + self.fn)


@dataclass(frozen=True)
class Counts(Agreement):
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
        return share(self.iou_sum, self.tp + self.fp / 2 + self.fn / 2)


@dataclass(frozen=True)
class Pixels(Agreement):
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
        return share(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)


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


def share(part: float, whole: float, else_one: bool = True) -> float:
    """Return a share; of nothing, 1 or 0."""
    return part / whole if whole else float(else_one)


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


def count(pairs: Overlaps, threshold: float) -> Counts:
    """Count the cells with a partner at an intersection over union of `threshold` or above."""
    iou = pairs.iou[partners(pairs, threshold)]
    n = int(iou.size)
    return Counts(n, pairs.n_predicted - n, pairs.n_true - n, float(iou.sum()))


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
    return share(shared, union)
