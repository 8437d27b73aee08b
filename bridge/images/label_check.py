"""Whether an image of whole numbers is a label image: a photograph, a binary mask or a numbered background is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bridge.errors import LabelError
from bridge.labels import Labels, parts_of_ids

# Measured on 70 label images drawn by people and by Cellpose: at most 5.5 % of an image's ids lie in several places. Of
# photographs, JPEG and resized label images it is 87 % and more, of 352 ids cut off at 256 it is 38 %.
_SHARE_IN_PARTS = 0.2
_FEWEST_IN_PARTS = 5
_BACKGROUND_SHARE = 0.5


def require_plausible(labels: Labels, path: Path, binary: bool = False) -> None:
    """Refuse what breaks no rule of label images and is none all the same.

    Parameters
    ----------
    labels : ndarray of uint16 or uint32, shape (Y, X)
    path : Path
        Named in messages.
    binary : bool
        Accept a binary mask: one id in several places.

    Raises
    ------
    LabelError
        It does not look like one; ``--accept-labels`` is the way round.
    """
    why = _doubt(labels, binary)
    if why:
        raise LabelError(
            f"{path}: does not look like a label image ({why}; expected one id for each cell and 0 where none is). "
            "Label the cells first, or give --accept-labels if it is right."
        )


def _doubt(labels: Labels, binary: bool) -> str:
    ids, parts = parts_of_ids(labels)
    if not ids.size:
        return ""
    if ids.size == 1:
        if parts[0] > 1 and ids[0] in (1, 255) and not binary:
            return f"its only id, {ids[0]}, is in {parts[0]} separate places: a binary mask"
        return ""
    background = _numbered_background(labels)
    if background:
        return background
    several = int(np.count_nonzero(parts > 1))
    if several >= _FEWEST_IN_PARTS and several > _SHARE_IN_PARTS * ids.size:
        return f"{several} of its {ids.size} ids are in several separate places, as in a photograph or with ids cut off at 256"
    return ""


def _numbered_background(labels: Labels) -> str:
    edges = labels[0], labels[-1], labels[:, 0], labels[:, -1]
    everywhere = set.intersection(*(set(np.unique(edge).tolist()) for edge in edges)) - {0}
    for value in everywhere:
        share = np.count_nonzero(labels == value) / labels.size
        if share > _BACKGROUND_SHARE:
            return f"id {value} covers {share:.0%} of it and touches all four sides: a background"
    return ""
