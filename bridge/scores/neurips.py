"""The rule of the NeurIPS 2022 cell segmentation challenge."""

from __future__ import annotations

import numpy as np

from bridge.labels import Labels
from bridge.scores.overlaps import overlaps
from bridge.scores.score import Counts, count

_BORDER_PX = 2  # the strip of the NeurIPS rule
_WHOLE_PX = 25_000_000  # from here on the NeurIPS rule takes an image in patches ...
_PATCH_PX = 2000  # ... of this size


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
