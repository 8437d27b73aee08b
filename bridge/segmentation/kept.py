"""The cells that are kept of what a network found, and what is said of those that are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.labels import Labels, as_labels, label_areas, touches_border

_LARGE = 0.4  # of the image: Cellpose's max_size_fraction


@dataclass(frozen=True)
class Segmented:
    """A label image and how it came about.

    Attributes
    ----------
    labels : ndarray of uint16 or uint32, shape (Y, X)
        Ids 1..n.
    diameter_px : float or None
        The diameter the network was given; None when it does not rescale.
    cut : tuple of int
        Labels that are cut at the edge of a tile because no tile held them whole.
    large : tuple of int
        Labels of more than 0.4 of the image, which Cellpose itself would drop.
    dropped : Counter
        Objects that were found and dropped, by reason: ``flow``, ``inside`` (see `bridge.segmentation.backend.labels_of`),
        ``small``, ``border``. Of an image in tiles those in two tiles count twice.
    classes : dict of int to str
        Of a Mask R-CNN: the class of each label.
    """

    labels: Labels
    diameter_px: float | None
    cut: tuple[int, ...] = ()
    large: tuple[int, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    classes: dict[int, str] = field(default_factory=dict)


@dataclass
class Made:
    """What the network's words became: labels, those cut at tiles, what was dropped, and the number of each pixel's class."""

    labels: npt.NDArray[np.int64]
    cut: list[int]
    dropped: Counter[str]
    kinds: npt.NDArray[np.uint8] | None = None


def kept_cells(
    made: Made, diameter_px: float | None, min_size: int, border: str, name: str, classes: Sequence[str] = ()
) -> Segmented:
    """Remove small cells, and those at the border if asked; the others are numbered 1..n."""
    labels, cut = made.labels, made.cut
    areas = label_areas(labels)
    gone = areas < min_size
    dropped = made.dropped + Counter(small=int(np.count_nonzero(gone & (areas > 0))))
    if border == "drop":
        at_border = touches_border(labels) & ~gone
        dropped["border"] = int(np.count_nonzero(at_border))
        gone |= at_border
    new_ids = np.cumsum(~gone & (areas > 0)) * (~gone & (areas > 0))
    kept = tuple(int(new_ids[label]) for label in cut if new_ids[label])
    large = tuple(int(new_ids[label]) for label in np.flatnonzero(areas > _LARGE * labels.size) if new_ids[label])
    found = as_labels(new_ids[labels], name)
    return Segmented(found, diameter_px, kept, large, +dropped, _classes(found, made.kinds, classes))


def _classes(labels: Labels, kinds: npt.NDArray[np.uint8] | None, classes: Sequence[str]) -> dict[int, str]:
    """Return the class that most pixels of each label have."""
    if kinds is None or not labels.any():
        return {}
    inside = labels > 0
    votes = np.bincount(labels[inside].astype(np.int64) * (len(classes) + 1) + kinds[inside], minlength=(int(labels.max()) + 1) * (len(classes) + 1))  # fmt: skip
    table = votes.reshape(-1, len(classes) + 1)[:, 1:]
    return {label: classes[int(table[label].argmax())] for label in range(1, len(table)) if table[label].any()}


def without_small(labels: npt.NDArray[Any], min_size: int) -> npt.NDArray[Any]:
    """Return a label image without labels of fewer pixels."""
    small = label_areas(labels) < min_size
    return np.where(small[labels], 0, labels)
