"""What tells one kind of cell from another: shape, brightness and texture of cell and nucleus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from bridge.labels import Labels, label_ids
from bridge.tables import CELL, NUCLEUS, Column

_SHAPE = (
    Column("area_px2", "float64", "px2", "pixels"),
    Column("elongation", "float64", "", "long axis over short axis of the ellipse of the same second moments"),
    Column("compactness", "float64", "", "area over that of the ellipse of the same second moments: 1 for an ellipse"),
    Column("boundary", "float64", "", "length of the pixel edges around it, squared, over area"),
)
_LIGHT = (
    Column("mean", "float64", "grey levels", "mean above the background"),
    Column("spread", "float64", "", "standard deviation over the mean above the background"),
    Column("p10", "float64", "grey levels", "10th percentile above the background"),
    Column("p50", "float64", "grey levels", "median above the background"),
    Column("p90", "float64", "grey levels", "90th percentile above the background"),
    Column("fine_texture", "float64", "", "root mean square of what a Gaussian of 1 px takes away, over the mean"),
    Column("coarse_texture", "float64", "", "root mean square between Gaussians of 1 and 3 px, over the mean"),
    Column("rim", "float64", "", "mean of the outermost two pixels over the mean of the rest, above the background"),
)
_RIM_PX = 2


def feature_columns(channels: Sequence[str], nuclei: bool) -> tuple[Column, ...]:
    """Return the features of a cell, in their order.

    Parameters
    ----------
    channels : sequence of str
        Channels that are looked at.
    nuclei : bool
        Whether nuclei are known.

    Examples
    --------
    >>> [c.name for c in feature_columns(["GFP"], False)][3:6]
    ['cell_boundary', 'cell_GFP_mean', 'cell_GFP_spread']
    """
    found = []
    for what in (CELL, *([NUCLEUS] if nuclei else [])):
        found += [Column(f"{what}_{c.name}", c.dtype, c.unit, f"{what}: {c.meaning}") for c in _SHAPE]
        for channel in channels:
            found += [
                Column(f"{what}_{channel}_{c.name}", c.dtype, c.unit, f"{channel} in the {what}: {c.meaning}")
                for c in _LIGHT
            ]
    if nuclei:
        found.append(Column("nucleus_share", "float64", "", "pixels of the nuclei over those of the cell"))
        found.append(Column("n_nuclei", "float64", "", "nuclei in the cell"))
    return tuple(found)


def features_of(
    labels: Labels, images: Mapping[str, npt.NDArray[Any]], nuclei: Labels | None, cell_of_nuclei: Any = None
) -> pd.DataFrame:
    """Return the features of every cell of a field.

    Light is above the field's own background, the median outside of all cells: exposure and stray light of a day should
    tell nothing. It is not divided by anything of the field, since a field of one kind would lose what its kind is.

    Parameters
    ----------
    labels : ndarray of unsigned int, shape (Y, X)
    images : mapping of str to ndarray, shape (Y, X)
        By channel.
    nuclei : ndarray of unsigned int, shape (Y, X), or None
    cell_of_nuclei : ndarray of int, shape (n_nuclei,), optional
        The cell of each nucleus in label order; 0 for none.

    Returns
    -------
    DataFrame
        Index: label; columns: `feature_columns`. Missing where there is nothing to measure, as in a cell without nucleus.

    Examples
    --------
    >>> labels = np.zeros((20, 20), np.uint16)
    >>> labels[4:10, 4:16] = 3
    >>> features_of(labels, {}, None).round(2).to_dict("index")
    {3: {'cell_area_px2': 72.0, 'cell_elongation': 2.0, 'cell_compactness': 0.95, 'cell_boundary': 18.0}}
    """
    ids = label_ids(labels)
    parts: dict[str, Any] = {}
    of_cell: dict[str, Labels] = {CELL: labels}
    if nuclei is not None:
        # All nuclei of a cell together are its nucleus here.
        owner = np.zeros(int(nuclei.max(initial=0)) + 1, np.int64)
        owner[label_ids(nuclei)] = cell_of_nuclei
        of_cell[NUCLEUS] = np.where(owner[nuclei] == labels, labels, 0).astype(labels.dtype)
    levels = {name: _above_background(image, labels) for name, image in images.items()}
    textures = {name: _textures(image) for name, image in levels.items()}
    for what, own in of_cell.items():
        parts |= _shape(what, own, ids)
        for channel, level in levels.items():
            found = _light(level, textures[channel], own, ids)
            parts |= {f"{what}_{channel}_{name}": values for name, values in found.items()}
    if nuclei is not None:
        parts["nucleus_share"] = np.nan_to_num(parts["nucleus_area_px2"]) / parts["cell_area_px2"]
        owners = np.asarray(cell_of_nuclei, np.int64)
        parts["n_nuclei"] = np.bincount(owners, minlength=int(labels.max(initial=0)) + 1)[ids].astype(np.float64)
    columns = [c.name for c in feature_columns(list(images), nuclei is not None)]
    return pd.DataFrame(parts, index=pd.Index(ids, name="label"), columns=columns, dtype=np.float64)


def _above_background(image: npt.NDArray[Any], labels: Labels) -> npt.NDArray[np.float64]:
    outside = image[labels == 0]
    background = float(np.median(outside)) if outside.size else float(image.min(initial=0))
    return image.astype(np.float64) - background


def _textures(image: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    smooth, smoother = ndimage.gaussian_filter(image, 1.0), ndimage.gaussian_filter(image, 3.0)
    return (image - smooth) ** 2, (smooth - smoother) ** 2


def _sums(labels: Labels, ids: npt.NDArray[np.int64], weights: npt.NDArray[Any] | None = None) -> Any:
    n = int(ids[-1]) + 1 if ids.size else 1
    of_all = np.bincount(labels.ravel(), None if weights is None else weights.ravel(), minlength=n)
    return of_all[ids].astype(np.float64)


def _shape(what: str, labels: Labels, ids: npt.NDArray[np.int64]) -> dict[str, Any]:
    y, x = np.indices(labels.shape, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        area = np.where((n := _sums(labels, ids)) > 0, n, np.nan)
        mean_y, mean_x = _sums(labels, ids, y) / area, _sums(labels, ids, x) / area
        # A pixel is a square: 1/12 in each direction.
        yy = _sums(labels, ids, y * y) / area - mean_y**2 + 1 / 12
        xx = _sums(labels, ids, x * x) / area - mean_x**2 + 1 / 12
        yx = _sums(labels, ids, y * x) / area - mean_y * mean_x
        half, root = (yy + xx) / 2, np.sqrt(np.maximum(((yy - xx) / 2) ** 2 + yx**2, 0))
        long, short = half + root, np.maximum(half - root, 1e-12)
        edges = np.zeros(labels.shape)
        padded = np.pad(labels, 1)
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
            edges += padded[dy : dy + labels.shape[0], dx : dx + labels.shape[1]] != labels
        return {
            f"{what}_area_px2": area,
            f"{what}_elongation": np.sqrt(long / short),
            f"{what}_compactness": area / (4 * np.pi * np.sqrt(long * short)),
            f"{what}_boundary": _sums(labels, ids, edges) ** 2 / area,
        }


def _light(level: npt.NDArray[np.float64], textures: Any, labels: Labels, ids: npt.NDArray[np.int64]) -> dict[str, Any]:
    rim = labels > 0
    rim &= ~_inner(labels)
    of_rim = np.where(rim, labels, 0).astype(labels.dtype)
    of_rest = np.where(rim, 0, labels).astype(labels.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        area = np.where((n := _sums(labels, ids)) > 0, n, np.nan)
        mean = _sums(labels, ids, level) / area
        scale = np.maximum(np.abs(mean), 1.0)  # of a channel without light nothing explodes
        variance = np.maximum(_sums(labels, ids, level**2) / area - mean**2, 0)
        rest = _sums(of_rest, ids, level) / _sums(of_rest, ids)
        outer = _sums(of_rim, ids, level) / _sums(of_rim, ids)
        low, middle, high = _percentiles(level, labels, ids, (10, 50, 90))
        return {
            "mean": mean,
            "spread": np.sqrt(variance) / scale,
            "p10": low,
            "p50": middle,
            "p90": high,
            "fine_texture": np.sqrt(_sums(labels, ids, textures[0]) / area) / scale,
            "coarse_texture": np.sqrt(_sums(labels, ids, textures[1]) / area) / scale,
            "rim": outer / np.where(np.abs(rest) < 1.0, np.nan, rest),
        }


def _inner(labels: Labels) -> npt.NDArray[np.bool_]:
    """Pixels whose whole surroundings belong to the same label."""
    size = 2 * _RIM_PX + 1
    same: npt.NDArray[np.bool_] = ndimage.maximum_filter(labels, size) == ndimage.minimum_filter(labels, size)
    return same


def _percentiles(
    level: npt.NDArray[np.float64], labels: Labels, ids: npt.NDArray[np.int64], percents: Sequence[float]
) -> list[npt.NDArray[np.float64]]:
    inside = labels > 0
    values, own = level[inside], labels[inside]
    order = np.lexsort((values, own))
    values, own = values[order], own[order]
    first = np.searchsorted(own, ids)
    n = np.searchsorted(own, ids, "right") - first
    found = []
    for percent in percents:
        at = (n - 1) * percent / 100
        below = np.floor(np.maximum(at, 0)).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(n - 1, 0))
        if not values.size:
            found.append(np.full(ids.size, np.nan))
            continue
        a, b = (values[np.minimum(first + k, values.size - 1)] for k in (below, above))
        found.append(np.where(n > 0, a + (at - below) * (b - a), np.nan))
    return found
