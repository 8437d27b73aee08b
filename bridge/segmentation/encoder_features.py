"""What the encoder of a Cellpose network sees in each cell: the mean of its feature maps under the cell's mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bridge.errors import ModelError
from bridge.labels import Labels, label_ids

if TYPE_CHECKING:
    from bridge.segmentation.segmenter import Segmenter

_STRIP, _MARGIN = 1024, 64  # rows that are looked at in one go, and more above and below, at the network's scale
_MOST_SCALE = 4.0  # debris of a few pixels would make an image as large as the memory
_DIVISOR = 16  # what sides are multiples of, for four levels


def encoder_features(
    segmenter: Segmenter, image: npt.NDArray[Any], labels: Labels, diameter_px: float | None = None
) -> pd.DataFrame:
    """Return the encoder's features of every cell.

    Parameters
    ----------
    segmenter : Segmenter
        Of Cellpose 3.
    image : ndarray, shape (Y, X), or (2, Y, X) for the cell and the nucleus
    labels : ndarray of unsigned int, shape (Y, X)
    diameter_px : float or None
        To which the image is scaled; None: the median of these cells.

    Returns
    -------
    DataFrame
        Index: label; columns ``encoder_000`` and on: 480 for Cellpose's own networks. Missing where a cell is smaller than a
        pixel of a level.

    Raises
    ------
    ModelError
        Cellpose 4 has another encoder.

    Examples
    --------
    >>> from bridge.segmentation.segmenter import Segmenter
    >>> from bridge.synthetic import synthetic_field
    >>> field = synthetic_field(seed=1, size_px=128, n_cells=4)
    >>> encoder_features(Segmenter("demo", "cpu"), field.phase, field.cells).shape
    (4, 120)
    """
    import torch
    from scipy import ndimage

    from bridge.segmentation.diameter import median_diameter

    backend: Any = segmenter._backend
    net = backend.net
    if not hasattr(net, "downsample"):
        raise ModelError(f"{segmenter.model.name}: has no encoder whose features are known (expected a network of Cellpose 3). Use --features declared.")  # fmt: skip
    ids = label_ids(labels)
    scale = float(net.diam_mean.item()) / (diameter_px or median_diameter(labels) or float(net.diam_mean.item()))
    scale = min(scale, _MOST_SCALE)
    planes = np.stack([ndimage.zoom(plane, scale, order=1) for plane in backend.prepared(image)])
    small = ndimage.zoom(labels, scale, order=0)
    height, width = (-(-side // _DIVISOR) * _DIVISOR for side in small.shape)
    around = [(0, height - small.shape[0]), (0, width - small.shape[1])]
    planes, small = np.pad(planes, [(0, 0), *around], mode="edge"), np.pad(small, around)
    n = int(ids[-1]) + 1 if ids.size else 1
    sums: list[npt.NDArray[np.float64]] = []
    counts: list[npt.NDArray[np.float64]] = []
    net.eval()
    for top in range(0, height, _STRIP):
        first, last = max(0, top - _MARGIN), min(height, top + _STRIP + _MARGIN)
        with torch.no_grad():
            part = torch.from_numpy(np.ascontiguousarray(planes[None, :, first:last], np.float32))
            maps = net.downsample(part.to(next(net.parameters()).device))
        for level, found in enumerate(maps):
            step, own = 2**level, found[0].cpu().numpy()
            rows = np.arange(own.shape[1]) * step + step // 2 + first
            rows_in = (rows >= top) & (rows < min(height, top + _STRIP))
            of = small[np.ix_(rows[rows_in], np.arange(own.shape[2]) * step + step // 2)].ravel()
            total = np.stack([np.bincount(of, weights=plane[rows_in].ravel(), minlength=n)[ids] for plane in own])
            seen = np.bincount(of, minlength=n)[ids].astype(np.float64)
            if len(sums) <= level:
                sums.append(total)
                counts.append(seen)
            else:
                sums[level] += total
                counts[level] += seen
    parts = [total / np.where(seen > 0, seen, np.nan) for total, seen in zip(sums, counts, strict=True)]
    values = np.concatenate(parts).T
    return pd.DataFrame(values, pd.Index(ids, name="label"), [f"encoder_{k:03d}" for k in range(values.shape[1])])
